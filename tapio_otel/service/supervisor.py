"""Supervision of receivers: one that fails is reported and run again after a pause; none takes the process down."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, Final

from tapio_otel.component import Receiver, SourceUnavailable
from tapio_otel.pipeline import ReceiverOutput

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
WELL_AFTER: Final = 60.0
"""Seconds a receiver must have run for the pause after its next failure to start small again."""
FINITE_TRIES: Final = 5
"""How often in a row a finite receiver may fail before its run counts as failed."""


class Supervisor:
    """Run one receiver until its source ends or it is cancelled. `failed` tells that a finite run could not be made."""

    def __init__(self, receiver: Receiver[Any], output: ReceiverOutput, log: logging.Logger) -> None:
        self.receiver = receiver
        self.output = output
        self.failed = False
        self._log = log
        self._reported = ""

    async def run(self) -> None:
        """Run the receiver again after every failure; a finite one whose source is missing ends instead."""
        pause = FIRST_PAUSE
        tries = 0
        while True:
            begun = time.monotonic()
            try:
                await self.receiver.run(self.output)
                self.receiver.context.report(None)
                return
            except SourceUnavailable as error:
                self._tell(str(error), logging.WARNING)
                if self.receiver.finite:
                    self.failed = True
                    return
            except Exception as error:
                self._tell(f"{type(error).__name__}: {error}", logging.ERROR)
                tries += 1
                if self.receiver.finite and tries >= FINITE_TRIES:
                    self.failed = True
                    return
            pause = FIRST_PAUSE if time.monotonic() - begun > WELL_AFTER else pause
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE)

    def _tell(self, problem: str, level: int) -> None:
        """Report the problem to health each time, to the log only when it is another one than before."""
        self.receiver.context.report(problem)
        if problem != self._reported:
            ending = "" if self.receiver.finite and level == logging.WARNING else ". It is tried again, without further notice"
            self._log.log(level, "%s%s", problem.rstrip("."), ending)
            self._reported = problem
