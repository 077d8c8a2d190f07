"""The dedup processor: what is a repeat, when a window closes, what the summary says, and that nothing is lost."""

from __future__ import annotations

import sys
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.component import ComponentError, Kind
from tapio_otel.event import EntityReference, EventType, Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.processors.dedup import DedupConfig, DedupProcessor, default_hash, rfc3339
from tests.components import context

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND

_OCCURRENCES = count()


class Clock:
    """Tell a monotonic time that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def processor(hashes=None, clock=None, **options):
    """Return the processor with these options, hash functions and clock."""
    surroundings = context(Kind.PROCESSOR, "dedup", {"hash_functions": hashes or {}})
    return DedupProcessor(surroundings, DedupConfig(**options), clock or Clock())


def happening(second, title="Service a.service: active → failed", **fields):
    """Return an event `second` seconds after the start; its id is of this occurrence alone."""
    fields = {
        "type": EventType.SERVICE_STATE,
        "source": "systemd",
        "entity": EntityReference("systemd_unit", "a.service"),
    } | fields
    timestamp = START + round(second * SECOND)
    made = UnifiedEvent("", timestamp, title=title, observed=timestamp + 5, **fields)
    made.id = event_id(made.source, made.type, made.entity.uid, title, timestamp, next(_OCCURRENCES))
    return made


def summaries(events):
    """Return the summaries among the events."""
    return [event for event in events if event.get("dedup_count") is not None]


def test_a_repeat_within_the_window_is_counted_not_sent():
    """The first goes on at once, repeats are dropped with a reason."""
    subject = processor()
    first = happening(0)
    assert subject.process([first, happening(1), happening(299.9)]) == [first]
    assert subject.process([happening(200)]) == []
    counts = subject.context.counters.counts
    assert (counts["dropped"], counts["dropped:duplicate"]) == (3, 3)


def test_an_event_exactly_a_window_after_the_first_is_no_repeat():
    """A nanosecond earlier it is one, as the seed compares with less-than; the same holds backwards."""
    subject = processor(window="1s")
    first, last, next_one = happening(0), happening(0.999999999), happening(1)
    passed = subject.process([first, last, next_one])
    assert [event.id for event in passed if event.get("dedup_count") is None] == [first.id, next_one.id]
    assert [event.get("dedup_count") for event in summaries(passed)] == [1]
    backwards = processor(window="1s")
    assert len(backwards.process([happening(1), happening(0.000000001)])) == 1
    assert len(processor(window="1s").process([happening(1), happening(0)])) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"source": "journald"},
        {"type": EventType.SERVICE_RESTART},
        {"entity": EntityReference("systemd_unit", "b.service")},
        {"title": "Service a.service: failed → active"},
    ],
)
def test_events_that_differ_in_source_type_entity_or_title_are_all_sent(other):
    """The identity is the seed's four parts."""
    assert len(processor().process([happening(0), happening(1, **other)])) == 2


def test_events_that_differ_in_anything_else_are_equal():
    """Severity, description and attributes make no difference."""
    other = happening(1, severity=Severity.ALERT, description="else", attributes={"job_id": 2}, trace_id="1" * 32)
    assert len(processor().process([happening(0), other])) == 1


def test_the_summary_tells_what_was_held_back():
    """It has the first one's identity, trace and parent id, the worst severity, the count and both timestamps."""
    first = happening(0, labels={"unit": "a.service"}, attributes={"job_id": 1}, trace_id="1" * 32, span_id="2" * 16)
    repeats = [happening(1, severity=Severity.CRITICAL), happening(2.5, trace_id="3" * 32)]
    subject = processor()
    subject.process([first, *repeats])
    (summary,) = subject.flush(final=True)
    assert (summary.source, summary.type, summary.entity, summary.title) == (
        first.source,
        first.type,
        first.entity,
        first.title,
    )
    assert (summary.trace_id, summary.span_id, summary.parent_id) == ("1" * 32, "2" * 16, first.id)
    assert (summary.timestamp, summary.observed) == (repeats[1].timestamp, repeats[1].observed)
    assert summary.severity is Severity.CRITICAL
    assert summary.labels == {"unit": "a.service"}
    assert summary.attributes == {
        "job_id": 1,
        "dedup_count": 2,
        "first_timestamp": "2026-11-18T11:06:40.000000000Z",
        "last_timestamp": "2026-11-18T11:06:42.500000000Z",
    }
    assert summary.description.endswith(
        "(repeated 2 times between 2026-11-18T11:06:40.000000000Z and 2026-11-18T11:06:42.500000000Z)"
    )
    assert summary.id not in {first.id, *(repeat.id for repeat in repeats)}
    assert subject.flush(final=True) == []


