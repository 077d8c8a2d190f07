"""The engine: what becomes a finding, when it is told, what is told again, and what is not."""

from __future__ import annotations

import pytest

from tapio_otel.correlation.engine import SECOND
from tapio_otel.event import Severity
from tests.components import CountingSink
from tests.correlation.incidents import at, concluded, engine, happening, oom, refused, restart, rule, told

POD = {"type": "pod", "name": "db-0", "namespace": "prod", "uid": "u-1", "attributes": {"pod_ip": "10.2.3.4"}}


def test_an_oom_kill_and_a_later_restart_of_the_unit_are_one_cascade():
    """The seed's case: root, impact, confidence as the rule has it, times and members."""
    events = [oom(0), restart(1)]
    (finding,) = concluded(events)
    assert (finding.type, finding.source, finding.severity) == ("correlation", "correlation", Severity.CRITICAL)
    assert (finding.timestamp, finding.entity.name) == (at(0), "web.service")
    assert finding.get("root_cause") == events[0].id
    assert finding.get("impacts") == [events[1].id]
    assert finding.get("members") == [one.id for one in events]
    assert finding.get("confidence") == 0.9
    assert finding.get("first_seen") == "2026-01-01T00:00:00.000000000Z"
    assert finding.get("last_seen") == "2026-01-01T00:00:01.000000000Z"
    assert finding.get("entities") == ["systemd_unit/web.service"]
    assert (finding.get("revision"), finding.get("state"), finding.get("window")) == (0, "open", 30.0)


def test_a_restart_of_another_unit_is_no_consequence():
    """Two unrelated failures on one node share nothing but the node."""
    assert concluded([oom(0), restart(1, "systemd_unit/mail.service")]) == []


def test_equal_names_on_two_nodes_are_two_units():
    """A unit's key has the node's name in it."""
    there = {"type": "systemd_unit", "name": "web.service", "parent": "node/other"}
    assert concluded([oom(0), restart(1, there)]) == []


def test_a_restart_before_the_kill_is_no_consequence_where_one_source_tells_both():
    """One clock tells both: the order is certain."""
    assert concluded([restart(0, source="journald"), oom(1, source="journald")]) == []


def test_a_restart_shortly_before_the_kill_counts_where_two_clocks_tell_them():
    """Clocks may differ by the tolerance; the finding is less sure then."""
    (finding,) = concluded([restart(0), oom(3)])
    assert finding.get("root_cause").startswith("ebpf")
    assert finding.get("confidence") == round(0.9 * 0.95, 3)
    assert concluded([restart(0), oom(6)]) == []
    assert concluded([restart(0), oom(3)], order_tolerance_ns=SECOND) == []


def test_what_comes_after_the_window_is_no_consequence():
    """The window counts from the root cause."""
    assert len(concluded([oom(0), restart(30)])) == 1
    assert concluded([oom(0), restart(30.001)]) == []


def test_a_finding_is_told_as_soon_as_the_lateness_has_passed():
    """Not before: an earlier event may still come."""
    one = engine()
    one.add([oom(0), restart(1)])
    assert one.advance(at(6)) == []
    assert len(one.advance(at(6.001))) == 1
    assert one.open_findings == 1


def test_events_alone_let_time_go_on():
    """Any event moves the watermark, even one that no rule asks for."""
    one = engine()
    one.add([oom(0), restart(1), happening(10, "journald", "log")])
    assert len(one.advance(0)) == 1


def test_an_event_from_the_future_does_not_make_all_others_late():
    """A clock that is ahead counts only as far as when the event was observed."""
    ahead = happening(3600, "kubernetes", "container_restart")
    ahead.observed = at(0)
    one = engine()
    one.add([ahead])
    assert one.advance(0) == []
    one.add([oom(1), restart(2)])
    assert len(one.advance(at(10))) == 1


def test_a_living_finding_is_updated_and_not_told_again_beside_itself():
    """A second restart makes a second revision with the same id, not before the update interval has passed."""
    one = engine()
    one.add([oom(0), restart(1), restart(2)])
    first, *later = one.advance(at(12))
    assert (first.get("revision"), len(first.get("impacts"))) == (0, 1)
    (second,) = later
    assert (second.id, second.get("revision"), len(second.get("impacts"))) == (first.id, 1, 2)
    assert second.observed == at(6)


def test_the_last_revision_tells_that_the_window_has_ended():
    """What changed since the last revision is told when the window ends."""
    revisions = told(engine(), [oom(0), restart(1), restart(2), restart(29)])
    assert [(one.get("state"), len(one.get("impacts"))) for one in revisions] == [("open", 1), ("open", 2), ("open", 3)]
    revisions = told(engine(), [oom(0), restart(1), restart(26), restart(29)])
    assert [(one.get("state"), len(one.get("impacts"))) for one in revisions] == [("open", 1), ("open", 2), ("closed", 3)]


