"""Running the service: start downstream first, stop upstream first, drain in between, and reload while it runs.

Before the start everything that is wrong is an error and nothing runs; afterwards no single component ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from tapio_otel.checkpoint import CheckpointStore, StateDirectory
from tapio_otel.component import ComponentError, Kind
from tapio_otel.config.loader import Configuration, state_directory
from tapio_otel.notices import Notices
from tapio_otel.registry import Registry
from tapio_otel.service import memory
from tapio_otel.service.balance import Balance
from tapio_otel.service.graph import Graph, GraphBuilder, StartError
from tapio_otel.service.health import Health
from tapio_otel.service.logs import ROOT
from tapio_otel.service.loop_watch import LoopWatch
from tapio_otel.service.notifier import Notifier
from tapio_otel.service.reloader import Reloader
from tapio_otel.service.running import Progress, Running, end
from tapio_otel.service.supervisor import ENDING_SECONDS
from tapio_otel.service.telemetry import Telemetry, instrument_name, summary
from tapio_otel.service.view import RunningView
from tapio_otel.version import VERSION

__all__ = ["Progress", "Service"]

SPARE_SECONDS: Final = 15.0
"""Seconds that stopping may take beyond the drain, as the service manager is told."""


HANDING_OVER_SECONDS: Final = 1.0
"""Seconds that receivers have for handing over the batch at hand; where exporters are full it is read again."""


class Service:
    """Run the pipelines of one configuration. `run` returns the process's exit status.

    Creating it creates the components, which touches nothing outside; raises `StartError` when one refuses. `load_again`
    reads the configuration anew for a reload; raises `ConfigError`. Without it there is nothing to reload. `files` is how
    the log names the configuration where the line of an error is not known.
    """

    def __init__(
        self,
        configuration: Configuration,
        registry: Registry,
        progress: Progress | None = None,
        load_again: Callable[[], Configuration] | None = None,
        files: str = "",
    ) -> None:
        self._log = logging.getLogger(f"{ROOT}.service")
        state_dir = state_directory(configuration.service.state_dir, os.environ)
        self._state = StateDirectory(state_dir)
        self._checkpoints = CheckpointStore(state_dir, self._log)
        self._progress = progress
        self._stop = asyncio.Event()
        self._begun = time.monotonic()
        self._serving = False
        self._notifier = Notifier()
        self.telemetry = Telemetry(VERSION, configuration.service.telemetry.resource)
        self.health = Health()
        view = RunningView(self.telemetry, self.health, registry.types(Kind.RECEIVER), Notices(self._log))
        builder = GraphBuilder(configuration, registry, self.telemetry, self.health, state_dir, view=view)
        self._running = Running(builder.build(), self._checkpoints, self.health, progress, self._log)
        view.attach(self._running)
        self._reloader = Reloader(self._running, builder, load_again, self._notifier, self._status_line, files)

    @property
    def graph(self) -> Graph:
        """Return the components that run, and how they are joined."""
        return self._running.graph

    @property
    def left_behind(self) -> int:
        """Return how many runs of receivers go on though they were cancelled; they keep the event loop from closing."""
        return len(self._running.left_behind)

    def balance(self) -> Balance:
        """Return what became of every event, as of now."""
        return self._running.balance

    def tell_balance(self) -> None:
        """Write what became of every event so far to the log, whatever its level."""
        seconds = time.monotonic() - self._begun
        lines = [summary(self.telemetry.totals(), self._running.undelivered, seconds), *self.balance().lines()]
        for line in lines:
            self._log.handle(self._log.makeRecord(self._log.name, logging.INFO, "", 0, line, (), None))

    def stop(self) -> None:
        """Ask the running service to drain and end."""
        self._stop.set()

    def reload(self) -> None:
        """Ask the running service to read its configuration again; several requests before it does are one."""
        self._reloader.request()

    async def run(self) -> int:
        """Start, serve until stopped or until every receiver has come to its end, drain; raises `StartError`.

        Returns 0, or 1 when a finite run could not be made, was not delivered in full, or an exporter failed in it.
        """
        watch = LoopWatch(self._log, self._running.components.values, lambda problem: self.health.report("service", problem))
        watch.start()
        telling = asyncio.create_task(self._notifier.keep_telling(self._status_line), name="notifier")
        try:
            if not await self._started_or_stopped():
                return 0
            self._serving = True
            await self._serve()
            return self._status()
        finally:
            await self._release()
            await end([telling])
            watch.stop()

    def _status(self) -> int:
        finite = [one for one in self._running.supervisors.values() if one.receiver.finite]
        failed = instrument_name(Kind.EXPORTER, "failed")
        lost = any(value for (name, _), value in self.telemetry.totals().items() if name == failed)
        return 1 if any(one.failed or one.output.undelivered or lost for one in finite) else 0

    def _status_line(self) -> str:
        problems = dict(self.health.problems)
        counts = {"receiver": len(self.graph.receivers), "pipeline": len(self.graph.pipelines)}
        words = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items())
        return f"{words}; {'; '.join(f'{name}: {said}' for name, said in problems.items())}" if problems else words

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
            await end([starting, stopping])

    async def _start(self) -> None:
        try:
            self._state.acquire()
            self._checkpoints.open()
        except (ComponentError, OSError) as error:
            raise StartError(str(error)) from error
        await self._running.start(self.graph.components, self.graph.parts)

    async def _serve(self) -> None:
        memory.settle()
        self._running.begin()
        self._notifier.ready(self._status_line())
        writing = asyncio.create_task(self._checkpoints.keep_writing(), name="checkpoints")
        reloading = asyncio.create_task(self._reloader.keep_reloading(), name="reloads")
        either = [asyncio.create_task(self._running.ended.wait()), asyncio.create_task(self._stop.wait())]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            await self._stop_and_drain(reloading)
        finally:
            await end([*either, reloading])
            await self._running.stop_receivers()
            await self._running.stop_ticks()
            await end([writing])

    async def _stop_and_drain(self, reloading: asyncio.Task[None]) -> None:
        seconds = self._reloader.service.shutdown_timeout
        deadline = asyncio.get_running_loop().time() + seconds
        self._notifier.stopping(seconds + SPARE_SECONDS)
        if self._stop.is_set():
            self._log.info(
                "stopping: what is under way is delivered first, for at most %g s (a second signal ends at once)", seconds
            )
        await end([reloading])
        await self._running.hold(self.graph.receivers, min(HANDING_OVER_SECONDS, seconds / 4))
        await self._running.stop_receivers(patience=min(ENDING_SECONDS, seconds / 3))
        if not await self._running.drain(max(deadline - asyncio.get_running_loop().time(), 0.0)):
            self._log.error(
                "not everything could be delivered within service.shutdown_timeout of %g s; "
                "receivers with a checkpoint read it again at the next start, a queue on disk is sent then",
                seconds,
            )

    async def _release(self) -> None:
        await self._running.release()
        await self._running.quietly(self._checkpoints.flush, "checkpoints")
        self._checkpoints.close()
        self._state.release()
        if self._progress:
            self._progress.close()
        if self._serving:
            self.tell_balance()
        self.telemetry.shutdown()
