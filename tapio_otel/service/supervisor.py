"""Supervision of receivers: one that fails or gets stuck is reported and run again after a pause; none takes the process down.

A run is stuck when it promised to be alive at intervals (`Receiver.heartbeat`) and has shown nothing for five of them, 30 s at
least, while it was not waiting in `emit`: waiting there is backpressure. The age of its last sign is counted in looks and not
by the clock, so that a process that was stopped, or a machine that slept, makes no receiver look stuck. A run that does not
end though it is cancelled is left behind; its output is closed to it before another one begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, Final

from tapio_otel.component import ComponentError, Receiver, SourceUnavailable
from tapio_otel.event import UnifiedEvent
from tapio_otel.pipeline import ReceiverOutput

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
WELL_AFTER: Final = 60.0
"""Seconds a receiver must have run for the pause after its next failure to start small again."""
FINITE_TRIES: Final = 5
"""How often in a row a finite receiver may fail before its run counts as failed."""
STUCK_AFTER: Final = 5
"""Heartbeats without a sign of life after which a run is stuck."""
STUCK_AFTER_SECONDS: Final = 30.0
"""The least seconds for that."""
LOOKS: Final = 10
"""How often a run is looked at within that time."""
ENDING_SECONDS: Final = 10.0
"""Seconds a cancelled run has to end."""


class Stuck(ComponentError):
    """Report that a run has shown no sign of life for too long."""


class Lease:
    """Be the output of a single run: it notes every sign of life, and can be taken away from a run that does not end."""

    def __init__(self, output: ReceiverOutput) -> None:
        self._output = output
        self._revoked = False
        self.signs = 0
        self.emitting = 0

    @property
    def checkpoint(self) -> Any | None:
        """Return where the receiver resumes."""
        return self._output.checkpoint

    @property
    def delivered(self) -> Any | None:
        """Return the last checkpoint up to which everything was delivered."""
        return self._output.delivered

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Hand over events; waits for ever once the lease is revoked."""
        if self._revoked:
            await asyncio.get_running_loop().create_future()
        self.emitting += 1
        try:
            await self._output.emit(events, checkpoint)
        finally:
            self.emitting -= 1
            self.signs += 1

    def progress(self, done: int, total: int | None) -> None:
        """Pass on how far a finite run has come."""
        self.signs += 1
        if not self._revoked:
            self._output.progress(done, total)

    def alive(self) -> None:
        """Note a sign of life."""
        self.signs += 1

    def revoke(self) -> None:
        """Let nothing of this run pass any more."""
        self._revoked = True


class Supervisor:
    """Run one receiver until its source ends or it is cancelled. `failed` tells that a finite run could not be made."""

    def __init__(self, receiver: Receiver[Any], output: ReceiverOutput, log: logging.Logger) -> None:
        self.receiver = receiver
        self.output = output
        self.failed = False
        self.is_running = False
        """Whether it runs at the moment, and does not wait to be run again."""
        self.left_behind: list[asyncio.Task[None]] = []
        """Runs that did not end when they were cancelled."""
        self.patience = ENDING_SECONDS
        """Seconds that a cancelled run has to end."""
        self._log = log
        self._reported = ""

    async def run(self) -> None:
        """Run the receiver again after every failure; a finite one whose source is missing ends instead."""
        pause = FIRST_PAUSE
        tries = 0
        while True:
            begun = time.monotonic()
            try:
                await self._run_once()
                self.receiver.context.report(None)
                return
            except SourceUnavailable as error:
                self._tell(str(error), logging.WARNING)
                if self.receiver.finite:
                    self.failed = True
                    return
            except Exception as error:
                self._tell(str(error) if isinstance(error, Stuck) else f"{type(error).__name__}: {error}", logging.ERROR)
                self.receiver.context.counters.add("restarts", reason="stuck" if isinstance(error, Stuck) else "failed")
                tries += 1
                if self.receiver.finite and tries >= FINITE_TRIES:
                    self.failed = True
                    return
            pause = FIRST_PAUSE if time.monotonic() - begun > WELL_AFTER else pause
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run_once(self) -> None:
        lease = Lease(self.output)
        run = asyncio.create_task(self._guarded(lease), name=f"run of {self.receiver.context.id}")
        self.is_running = True
        try:
            await self._watch(run, lease)
        except BaseException:
            await self._ended(run, lease)
            raise
        finally:
            self.is_running = False
        await run

    async def _guarded(self, lease: Lease) -> None:
        try:
            await self.receiver.run(lease)
        except SystemExit as error:  # would end the event loop
            raise ComponentError(f"it called sys.exit({error.code!r})") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled the run: it awaited something that was. That would end its supervision without a word.
            raise ComponentError("what it waited for was cancelled") from error

    async def _watch(self, run: asyncio.Task[None], lease: Lease) -> None:
        """Wait for the end of a run; raises `Stuck` when it shows no sign of life."""
        heartbeat = self.receiver.heartbeat
        if heartbeat is None:
            await asyncio.wait({run})
            return
        limit = max(STUCK_AFTER * heartbeat, STUCK_AFTER_SECONDS)
        looks, signs = 0, lease.signs
        while not run.done():
            await asyncio.wait({run}, timeout=limit / LOOKS)
            looks = 0 if lease.emitting or lease.signs != signs else looks + 1
            signs = lease.signs
            if looks > LOOKS and not run.done():
                raise Stuck(f"stuck: no sign of life for {limit:g} s; it is cancelled")

    async def _ended(self, run: asyncio.Task[None], lease: Lease) -> None:
        """Cancel a run and see it end, or leave it behind."""
        run.cancel()
        try:
            await asyncio.wait({run}, timeout=self.patience)
        finally:
            lease.revoke()
            if run.done():
                _ = run.cancelled() or run.exception()
            else:
                self.left_behind.append(run)
                self._log.error(
                    "%s did not end within %g s though it was cancelled; it is left behind and can emit nothing more",
                    *(_place(run), self.patience),
                )

    def _tell(self, problem: str, level: int) -> None:
        """Report the problem to health each time, to the log only when it is another one than before."""
        self.receiver.context.report(problem)
        if problem != self._reported:
            ending = "" if self.receiver.finite and level == logging.WARNING else ". It is tried again, without further notice"
            self._log.log(level, "%s%s", problem.rstrip("."), ending)
            self._reported = problem


def _place(run: asyncio.Task[None]) -> str:
    """Name a task and the line that it is waiting at."""
    frames = run.get_stack()
    where = f" (at {frames[-1].f_code.co_filename}:{frames[-1].f_lineno})" if frames else ""
    return f"the {run.get_name()}{where}"