def test_after_its_window_the_next_incident_is_a_finding_of_its_own():
    """Findings do not grow without end."""
    found = concluded([oom(0), restart(1), oom(60, pid=43), restart(61)])
    assert len({one.id for one in found}) == 2


def test_one_kill_that_four_sources_tell_is_one_fact():
    """Kernel, journal, unit and pod witness one OOM kill; the confidence rises with each."""
    container = {"type": "container", "name": "web", "uid": "c" * 64, "parent": {**POD, "parent": "node/node"}}
    events = [
        oom(0, container),
        happening(0.1, "journald", "container_oom", container, pid=42),
        happening(0.5, "systemd", "unit_failed", container, result="oom-kill"),
        happening(4, "kubernetes", "pod_state", container, change="terminated", last_terminated_reason="OOMKilled"),
        happening(6, "kubernetes", "container_restart", container, restart_count=3),
    ]
    cascade = rule(facts={"oom": {"class": "oom"}, "restart": {"class": "container_restarted"}}, root="oom")
    (finding,) = concluded(events, cascade)
    assert finding.get("root_cause") == events[0].id
    assert finding.get("impacts") == [events[4].id]
    assert (finding.get("witnesses"), len(finding.get("sources"))) == (5, 4)
    assert finding.get("confidence") == round(1 - 0.1 * 0.7**3, 3)


def test_what_attests_the_cause_is_no_consequence():
    """A unit that failed by oom-kill tells of the kill; alone it is no cascade."""
    cascade = rule(facts={"oom": {"class": "oom"}, "down": {"class": "unit_failed"}}, root="oom")
    failed = happening(1, "systemd", "service_state", current_state="failed", result="oom-kill")
    assert concluded([oom(0), failed], cascade) == []
    other = happening(2, "systemd", "service_state", current_state="failed", result="exit-code")
    (finding,) = concluded([oom(0), failed, other], cascade)
    assert finding.get("impacts") == [other.id]


def test_two_processes_killed_at_once_are_two_facts():
    """Another pid is another occurrence."""
    counting = rule(condition="count(oom) >= 2")
    assert len(concluded([oom(0, pid=1000), oom(1, pid=1001)], counting)) == 1
    assert concluded([oom(0, pid=1000), oom(1, pid=1000, source="journald")], counting) == []


def test_an_event_that_comes_twice_counts_once():
    """A receiver that resumes may read an event again."""
    counting = rule(facts={"client": {"class": "connection_failed"}}, condition="count(client) >= 2")
    once = refused(1, "pod/prod/a")
    assert concluded([once, once.copy(), once.copy()], counting) == []
    assert len(concluded([once, refused(1, "pod/prod/a", id="other")], counting)) == 1


def test_a_late_event_joins_an_open_finding_and_opens_none():
    """Both are counted."""
    sink = CountingSink()
    one = engine(counters=sink)
    one.add([oom(0), restart(1)])
    assert len(one.advance(at(10))) == 1
    one.add([restart(2)])
    (update,) = one.advance(at(12))
    assert len(update.get("impacts")) == 2
    one.add([oom(3, "systemd_unit/mail.service", pid=43), restart(4, "systemd_unit/mail.service")])
    assert one.advance(at(30)) == []
    assert sink.counts["correlation_late"] == 3


CLIENT = {"client": {"class": "connection_failed", "join": "address"}}


def test_a_client_joins_by_the_address_it_failed_to_reach():
    """The pod that ran out of memory has the address that the client could not reach."""
    cascade = rule(facts={"oom": {"class": "oom"}, **CLIENT}, root="oom")
    near = refused(1, "pod/shop/cart", dst_ip="10.2.3.4", dst_port=5432)
    far = refused(2, "pod/shop/till", dst_ip="10.9.9.9", dst_port=5432)
    (finding,) = concluded([oom(0, POD), near, far], cascade)
    assert finding.get("impacts") == [near.id]
    assert finding.get("entities") == ["pod/prod/db-0", "pod/shop/cart"]


def test_an_address_is_known_from_what_was_seen_before():
    """Nothing in the kill itself tells the unit's address: a reset that the unit's connection sent before did."""
    cascade = rule(
        facts={"oom": {"class": "oom"}, **CLIENT, "reset": {"event_type": "tcp_reset", "optional": True}}, root="oom"
    )
    reset = happening(0, "ebpf", "tcp_reset", direction="sent", state="ESTABLISHED", src_ip="127.0.0.1", src_port=9000)
    client = refused(31, "systemd_unit/client.service", host="localhost", port=9000)
    (finding,) = concluded([reset, oom(30), client], cascade)
    assert finding.get("impacts") == [client.id]


