"""Reloading: a new configuration is checked in full before anything is touched, and a bad one changes nothing.

What is wrong with it goes to the log as FILE:LINE: path: message. When a new component does not start, what ran before is
brought back, again and again until it runs; a corrected configuration may come first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from tapio_otel.config.loader import Configuration
from tapio_otel.config.problem import ConfigError
from tapio_otel.config.service import ServiceConfig
from tapio_otel.service import logs, memory
from tapio_otel.service.exchange import Exchange
from tapio_otel.service.graph import Graph, GraphBuilder, StartError
from tapio_otel.service.notifier import Notifier
from tapio_otel.service.reload import Plan, fixed_settings, parts, plan
from tapio_otel.service.running import Running

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds between attempts to bring back what ran before a reload that failed."""
HEALTH: Final = "service/reload"


class Reloader:
    """Take requests for a reload and carry them out, one at a time."""

    def __init__(
        self,
        running: Running,
        builder: GraphBuilder,
        load_again: Callable[[], Configuration] | None,
        notifier: Notifier,
        status: Callable[[], str],
        files: str,
    ) -> None:
        self._running = running
        self._builder = builder
        self._configuration = builder.configuration
        self._load_again = load_again
        self._notifier = notifier
        self._status = status
        self._files = files
        self._log = logging.getLogger(f"{logs.ROOT}.service")
        self._requested = asyncio.Event()
        self._is_whole = True
        """Whether everything runs that the configuration in use names."""

    @property
    def service(self) -> ServiceConfig:
        """Return the agent's own settings as they are now."""
        return self._configuration.service

    def request(self) -> None:
        """Note that somebody wants a reload."""
        self._requested.set()

    async def keep_reloading(self) -> None:
        """Reload whenever it is requested, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._is_whole else pause):
                    await self._requested.wait()
            try:
                if self._requested.is_set():
                    self._requested.clear()
                    pause = FIRST_PAUSE
                    await self._reload()
                else:
                    pause = min(2 * pause, LONGEST_PAUSE)
                if not self._is_whole:
                    await self._bring_back()
            except Exception:
                self._log.exception("the reload failed; this is a defect of the agent")

    async def _reload(self) -> None:
        if self._load_again is None:
            self._count("refused")
            self._log.warning(
                "there is nothing to reload: the agent runs with its embedded configuration; "
                "start it with --config FILE to be able to change it while it runs"
            )
            return
        self._notifier.reloading(self.service.shutdown_timeout + FIRST_PAUSE)
        try:
            await self._apply(await asyncio.to_thread(self._load_again))
        except ConfigError as error:
            self._refuse([str(problem) for problem in error.problems])
        except StartError as error:
            places = [str(one if one.file else replace(one, file=self._files)) for one in error.problems]
            self._refuse(places or [str(error)])
        finally:
            self._notifier.ready(self._status())

    def _refuse(self, problems: list[str]) -> None:
        """Tell why nothing changes, or what ran before comes back."""
        self._count("refused")
        for problem in problems:
            self._log.error("%s", problem)
        errors = f"{len(problems)} error{'s' if len(problems) != 1 else ''}"
        self._log.error("the configuration was not reloaded for %s; the one in use stays", errors)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self._running.report(HEALTH, f"not reloaded: {problems[0]}{more}")

    async def _apply(self, wanted: Configuration) -> None:
        """Let a configuration take the place of the one in use; raises `StartError`."""
        for warning in wanted.warnings:
            self._log.warning("%s", warning)
        wanted = self._with_fixed_settings(wanted)
        steps, target = await self._built(wanted)
        await self._exchange(steps, target, wanted)
        self._set_logs(wanted)
        self._configuration = wanted
        self._count("applied")
        self._running.report(HEALTH, None)
        kept, stopped, started = map(len, (steps.keep, steps.stop, steps.start))
        self._log.info("configuration reloaded: %d components kept, %d stopped, %d started", kept, stopped, started)

    async def _built(self, wanted: Configuration) -> tuple[Plan, Graph]:
        """Return the plan and the graph to come to, its new components created; raises `StartError`."""
        builder = self._builder.of(wanted)
        steps = plan(self._running.parts, parts(wanted, builder.registry))
        existing = {slot: self._running.components[slot] for slot in steps.keep}
        return steps, await asyncio.to_thread(builder.build, existing)

    async def _exchange(self, steps: Plan, target: Graph, wanted: Configuration) -> None:
        self._is_whole = False
        await Exchange(self._running, target, steps, wanted.service.shutdown_timeout, self._log).make()
        self._is_whole = True
        if steps.stop or steps.start:
            memory.settle()

    async def _bring_back(self) -> None:
        """Try to run again what ran before a reload that failed half-way."""
        try:
            steps, target = await self._built(self._configuration)
            await self._exchange(steps, target, self._configuration)
        except StartError as error:
            self._log.error("what ran before the reload does not start again: %s. It is tried again", error)
            self._running.report(HEALTH, f"what ran before does not start again: {error}")
        else:
            self._count("brought_back")
            self._log.warning("what ran before the reload runs again")

    def _with_fixed_settings(self, wanted: Configuration) -> Configuration:
        """Keep what only a restart can change, and say so."""
        fixed = fixed_settings(self.service, wanted.service)
        if not fixed:
            return wanted
        self._log.warning("%s cannot change at a reload: restart the agent for it; the rest is applied", " and ".join(fixed))
        now = self.service
        telemetry = wanted.service.telemetry.model_copy(update={"resource": now.telemetry.resource})
        update = {"state_dir": now.state_dir, "root_path": now.root_path, "telemetry": telemetry}
        return replace(wanted, service=wanted.service.model_copy(update=update))

    def _set_logs(self, wanted: Configuration) -> None:
        settings = wanted.service.telemetry.logs
        if settings != self.service.telemetry.logs:
            logs.set_up(settings.level, settings.encoding)

    def _count(self, result: str) -> None:
        self._builder.telemetry.counter("tapio_service_reloads").add(1, {"result": result})
