"""Pipelines: how batches get from receivers through processors to exporters, and how delivery is reported back.

A receiver emits into a `ReceiverOutput`, which fans out to every pipeline that names the receiver; a pipeline runs its
processors and fans out to its exporters. Each consumer of a batch holds its `Delivery` and releases it when done, so that a
checkpoint moves only when nobody needs the batch any more, and in the order in which batches were emitted.

A processor may hold events back over several batches (`Processor.held_from`). A batch is then delivered when everything that
the processor passed on up to the moment it let go of the batch's last event is: any of that may hold events of the batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tapio_otel.component import Batch, ComponentId, Delivery, Exporter, Processor, Scope
from tapio_otel.event import UnifiedEvent


class HeldBack:
    """Follow, for one processor, the batches of which it holds events back until what it makes of them is delivered.

    What the processor passes on, an output, gets a delivery of its own. A batch that it let go of is released when the outputs
    up to then are delivered: all of them, also those that came before it, so that each batch and output is touched once,
    however many are on their way. Outputs that are delivered in another order only release batches later.
    """

    __slots__ = ("_outputs", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Delivery]] = deque()
        self._outputs: deque[tuple[Delivery, list[Delivery]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, serial: int, delivery: Delivery) -> None:
        """Take over one hold of the delivery of a batch that the processor was given."""
        self._waiting.append((serial, delivery))

    def passed_on(self, held_from: int | None) -> Delivery:
        """Return the delivery for an output, one hold of it the caller's, after which nothing before `held_from` is held."""
        let_go: list[Delivery] = []
        while self._waiting and (held_from is None or self._waiting[0][0] < held_from):
            let_go.append(self._waiting.popleft()[1])
        output = Delivery(self._settle)
        self._outputs.append((output, let_go))
        return output

    def _settle(self) -> None:
        while self._outputs and self._outputs[0][0].is_settled:
            for delivery in self._outputs.popleft()[1]:
                delivery.done()


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
        self._held_back = [HeldBack() if _may_hold(processor) else None for processor in self.processors]
        self._interrupted: list[tuple[Exporter[Any], Batch]] = []
        self._serial = self._consuming = self._consumed = 0

    async def consume(self, batch: Batch) -> None:
        """Take over one hold of the batch's delivery; release it once every exporter has its own."""
        self._consuming += 1
        try:
            events, delivery = self._process(batch.events, batch.delivery)
            export = self._export if delivery is batch.delivery else self._export_for_good
            await export(events, delivery, batch.scope)
        finally:
            self._consuming -= 1
            self._consumed += 1

    async def flush(self, final: bool = False) -> None:
        """Let every processor emit what is due, and pass that through the processors after it."""
        await self._resume()
        for index, processor in enumerate(self.processors):
            if final or processor.flush_interval is not None:
                await self._flush(index, processor, final)

    async def tick(self) -> None:
        """Flush at the shortest interval any processor asks for, until cancelled.

        Not while the exporters have taken nothing for all of an interval: then it is not the source that fell silent.
        """
        intervals = [p.flush_interval for p in self.processors if p.flush_interval is not None]
        while intervals:
            consumed = self._consumed
            await asyncio.sleep(min(intervals))
            if not self._consuming or self._consumed != consumed:
                await self.flush()

    async def _flush(self, index: int, processor: Processor[Any], final: bool) -> None:
        events = self._guard(processor, lambda: processor.flush(final))
        held_back = self._held_back[index]
        if not events and not held_back:
            return
        delivery = held_back.passed_on(processor.held_from) if held_back else Delivery()
        scope = Scope(f"tapio_otel.processors.{processor.type}", self._version)
        await self._export_for_good(*self._process(events, delivery, index + 1), scope)

    def _process(self, events: list[UnifiedEvent], delivery: Delivery, start: int = 0) -> tuple[list[UnifiedEvent], Delivery]:
        """Run a batch through the processors from `start` on; returns what comes out and the delivery that follows that."""
        self._serial = serial = self._serial + 1
        for index in range(start, len(self.processors)):
            if not events:
                break
            processor, held_back = self.processors[index], self._held_back[index]
            processor.serial = serial
            try:
                events = _list(processor.process(events))
            except (Exception, SystemExit) as error:
                processor.context.warn(f"{type(error).__name__}: {error}; what it cannot take or give is dropped")
                events = self._one_by_one(processor, events)
            if held_back is not None and (held_back or processor.held_from is not None):
                held_back.take(serial, delivery)
                delivery = held_back.passed_on(processor.held_from)
        return events, delivery

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

    async def _export(self, events: list[UnifiedEvent], delivery: Delivery, scope: Scope) -> None:
        """Hand events to every exporter and release one hold of the delivery."""
        if events:
            delivery.hold(len(self.exporters))
            await _all(self._consume(exporter, Batch(events, scope, Delivery(delivery.done))) for exporter in self.exporters)
        delivery.done()

    async def _export_for_good(self, events: list[UnifiedEvent], delivery: Delivery, scope: Scope) -> None:
        """Do the same with events that may come from other batches than the one whose emitter is interrupted meanwhile.

        Nobody reads those again while the agent runs: exporters that had not taken them get them with the next flush.
        """
        delivery.hold(len(self.exporters) if events else 0)
        missing = [(exporter, Batch(events, scope, Delivery(delivery.done))) for exporter in self.exporters if events]
        try:
            await _all(self._hand_over(*one, missing) for one in missing)
        except BaseException:
            self._interrupted += missing
            raise
        finally:
            delivery.done()

    async def _hand_over(self, exporter: Exporter[Any], batch: Batch, missing: list[tuple[Exporter[Any], Batch]]) -> None:
        await self._consume(exporter, batch)
        missing.remove((exporter, batch))

    async def _resume(self) -> None:
        """Hand over what was interrupted on its way to an exporter."""
        while self._interrupted:
            exporter, batch = self._interrupted.pop(0)
            try:
                await self._consume(exporter, batch)
            except BaseException:
                self._interrupted.insert(0, (exporter, batch))
                raise

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
        self.delivered = checkpoint
        """The last checkpoint up to which everything was delivered."""
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
            self.delivered = latest
            self._save(latest)


def _may_hold(processor: Processor[Any]) -> bool:
    """Tell whether a processor ever holds events back; those that do not cost nothing for it."""
    return type(processor).held_from is not Processor.held_from


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
