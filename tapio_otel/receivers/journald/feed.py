"""Where the receiver gets the journal's entries from: a reader in the agent itself or, usually, one in a process of its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from tapio_otel.component import ComponentError
from tapio_otel.receivers.journald.chunk import Chunk, Portions
from tapio_otel.receivers.journald.options import ReaderOptions, ReadingFailed
from tapio_otel.receivers.journald.reader import JournalReader


class Feed(Protocol):
    """Give one journal's chunks in order. `close` it."""

    passed_over: dict[str, str]
    """The files that cannot be read, and why, as of when the journal was opened last."""
    estimate: int | None
    """How many entries there were to read then, if that can be told cheaply."""
    checkpoint: dict[str, Any] | None
    """Where reading resumes after all that was given so far, or None when there is no such place yet."""

    async def open(self, saved: Any | None) -> str | None:
        """Open the journal at a saved checkpoint; returns why that was of no use, if so. Raises `ComponentError`."""

    async def next(self, until: float | None) -> Chunk | None:
        """Wait for the next chunk and return it; None when there is none `until` that moment of `time.monotonic`."""

    async def close(self) -> None:
        """Let go of the journal; safe to call twice, and before `open`."""


class DirectFeed:
    """Read in the agent's own process, in slices short enough for its event loop."""

    def __init__(self, options: ReaderOptions) -> None:
        self._options = options
        self._reader = JournalReader(options)
        self._portions = Portions(options.batch_size)
        self._ended = False
        self.passed_over: dict[str, str] = {}
        self.estimate: int | None = None
        self.checkpoint: dict[str, Any] | None = None

    async def open(self, saved: Any | None) -> str | None:
        """Open the journal."""
        try:
            problem = self._reader.open(saved)
        except ReadingFailed as error:
            raise ComponentError(str(error)) from error
        self.passed_over, self.estimate = self._reader.passed_over, self._reader.estimate
        self.checkpoint = self._reader.checkpoint()
        return problem

    async def next(self, until: float | None) -> Chunk | None:
        """Read a chunk, after waiting for a change where the last one ended the journal."""
        if self._ended:
            await self._wait(until)
        try:
            chunk = self._reader.read(self._portions.limit)
        except ReadingFailed as error:
            raise ComponentError(str(error)) from error
        self._portions.take(chunk)
        self._ended, self.checkpoint = chunk.at_end, chunk.checkpoint
        return chunk

    async def close(self) -> None:
        """Close the journal's files."""
        self._reader.close()

    async def _wait(self, until: float | None) -> None:
        """Wait until the journal changes or `until`, but at least `read_interval`: entries come in batches."""
        earliest = time.monotonic() + self._options.read_interval
        due = None if until is None else until - time.monotonic()
        limits = [limit for limit in (self._reader.timeout(), due, self._options.poll_interval) if limit is not None]
        await readable(self._reader.fileno(), min(limits))
        await asyncio.sleep(earliest - time.monotonic())
        self._reader.process()


async def readable(descriptor: int, timeout: float | None) -> bool:  # noqa: ASYNC109
    """Wait until a descriptor is readable; tells whether it became so within `timeout` seconds."""
    loop = asyncio.get_running_loop()
    changed = loop.create_future()

    def wake() -> None:
        loop.remove_reader(descriptor)  # it stays readable until somebody reads: once is enough
        if not changed.done():
            changed.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        async with asyncio.timeout(timeout):
            await changed
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
