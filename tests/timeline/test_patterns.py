"""Patterns are found where they are, and not where they nearly are."""

from __future__ import annotations

import pytest

from tapio_otel.event import Severity
from tapio_otel.timeline import Pattern, TimelineReconstructor
from tapio_otel.timeline.meaning import name_of
from tests.correlation.incidents import happening, restart


def kinds(events, focus="unit/web.service") -> list[str]:
    """Return the kinds of pattern."""
    return [one.kind for one in patterns(events, focus)]


def patterns(events, focus="unit/web.service") -> tuple[Pattern, ...]:
    """Return the patterns of a timeline."""
    return TimelineReconstructor().reconstruct(events, focus).patterns


def state(seconds, name, severity=Severity.INFO):
    """Return a change of a unit's state."""
    return happening(seconds, "systemd", "service_state", current_state=name, severity=severity)


def failed(seconds):
    """Return that the unit failed."""
    return state(seconds, "failed", Severity.ERROR)


def said(seconds, severity, text="x"):
    """Return a log line of the unit."""
    return happening(seconds, "journald", "log", severity=severity, text=text)


def test_three_restarts_are_a_loop():
    """Two are not, nor are three that are far apart, nor one that three sources tell."""
    assert "restart_loop" in kinds([restart(0), restart(20), restart(70)])
    assert "restart_loop" not in kinds([restart(0), restart(20)])
    assert "restart_loop" not in kinds([restart(0), restart(700), restart(1500)])
    assert "restart_loop" not in kinds([restart(0.1 * one, source=str(one)) for one in range(3)])


def test_changing_back_and_forth_is_flapping():
    """Four changes are, three are not."""
    turns = [failed(0), state(10, "active"), failed(25), state(33, "active"), failed(60)]
    assert "flapping" in kinds(turns)
    assert "flapping" not in kinds(turns[:4])


def test_a_failure_that_others_follow_is_a_cascade():
    """Within thirty seconds, and of two others at least."""
    node = "node/n1"
    about = [{"type": "pod", "namespace": "a", "name": f"p{one}", "parent": {"type": "node", "name": "n1"}} for one in range(3)]
    events = [happening(5 * place, "kubernetes", "process_crashed", one) for place, one in enumerate(about)]
    [found] = [one for one in patterns(events, node) if one.kind == "cascade"]
    assert found.entries == (0, 1, 2)
    assert found.description == "after pod a/p0 failed, so did in 10 s: pod a/p1, pod a/p2"
    assert "cascade" not in kinds(events[:2], node)


def test_what_has_no_name_is_in_no_cascade():
    """An event of an unknown machine, or about something without a name, says nothing of who failed after whom."""
    pods = [{"type": "pod", "namespace": "a", "name": f"p{one}"} for one in range(3)]
    told = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "severity": Severity.ERROR}
    nameless = [{"type": "node", "name": "unknown"}, {"type": "node", "name": ""}]
    events = [
        happening(place, "journald", "process_crashed", one, **told)
        for place, one in enumerate([pods[0], *nameless, *pods[1:]])
    ]
    [found] = [one for one in patterns(events, "pod/a/p0") if one.kind == "cascade"]
    assert found.description == "after pod a/p0 failed, so did in 4 s: pod a/p1, pod a/p2"
    assert "cascade" not in [one.kind for one in patterns(events[:4], "pod/a/p0")]


def test_a_process_is_called_by_its_name():
    """A number alone says nothing to who reads it."""
    about = {"type": "process", "name": "postgres", "uid": "process-42-1000", "parent": {"type": "node", "name": "n1"}}
    turns = [happening(9 * step, "ebpf", kind, about) for step, kind in enumerate(("process_crashed", "service_recovered"))]
    assert [one.subject for one in patterns(turns, "process/42")] == ["process postgres (42)"]
    assert name_of(("process", 42, "n1")) == "process 42"
    assert name_of(("node", "", "", "")) == "node without a name"


def test_many_events_at_once_are_a_burst():
    """Only where there are fewer before and after."""
    quiet = [said(100 * one, Severity.INFO) for one in range(10)]
    loud = [said(500 + one / 10, Severity.INFO) for one in range(1, 30)]
    [found] = [one for one in patterns([*quiet, *loud]) if one.kind == "burst"]
    assert len(found.entries) == 30
    assert "burst" not in kinds([said(one, Severity.INFO) for one in range(100)])


@pytest.mark.parametrize(
    ("times", "is_periodic"), [((0, 60, 121, 180), True), ((0, 60, 150, 180), False), ((0, 60, 120), False)]
)
def test_equal_pauses_are_a_period(times, is_periodic):
    """A tenth more or less is still equal."""
    assert ("periodic" in kinds([said(one, Severity.WARNING, "{slow}") for one in times])) is is_periodic


def test_from_bad_to_worse_is_an_escalation():
    """Unless it was well in between."""
    steps = [said(0, Severity.WARNING), said(10, Severity.ERROR), said(20, Severity.CRITICAL)]
    [found] = [one for one in patterns(steps) if one.kind == "escalation"]
    assert found.entries == (0, 1, 2)
    assert "escalation" not in kinds([*steps, state(15, "active")])
    assert "escalation" not in kinds(steps[::2])


def test_what_is_well_again_has_recovered():
    """But not what fails once more."""
    [found] = [one for one in patterns([failed(0), state(90, "active")]) if one.kind == "recovery"]
    assert found.description == "unit web.service was well again after 1.5 min"
    assert "recovery" not in kinds([failed(0), state(90, "active"), failed(95)])
    assert "recovery" not in kinds([state(90, "active")])


def test_a_node_has_its_name_in_a_pattern():
    """Though it has no place within another thing."""

    def ready(seconds, status, severity):
        told = {"change": "condition", "condition": "Ready", "condition_status": status}
        return happening(seconds, "kubernetes", "node_condition", "node/n1", severity=severity, **told)

    (found,) = patterns([ready(0, "False", Severity.ERROR), ready(9, "True", Severity.INFO)], "node/n1")
    assert (found.kind, found.subject) == ("recovery", "node n1")
