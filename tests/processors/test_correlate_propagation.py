"""The correlate processor and traces: what passes at once, what waits, and what a crash leaves."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.component import ComponentId
from tapio_otel.pipeline import Pipeline, ReceiverOutput
from tapio_otel.processors.correlate import CorrelateConfig
from tapio_otel.processors.correlate import waiting as waiting_module
from tests.components import SCOPE, CollectingExporter, make
from tests.correlation.incidents import happening, oom, restart
from tests.processors.test_correlate import Clock, processor

A, B = "a" * 32, "b" * 32


def log(seconds, trace=A, **told):
    """Return a line of web.service with a trace."""
    return happening(seconds, "journald", "log", id=f"log-{seconds}-{trace[0]}", trace_id=trace, **told)


def alone(clock=None, **propagation):
    """Return the processor without rules."""
    return processor(clock, rules=[], propagation=propagation)


def traces(events):
    """Return the trace ids of events."""
    return [event.trace_id for event in events]


def test_without_rules_only_traces_are_propagated():
    """The list stays the same; nothing is concluded and nothing is due."""
    one = alone()
    batch = [log(0), oom(1), restart(2)]
    assert one.process(batch) is batch
    assert traces(batch) == [A, A, A]
    assert (one.flush(final=True), one.flush_interval, one.held_from) == ([], None, None)


def test_a_batch_is_learnt_from_before_any_of_it_inherits():
    """An event that stands before the line in its batch is told of it, and of a second trace."""
    assert traces(alone().process([oom(0), log(1)])) == [A, A]
    assert traces(alone().process([oom(0), log(1), log(2, B)])) == ["", A, B]


def test_a_line_without_a_trace_inherits_nothing():
    """It may belong to another request."""
    plain = happening(1, "journald", "log")
    copy = plain.copy()
    assert alone().process([log(0), plain])[1] == copy


def test_it_can_be_switched_off():
    """Then nothing is learnt, nothing inherited, and nothing waits."""
    one = alone(enabled=False, wait="1s")
    batch = [log(0), oom(1)]
    assert one.process(batch) is batch
    assert (traces(batch), one.flush_interval) == ([A, ""], None)


def test_a_finding_tells_the_traces_that_its_members_inherited():
    """The rules see events with the trace that they have inherited."""
    one = processor()
    one.process([log(0), oom(1), restart(2)])
    (finding,) = one.flush(final=True)
    assert finding.get("traces") == [A]


def test_waiting_lets_later_lines_tell():
    """An event is held until the wait is over; lines pass at once."""
    clock = Clock()
    one = alone(clock, wait="1s")
    line = log(1)
    one.serial = 1
    assert one.process([oom(0)]) == []
    one.serial = 2
    assert one.process([line]) == [line]
    assert (one.held_from, one.flush_interval, one.flush(final=False)) == (1, 0.5, [])
    clock.seconds = 1
    (event,) = one.flush(final=False)
    assert (event.trace_id, event.get("tapio.trace.from"), one.held_from) == (A, "log-1-a", None)


def test_waiting_finds_what_is_ambiguous():
    """A second trace that comes while the event waits leaves it as it is."""
    clock = Clock()
    one = alone(clock, wait="1s")
    one.process([log(0), oom(1)])
    one.process([log(2, B)])
    clock.seconds = 2
    assert traces(one.process([log(3)])) == ["", A]


def test_what_cannot_inherit_does_not_wait():
    """An event about a node, or with a trace of its own, passes."""
    one = alone(wait="1s")
    batch = [oom(0, "node/node", pid=0), restart(1, trace_id=B)]
    assert one.process(batch) is batch


def test_everything_is_let_go_at_the_end():
    """Nothing is kept when the pipeline drains; findings come behind."""
    one = processor(propagation={"wait": "4s"})
    assert one.process([oom(0), restart(1)]) == []
    assert [event.type for event in one.flush(final=True)] == ["oom_kill", "service_restart", "correlation"]


def test_a_replay_does_not_wait_for_the_clock():
    """Once events are a window past it, no later line can tell anything."""
    one = alone(wait="1s", window="10s")
    one.process([oom(0)])
    assert traces(one.process([log(5)])) == [A]
    assert traces(one.process([log(11, B)])) == [A, B]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_waiting_makes_nothing_too_late_for_the_rules_of_a_replay(size):
    """Hours pass within a second: what waits goes on before the rules would take it for late."""
    happened = [oom(0), log(0.5), restart(1), *(happening(n, "journald", "log", id=f"l{n}") for n in range(2, 60))]
    told = []
    for wait in ("0s", "4s"):
        one = processor(propagation={"wait": wait})
        passed = []
        for serial, start in enumerate(range(0, len(happened), size)):
            one.serial = serial
            passed += one.process([event.copy() for event in happened[start : start + size]])
        passed += one.flush(final=True)
        told.append([(event.id, event.get("traces")) for event in passed if event.type == "correlation"])
        assert one.context.counters.counts["correlation_late"] == 0
        assert one.context.counters.counts["trace_propagation_early"] == 0
    assert told[0] == told[1] == [(told[0][0][0], [A])]


def test_waiting_makes_nothing_too_late_for_live_rules():
    """An event that took its time to arrive waits for less, also behind one that did not."""
    clock = Clock(20)
    one = processor(clock, propagation={"wait": "4.9s"})
    one.process([happening(20, "journald", "log")])
    one.process([oom(20, id="in time", about="systemd_unit/db.service"), oom(15.5), restart(15.6)])
    for seconds in (20.4, 20.9, 26, 30):
        clock.seconds = seconds
        passed = one.flush(final=False)
        if seconds == 20.9:
            assert {event.id for event in passed} >= {oom(15.5).id}
    assert one.context.counters.counts["correlation_late"] == 0
    assert one.context.counters.counts["correlation_findings"] == 1


def test_what_went_on_leaves_nothing_behind():
    """However many went while time among events stood still."""
    waiting = waiting_module.Waiting(1, 10 * 1_000_000_000)
    for n in range(1000):
        waiting.hold([oom(1e6 + n, id=str(n))], n, n)
        waiting.let_go(n)
    assert len(waiting) <= 2
    assert len(waiting._by_time) < 200


def test_so_many_wait_at_most(monkeypatch):
    """Beyond that the oldest goes on, with what is known by then; it is counted."""
    monkeypatch.setattr(waiting_module, "MOST_HELD", 3)
    one = alone(wait="1s")
    passed = one.process([oom(n / 10, id=f"k{n}") for n in range(5)])
    assert [event.id for event in passed] == ["k0", "k1"]
    assert one.context.counters.counts["trace_propagation_early"] == 2


def test_events_pass_where_the_engine_fails(monkeypatch):
    """One that it cannot take is told once and counted; the others are correlated, and none is lost or held twice."""
    one = processor(propagation={"wait": "1s"})
    add = one.engine.add

    def picky(events):
        for event in events:
            if event.get("bad"):
                raise KeyError("no such thing")
            add([event])

    monkeypatch.setattr(one.engine, "add", picky)
    line = happening(0, "journald", "log")
    assert one.process([line, oom(0), happening(0, "journald", "log", bad=1), restart(1)])[0] is line
    passed = one.flush(final=True)
    assert [event.type for event in passed] == ["oom_kill", "service_restart", "correlation"]
    assert one.context.counters.counts["correlation_errors:event"] == 1


def test_events_pass_where_no_conclusion_can_be_drawn(monkeypatch):
    """What was held is not lost with it."""

    def fail(_now, _final=False):
        raise ZeroDivisionError

    one = processor(propagation={"wait": "1s"})
    monkeypatch.setattr(one.engine, "advance", fail)
    assert one.process([oom(0)]) == []
    assert [event.type for event in one.flush(final=True)] == ["oom_kill"]
    assert one.context.counters.counts["correlation_errors:conclusion"] == 2


def test_a_wait_that_makes_everything_late_is_refused():
    """Unless there are no rules to be late for."""
    with pytest.raises(ValidationError, match=r"propagation\.wait is 5 s and allowed_lateness 5 s"):
        CorrelateConfig(propagation={"wait": "5s"})
    assert CorrelateConfig(rules=[], propagation={"wait": "5s"}).propagation.wait == 5
    assert CorrelateConfig(allowed_lateness="0s").propagation.wait == 0


@given(st.lists(st.sampled_from(("line", "traced", "kernel")), max_size=40), st.integers(0, 1 << 16))
async def test_every_event_passes_once_and_no_checkpoint_passes_one_that_waits(kinds, seed):
    """Whatever the batches and the clock: what is not told yet is read again after a crash."""
    choose, clock, saved = random.Random(seed), Clock(), [0]
    one, exporter = alone(clock, wait="1s"), make(CollectingExporter)
    pipeline = Pipeline(ComponentId("logs"), [one], [exporter], "0")
    output = ReceiverOutput(SCOPE, [pipeline], 0, saved.append, lambda _count: None)
    makes = {
        "line": lambda n: happening(n, "journald", "log", id=str(n)),
        "traced": lambda n: happening(n, "journald", "log", id=str(n), trace_id=A),
        "kernel": lambda n: oom(n, id=str(n)),
    }
    events = [makes[kind](n) for n, kind in enumerate(kinds)]
    position = 0
    while position < len(events):
        end = min(position + choose.randint(1, 5), len(events))
        await output.emit(events[position:end], end)
        position = end
        clock.seconds += choose.random()
        await pipeline.flush()
        told = {event.id for event in exporter.events}
        assert {str(n) for n in range(saved[-1])} <= told
    await pipeline.flush(final=True)
    assert Counter(event.id for event in exporter.events) == Counter(str(n) for n in range(len(events)))
    assert saved[-1] == len(events)
