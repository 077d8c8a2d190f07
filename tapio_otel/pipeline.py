"""Pipelines: how batches get from receivers through processors to exporters, and how delivery is reported back.

A receiver emits into a `ReceiverOutput`, which fans out to every pipeline that names the receiver; a pipeline runs its
processors and fans out to its exporters. Each consumer of a batch holds its `Delivery` and releases it when done, so that a
checkpoint moves only when nobody needs the batch any more, and in the order in which batches were emitted.

A processor may hold events back over several batches: see `stage`. One that is a `GateProcessor` decides what may come in, and
lets a receiver that can wait do so; what waits there was not received yet.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from tapio_otel.component import Batch, ComponentId, Delivery, Exporter, GateProcessor, Processor, Scope
from tapio_otel.event import UnifiedEvent
from tapio_otel.outlet import Outlet, Parcel
from tapio_otel.service_view import Take
from tapio_otel.stage import Stage

LAST_SECONDS: Final = 1.0
"""Time that exporters which are not required have at the end, or at a reload, to take what waits for them."""


_Emitted = tuple[Delivery, Any | None, int]
"""A batch that was emitted: its delivery, checkpoint and number of events."""


class Pipeline:
    """Run batches through processors and hand them to every exporter; waits while a required exporter's queue is full."""

    def __init__(
        self,
        id: ComponentId,
        processors: Sequence[Processor[Any]],
        exporters: Sequence[Exporter[Any]],
        version: str,
        tap: Take = lambda _events: None,
    ) -> None:
        self.id = id
        self._tap = tap
        self.stages = [Stage(processor) for processor in processors]
        self.outlets = [Outlet(exporter) for exporter in exporters]
        self.received = self.passed_on = 0
        """Events that receivers handed over, once they may come in, and that came out of the last processor."""
        self._version = version
        self._gates = _gates(self.stages)
        self._interrupted: list[tuple[Outlet, Parcel]] = []
        self.emissions = 0
        """Emissions under way of the receivers that feed this pipeline, be it that they wait for another one."""
        self._serial = self._consumed = 0

    @property
    def processors(self) -> list[Processor[Any]]:
        """Return the processors, in the order that events pass them."""
        return [stage.processor for stage in self.stages]

    @property
    def exporters(self) -> list[Exporter[Any]]:
        """Return the exporters."""
        return [outlet.exporter for outlet in self.outlets]

    def switch(self, processors: Sequence[Processor[Any]], exporters: Sequence[Exporter[Any]]) -> list[Outlet]:
        """Use other processors and exporters from the next batch on; those that stay keep their state.

        Processors that go are expected to be flushed. Returns the outlets of the exporters that go: batches that were
        interrupted on their way to one of them go to the exporter that has its id now.
        """
        stages = {id(stage.processor): stage for stage in self.stages}
        known = {id(outlet.exporter): outlet for outlet in self.outlets}
        gone = [outlet for outlet in self.outlets if not any(outlet.exporter is exporter for exporter in exporters)]
        for stage in self.stages:
            if stage.held_back and not any(stage.processor is processor for processor in processors):
                stage.held_back.passed_on(None).done()
        self.stages = [stages.get(id(processor)) or Stage(processor) for processor in processors]
        self._gates = _gates(self.stages)
        self.outlets = [known.get(id(exporter)) or Outlet(exporter) for exporter in exporters]
        by_id = {outlet.exporter.context.id: outlet for outlet in self.outlets}
        self._interrupted = [
            (heir, parcel if heir is outlet else heir.inherit(parcel, outlet))
            for outlet, parcel in self._interrupted
            if (heir := by_id.get(outlet.exporter.context.id)) is not None
        ]
        return gone

    async def flush_out(self, leaving: Callable[[Processor[Any]], bool]) -> None:
        """Let the processors that leave emit all that they hold, and pass that through the processors after them."""
        await self._resume()
        for index, stage in enumerate(self.stages):
            if leaving(stage.processor):
                await self._flush(index, stage, final=True)
        await self._drain_outlets(final=False)

    async def consume(self, batch: Batch) -> None:
        """Take over one hold of the batch's delivery; release it once every exporter has its own."""
        try:
            events = await self._admit(batch) if self._gates else batch.events
            self.received += len(batch.events)
            events, delivery = self._process(events, batch.delivery)
            export = self._export if delivery is batch.delivery else self._export_for_good
            await export(events, delivery, batch.scope)
        finally:
            self._consumed += 1

    async def _admit(self, batch: Batch) -> list[UnifiedEvent]:
        """Return what the gates let in. One that fails lets in everything."""
        events = batch.events
        for gate, stage in self._gates:
            given = len(events)
            try:
                events = _list(await gate.admit(events, batch.can_wait, self._is_idle))
            except (Exception, SystemExit) as error:
                gate.context.warn(f"{type(error).__name__}: {error}; everything is let in")
            stage.entered += given
            stage.left += len(events)
        return events

    def _is_idle(self) -> bool:
        """Tell whether the exporters have answered for everything."""
        return not any(outlet.has_unsettled for outlet in self.outlets)

    async def flush(self, final: bool = False) -> None:
        """Let every processor emit what is due, and pass that through the processors after it."""
        await self._resume()
        for index, stage in enumerate(self.stages):
            if final or stage.processor.flush_interval is not None:
                await self._flush(index, stage, final)
        if final:
            await self._drain_outlets(final=True)

    async def _drain_outlets(self, final: bool) -> None:
        """Let exporters that are not required take what waits for them, for a moment."""
        await asyncio.gather(*(outlet.drain(LAST_SECONDS, final) for outlet in self.outlets))

    async def tick(self) -> None:
        """Flush at the shortest interval any processor asks for, until cancelled.

        Not while a receiver waits and nothing was taken for all of an interval: then it is not the source that fell silent.
        """
        intervals = [p.flush_interval for p in self.processors if p.flush_interval is not None]
        while intervals:
            consumed = self._consumed
            await asyncio.sleep(min(intervals))
            if not self.emissions or self._consumed != consumed:
                await self.flush()

    async def _flush(self, index: int, stage: Stage, final: bool) -> None:
        await self._flush_once(index, stage, final)
        while stage.processor.is_behind:
            await asyncio.sleep(0)  # so that whatever else is ready goes first
            await self._flush_once(index, stage, final)

    async def _flush_once(self, index: int, stage: Stage, final: bool) -> None:
        processor, held_back = stage.processor, stage.held_back
        events = self._guard(processor, lambda: processor.flush(final), 0)
        stage.left += len(events)
        if not events and not held_back:
            return
        delivery = held_back.passed_on(processor.held_from) if held_back else Delivery()
        scope = Scope(f"tapio_otel.processors.{processor.type}", self._version)
        await self._export_for_good(*self._process(events, delivery, index + 1), scope)

    def _process(self, events: list[UnifiedEvent], delivery: Delivery, start: int = 0) -> tuple[list[UnifiedEvent], Delivery]:
        """Run a batch through the processors from `start` on; returns what comes out and the delivery that follows that."""
        self._serial = serial = self._serial + 1
        for stage in self.stages[start:] if start else self.stages:
            if not events:
                break
            processor, held_back = stage.processor, stage.held_back
            stage.entered += len(events)
            processor.serial = serial
            try:
                events = _list(processor.process(events))
            except (Exception, SystemExit) as error:
                processor.context.warn(f"{type(error).__name__}: {error}; what it cannot take or give is dropped")
                events = self._one_by_one(processor, events)
            stage.left += len(events)
            if held_back is not None and (held_back or processor.held_from is not None):
                held_back.take(serial, delivery)
                delivery = held_back.passed_on(processor.held_from)
        return events, delivery

    def _one_by_one(self, processor: Processor[Any], events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Find the events a processor cannot take; they are dropped and counted, the others go on."""
        kept: list[UnifiedEvent] = []
        for event in events:
            kept += self._guard(processor, lambda e=event: processor.process([e]), 1)  # type: ignore[misc]
        return kept

    @staticmethod
    def _guard(processor: Processor[Any], call: Callable[[], list[UnifiedEvent]], given: int) -> list[UnifiedEvent]:
        try:
            return _list(call())
        except (Exception, SystemExit) as error:
            name = "dropped" if given else "flush_failed"
            processor.context.counters.add(name, given or 1, reason="processor_error")
            processor.context.warn(f"{type(error).__name__}: {error}; what it cannot take or give is dropped")
            return []

    async def _export(self, events: list[UnifiedEvent], delivery: Delivery, scope: Scope) -> None:
        """Hand events to every exporter and release one hold of the delivery."""
        if events:
            self.passed_on += len(events)
            self._tap(events)
            delivery.hold(len(self.outlets))
            parcels = [(outlet, outlet.parcel(events, scope, delivery)) for outlet in self.outlets]
            try:
                await _all(outlet.hand_over(parcel) for outlet, parcel in parcels)
            except BaseException:
                for outlet, parcel in parcels:
                    outlet.interrupt(parcel)
                raise
        delivery.done()

    async def _export_for_good(self, events: list[UnifiedEvent], delivery: Delivery, scope: Scope) -> None:
        """Do the same with events that may come from other batches than the one whose emitter is interrupted meanwhile.

        Nobody reads those again while the agent runs: exporters that had not taken them get them with the next flush.
        """
        self.passed_on += len(events)
        self._tap(events)
        delivery.hold(len(self.outlets) if events else 0)
        missing = [(outlet, outlet.parcel(events, scope, delivery)) for outlet in self.outlets if events]
        try:
            await _all(self._hand_over(*one, missing) for one in list(missing))
        except BaseException:
            self._interrupted += missing
            raise
        finally:
            delivery.done()

    @staticmethod
    async def _hand_over(outlet: Outlet, parcel: Parcel, missing: list[tuple[Outlet, Parcel]]) -> None:
        await outlet.hand_over(parcel)
        missing.remove((outlet, parcel))

    async def _resume(self) -> None:
        """Hand over what was interrupted on its way to an exporter."""
        while self._interrupted:
            outlet, parcel = self._interrupted.pop(0)
            try:
                await outlet.hand_over(parcel)
            except BaseException:
                self._interrupted.insert(0, (outlet, parcel))
                raise


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
        can_wait: bool = True,
    ) -> None:
        self.scope = scope
        self.pipelines = list(pipelines)
        self.checkpoint = checkpoint
        self.emitting = 0
        """How many calls of `emit` are under way."""
        self.given_back = 0
        """Events whose delivery nobody waits for any more, as the receiver reads them again."""
        self.accepted = self.accepted_ns = 0
        """Events that were handed over, and when the last were, by the wall clock."""
        self._can_wait = can_wait
        self.delivered = checkpoint
        """The last checkpoint up to which everything was delivered."""
        self._save = save
        self._count = count
        self._show = show
        self._in_flight: deque[_Emitted] = deque()
        self._interrupted = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Hand the events to every pipeline; returns when all have taken them.

        When this is interrupted the batch counts as not emitted: `checkpoint` stays, and the receiver reads it again.
        """
        if not self._gate.is_set():
            await self._gate.wait()
        self._count(len(events))
        self.accepted += len(events)
        self.accepted_ns = time.time_ns() if events else self.accepted_ns
        delivery = Delivery(self._settle)
        entry = (delivery, checkpoint, len(events))
        self._in_flight.append(entry)
        self.emitting += 1
        try:
            await self._hand_over(events, delivery)
        except BaseException:
            self._in_flight.remove(entry)
            self._interrupted += len(events)
            raise
        finally:
            self.emitting -= 1
            if not self.emitting:
                self._idle.set()
        if checkpoint is not None:
            self.checkpoint = checkpoint
        delivery.done()
        if delivery.is_settled and self._in_flight and self._in_flight[-1] is entry:
            self._join_settled(entry)

    def _join_settled(self, last: _Emitted) -> None:
        """Keep one entry for batches that settled behind one that did not.

        While a backend is away, batches of which nothing is passed on may come for days.
        """
        self._in_flight.pop()
        checkpoint = last[1]
        if self._in_flight and self._in_flight[-1][0].is_settled:
            before = self._in_flight.pop()[1]
            checkpoint = before if checkpoint is None else checkpoint
        if checkpoint is not None:
            self._in_flight.append((last[0], checkpoint, 0))

    async def _hand_over(self, events: list[UnifiedEvent], delivery: Delivery) -> None:
        if events:
            pipelines = tuple(self.pipelines)  # those of now: they may be others before this has been taken
            delivery.hold(len(pipelines))
            twins = [[event.copy() for event in events] for _ in pipelines[1:]]
            batches = [Batch(mine, self.scope, delivery, self._can_wait) for mine in (events, *twins)]
            for pipeline in pipelines:
                pipeline.emissions += 1
            try:
                await _all(pipeline.consume(batch) for pipeline, batch in zip(pipelines, batches, strict=True))
            finally:
                for pipeline in pipelines:
                    pipeline.emissions -= 1

    def progress(self, done: int, total: int | None) -> None:
        """Pass on how far a finite run has come."""
        self._show(done, total)

    def alive(self) -> None:
        """Take a sign of life; who looks for them has an output of its own in front of this."""

    async def hold(self) -> None:
        """Let no batch in from now on, and wait until none is on its way in."""
        self._gate.clear()
        while self.emitting:
            self._idle.clear()
            await self._idle.wait()

    def resume(self) -> None:
        """Let batches in again."""
        self._gate.set()

    def give_back(self) -> int:
        """Forget what is not delivered: the receiver, which must not be running, goes on after the last delivered batch.

        Returns how many events are lost thereby, as the receiver has no checkpoints and cannot read them again.
        """
        undelivered = sum(count for delivery, _, count in self._in_flight if not delivery.is_settled)
        lost = undelivered if self.checkpoint is None else 0
        self.given_back += undelivered
        self._in_flight.clear()
        self.checkpoint = self.delivered
        return lost

    @property
    def undelivered(self) -> int:
        """Return how many events are in batches that are not yet delivered, or were interrupted on their way."""
        return self._interrupted + sum(count for delivery, _, count in self._in_flight if not delivery.is_settled)

    def _settle(self) -> None:
        latest = None
        while self._in_flight and self._in_flight[0][0].is_settled:
            checkpoint = self._in_flight.popleft()[1]
            latest = latest if checkpoint is None else checkpoint
        if latest is not None:
            self.delivered = latest
            self._save(latest)


def _gates(stages: Sequence[Stage]) -> list[tuple[GateProcessor[Any], Stage]]:
    return [(stage.processor, stage) for stage in stages if isinstance(stage.processor, GateProcessor)]


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
