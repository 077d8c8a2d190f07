"""The event loop's side of a queue on disk: what is put in is told to be written, once it is; nothing here waits for a disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from tapio_otel.component import ComponentError, ComponentId, Kind
from tapio_otel.storage.queue_file import QueueFile
from tapio_otel.storage.row import Row
from tapio_otel.storage.writer import Addition, DiskWriter, Found, Listener, Reading, Rows

Report = Callable[[str | None], None]
"""Take a problem in one line, or None when it is over."""


@runtime_checkable
class Storage(Protocol):
    """Be what an extension offers to the components that keep something on disk."""

    def request_store(self, kind: Kind, id: ComponentId, log: logging.Logger, report: Report) -> RequestStore:
        """Return the store of one component, not yet open, and its alone until it is closed; raises ComponentError."""


class RequestStore:
    """Keep requests in one file. To be opened once and closed once, on the loop that uses it."""

    def __init__(self, path: Path, max_bytes: int, fsync: bool, log: logging.Logger, report: Report) -> None:
        self.max_bytes = max_bytes
        """Most bytes of requests that the user allows; to be kept by who puts them in."""
        self.pending_bytes = 0
        """Bytes put in that are not on the disk yet."""
        self.found: Callable[[Found], None] = lambda _found: None
        """Called when the file is open, which on a full disk may be later than `open` returns."""
        self.changed: Callable[[], None] = lambda: None
        """Called when something was written or removed, and when the disk fails."""
        self.closed: Callable[[], None] = lambda: None
        """Called when the store was closed."""
        self._path = path
        self._log = log
        self._report = report
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Future[None] | None = None
        self._ended = asyncio.Event()
        listener = Listener(
            lambda found: self._tell(self._opened, found),
            lambda error: self._tell(self._failed, error),
            lambda written: self._tell(self._written, written),
            lambda problem: self._tell(self._problem, problem),
            lambda: self._tell(self._ended.set),
        )
        self._writer = DiskWriter(QueueFile(path, fsync), listener, log)

    @property
    def unremoved(self) -> int:
        """Return how many requests were to be removed and are still on the disk; 0 while it fails."""
        return self._writer.unremoved

    async def open(self) -> None:
        """Open the file; returns also when that has to wait for a disk that is full. Raises ComponentError."""
        self._loop = asyncio.get_running_loop()
        self._opening = self._loop.create_future()
        self._writer.start()
        try:
            await self._opening
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error
        except Exception as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, reason: str) -> ComponentError:
        return ComponentError(
            f"sending_queue.storage: cannot open {str(self._path)!r}: {reason}. "
            "Correct the rights of the directory and the file, or give the extension another directory"
        )

    def put(self, body: bytes, items: int, encoding: str, written: Callable[[Row], None]) -> None:
        """Write a request; `written` is called once it is on the disk."""
        self.pending_bytes += len(body)
        self._writer.add(Addition(items, time.time_ns(), encoding, body, written))

    def remove(self, id: int) -> None:
        """Remove a request."""
        self._writer.remove(id)

    async def read(self, after: int, most_bytes: int) -> Rows:
        """Return the requests that follow an id, until they reach `most_bytes`; waits while the file cannot be read."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Rows] = loop.create_future()

        def answer(rows: Rows) -> None:
            if not answered.done():
                answered.set_result(rows)

        self._writer.read(Reading(after, most_bytes, lambda rows: self._tell(answer, rows)))
        return await answered

    async def close(self, patience: float = 5.0) -> None:
        """Write what was put in, if that is possible now, and close the file; gives a disk that hangs up after `patience` s."""
        self._writer.stop()
        try:
            if self._loop is not None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), patience)
        finally:
            self.closed()

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(what, *arguments)

    def _opened(self, found: Found) -> None:
        self.found(found)
        self._end_opening(None)

    def _failed(self, error: Exception) -> None:
        self._report(str(error))
        self._end_opening(error)

    def _problem(self, problem: str | None) -> None:
        self._report(problem)
        if problem is None:
            self._log.warning("the queue in %s is written again", self._path)
        else:
            self._log.error("%s", problem)
        self._end_opening(None)

    def _end_opening(self, error: Exception | None) -> None:
        if self._opening is None or self._opening.done():
            return
        if error is None:
            self._opening.set_result(None)
        else:
            self._opening.set_exception(error)

    def _written(self, written: list[tuple[Addition, Row]]) -> None:
        for addition, row in written:
            self.pending_bytes -= len(row.body)
            addition.written(row)
        self.changed()
