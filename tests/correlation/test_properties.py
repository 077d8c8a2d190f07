"""What holds of the engine for any events in any order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.correlation.engine import SECOND, Engine
from tapio_otel.correlation.examples import BEGINNING, example_events
from tapio_otel.correlation.library import load_rules
from tapio_otel.event_json import to_json
from tests.components import CountingSink
from tests.correlation.incidents import happening, rule

LATENESS = 5 * SECOND
ABOUT = ("systemd_unit/a.service", "systemd_unit/b.service", "pod/prod/a", "pod/test/a", "node/node")
KINDS = (
    ("ebpf", "oom_kill", {"pid": 7}),
    ("journald", "container_oom", {"pid": 7}),
    ("systemd", "service_state", {"current_state": "failed", "result": "oom-kill"}),
    ("systemd", "service_restart", {}),
    ("journald", "service_restart", {}),
    ("kubernetes", "container_restart", {"restart_count": 1}),
    ("journald", "connection_failed", {"dst_ip": "10.0.0.1", "dst_port": 80, "pod_ip": "10.0.0.2"}),
    ("ebpf", "tcp_retransmit", {"state": "SYN_SENT", "dst_ip": "10.0.0.2", "pod_ip": "10.0.0.1"}),
    ("journald", "log", {}),
)
RULES = (
    rule(
        facts={
            "oom": {"class": "oom"},
            "restart": {"class": ["unit_restarted", "container_restarted"]},
            "client": {"class": "connection_failed", "optional": True, "join": "address"},
        },
        root="oom",
        suppresses=["loop"],
    ),
    rule(
        "loop",
        facts={"again": {"class": ["unit_restarted", "crashed"]}},
        condition="count(again) >= 2",
        group_by=["unit", "pod"],
    ),
    rule("many", facts={"client": {"class": "connection_failed"}}, condition="distinct(client) >= 2", group_by=["any"]),
    rule(
        "gone",
        facts={"oom": {"class": "oom"}, "again": {"class": "unit_restarted", "optional": True}},
        condition="oom and absent(again)",
        root="oom",
        window="10s",
    ),
)


@st.composite
def arrivals(draw):
    """Return events with the moments at which they arrive: each less than the lateness after it happened."""
    found = []
    for place in range(draw(st.integers(1, 25))):
        source, type, told = draw(st.sampled_from(KINDS))
        tenths = draw(st.integers(0, 600))
        event = happening(tenths / 10, source, type, draw(st.sampled_from(ABOUT)), id=f"{place:03}", **told)
        found.append((event.timestamp + draw(st.integers(0, LATENESS - 1)), event))
    return found


def findings(batches, rules=RULES, most=None, **options):
    """Return the JSON of all findings of batches of events, each with the time at which it arrives."""
    engine = Engine(rules, allowed_lateness_ns=LATENESS, **options)
    told = []
    for now, batch in batches:
        engine.add([event.copy() for event in batch])
        told += engine.advance(now, most=most)
    told += engine.advance(0, final=True, most=most)
    while engine.is_behind:
        told += engine.advance(0, final=True, most=most)
    return [to_json(one) for one in told]


@settings(max_examples=150, deadline=None)
@given(arrivals(), st.booleans())
def test_any_arrival_order_within_the_lateness_gives_the_same_findings(arriving, live):
    """Byte for byte, and in the same order: one batch in order, or one by one as they arrive, with or without a clock."""
    in_order = [event for _, event in sorted(arriving, key=lambda one: (one[1].timestamp, one[1].id))]
    late = [(now if live else 0, [event]) for now, event in sorted(arriving, key=lambda one: (one[0], one[1].id))]
    assert findings(late) == findings([(0, in_order)])


@settings(max_examples=100, deadline=None)
@given(arrivals(), st.booleans(), st.integers(1, 12))
def test_work_that_is_done_a_little_at_a_time_gives_the_same_findings(arriving, live, most):
    """Also where further events arrive before all that was due is done."""
    late = [(now if live else 0, [event]) for now, event in sorted(arriving, key=lambda one: (one[0], one[1].id))]
    assert findings(late, most=most) == findings(late)


SHIPPED = load_rules(("builtin",))
EXAMPLES = [example_events(example.events)[0] for rule in SHIPPED for example in rule.examples]
SOURCES = ("ebpf", "systemd", "journald", "kubernetes")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(range(len(EXAMPLES))), st.integers(0, 900)), min_size=1, max_size=12),
    st.tuples(*(st.integers(-50, 50) for _ in SOURCES)),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_incidents_of_all_rules_at_once_are_told_alike_in_any_order_and_any_batches(chosen, skews, random, live):
    """The examples of all rules that ship, moved in time and mixed, with clocks that differ by up to five seconds."""
    skew = dict(zip(SOURCES, skews, strict=True))
    arriving = []
    for place, (example, seconds) in enumerate(chosen):
        for event in EXAMPLES[example]:
            one = event.copy()
            one.id = f"{place}-{event.id}"
            one.timestamp += seconds * SECOND + skew.get(one.source, 0) * SECOND // 10
            one.observed = one.timestamp
            arriving.append((one.timestamp + random.randrange(LATENESS), one))
    in_order = [event for _, event in sorted(arriving, key=lambda one: (one[1].timestamp, one[1].id))]
    arriving.sort(key=lambda one: (one[0], one[1].id))
    batches, place = [], 0
    while place < len(arriving):
        size = random.randint(1, 20)
        batches.append(
            (arriving[min(place + size, len(arriving)) - 1][0] if live else 0, [e for _, e in arriving[place : place + size]])
        )
        place += size
    assert findings(batches, SHIPPED) == findings([(0, in_order)], SHIPPED)


@settings(max_examples=50, deadline=None)
@given(arrivals(), st.integers(1, 5))
def test_events_that_come_again_change_nothing(arriving, times):
    """A receiver that resumes delivers some events a second time."""
    events = [event for _, event in arriving]
    assert findings([(0, events * times)]) == findings([(0, events)])


@settings(max_examples=50, deadline=None)
@given(arrivals())
def test_a_finding_is_a_whole_of_its_members(arriving):
    """The root and the impacts are members, the impacts follow in time and are not the root, ids are unique to a root."""
    engine = Engine(RULES)
    engine.add([event for _, event in arriving])
    times = {event.id: event.timestamp for _, event in arriving}
    for finding in engine.advance(0, final=True):
        members, impacts = finding.get("members"), finding.get("impacts")
        assert finding.get("root_cause") in members
        assert set(impacts) <= set(members) - {finding.get("root_cause")}
        assert [times[one] for one in impacts] == sorted(times[one] for one in impacts)
        assert 0 < finding.get("confidence") <= 0.99


@settings(max_examples=30, deadline=None)
@given(arrivals(), st.integers(100, 120), st.integers(1, 3))
def test_state_stays_within_its_bounds(arriving, max_facts, max_open):
    """Whatever comes, no more is kept than was allowed, and after a long time nothing."""
    sink = CountingSink()
    engine = Engine(RULES, max_facts=max_facts, max_open=max_open, counters=sink)
    for now, event in arriving * 10:
        engine.add([event])
        engine.advance(now)
        assert engine.open_groups <= max_open
        assert engine.fact_count <= max_facts
        assert engine.waiting_count <= max_facts
    engine.advance(BEGINNING + 7200 * SECOND)
    assert (engine.open_groups, engine.fact_count, engine.waiting_count) == (0, 0, 0)
