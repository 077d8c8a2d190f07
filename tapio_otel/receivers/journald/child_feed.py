"""Reading in a process of its own: started, watched, and started anew where it left off when a crash has ended it.

What a process sent before its end is used; what it had read but not sent is read again by the next one, so nothing is lost or
repeated. Where reading goes on to be fatal, the next process reads entry by entry and tells before each, and the entry that
was fatal `STRIKES` times is passed over. A process that hangs is ended, and treated like one that crashed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tapio_otel.component import ComponentContext, ComponentError
from tapio_otel.receivers.journald import frames
from tapio_otel.receivers.journald.chunk import CHUNK, Chunk
from tapio_otel.receivers.journald.options import ReaderOptions
from tapio_otel.receivers.journald.packing import Unpacker
from tapio_otel.receivers.journald.patience import Patience
from tapio_otel.receivers.journald.reading_process import STUCK, Ended, ReadingProcess

STRIKES: Final = 3
"""How often the same entry must be fatal before it is passed over."""
CAREFUL: Final = 4 * CHUNK
"""Entries read one by one after a crash: more than one process can have read ahead of what it sent."""
GIVE_UP: Final = 12
"""Crashes without progress after which the receiver fails, to be run again by its supervisor, which takes longer pauses."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 10.0
"""Seconds between a crash without progress and the next start."""
WELL_AFTER: Final = 10.0
"""Seconds that a process must have lived for its end not to count as one of a row."""


class Crashes:
    """Conclude from the ends of the reading processes how the next one is to begin."""

    def __init__(self) -> None:
        self.in_row = 0
        """How many ended in a row without progress."""
        self._strikes = 0
        self._where: str | None = None

    @property
    def pause(self) -> float:
        """Return the seconds to wait before the next start."""
        return 0.0 if self.in_row <= 1 else min(FIRST_PAUSE * 2 ** (self.in_row - 2), LONGEST_PAUSE)

    @property
    def careful(self) -> int:
        """Return how many entries are to be read one by one."""
        return CAREFUL if self.in_row else 0

    @property
    def skip(self) -> int | None:
        """Return how hard to try to get past the next entry, from 0 on; None to read it."""
        return None if self._strikes < STRIKES else self._strikes - STRIKES

    def note(self, where: str | None, trying: bool, lived: float) -> None:
        """Note an end after the entry `where`: while the next one was being read (`trying`), after `lived` seconds."""
        if where != self._where or (lived > WELL_AFTER and not trying):
            self.in_row = self._strikes = 0
        self._where = where
        self.in_row += 1
        self._strikes += trying


class ChildFeed:
    """Read in a process of its own; `alive` is called while that is at work though there is nothing to hand on yet."""

    def __init__(self, options: ReaderOptions, context: ComponentContext, alive: Callable[[], None] = lambda: None) -> None:
        self._options = options
        self._context = context
        self._alive = alive
        self._process: ReadingProcess | None = None
        self._patience = Patience(options.sign_of_life, lambda: 0.0)
        self._crashes = Crashes()
        self._trying = False
        self._started = 0.0
        self._unpacker = Unpacker()
        self.passed_over: dict[str, str] = {}
        self.estimate: int | None = None
        self.checkpoint: dict[str, Any] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id of the reading process, None while there is none."""
        return None if self._process is None else self._process.pid

    async def open(self, saved: Any | None) -> str | None:
        """Start the process and have it open the journal."""
        while True:
            try:
                problem, self.passed_over, self.estimate, self.checkpoint = await self._begin(saved)
            except Ended as end:
                await self._recover(end, saved)
            else:
                if self.checkpoint is None:  # there was nothing yet: whatever comes is new
                    self._options = replace(self._options, begin="beginning")
                return problem  # type: ignore[no-any-return]

    async def next(self, until: float | None) -> Chunk | None:
        """Receive a chunk; where the process has ended, from another one that reads on."""
        while True:
            try:
                if self._process is None:
                    _problem, self.passed_over, *_ = await self._begin(self.checkpoint)
                    self._context.report(None)
                message = await self._receive(until)
            except Ended as end:
                await self._recover(end, self.checkpoint)
                continue
            if message is None:
                return None
            if message[0] == frames.CHUNK:
                chunk = Chunk.load(message[1:], self._unpacker)
                self._trying, self.checkpoint = False, chunk.checkpoint
                return chunk
            self._trying = message[0] == frames.TRYING

    async def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            await process.close()

    async def _begin(self, saved: Any | None) -> Any:
        """Start a process and return how opening the journal went; raises `Ended`."""
        self._trying, self._started = False, time.monotonic()
        self._unpacker = Unpacker()
        try:
            self._process = ReadingProcess(lambda line: self._context.log.warning("the journal reader says: %s", line))
        except OSError as error:
            problem = error.strerror or error
            raise ComponentError(f"the journal reader cannot be started: {problem}. isolation: none does without") from error
        self._patience = Patience(self._options.sign_of_life, self._process.ran)
        begin = {
            "options": self._options.dump(),
            "checkpoint": saved,
            "careful": self._crashes.careful,
            "skip": self._crashes.skip,
        }
        await self._process.send(begin)
        return (await self._receive(None))[1:]

    async def _receive(self, until: float | None) -> Any:
        message = await self._listen(until)
        if message is not None and message[0] == frames.FAILED:
            await self.close()
            raise ComponentError(message[1])
        return message

    async def _listen(self, until: float | None) -> Any:
        """Return the next message, None when there is none `until` then; raises `Ended` also for a process that hangs."""
        assert self._process is not None
        while True:
            look = time.monotonic() + self._patience.interval
            message = await self._process.receive(look if until is None else min(look, until))
            if message is not None:
                self._patience.heard()
                return message
            if until is not None and until < look:
                return None
            if self._patience.look():
                self._alive()
            if self._patience.is_over:
                raise Ended(STUCK)

    async def _recover(self, end: Ended, resume: Any | None) -> None:
        """Report an end, and wait before the next start where it is one of a row; raises `ComponentError` to give up."""
        await self.close()
        where = resume.get("cursor") if isinstance(resume, dict) else None
        crashes = self._crashes
        crashes.note(where, self._trying, time.monotonic() - self._started)
        self._alive()
        self._context.counters.add("restarts", reason=end.reason)
        if crashes.in_row > GIVE_UP:
            raise ComponentError(f"the journal reader {end.description}, {crashes.in_row} times at the same place")
        what = (
            "the next entry is passed over" if crashes.skip is not None else "reading goes on after the last entry handed over"
        )
        self._context.warn(f"the journal reader {end.description}; {what}")
        await asyncio.sleep(crashes.pause)
