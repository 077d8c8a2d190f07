"""What runs: the components that were started, the pipelines that join them, and the receivers that are supervised.

Starting goes downstream first and stopping upstream first, whether for all of them or for those that a reload exchanges.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from tapio_otel.checkpoint import CheckpointStore
from tapio_otel.component import Component, ComponentError, ComponentId, Exporter, Kind, Receiver
from tapio_otel.pipeline import Pipeline, ReceiverOutput
from tapio_otel.service.balance import Balance, Ledger
from tapio_otel.service.graph import Graph, StartError, scope_of
from tapio_otel.service.health import Health
from tapio_otel.service.reload import Part, Slot
from tapio_otel.service.supervisor import ENDING_SECONDS, Supervisor
from tapio_otel.service.telemetry import ComponentCounters


class Progress(Protocol):
    """Show how far finite runs have come."""

    def show(self, name: str, done: int, total: int | None) -> None:
        """Show how far one receiver has come, in entries."""

    def close(self) -> None:
        """Leave the display as it last was."""


START_TIMEOUT: Final = 60.0
"""Seconds a component may take to start."""
LAST_SECONDS: Final = 2.0
"""Seconds a component may take to release what it holds, after the drain."""


class Running:
    """Hold what runs, start more of it, and stop parts of it or all."""

    def __init__(
        self,
        graph: Graph,
        checkpoints: CheckpointStore,
        health: Health,
        progress: Progress | None,
        log: logging.Logger,
    ) -> None:
        self.graph = graph
        self.components: dict[Slot, Component[Any]] = {}
        """What was started and not shut down, in that order."""
        self.parts: dict[Slot, Part] = {}
        """What each of these was made of."""
        self.outputs: dict[ComponentId, ReceiverOutput] = {}
        """The output of every receiver there ever was: what it has emitted may still be on its way."""
        self.supervisors: dict[ComponentId, Supervisor] = {}
        self.ledger = Ledger()
        self.ended = asyncio.Event()
        """Set while no receiver runs any more."""
        self.is_changing = True
        """Whether receivers are stopped only to be started again."""
        self._checkpoints = checkpoints
        self._health = health
        self._progress = progress
        self._log = log
        self._runs: dict[ComponentId, asyncio.Task[None]] = {}
        self._ticks: dict[ComponentId, asyncio.Task[None]] = {}
        self._left_behind: set[asyncio.Task[None]] = set()

    @property
    def balance(self) -> Balance:
        """Return the balance of everything up to now."""
        return self.ledger.balance(self.graph.pipelines)

    @property
    def undelivered(self) -> int:
        """Return how many events are not delivered, over all receivers."""
        return sum(output.undelivered for output in self.outputs.values())

    @property
    def left_behind(self) -> list[asyncio.Task[None]]:
        """Return runs of receivers that did not end when they were cancelled."""
        every = self._left_behind.union(*(one.left_behind for one in self.supervisors.values()))
        return [task for task in every if not task.done()]

    async def start(self, components: Mapping[Slot, Component[Any]], parts: Mapping[Slot, Part]) -> None:
        """Start components in their order; raises `StartError`, with those before it started."""
        for slot, component in components.items():
            self.components[slot] = component
            self.parts[slot] = parts[slot]
            await _start(component)

    def begin(self) -> None:
        """Let every receiver run that does not, and every pipeline tick that does not."""
        for pipeline in self.graph.pipelines:
            if pipeline.id not in self._ticks:
                self._ticks[pipeline.id] = asyncio.create_task(pipeline.tick(), name=f"ticks of {pipeline.id}")
        for id, receiver in self.graph.receivers.items():
            output = self._output(id, receiver)
            if id not in self._runs:
                supervisor = self.supervisors[id] = Supervisor(receiver, output, receiver.context.log)
                task = self._runs[id] = asyncio.create_task(supervisor.run(), name=f"receiver {id}")
                task.add_done_callback(lambda _task: self._look_for_the_end())
            output.resume()
        self.is_changing = False
        self._look_for_the_end()

    def _output(self, id: ComponentId, receiver: Receiver[Any]) -> ReceiverOutput:
        if id in self.outputs:
            self.outputs[id].pipelines = list(self.graph.reads[id])
            return self.outputs[id]
        key, counters = f"{receiver.kind.value}/{id}", receiver.context.counters
        output = self.outputs[id] = ReceiverOutput(
            scope_of(receiver),
            self.graph.reads[id],
            self._checkpoints.saved.get(key),
            lambda value: self._checkpoints.put(key, value),
            lambda amount: counters.add("accepted", amount),
            lambda done, total: self._progress.show(str(id), done, total) if self._progress else None,
            receiver.can_wait,
        )
        return output

    def _look_for_the_end(self) -> None:
        if not self.is_changing and all(task.done() for task in self._runs.values()):
            self.ended.set()

    async def hold(self, ids: Iterable[ComponentId], seconds: float) -> set[ComponentId]:
        """Let no batch of these receivers in any more; returns those of which one is still on its way in after so long."""
        outputs = {id: self.outputs[id] for id in ids if id in self.outputs}
        holding = [asyncio.create_task(output.hold(), name=f"hold {id}") for id, output in outputs.items()]
        if holding:
            try:
                await asyncio.wait(holding, timeout=seconds)
            finally:
                await end(holding)
        return {id for id, output in outputs.items() if output.emitting}

    async def stop_receivers(self, ids: Iterable[ComponentId] | None = None, patience: float = ENDING_SECONDS) -> None:
        """End the runs of these receivers, or of all; one that does not end within `patience` seconds is left behind."""
        chosen = [id for id in (list(self._runs) if ids is None else ids) if id in self._runs]
        for id in chosen:
            self.supervisors[id].patience = patience
        await end([self._runs[id] for id in chosen])
        for id in chosen:
            del self._runs[id]
            self._left_behind.update(self.supervisors[id].left_behind)

    async def stop_ticks(self, ids: Iterable[ComponentId] | None = None) -> None:
        """End the ticks of these pipelines, or of all."""
        tasks = [self._ticks.pop(id) for id in (list(self._ticks) if ids is None else ids) if id in self._ticks]
        await end(tasks)

    async def shut_down(self, slots: Sequence[Slot], exporters_within: float) -> None:
        """Release these components, upstream first; exporters, all at once, drain within so many seconds."""
        exporters = [slot for slot in slots if slot.kind is Kind.EXPORTER]
        for slot in slots:
            if slot.kind in {Kind.RECEIVER, Kind.PROCESSOR}:
                await self._shut_down_one(slot, LAST_SECONDS)
        self._close_outlets({id(self.components[slot]) for slot in exporters if slot in self.components})
        await asyncio.gather(*(self._shut_down_one(slot, exporters_within) for slot in exporters))
        for slot in slots:
            if slot.kind is Kind.EXTENSION:
                await self._shut_down_one(slot, LAST_SECONDS)

    def _close_outlets(self, exporters: set[int]) -> None:
        for outlet in (outlet for pipeline in self.graph.pipelines for outlet in pipeline.outlets):
            outlet.closed = outlet.closed or id(outlet.exporter) in exporters

    async def _shut_down_one(self, slot: Slot, seconds: float) -> None:
        component = self.components.pop(slot, None)
        self.parts.pop(slot, None)
        if component is None:
            return
        await self.quietly(component.shutdown, name_of(component), seconds)
        if isinstance(component.context.counters, ComponentCounters):
            component.context.counters.close()
        self._health.report(name_of(component), None)

    async def drain(self, seconds: float) -> bool:
        """Flush the processors, then the exporters; a full queue may take up half of the time. Tells whether all went out."""
        try:
            async with asyncio.timeout(seconds):
                flushes = [asyncio.create_task(pipeline.flush(final=True)) for pipeline in self.graph.pipelines]
                await asyncio.wait(flushes, timeout=seconds / 2)
                await end(flushes)
                exporters = [one for one in self.components.values() if isinstance(one, Exporter)]
                await asyncio.gather(*(self.quietly(one.shutdown, name_of(one), None) for one in exporters))
        except TimeoutError:
            return False
        return True

    async def release(self) -> None:
        """Shut down everything that was started, upstream first."""
        await self.stop_receivers()
        await self.stop_ticks()
        for component in reversed(list(self.components.values())):
            await self.quietly(component.shutdown, name_of(component))
        self.components.clear()

    def report(self, name: str, problem: str | None) -> None:
        """Report a problem of the service itself to health, or None when it is well again."""
        self._health.report(name, problem)

    async def quietly(self, stop: Callable[[], Awaitable[object]], name: str, seconds: float | None = LAST_SECONDS) -> None:
        """Await what shuts something down; what it raises goes to the log."""
        try:
            async with asyncio.timeout(seconds):
                await stop()
        except (Exception, SystemExit) as error:
            self._log.warning("%s did not shut down cleanly: %s: %s", name, type(error).__name__, error)


async def _start(component: Component[Any]) -> None:
    path = f"{component.kind.value}.{component.context.id}"
    try:
        async with asyncio.timeout(START_TIMEOUT):
            await component.start()
    except TimeoutError as error:
        raise StartError(f"{path}: its start did not end within {START_TIMEOUT:g} s", component=path) from error
    except (ComponentError, OSError) as error:
        raise StartError(f"{path}: {error}", component=path) from error
    except (Exception, SystemExit) as error:
        raise StartError(f"{path}: {type(error).__name__}: {error}", component=path) from error


def name_of(component: Component[Any]) -> str:
    """Return a component's name for messages and health."""
    return f"{component.kind.value}/{component.context.id}"


def same(left: Sequence[object], right: Sequence[object]) -> bool:
    """Tell whether two sequences hold the very same objects."""
    return len(left) == len(right) and all(one is other for one, other in zip(left, right, strict=True))


def pipelines_by_id(pipelines: Sequence[Pipeline]) -> dict[ComponentId, Pipeline]:
    """Return pipelines by their id."""
    return {pipeline.id: pipeline for pipeline in pipelines}


async def end(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
