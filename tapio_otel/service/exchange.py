"""The exchange: brings what runs from one graph to another while all that stays in place goes on.

Receivers whose pipelines change are held, between two batches, while processors that leave are flushed into the exporters
there were, exporters that leave drain, and what is new starts, downstream first. Then the pipelines are switched, in one step,
and the receivers go on. When something new does not start, the exchange ends in between: receivers whose pipelines lack a part
stay held, the others run, and another exchange, to the old graph or a corrected one, begins from there.

Nothing is lost: what an exporter that leaves cannot deliver in time is read again for the one that takes its place, by
receivers that can resume. What nobody wants any more, as no exporter of that id is left in the pipeline, is counted as dropped.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tapio_otel.component import ComponentId, Exporter, Kind, Processor
from tapio_otel.outlet import Outlet
from tapio_otel.pipeline import Pipeline
from tapio_otel.service.graph import Graph, StartError
from tapio_otel.service.reload import Plan
from tapio_otel.service.running import Running, pipelines_by_id, same
from tapio_otel.service.telemetry import ComponentCounters


class Exchange:
    """Carry out one plan; `seconds` is how long what leaves may take to drain."""

    def __init__(self, running: Running, target: Graph, plan: Plan, seconds: float, log: logging.Logger) -> None:
        self._running = running
        self._target = target
        self._plan = plan
        self._seconds = seconds
        self._log = log
        self._old = pipelines_by_id(running.graph.pipelines)
        self._fed = running.graph.reads
        self._changed = self._changed_pipelines()
        self._stopped = {slot.id for slot in plan.stop if slot.kind is Kind.RECEIVER}
        self._held = self._affected_receivers()

    async def make(self) -> None:
        """Bring about the target; raises `StartError` when something new does not start."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        self._running.is_changing = True
        await self._hold(self._seconds / 2)
        await self._running.stop_ticks(self._changed)
        await self._flush(max(_left(deadline) / 2, 1.0))
        await self._running.shut_down(self._plan.stop, max(_left(deadline), 1.0))
        await self._start()
        await self._give_back_held()
        await self._decide(self._switch())
        self._running.begin()

    def _changed_pipelines(self) -> set[ComponentId]:
        """Return the pipelines that get or lose a part, come or go."""
        new = pipelines_by_id(self._target.pipelines)
        both = self._old.keys() & new.keys()
        equal = {
            id
            for id in both
            if same(self._old[id].processors, new[id].processors) and same(self._old[id].exporters, new[id].exporters)
        }
        return (self._old.keys() | new.keys()) - equal

    def _affected_receivers(self) -> set[ComponentId]:
        """Return the receivers that run and stop, or feed other pipelines than before or a pipeline that changes."""
        before = {id: [pipeline.id for pipeline in fed] for id, fed in self._running.graph.reads.items()}
        after = {id: [pipeline.id for pipeline in fed] for id, fed in self._target.reads.items()}
        moved = {id for id, fed in before.items() if after.get(id) != fed or self._changed.intersection(fed)}
        return moved | {id for id in self._stopped if id in before}

    async def _hold(self, seconds: float) -> None:
        """Stop batches from coming in; a receiver that waits for a full exporter too long is stopped in the middle."""
        waiting = await self._running.hold(self._held, seconds)
        await self._running.stop_receivers(self._stopped | waiting)

    async def _flush(self, seconds: float) -> None:
        """Let the processors that leave pass on what they hold, as long as the exporters take it in time."""
        flushes = [
            asyncio.create_task(pipeline.flush_out(self._leaves))
            for id, pipeline in self._old.items()
            if id in self._changed and not any(outlet.closed for outlet in pipeline.outlets)
        ]
        if flushes:
            _, late = await asyncio.wait(flushes, timeout=seconds)
            for task in late:
                task.cancel()
            for result in await asyncio.gather(*flushes, return_exceptions=True):
                if isinstance(result, Exception):
                    self._log.error("a processor that leaves could not be flushed: %s: %s", type(result).__name__, result)

    def _leaves(self, processor: Processor[Any]) -> bool:
        return any(self._running.components.get(slot) is processor for slot in self._plan.stop if slot.kind is Kind.PROCESSOR)

    async def _start(self) -> None:
        """Start what is new; when one part does not start, those before it are shut down again."""
        new = {slot: self._target.components[slot] for slot in self._plan.start}
        try:
            await self._running.start(new, self._target.parts)
        except StartError:
            await self._running.shut_down(tuple(reversed(self._plan.start)), 1.0)
            raise

    async def _give_back_held(self) -> None:
        """Let receivers read again what a processor that leaves still holds: it could not be flushed."""
        for id, pipeline in self._old.items():
            if id in self._changed and any(stage.held_back and not self._stays(stage.processor) for stage in pipeline.stages):
                await self._read_again(pipeline)

    def _stays(self, processor: Processor[Any]) -> bool:
        return any(component is processor for component in self._running.components.values())

    def _switch(self) -> list[tuple[Pipeline, Outlet]]:
        """Join the pipelines anew, in one step; returns the outlets that are no more, with the pipeline each was of."""
        gone: list[tuple[Pipeline, Outlet]] = []
        joined: dict[ComponentId, Pipeline] = {}
        for new in self._target.pipelines:
            joined[new.id] = self._old.get(new.id, new)
            if new.id in self._old:
                gone += self._rejoin(joined[new.id], new.processors, new.exporters)
        for id, pipeline in self._old.items():
            if id not in joined:
                gone += self._rejoin(pipeline, [], [])
        self._target.pipelines = list(joined.values())
        self._target.reads = {id: [joined[one.id] for one in fed] for id, fed in self._target.reads.items()}
        self._running.graph = self._target
        return gone

    def _rejoin(
        self, pipeline: Pipeline, processors: list[Processor[Any]], exporters: list[Exporter[Any]]
    ) -> list[tuple[Pipeline, Outlet]]:
        for stage in pipeline.stages:
            if not any(stage.processor is processor for processor in processors):
                self._running.ledger.close_stage(pipeline, stage)
        return [(pipeline, outlet) for outlet in pipeline.switch(processors, exporters)]

    async def _decide(self, gone: list[tuple[Pipeline, Outlet]]) -> None:
        """Decide about what exporters that are no more still owe, and close their accounts."""
        ledger = self._running.ledger
        for pipeline, outlet in gone:
            if outlet.closed:
                outlet.drop_waiting()
            if outlet.closed and outlet.unsettled:
                has_heir = any(one.exporter.context.id == outlet.exporter.context.id for one in pipeline.outlets)
                is_read_again = has_heir and outlet.exporter.is_required
                if is_read_again:
                    await self._read_again(pipeline)
                else:
                    offered = sum(one.offered for _, one in gone if one.exporter is outlet.exporter)
                    self._drop(outlet, offered, "undelivered_at_reload" if has_heir else "exporter_removed")
                outlet.give_up(read_again=is_read_again)
            ledger.close_outlet(pipeline, outlet)
        for exporter in {id(outlet.exporter): outlet.exporter for _, outlet in gone if outlet.closed}.values():
            ledger.close_exporter(exporter)
        for pipeline in self._old.values():
            if not any(pipeline is one for one in self._target.pipelines):
                ledger.close_pipeline(pipeline)

    async def _read_again(self, pipeline: Pipeline) -> None:
        """Let every receiver that fed a pipeline go back to what is delivered; what cannot be read again is counted."""
        receivers = [id for id, fed in self._fed.items() if any(one is pipeline for one in fed)]
        await self._running.stop_receivers(receivers)
        for id in receivers:
            lost = self._running.outputs[id].give_back()
            if lost:
                context = self._running.supervisors[id].receiver.context
                context.counters.add("dropped", lost, reason="undelivered_at_reload")
                context.log.error("%d events could not be delivered before the reload and cannot be read again", lost)

    def _drop(self, outlet: Outlet, offered: int, reason: str) -> None:
        """Count as dropped what nobody wants any more, or nobody reads again as the exporter is not required."""
        context = outlet.exporter.context
        counted = (
            context.counters.counted("sent", "failed", "dropped") if isinstance(context.counters, ComponentCounters) else 0
        )
        owed = min(outlet.unsettled, max(offered - counted, 0))
        context.counters.add("dropped", owed, reason=reason)
        what = "is no more" if reason == "exporter_removed" else "is not required and was exchanged"
        self._log.warning("exporters/%s %s: %d events that it had not delivered are dropped", context.id, what, owed)


def _left(deadline: float) -> float:
    return deadline - asyncio.get_running_loop().time()
