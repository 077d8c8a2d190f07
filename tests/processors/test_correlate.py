"""The correlate processor: what passes, what is added, and how time goes on."""

from __future__ import annotations

import pytest

from tapio_otel.component import Kind
from tapio_otel.config.problem import ConfigError
from tapio_otel.correlation.examples import BEGINNING
from tapio_otel.processors.correlate import CorrelateConfig, CorrelateProcessor
from tapio_otel.processors.correlate.clock import EventClock
from tests.components import context
from tests.correlation.incidents import at, happening, oom, restart

SECOND = 1_000_000_000


class Clock:
    """Be both clocks, set by hand: seconds after the beginning."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    def monotonic(self) -> float:
        return self.seconds

    def wall_ns(self) -> int:
        return BEGINNING + round(self.seconds * SECOND)


def processor(clock=None, provided=None, **options):
    """Return the processor with these options and clocks."""
    clock = clock or Clock()
    return CorrelateProcessor(
        context(Kind.PROCESSOR, "correlate", provided or {}), CorrelateConfig(**options), clock.monotonic, clock.wall_ns
    )


def test_events_pass_unchanged_and_at_once():
    """The same list, the same objects."""
    batch = [oom(0), restart(1), happening(2, "journald", "log")]
    copies = [one.copy() for one in batch]
    passed = processor().process(batch)
    assert passed is batch
    assert passed == copies


def test_a_finding_comes_behind_the_events_that_let_time_go_on():
    """The batch with the first event later than the lateness has it at its end."""
    one = processor()
    one.process([oom(0), restart(1)])
    last = happening(7, "journald", "log")
    *events, finding = one.process([last])
    assert (events, finding.type, finding.get("rule")) == ([last], "correlation", "oom_cascade")


def test_a_finding_comes_without_further_events_when_the_lateness_is_over():
    """Live, the wall clock moves time."""
    clock = Clock(1)
    one = processor(clock)
    one.process([oom(0), restart(1)])
    assert one.flush(final=False) == []
    clock.seconds = 6.5
    assert [finding.get("rule") for finding in one.flush(final=False)] == ["oom_cascade"]


def test_a_replay_of_old_events_is_not_made_late_by_the_clock():
    """Time is the events' own while they come, and goes on by itself once none has come for ten seconds."""
    clock = Clock(1_000_000)
    one = processor(clock)
    one.process([oom(0)])
    clock.seconds += 9
    assert one.flush(final=False) == []
    one.process([restart(1)])
    assert one.context.counters.counts["correlation_late"] == 0
    clock.seconds += 10
    assert len(one.flush(final=False)) == 1


def test_the_end_tells_everything():
    """What waits for the lateness is told when the pipeline drains."""
    one = processor()
    one.process([oom(0), restart(1)])
    assert len(one.flush(final=True)) == 1


def test_wrong_rules_are_told_when_the_processor_is_made(tmp_path):
    """With file, line and path."""
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - name: A\n")
    with pytest.raises(ConfigError) as raised:
        processor(rules=[str(path)], disabled_rules=["nothing"])
    assert "rules.yaml:2" in str(raised.value)


def test_examples_that_do_not_hold_are_problems(tmp_path):
    """As `tapio validate` tells them."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n  - {name: a, title: t, description: d, window: 1s, confidence: 0.5, facts: {x: {class: oom}},\n"
        "     examples: [{name: never, events: [{type: oom_kill}], findings: []}]}\n"
    )
    (problem,) = processor(rules=[str(path)]).check()
    assert (problem.line, problem.path, problem.message) == (2, "rules.a.examples", "never: expected 0 findings, found 1: t")
    assert processor().check() == []


def test_time_without_any_event_is_unknown():
    """Nothing is due before the first event."""
    clock = Clock(5)
    one = EventClock(clock.monotonic, clock.wall_ns)
    assert one.now_ns() == 0
    one.arrived(at(4))
    assert one.now_ns() == at(5)