def test_the_summary_shares_the_first_ones_origin():
    """What encoders cache for the origin of the first event serves its summary too."""
    origin = Origin(EntityReference("systemd_unit", "a.service"), {"pid": 1}, {"unit": "a.service"})
    pair = [
        UnifiedEvent.of_origin(origin, str(n), n, n, "journald", "oom_kill", Severity.ERROR, "t", "d", {}) for n in range(2)
    ]
    subject = processor()
    subject.process(pair)
    (summary,) = subject.flush(final=True)
    assert summary.shared is origin
    assert summary.get("pid") == 1


def test_there_is_no_summary_without_repeats():
    """A lone event needs none."""
    subject = processor()
    subject.process([happening(0), happening(1, title="else")])
    assert subject.flush(final=True) == []


def test_the_window_does_not_move():
    """An event that never stops is sent once a window, with the summary of the last window before it."""
    subject = processor(window="10s")
    out = subject.process([happening(second) for second in range(25)])
    assert [(event.timestamp - START) // SECOND for event in out] == [0, 9, 10, 19, 20]
    assert [event.get("dedup_count") for event in out] == [None, 9, None, 9, None]


def test_any_event_of_the_source_moves_its_time():
    """A plain log of the same source closes the window; one of another source does not."""
    subject = processor(window="10s")
    subject.process([happening(0), happening(1)])
    assert len(subject.process([happening(100, type=EventType.LOG, source="journald")])) == 1
    assert len(subject.process([happening(9.9, type=EventType.LOG)])) == 1
    out = subject.process([happening(10, type=EventType.LOG)])
    assert [event.get("dedup_count") for event in out] == [1, None]


def test_a_repeat_that_arrives_late_belongs_to_the_window():
    """An event less than a window older than the first is its repeat, and the first timestamp tells of it."""
    subject = processor(window="10s")
    subject.process([happening(0), happening(-9)])
    (summary,) = subject.flush(final=True)
    assert summary.attributes["dedup_count"] == 1
    assert summary.attributes["first_timestamp"] == rfc3339(START - 9 * SECOND)
    assert summary.timestamp == START


def test_a_much_older_event_is_another_occurrence():
    """A replay of yesterday is not swallowed by today's window."""
    subject = processor(window="10s")
    today, yesterday = [happening(0), happening(1)], [happening(-86400), happening(-86399)]
    out = subject.process(today + yesterday)
    assert out == [today[0], *summaries(out), yesterday[0]]
    assert [event.parent_id for event in out + subject.flush(final=True) if event.parent_id] == [today[0].id, yesterday[0].id]


def test_a_clock_far_ahead_does_not_stop_deduplication():
    """One event from the future closes windows early, and all goes on as before."""
    subject = processor()
    subject.process([happening(0), happening(1), happening(10**9, title="RTC was wrong")])
    assert len(subject.process([happening(2), happening(3), happening(4)])) == 1


def test_plain_logs_are_deduplicated_only_on_request():
    """Type log passes unless a condition selects it, by type or by source."""
    logs = [happening(second, type=EventType.LOG) for second in range(3)]
    assert processor().process(list(logs)) == logs
    assert processor(conditions=[{"type": EventType.SERVICE_STATE}]).process(list(logs)) == logs
    assert processor(conditions=[{"source": "systemd"}]).process(list(logs)) == logs[:1]
    assert processor(conditions=[{"type": "log"}]).process(list(logs)) == logs[:1]
    assert processor(conditions=[{"type": "log", "source": "journald"}]).process(list(logs)) == logs


def test_conditions_and_exclude_choose_by_source_and_type():
    """Only what a condition selects is deduplicated, and never what exclude selects."""
    batch = [
        happening(second, source=source, type=type)
        for source in ("systemd", "kubernetes")
        for type in ("service_state", "k8s_event")
        for second in range(2)
    ]
    assert len(processor(conditions=[{"source": "systemd"}]).process(list(batch))) == 6
    assert len(processor(conditions=[{"source": "systemd"}, {"type": "k8s_event"}]).process(list(batch))) == 5
    assert len(processor(exclude=[{"source": "systemd", "type": "k8s_event"}]).process(list(batch))) == 5
    assert len(processor(conditions=[{"source": "systemd"}], exclude=[{"type": "k8s_event"}]).process(list(batch))) == 7


def test_a_summary_is_never_deduplicated():
    """A second dedup down the road passes summaries on, whose counts would be lost otherwise."""
    first, second = processor(window="1s"), processor()
    out = first.process([happening(tenth / 10) for tenth in range(50)])
    again = second.process(out)
    assert [event.get("dedup_count") for event in again if event.get("dedup_count")] == [9, 9, 9, 9]


def test_the_first_event_read_again_is_sent_again():
    """A receiver that retries a batch repeats the first event: it may not have been delivered, so it is not held back."""
    first = happening(0)
    subject = processor()
    assert subject.process([first]) == [first]
    assert subject.process([first, happening(1)]) == [first]


def test_a_silent_source_closes_its_windows():
    """After `window` without any event of the source, by the monotonic clock, flush gives the summary."""
    clock = Clock()
    subject = processor(clock=clock, window="60s")
    subject.process([happening(0), happening(1)])
    clock.now += 59
    assert subject.flush(final=False) == []
    subject.process([happening(30, type=EventType.LOG)])
    clock.now += 59
    assert subject.flush(final=False) == []
    clock.now += 1
    assert [event.get("dedup_count") for event in subject.flush(final=False)] == [1]
    assert 1 <= subject.flush_interval <= 30


def test_a_short_window_waits_ten_seconds_of_silence():
    """A replay that an exporter holds up for a moment is not silent."""
    clock = Clock()
    subject = processor(clock=clock, window="100ms")
    subject.process([happening(0), happening(0.05)])
    clock.now += 9.9
    assert subject.flush(final=False) == []
    clock.now += 0.2
    assert len(subject.flush(final=False)) == 1


def test_the_least_recently_used_window_makes_room():
    """With `cache_size` windows open, a new event closes the one that had no event for longest, with its summary."""
    subject = processor(cache_size=2)
    subject.process([happening(0, "a"), happening(1, "b"), happening(2, "b"), happening(3, "a")])
    out = subject.process([happening(4, "c")])
    assert [(event.title, event.get("dedup_count")) for event in out] == [("b", 1), ("c", None)]
    assert subject.process([happening(5, "a")]) == []


def test_what_is_remembered_stays_bounded():
    """A flood of different events keeps no more than `cache_size` windows, nor what they hold."""
    subject = processor(cache_size=50)
    for number in range(5000):
        subject.process([happening(number / 1000, f"title {number}", source=f"source {number % 700}", type=f"type {number}")])
    assert len(subject._windows) == 50
    assert len(subject._timelines) <= 257
    subject = processor(cache_size=50)
    for number in range(5000):
        subject.process([happening(number / 1000, f"title {number}", type=f"type {number}")])
    (timeline,) = subject._timelines.values()
    assert len(timeline.ends) <= 2 * 50 + 65
    assert len(timeline.subject) <= 1024


def test_a_window_does_not_keep_a_megabyte():
    """Long titles, descriptions and attributes are let go; long titles still differ."""
    subject = processor()
    long = "x" * 1_000_000
    first = happening(0, long, description=long, attributes={"stack": long, "list": [long], "code": 137})
    out = subject.process([first, happening(1, long), happening(2, long + "y")])
    assert len(out) == 2
    (summary,) = subject.flush(final=True)
    assert len(summary.title) == 1024
    assert summary.get("code") == 137
    assert sum(sys.getsizeof(value) for value in summary.attributes.values()) < 2000
    assert sys.getsizeof(default_hash(first)[3]) < 1024


def test_a_plugin_decides_what_is_equal():
    """A hash function by name replaces the default identity."""
    subject = processor({"by_unit": lambda event: event.entity.uid}, hash_function="by_unit")
    batch = [happening(0, "a"), happening(1, "b"), happening(2, "c", source="journald")]
    assert subject.process(batch) == batch[:1]


def test_an_unknown_hash_function_is_an_error_that_names_the_known_ones():
    """The message says where, what was found and what there is."""
    with pytest.raises(
        ComponentError, match=r"^processors\.dedup\.hash_function: there is no hash function 'fnv'; .* by_unit, default,"
    ):
        processor({"by_unit": lambda event: event.entity.uid}, hash_function="fnv")


@pytest.mark.parametrize("fails", [lambda event: 1 / 0, lambda event: {}])
def test_events_that_a_hash_function_cannot_take_go_on(fails):
    """A hash function that raises, or gives what cannot be hashed, costs no event."""
    subject = processor({"bad": fails}, hash_function="bad")
    batch = [happening(0), happening(1)]
    assert subject.process(list(batch)) == batch
    assert subject.context.counters.counts["failed:hash_function"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "0"}, "greater than 0"),
        ({"window": 5}, "expected a duration with its unit"),
        ({"cache_size": 0}, "greater than or equal to 1"),
        ({"conditions": [{}]}, "a selector needs a source, a type, or both"),
        ({"exclude": [{"severity": "info"}]}, "Extra inputs"),
    ],
)
def test_wrong_options_are_refused(options, message):
    """The configuration says what is wrong before anything runs."""
    with pytest.raises(ValidationError, match=message):
        DedupConfig(**options)


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [(0, "1970-01-01T00:00:00.000000000Z"), (-1, "1969-12-31T23:59:59.999999999Z"), (10**40, "1" + "0" * 40)],
)
def test_timestamps_are_written_as_rfc_3339(timestamp, text):
    """Nanoseconds are kept, and a timestamp beyond any calendar is written as its number."""
    assert rfc3339(timestamp) == text