def test_clients_of_clients_join_step_by_step_but_not_without_end():
    """Each client is itself reachable: a chain of failures is followed for three steps."""
    cascade = rule(facts={"oom": {"class": "oom"}, **CLIENT}, root="oom")
    chain = [
        refused(
            step,
            {"type": "pod", "name": f"p{step}", "namespace": "prod", "attributes": {"pod_ip": f"10.0.0.{step}"}},
            dst_ip="10.2.3.4" if step == 1 else f"10.0.0.{step - 1}",
        )
        for step in range(1, 7)
    ]
    (finding,) = concluded([oom(0, POD), *chain], cascade)
    assert finding.get("impacts") == [one.id for one in chain[:4]]


def test_a_sequence_needs_its_order():
    """The same facts the other way round are none."""
    ordered = rule(
        facts={"down": {"class": "unit_failed"}, "up": {"class": "unit_started"}},
        condition="sequence(down, up)",
        group_by=["unit"],
    )
    down = happening(0, "systemd", "service_state", current_state="failed")
    up = happening(1, "systemd", "service_state", current_state="active")
    assert len(concluded([down, up], ordered)) == 1
    up_first = happening(0, "systemd", "service_state", current_state="active", id="up first")
    down_last = happening(1, "systemd", "service_state", current_state="failed", id="down last")
    assert concluded([up_first, down_last], ordered) == []


def test_absence_is_concluded_when_the_window_has_ended():
    """A unit that is not started again: told at the window's end, and not where it is."""
    unstarted = rule(
        facts={"down": {"class": "unit_failed"}, "up": {"class": "unit_started", "optional": True}},
        condition="down and absent(up)",
        group_by=["unit"],
        root="down",
    )
    down = happening(0, "systemd", "service_state", current_state="failed")
    up = happening(5, "systemd", "service_state", current_state="active")
    tick = happening(40, "journald", "log")
    (finding,) = told(engine(unstarted), [down, tick])
    assert (finding.get("state"), finding.observed) == ("closed", at(30))
    assert told(engine(unstarted), [down, up, tick]) == []
    assert told(engine(unstarted), [down]) == [], "the input ended before the window did"


def test_a_rule_suppresses_what_it_explains_better_whichever_comes_first():
    """The loop is not told beside the cascade: neither when the cascade is told first nor when it comes after."""
    loop = rule("crash_loop", facts={"down": {"class": "unit_restarted"}}, condition="count(down) >= 2", group_by=["unit"])
    cascade = rule(suppresses=["crash_loop"])
    revisions = told(engine(cascade, loop), [oom(0), restart(1), restart(2)])
    assert {one.get("rule") for one in revisions} == {"oom_cascade"}
    slow = rule(suppresses=["crash_loop"], condition="oom and count(restart) >= 3")
    revisions = told(engine(slow, loop), [oom(0), restart(1), restart(2), restart(3)])
    by_rule = {one.get("rule"): one for one in revisions}
    assert by_rule["crash_loop"].get("superseded_by") == by_rule["oom_cascade"].id
    assert by_rule["crash_loop"].get("state") == "closed"
    assert [one.get("rule") for one in concluded([oom(0), restart(1), restart(2), restart(3)], slow, loop)] == ["oom_cascade"]


def test_groups_by_an_attribute_that_each_source_names_otherwise():
    """The target is `dst_ip` to the kernel and `host` to the log."""
    down = rule(
        facts={"log": {"class": "connection_failed", "source": "journald"}, "packet": {"event_type": "tcp_retransmit"}},
        aliases={"target": {"log": "host", "packet": "dst_ip"}},
        group_by=["target"],
    )
    log = refused(0, "pod/a/a", host="10.1.1.1")
    same, other = (happening(1, "ebpf", "tcp_retransmit", "pod/b/b", dst_ip=ip, state="X") for ip in ("10.1.1.1", "10.1.1.2"))
    assert len(concluded([log, same], down)) == 1
    assert concluded([log, other], down) == []


def test_texts_name_everything_once():
    """However many facts are about it; sources by the names that people know, machines, targets, and who else was hit."""
    plain = rule(description="{finding.entities}; {finding.sources}; {root.Entity} of {root.node}")
    (finding,) = concluded([oom(0), restart(1), restart(2)], plain)
    assert finding.description == "web.service; the kernel and systemd; web.service of node node"
    missed = rule(
        description="{root.Entity}[: {client.targets}][, {client.others}]",
        facts={"oom": {"class": "oom"}, **CLIENT},
        root="oom",
    )
    clients = [refused(2 + n, f"pod/prod/{name}", dst_ip="10.2.3.4", dst_port=5432) for n, name in enumerate("aab")]
    (finding,) = concluded([oom(0, POD), *clients], missed)
    assert finding.description == "Pod prod/db-0: 10.2.3.4:5432, pod prod/a and pod prod/b"


