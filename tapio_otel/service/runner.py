"""Running the service: start downstream first, stop upstream first, and drain in between.

Before the start everything that is wrong is an error and nothing runs; afterwards no single component ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from tapio_otel.checkpoint import CheckpointStore, StateDirectory
from tapio_otel.component import Component, ComponentError, Kind
from tapio_otel.config.loader import Configuration, state_directory
from tapio_otel.pipeline import ReceiverOutput
from tapio_otel.registry import Registry
from tapio_otel.service import memory
from tapio_otel.service.graph import Graph, GraphBuilder, StartError, scope_of
from tapio_otel.service.health import Health
from tapio_otel.service.logs import ROOT
from tapio_otel.service.supervisor import Supervisor
from tapio_otel.service.telemetry import Telemetry, instrument_name, summary
from tapio_otel.version import VERSION


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


class Service:
    """Run the pipelines of one configuration. `run` returns the process's exit status.

    Creating it creates the components, which touches nothing outside; raises `StartError` when one refuses.
    """

    def __init__(self, configuration: Configuration, registry: Registry, progress: Progress | None = None) -> None:
        self._configuration = configuration
        self._log = logging.getLogger(f"{ROOT}.service")
        state_dir = state_directory(configuration.service.state_dir, os.environ)
        self._state = StateDirectory(state_dir)
        self._checkpoints = CheckpointStore(state_dir, self._log)
        self._progress = progress
        self._stop = asyncio.Event()
        self._begun = time.monotonic()
        self._started: list[Component[Any]] = []
        self._supervised: list[Supervisor] = []
        self.telemetry = Telemetry(VERSION, configuration.service.telemetry.resource)
        self.health = Health()
        self.graph: Graph = GraphBuilder(configuration, registry, self.telemetry, self.health, state_dir).build()

    def stop(self) -> None:
        """Ask the running service to drain and end."""
        self._stop.set()

    async def run(self) -> int:
        """Start, serve until stopped or until every receiver has come to its end, drain; raises `StartError`.

        Returns 0, or 1 when a finite run could not be made, was not delivered in full, or an exporter failed in it.
        """
        try:
            if not await self._started_or_stopped():
                return 0
            self._supervised = self._supervisors()
            await self._serve(self._supervised)
            return self._status()
        finally:
            await self._release()

    def _status(self) -> int:
        finite = [one for one in self._supervised if one.receiver.finite]
        failed = instrument_name(Kind.EXPORTER, "failed")
        lost = any(value for (name, _), value in self.telemetry.totals().items() if name == failed)
        return 1 if any(one.failed or one.output.undelivered or lost for one in finite) else 0

    async def _started_or_stopped(self) -> bool:
        """Start everything; tells whether that was done, or ended because the service was told to stop."""
        starting = asyncio.create_task(self._start(), name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                return True
            return False
        finally:
            await _end([starting, stopping])

    async def _start(self) -> None:
        try:
            self._state.acquire()
            self._checkpoints.open()
        except (ComponentError, OSError) as error:
            raise StartError(str(error)) from error
        processors = [processor for pipeline in self.graph.pipelines for processor in pipeline.processors]
        for component in (*self.graph.extensions, *self.graph.exporters, *processors, *self.graph.receivers.values()):
            self._started.append(component)
            await self._start_one(component)

    async def _start_one(self, component: Component[Any]) -> None:
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

    def _supervisors(self) -> list[Supervisor]:
        supervisors = []
        for id, receiver in self.graph.receivers.items():
            key = f"{receiver.kind.value}/{id}"
            output = ReceiverOutput(
                scope_of(receiver),
                self.graph.reads[id],
                self._checkpoints.saved.get(key),
                lambda value, key=key: self._checkpoints.put(key, value),  # type: ignore[misc]
                lambda amount, counters=receiver.context.counters: counters.add("accepted", amount),  # type: ignore[misc]
                lambda done, total, id=str(id): self._progress.show(id, done, total) if self._progress else None,  # type: ignore[misc]
            )
            supervisors.append(Supervisor(receiver, output, receiver.context.log))
        return supervisors

    async def _serve(self, supervisors: list[Supervisor]) -> None:
        memory.settle()
        receivers = [asyncio.create_task(one.run(), name=f"receiver {one.receiver.context.id}") for one in supervisors]
        beside = [asyncio.create_task(pipeline.tick(), name=f"ticks of {pipeline.id}") for pipeline in self.graph.pipelines]
        beside.append(asyncio.create_task(self._checkpoints.keep_writing(), name="checkpoints"))
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        ended: asyncio.Future[Any] = asyncio.gather(*receivers)
        either: list[asyncio.Future[Any]] = [ended, stopping]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            drain = asyncio.timeout(self._configuration.service.shutdown_timeout)
            await _end(receivers)
            await self._drain(drain)
        finally:
            await _end([*receivers, *beside, stopping])
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await ended

    async def _drain(self, deadline: asyncio.Timeout) -> None:
        """Flush the processors, then the exporters; a full queue may take up half of the time that there is."""
        try:
            async with deadline:
                flushes = [asyncio.create_task(pipeline.flush(final=True)) for pipeline in self.graph.pipelines]
                await asyncio.wait(flushes, timeout=self._configuration.service.shutdown_timeout / 2)
                await _end(flushes)
                await asyncio.gather(*(self._quietly(one.shutdown, _name(one), None) for one in self.graph.exporters))
        except TimeoutError:
            self._log.error(
                "not everything could be delivered within service.shutdown_timeout of %g s; "
                "receivers with a checkpoint read it again at the next start",
                self._configuration.service.shutdown_timeout,
            )

    async def _release(self) -> None:
        for component in reversed(self._started):
            await self._quietly(component.shutdown, _name(component))
        await self._quietly(self._checkpoints.flush, "checkpoints")
        self._checkpoints.close()
        self._state.release()
        if self._progress:
            self._progress.close()
        if self._supervised:
            self._sum_up()
        self.telemetry.shutdown()

    def _sum_up(self) -> None:
        """Write the balance of the run to the log, whatever its level."""
        undelivered = sum(one.output.undelivered for one in self._supervised)
        line = summary(self.telemetry.totals(), undelivered, time.monotonic() - self._begun)
        self._log.handle(self._log.makeRecord(self._log.name, logging.INFO, "", 0, line, (), None))

    async def _quietly(self, stop: Callable[[], Awaitable[None]], name: str, seconds: float | None = LAST_SECONDS) -> None:
        try:
            async with asyncio.timeout(seconds):
                await stop()
        except (Exception, SystemExit) as error:
            self._log.warning("%s did not shut down cleanly: %s: %s", name, type(error).__name__, error)


def _name(component: Component[Any]) -> str:
    return f"{component.kind.value}/{component.context.id}"


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