happenings = st.lists(
    st.builds(
        lambda second, title, source, type, severity: happening(second, title, source=source, type=type, severity=severity),
        st.floats(-100, 100) | st.sampled_from([0, 5, 9.999, 10, 10**9]),
        st.sampled_from("ab"),
        st.sampled_from(["systemd", "journald"]),
        st.sampled_from(["service_state", "log"]),
        st.sampled_from(list(Severity)),
    ),
    max_size=60,
)


def replay(events, sizes, cache_size, clock):
    """Return all that comes out, with batches of these sizes."""
    subject = processor(window="10s", cache_size=cache_size, clock=clock)
    out, rest = [], [event.copy() for event in events]
    for size in sizes:
        out += subject.process(rest[:size])
        rest = rest[size:]
    out += subject.process(rest)
    out += subject.flush(final=True)
    return out, subject.context.counters.counts["dropped"]


@settings(max_examples=200)
@given(happenings, st.integers(1, 4))
def test_every_event_is_sent_or_counted_in_a_summary(events, cache_size):
    """Events in = events out without summaries + the summaries' counts, whatever the order of timestamps."""
    out, dropped = replay(events, [3, 0, 7], cache_size, Clock())
    told = summaries(out)
    sent = [event for event in out if event.get("dedup_count") is None]
    assert len(events) == len(sent) + sum(event.get("dedup_count") for event in told)
    assert dropped == sum(event.get("dedup_count") for event in told)
    assert [event.id for event in sent] == [event.id for event in events if event.id in {one.id for one in sent}]
    assert {event.parent_id for event in told} <= {event.id for event in sent}
    assert len({event.id for event in out}) == len(out)


@settings(max_examples=200)
@given(happenings, st.lists(st.integers(0, 9), max_size=20), st.integers(1, 4), st.floats(0, 1e9))
def test_a_replay_gives_what_the_live_run_gave(events, sizes, cache_size, later):
    """The same events, at another time of day and in other batches, give the same output, to the last id."""
    clock = Clock()
    clock.now += later
    assert replay(events, [], cache_size, Clock()) == replay(events, sizes, cache_size, clock)
