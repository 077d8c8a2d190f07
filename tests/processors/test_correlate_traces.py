"""`emit_traces`: a finding that has ended brings its members, for exporters that send traces."""

from __future__ import annotations

from tapio_otel.correlation.examples import BEGINNING
from tapio_otel.event_json import from_dict
from tapio_otel.otlp import semconv
from tapio_otel.otlp.spans import has_trace
from tests.correlation.incidents import happening, oom, restart
from tests.processors.test_correlate import processor

MEMBERS = semconv.EMIT_TRACE


def told(*events, **options):
    """Return all that is told of events, and of a time long after them."""
    one = processor(**options)
    findings = [event for event in one.process(list(events)) if event.type == "correlation"]
    for seconds in (7, 1000):  # beyond the time for which a told finding waits for its cause to come again
        later = one.process([happening(seconds, "journald", "log")])
        findings += [event for event in later if event.type == "correlation"]
    return findings


def test_a_finding_that_has_ended_brings_its_members():
    """The root cause first, then in the order of time, each as the event JSON has it; also where nothing came since."""
    first, second = told(restart(1), oom(0, id="later by id"), emit_traces=True)
    assert ([one.get("state") for one in (first, second)], first.id) == (["open", "closed"], second.id)
    assert (has_trace(first), has_trace(second)) == (False, True)
    members = [from_dict(content) for content in second.get(MEMBERS)]
    assert [one.type for one in members] == ["oom_kill", "service_restart"]
    assert (members[0].id, [one.id for one in members]) == (second.get("root_cause"), second.get("members"))


def test_without_the_option_no_finding_brings_them():
    """And one that has not grown is not told again when it ends."""
    findings = told(oom(0), restart(1))
    assert [(one.get("state"), one.get(MEMBERS)) for one in findings] == [("open", None)]


def test_what_another_finding_tells_better_brings_none():
    """Only the better one is sent as a trace, with all that the other one had."""
    crashes = [happening(n, "systemd", "service_restart", n_restarts=n, id=f"r{n}") for n in range(1, 7)]
    findings = told(*crashes, oom(0.5), emit_traces=True)
    whole = [one for one in findings if has_trace(one)]
    assert [one.get("superseded_by") for one in whole] == [None] * len(whole)
    assert len({one.id for one in whole}) == len(whole) > 0
    assert all(not has_trace(one) for one in findings if one.get("superseded_by"))


def test_a_member_that_no_json_can_hold_is_left_out():
    """A time beyond the year 9999 costs no finding."""
    later = restart(1)
    later.attributes["far"] = 1
    one = processor(emit_traces=True)
    one.process([oom(0), later])
    for kept in one.engine._pending:
        kept[3].observed = 1 << 70 if kept[3].get("far") else BEGINNING
    (finding,) = [event for event in one.flush(final=True) if has_trace(event)]
    assert [content["type"] for content in finding.get(MEMBERS)] == ["oom_kill"]
