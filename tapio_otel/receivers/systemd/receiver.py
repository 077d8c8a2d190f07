"""The receiver: keeps a connection to systemd, and emits what its units do."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Callable
from typing import Any, ClassVar

from tapio_otel.component import ComponentContext, ComponentError, Output, Receiver, SourceUnavailable, Stability
from tapio_otel.receivers.systemd.availability import address_of, explain
from tapio_otel.receivers.systemd.config import SystemdConfig
from tapio_otel.receivers.systemd.connection import MANAGER_PATH, QUERY_ERRORS, Connection, load_library, tolerated
from tapio_otel.receivers.systemd.events import EventMaker, boot_id
from tapio_otel.receivers.systemd.properties import MANAGER
from tapio_otel.receivers.systemd.selection import UnitSelection
from tapio_otel.receivers.systemd.session import Session
from tapio_otel.receivers.systemd.statics_cache import StaticsCache
from tapio_otel.receivers.systemd.tracker import Tracker
from tapio_otel.receivers.systemd.transition import Transition

BATCH = 1000
"""Most events handed on at once."""
LONG_WAIT = 10.0
"""Seconds of waiting for the pipeline after which a bus may have dropped signals."""
QUESTION_INTERVAL = 15.0
"""Seconds between two questions that show whether systemd answers."""
_USER_MANAGER = re.compile(r"/user@(\d+)\.service(?:/|$)")


class SystemdReceiver(Receiver[SystemdConfig]):
    """Tell every transition of systemd's units as one event, with its cause.

    What systemd signals is delivered once, in order. What happens while there is no connection is found afterwards by comparing
    states, and marked `reconciled`; of several transitions in between the last one is told.
    """

    type = "systemd"
    Config = SystemdConfig
    stability: ClassVar[Stability] = Stability.BETA
    can_wait: ClassVar[bool] = False

    def __init__(self, context: ComponentContext, config: SystemdConfig) -> None:
        super().__init__(context, config)
        retry = config.retry_on_failure
        longest = max(retry.max_interval, retry.initial_interval) * (1 + retry.randomization_factor)
        self.heartbeat = max(2 * QUESTION_INTERVAL, longest)
        self._selection = UnitSelection(config)
        self._tracker = Tracker()
        self._cache = StaticsCache()
        self._events = EventMaker(context.entities, boot_id())
        self._connected = False

    async def start(self) -> None:
        """Check that systemd can be reached if that is required; raises `ComponentError`."""
        if not self.config.required:
            return
        try:
            connection = await self._connect(lambda _message: None)
            try:
                await connection.get(MANAGER_PATH, MANAGER, "Version")
            except QUERY_ERRORS as error:
                raise explain(self.config, self._address, error) from error
            finally:
                connection.close()
        except SourceUnavailable as error:
            raise ComponentError(f"{error}. It is an error because of required: true") from error

    async def run(self, output: Output) -> None:
        """Emit transitions until cancelled; raises `SourceUnavailable` where systemd cannot be reached at first.

        Run again after a failure it tells what changed meanwhile; after it was cancelled it begins anew.
        """
        try:
            await self._run(output)
        except asyncio.CancelledError:
            self._tracker, self._connected = Tracker(), False
            raise

    async def _run(self, output: Output) -> None:
        retry = self.config.retry_on_failure
        interval = retry.initial_interval
        while True:
            output.alive()
            try:
                await self._follow(output)
                interval = retry.initial_interval
            except SourceUnavailable as error:
                if not self._connected:
                    raise
                self.context.report(str(error))
            spread = retry.randomization_factor * interval
            await asyncio.sleep(random.uniform(interval - spread, interval + spread))  # noqa: S311 - spreads attempts
            interval = min(interval * retry.multiplier, max(retry.max_interval, retry.initial_interval))

    async def _follow(self, output: Output) -> None:
        """Follow one connection to its end; raises `SourceUnavailable` if there is none to be had."""
        wake = asyncio.Event()
        sessions: list[Session] = []
        connection = await self._connect(lambda message: sessions[0].on_signal(message) if sessions else None)
        try:
            session = Session(connection, self._tracker, self._selection, self._cache, wake.set)
            sessions.append(session)
            try:
                await session.subscribe(self._is_initial)
            except QUERY_ERRORS as error:
                raise explain(self.config, self._address, error) from error
            self._events.user, self._events.manager = self._user(session), session.manager_started
            self._now_connected()
            await self._emit_all(session, connection, wake, output)
        finally:
            connection.close()

    async def _emit_all(self, session: Session, connection: Connection, wake: asyncio.Event, output: Output) -> None:
        following = asyncio.create_task(session.follow())
        following.add_done_callback(lambda _task: wake.set())
        asking = asyncio.create_task(self._ask(connection, output))
        try:
            while not following.done():
                await self._wait(session, wake)
                if session.failure is not None:
                    raise session.failure
                await self._emit(session, connection, session.outbox.take(asyncio.get_running_loop().time()), output)
            await self._emit(session, connection, session.outbox.take_all(), output)
            following.result()
        finally:
            for task in (following, asking):
                task.cancel()
            await asyncio.gather(following, asking, return_exceptions=True)
        self._lost(connection.lost.result())

    @staticmethod
    async def _ask(connection: Connection, output: Output) -> None:
        """Show that systemd answers, though no unit may change for days."""
        while True:
            await asyncio.sleep(QUESTION_INTERVAL)
            with tolerated(*QUERY_ERRORS):
                await connection.get(MANAGER_PATH, MANAGER, "Version")
                output.alive()

    async def _wait(self, session: Session, wake: asyncio.Event) -> None:
        deadline = session.outbox.next_deadline()
        try:
            async with asyncio.timeout_at(deadline):
                await wake.wait()
        except TimeoutError:
            pass
        wake.clear()

    async def _emit(self, session: Session, connection: Connection, ready: list[Transition], output: Output) -> None:
        """Hand on events; while the pipeline makes this wait, nothing more is read than one buffer."""
        for begin in range(0, len(ready), BATCH):
            events = [self._events.make(one, session.complete(one)) for one in ready[begin : begin + BATCH]]
            begun = asyncio.get_running_loop().time()
            emitting = asyncio.ensure_future(output.emit(events))
            try:
                await asyncio.wait([emitting], timeout=0)
                if not emitting.done():
                    connection.pause()
                await emitting
                took = asyncio.get_running_loop().time() - begun
                session.outbox.postpone(took)
                if took > LONG_WAIT:
                    session.check()
            finally:
                emitting.cancel()
                await asyncio.gather(emitting, return_exceptions=True)
                connection.resume()

    async def _connect(self, on_signal: Callable[[Any], None]) -> Connection:
        try:
            library = load_library(self.config.library)
            connection = Connection(library, self._address, on_signal)
        except ImportError as error:
            raise explain(self.config, "", error) from error
        try:
            await connection.open()
        except asyncio.CancelledError:
            connection.close()
            raise
        except Exception as error:
            connection.close()
            raise explain(self.config, self._address, error) from error
        return connection

    @property
    def _address(self) -> str:
        return address_of(self.config.bus, self.context.entities.root_path)

    def _is_initial(self, active: str) -> bool:
        wanted = self.config.initial_state
        return wanted == "all" or (wanted == "failed" and active == "failed")

    def _user(self, session: Session) -> str:
        found = _USER_MANAGER.search(session.user_manager)
        if found:
            return found[1]
        return str(os.getuid()) if self.config.bus == "user" else ""

    def _now_connected(self) -> None:
        if self._connected:
            self.context.log.warning(
                "systemd is followed again at %s; what changed meanwhile is told as reconciled", self._address
            )
        self._connected = True
        self.context.report(None)

    def _lost(self, reason: str) -> None:
        problem = f"the connection to systemd at {self._address} was lost: {reason}"
        self.context.report(problem)
        self.context.log.warning("%s. It is tried again until it works, without further notice", problem)