def test_the_traces_that_were_touched_are_told():
    """Each once, in the order of time."""
    (finding,) = concluded([oom(0, trace_id="b" * 32), restart(1, trace_id="a" * 32), restart(1.5, trace_id="b" * 32)])
    assert finding.get("traces") == ["b" * 32, "a" * 32]


def test_what_comes_after_in_the_pipeline_may_change_the_events():
    """The engine keeps what it was given."""
    one = engine()
    cause, effect = oom(0), restart(1)
    one.add([cause, effect])
    cause.attributes.clear()
    effect.entity = oom(0, "node/x").entity
    assert len(one.advance(at(60))) == 1


def test_too_many_groups_close_the_oldest_and_are_counted():
    """State is bounded by `max_open`."""
    sink = CountingSink()
    one = engine(counters=sink, max_open=10)
    one.add([oom(place / 1000, f"systemd_unit/u{place}.service", pid=1000 + place) for place in range(100)])
    one.advance(at(10))
    assert (one.open_groups, sink.counts["correlation_evicted:open"]) == (10, 90)


def test_too_many_facts_and_waiting_events_go_early_and_are_counted():
    """State is bounded by `max_facts`."""
    sink = CountingSink()
    one = engine(counters=sink, max_facts=100)
    one.add([oom(place / 1000, f"systemd_unit/u{place}.service", pid=1000 + place) for place in range(1000)])
    one.advance(0)
    assert one.waiting_count == 100
    one.advance(at(10))
    assert one.waiting_count == 0
    assert 50 <= one.fact_count <= 100
    assert sink.counts["correlation_evicted:waiting"] == 900
    assert sink.counts["correlation_evicted:facts"] == 1000 - one.fact_count


def test_a_group_takes_a_thousand_facts_and_tells_what_it_left_out():
    """A storm is one finding of bounded size."""
    sink = CountingSink()
    storm = rule(facts={"client": {"class": "connection_failed"}}, group_by=["any"])
    found = concluded([refused(place / 1000, "pod/prod/a", id=f"{place:05}") for place in range(3000)], storm, counters=sink)
    (finding,) = found
    assert (len(finding.get("members")), finding.get("left_out")) == (1000, 2000)
    assert sink.counts["correlation_evicted:facts"] == 2000


def test_nothing_is_left_behind_when_all_windows_have_ended():
    """After an hour without events the engine holds nothing."""
    one = engine()
    one.add([oom(0), restart(1), oom(2, "pod/prod/a"), restart(3, "pod/prod/b")])
    one.advance(at(3600))
    assert (one.open_groups, one.fact_count, one.waiting_count, one.open_findings) == (0, 0, 0, 0)
    (state,), assembly = one._assembly.states, one._assembly
    assert not (
        state.by_key or state.by_target or assembly.waiting._by_key or assembly.facts._now.by_class or one._teller.timers
    )


def test_groups_that_were_closed_early_are_let_go_of():
    """In a storm of ever new entities memory does not grow until the windows end."""
    one = engine(rule(window="1h"), max_open=10, max_facts=100)
    for place in range(5000):
        one.add([oom(place / 100, f"systemd_unit/u{place}.service", pid=1000 + place)])
        one.advance(0)
    assert one.open_groups == 10
    assert len(one._teller.timers) < 1500


def test_when_the_clock_is_set_back_time_begins_anew():
    """What was observed an hour before the latest would be late for an hour: no finding would be told until then."""
    sink = CountingSink()
    one = engine(counters=sink)
    one.add([oom(3600), restart(3601), happening(3602, "journald", "log")])
    one.add([oom(0, id="a")])
    one.add([restart(1, id="b"), happening(20, "journald", "log")])
    found = one.advance(0)
    assert [finding.get("root_cause")[:4] for finding in found] == ["ebpf", "a"]
    assert sink.counts["correlation_set_back"] == 1
    assert sink.counts["correlation_late"] == 0


def test_old_events_that_are_read_only_now_do_not_set_time_back():
    """They happened long ago, but were observed after the latest."""
    sink = CountingSink()
    one = engine(counters=sink)
    one.add([happening(3600, "journald", "log")])
    one.advance(at(3600))
    old = oom(0)
    old.observed = at(3601)
    one.add([old])
    assert (sink.counts["correlation_set_back"], sink.counts["correlation_late"]) == (0, 1)


def test_an_event_that_fails_costs_those_behind_it_nothing():
    """They are taken the next time."""
    one = engine()
    broken = oom(0, "pod/prod/a")
    one.add([broken, oom(1), restart(2)])
    next(iter(one._pending)).event.timestamp = None
    with pytest.raises(TypeError):
        one.advance(at(60))
    assert [found.get("rule") for found in one.advance(at(60))] == ["oom_cascade"]
