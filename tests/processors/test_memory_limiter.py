"""memory_limiter in a pipeline: receivers wait or lose by rule, the balance is even, and below the limit nothing happens.

The memory is this process' own: a test takes some, or sets the limits around what there is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import ComponentConfig, ComponentId, GateProcessor, Receiver
from tapio_otel.config.loader import load
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.pipeline import Pipeline, ReceiverOutput
from tapio_otel.processors.memory_limiter import MemoryLimiterProcessor
from tapio_otel.processors.memory_limiter.config import MIB, Limits
from tapio_otel.service.runner import Service
from tests.components import SCOPE, CollectingExporter, ListReceiver, events, make
from tests.test_registry import plugin, registry

BALLAST = 64 * MIB
EXCEEDED = Limits(hard=1 << 50, soft=1)
"""Memory is just above the soft limit."""
FAR_EXCEEDED = Limits(hard=2, soft=1)


@contextlib.asynccontextmanager
async def started(**options: Any):
    """Give a running limiter, which looks often while a receiver waits."""
    limiter = make(MemoryLimiterProcessor, check_interval=0.01, **options)
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.shutdown()


def fed(limiter: MemoryLimiterProcessor, exporter: CollectingExporter, can_wait: bool = True) -> ReceiverOutput:
    """Return the output of a receiver that feeds a pipeline of these two."""
    pipeline = Pipeline(ComponentId("logs"), [limiter], [exporter], "0")
    return ReceiverOutput(SCOPE, [pipeline], None, lambda _value: None, lambda _count: None, can_wait=can_wait)


def dropped(limiter: MemoryLimiterProcessor) -> int:
    """Return how many events it has counted as dropped for want of memory."""
    return limiter.context.counters.counts["dropped:memory_limit"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_below_the_soft_limit_everything_passes_as_it_is() -> None:
    """The very same list goes on, of receivers of either sort."""
    async with started(limit_mib=1 << 20) as limiter:
        limiter.limits = Limits(1 << 50, 1 << 49)
        given = events("a", "b")
        for can_wait in (True, False):
            assert await limiter.admit(given, can_wait, lambda: False) is given
        assert limiter.process(given) is given
        assert limiter.flush(final=False) == []
        assert limiter.used > MIB and not limiter.context.counters.counts


async def test_a_receiver_that_can_wait_goes_on_when_memory_is_free_again() -> None:
    """While too much is taken `emit` waits, and nothing is dropped; what waits has not been received yet."""
    async with started() as limiter:
        exporter = make(CollectingExporter)
        exporter.hold = True
        output = fed(limiter, exporter)
        await output.emit(events("on its way"))
        soft = limiter.used + BALLAST // 2
        ballast = bytearray(b"\1") * BALLAST
        limiter.limits = Limits(2 * soft, soft)
        waiting = asyncio.create_task(output.emit(events(*map(str, range(600)))))
        await until(lambda: limiter.used > soft)
        await asyncio.sleep(0.1)
        assert not waiting.done() and output.pipelines[0].received == 1
        del ballast
        await asyncio.wait_for(waiting, 20)
        assert exporter.titles == ["on its way", *map(str, range(600))]
        assert not limiter.context.counters.counts


async def test_a_receiver_that_is_stopped_while_it_waits_reads_the_batch_again() -> None:
    """The batch was neither received nor dropped, the checkpoint stays, and the next run brings it."""
    async with started() as limiter:
        exporter = make(CollectingExporter)
        exporter.hold = True
        output = fed(limiter, exporter)
        await output.emit(events("a"), 1)
        limiter.limits = EXCEEDED
        limiter.flush(final=False)
        waiting = asyncio.create_task(output.emit(events("b"), 2))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert output.checkpoint == 1 and output.pipelines[0].received == 1
        limiter.limits = Limits(1 << 50, 1 << 49)
        await output.emit(events("b"), 2)
        assert exporter.titles == ["a", "b"]


@pytest.mark.parametrize("limits", [EXCEEDED, FAR_EXCEEDED], ids=["soft", "hard"])
async def test_a_limit_that_is_too_small_lets_one_batch_at_a_time_in(limits: Limits, caplog: pytest.LogCaptureFixture) -> None:
    """With nothing on its way waiting would free nothing: the agent is slow and says so, but does not stand still."""
    async with started() as limiter:
        exporter = make(CollectingExporter)
        exporter.hold = True
        output = fed(limiter, exporter)
        limiter.limits = limits
        limiter.used = limits.soft
        await asyncio.wait_for(output.emit(events("first")), 20)
        second = asyncio.create_task(output.emit(events("second")))
        await asyncio.sleep(0.1)
        assert exporter.titles == ["first"]
        exporter.held.pop().done()
        await asyncio.wait_for(second, 20)
        assert exporter.titles == ["first", "second"]
    assert "MiB" in caplog.text


async def test_of_a_receiver_that_cannot_wait_a_part_comes_in_at_once_and_the_rest_is_counted() -> None:
    """Just above the soft limit only debug is dropped; above the hard limit everything is."""
    async with started() as limiter:
        exporter = make(CollectingExporter)
        output = fed(limiter, exporter, can_wait=False)
        given = events("debug", "info", "error")
        for event, severity in zip(given, (Severity.DEBUG, Severity.INFO, Severity.ERROR), strict=True):
            event.severity = severity
        limiter.limits, limiter.used = Limits(1 << 50, 1), 1
        await asyncio.wait_for(output.emit(given), 1)
        assert (exporter.titles[-1], dropped(limiter)) == ("error", 3 - len(exporter.titles))
        before = dropped(limiter)
        limiter.limits = FAR_EXCEEDED
        await asyncio.wait_for(output.emit(events("a", "b")), 1)
        assert dropped(limiter) == before + 2
        stage = output.pipelines[0].stages[0]
        assert stage.entered - stage.left == dropped(limiter)


async def test_health_tells_when_memory_is_short_and_when_it_is_well_again() -> None:
    """One problem, with the figures, and none once memory is below the soft limit."""
    told: list[str | None] = []
    async with started() as limiter:
        limiter.limits = Limits(1 << 50, 1 << 49)  # whatever the process of the tests uses by now
        await asyncio.sleep(0.02)
        limiter.flush(final=False)
        limiter.context.report = told.append
        limiter.limits = EXCEEDED
        await asyncio.sleep(0.02)
        limiter.flush(final=False)
        limiter.limits = Limits(1 << 50, 1 << 49)
        await asyncio.sleep(0.02)
        limiter.flush(final=False)
    assert len(told) == 2 and told[1] is None
    assert "receivers wait" in str(told[0]) and "soft limit is 0 MiB" in str(told[0])


class Broken(GateProcessor[ComponentConfig]):
    """Fail at every batch."""

    type = "broken"

    async def admit(self, events: list[UnifiedEvent], can_wait: bool, is_idle: Callable[[], bool]) -> list[UnifiedEvent]:
        raise ValueError("cannot decide")


async def test_a_gate_that_fails_lets_everything_in(caplog: pytest.LogCaptureFixture) -> None:
    """Its defect costs no events, and is told."""
    exporter = make(CollectingExporter)
    pipeline = Pipeline(ComponentId("logs"), [make(Broken)], [exporter], "0")
    await ReceiverOutput(SCOPE, [pipeline], None, lambda _value: None, lambda _count: None).emit(events("a"))
    assert exporter.titles == ["a"]
    assert "cannot decide; everything is let in" in caplog.text


class HastyReceiver(ListReceiver):
    """Emit the same as a source that keeps nothing."""

    type = "hasty"
    can_wait = False


class Closed(GateProcessor[ComponentConfig]):
    """Let in nothing of receivers that cannot wait."""

    type = "closed"

    async def admit(self, events: list[UnifiedEvent], can_wait: bool, is_idle: Callable[[], bool]) -> list[UnifiedEvent]:
        if can_wait:
            return events
        self.context.counters.add("dropped", len(events), reason="memory_limit")
        return []


async def test_the_balance_of_a_service_names_what_was_dropped_by_its_reason(tmp_path: Path) -> None:
    """Whether a receiver can wait is its class's word; what is not let in is dropped in the balance, and nothing is missing."""
    brought: list[type[Receiver[Any]]] = [ListReceiver, HastyReceiver]
    components = registry(
        (plugin(tapio_receivers=brought, tapio_processors=[Closed], tapio_exporters=[CollectingExporter]), "test 0")
    )
    text = """
receivers: {list: {batches: [[a, b], [c]]}, hasty: {batches: [[d, e, f]]}}
processors: {closed: }
exporters: {collecting: }
service: {pipelines: {logs: {receivers: [list, hasty], processors: [closed], exporters: [collecting]}}}
"""
    one = Service(load([("test.yaml", text)], [f"service.state_dir={tmp_path}"], components), components)
    await one.run()
    (logs,) = one.balance().pipelines
    assert one.balance().pipelines[0].difference == 0
    assert str(logs).startswith("pipeline logs: received 6 = dropped 3 (closed memory_limit 3) + passed on 3")


async def test_batches_of_which_nothing_comes_in_leave_nothing_behind_while_an_exporter_does_not_answer() -> None:
    """However long it is away: one place is kept for them, and the last checkpoint moves once the exporter has answered."""
    saved: list[int] = []
    exporter = make(CollectingExporter)
    exporter.hold = True
    pipeline = Pipeline(ComponentId("logs"), [make(Closed)], [exporter], "0")
    output = ReceiverOutput(SCOPE, [pipeline], None, saved.append, lambda _count: None, can_wait=False)
    pipeline.switch([], [exporter])
    await output.emit(events("held"), 1)
    pipeline.switch([make(Closed)], [exporter])
    for number in range(2, 100):
        await output.emit(events("dropped"), number)
        await output.emit(events("dropped"))
    assert (len(output._in_flight), output.undelivered, output.checkpoint, saved) == (2, 1, 99, [])
    exporter.held.pop().done()
    assert (len(output._in_flight), output.undelivered, saved) == (0, 0, [99])
