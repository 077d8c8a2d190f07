"""Pipelines: how batches get from receivers through processors to exporters, and how delivery is reported back.

A receiver emits into a `ReceiverOutput`, which fans out to every pipeline that names the receiver; a pipeline runs its
processors and fans out to its exporters. Each consumer of a batch holds its `Delivery` and releases it when done, so that a
checkpoint moves only when nobody needs the batch any more, and in the order in which batches were emitted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tapio_otel.component import Batch, ComponentId, Delivery, Exporter, Processor, Scope
from tapio_otel.event import UnifiedEvent


class Pipeline:
    """Run batches through processors and hand them to every exporter; waits while any exporter's queue is full."""

    def __init__(
        self,
        id: ComponentId,
        processors: Sequence[Processor[Any]],
        exporters: Sequence[Exporter[Any]],
        version: str,
    ) -> None:
        self.id = id
        self.processors = list(processors)
        self.exporters = list(exporters)
        self._version = version

    async def consume(self, batch: Batch) -> None:
        """Take over one hold of the batch's delivery; release it once every exporter has its own."""
        await self._export(self._process(batch.events, self.processors), batch.scope, batch.delivery)

    async def flush(self, final: bool = False) -> None:
        """Let every processor emit what is due, and pass that through the processors after it."""
        for index, processor in enumerate(self.processors):
            if final or processor.flush_interval is not None:
                events = self._guard(processor, lambda p=processor: p.flush(final))  # type: ignore[misc]
                if events:
                    scope = Scope(f"tapio_otel.processors.{processor.type}", self._version)
                    await self._export(self._process(events, self.processors[index + 1 :]), scope, Delivery())

    async def tick(self) -> None:
        """Flush at the shortest interval any processor asks for, until cancelled."""
        intervals = [p.flush_interval for p in self.processors if p.flush_interval is not None]
        while intervals:
            await asyncio.sleep(min(intervals))
            await self.flush()

    def _process(self, events: list[UnifiedEvent], processors: Sequence[Processor[Any]]) -> list[UnifiedEvent]:
        for processor in processors:
            if not events:
                break
            try:
                events = _list(processor.process(events))
            except (Exception, SystemExit) as error:
                processor.context.warn(f"{type(error).__name__}: {error}; what it cannot take or give is dropped")
                events = self._one_by_one(processor, events)
        return events

    def _one_by_one(self, processor: Processor[Any], events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Find the events a processor cannot take; they are dropped and counted, the others go on."""
        kept: list[UnifiedEvent] = []
        for event in events:
            kept += self._guard(processor, lambda e=event: processor.process([e]))  # type: ignore[misc]
        return kept

    @staticmethod
    def _guard(processor: Processor[Any], call: Callable[[], list[UnifiedEvent]]) -> list[UnifiedEvent]:
        try:
            return _list(call())
        except (Exception, SystemExit) as error:
            processor.context.counters.add("dropped", reason="processor_error")
            processor.context.warn(f"{type(error).__name__}: {error}; what it cannot take or give is dropped")
            return []

    async def _export(self, events: list[UnifiedEvent], scope: Scope, delivery: Delivery) -> None:
        if events:
            delivery.hold(len(self.exporters))
            await _all(self._consume(exporter, Batch(events, scope, Delivery(delivery.done))) for exporter in self.exporters)
        delivery.done()

    async def _consume(self, exporter: Exporter[Any], batch: Batch) -> None:
        """Hand a batch to an exporter; one that raises loses the batch, which is counted, and spoils nothing for the others."""
        try:
            await exporter.consume(batch)
        except (Exception, SystemExit) as error:
            exporter.context.counters.add("failed", len(batch.events), reason="exporter_error")
            exporter.context.warn(f"{len(batch.events)} events failed: {type(error).__name__}: {error}")
            if not batch.delivery.is_settled:
                batch.delivery.done()


class ReceiverOutput:
    """Give one receiver its way into the pipelines; saves its checkpoints in the order of its batches."""

    def __init__(
        self,
        scope: Scope,
        pipelines: Sequence[Pipeline],
        checkpoint: Any | None,
        save: Callable[[Any], None],
        count: Callable[[int], None],
        show: Callable[[int, int | None], None] = lambda _done, _total: None,
    ) -> None:
        self.scope = scope
        self.checkpoint = checkpoint
        self._pipelines = list(pipelines)
        self._save = save
        self._count = count
        self._show = show
        self._in_flight: deque[tuple[Delivery, Any | None, int]] = deque()
        self._interrupted = 0

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Hand the events to every pipeline; returns when all have taken them.

        When this is interrupted the batch counts as not emitted: `checkpoint` stays, and the receiver reads it again.
        """
        self._count(len(events))
        delivery = Delivery(self._settle)
        entry = (delivery, checkpoint, len(events))
        self._in_flight.append(entry)
        try:
            await self._hand_over(events, delivery)
        except BaseException:
            self._in_flight.remove(entry)
            self._interrupted += len(events)
            raise
        if checkpoint is not None:
            self.checkpoint = checkpoint
        delivery.done()

    async def _hand_over(self, events: list[UnifiedEvent], delivery: Delivery) -> None:
        if events:
            delivery.hold(len(self._pipelines))
            twins = [[event.copy() for event in events] for _ in self._pipelines[1:]]
            batches = [Batch(mine, self.scope, delivery) for mine in (events, *twins)]
            await _all(pipeline.consume(batch) for pipeline, batch in zip(self._pipelines, batches, strict=True))

    def progress(self, done: int, total: int | None) -> None:
        """Pass on how far a finite run has come."""
        self._show(done, total)

    @property
    def undelivered(self) -> int:
        """Return how many events are in batches that are not yet delivered, or were interrupted on their way."""
        return self._interrupted + sum(count for delivery, _, count in self._in_flight if not delivery.is_settled)

    def _settle(self) -> None:
        latest = None
        while self._in_flight and self._in_flight[0][0].is_settled:
            latest = self._in_flight.popleft()[1] or latest
        if latest is not None:
            self._save(latest)


def _list(events: list[UnifiedEvent]) -> list[UnifiedEvent]:
    """Refuse what a plugin returns in the place of a list of events."""
    if not isinstance(events, list):
        raise TypeError(f"expected a list of events from the processor, found {events!r}")
    return events


async def _all(consumers: Any) -> None:
    """Await all consumers at once; one alone is awaited without a task."""
    waiting = list(consumers)
    if len(waiting) == 1:
        await waiting[0]
    else:
        await asyncio.gather(*waiting)
