"""Write to a file or terminal from a thread of its own, in order, so that a slow one never stops the event loop.

The thread is a daemon: one that hangs in a write to a stopped terminal does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

MOST_WAITING: Final = 8 * 1024 * 1024
Written = Callable[[Exception | None], None]
"""Called on the event loop once a chunk is written, or with the reason why it is not."""
Item = tuple[list[bytes], int, Written]


class BackgroundWriter:
    """Hand chunks (lists of bytes) to `write`, which runs in the thread, as they gather; tell when they are written."""

    def __init__(
        self, name: str, write: Callable[[list[bytes]], None], close: Callable[[], None], most_waiting: int = MOST_WAITING
    ) -> None:
        self._write = write
        self._close = close
        self._most_waiting = most_waiting
        self._chunks: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False
        self.waiting = 0
        """Bytes handed over but not written."""

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def put(self, chunk: list[bytes], written: Written) -> None:
        """Hand over a chunk; waits while too much is waiting already."""
        while self.waiting >= self._most_waiting:
            await self._change()
        size = sum(map(len, chunk))
        self.waiting += size
        self._chunks.put((chunk, size, written))

    async def drain(self) -> None:
        """Wait until everything is written."""
        while self.waiting:
            await self._change()

    async def stop(self, patience: float = 1.0) -> None:
        """End the thread; returns after `patience` seconds even if it hangs in a write."""
        self._chunks.put(None)
        deadline = asyncio.get_running_loop().time() + patience
        while self._loop is not None and not self._ended and (left := deadline - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.wait_for(self._change(), left)
            except TimeoutError:
                return

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _run(self) -> None:
        try:
            while (first := self._chunks.get()) is not None:
                stop, gathered = self._gather(first)
                problem = self._attempt([part for chunk, _size, _written in gathered for part in chunk])
                self._tell(self._report, gathered, problem)
                if stop:
                    break
        finally:
            self._close()
            self._tell(self._report_end)

    def _gather(self, first: Item) -> tuple[bool, list[Item]]:
        gathered, size = [first], first[1]
        while size < self._most_waiting:
            try:
                item = self._chunks.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return True, gathered
            gathered.append(item)
            size += item[1]
        return False, gathered

    def _attempt(self, chunks: list[bytes]) -> Exception | None:
        try:
            self._write(chunks)
        except Exception as error:
            return error
        return None

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(what, *arguments)

    def _report(self, gathered: list[Item], problem: Exception | None) -> None:
        for _chunk, size, written in gathered:
            self.waiting -= size
            written(problem)
        self._changed.set()

    def _report_end(self) -> None:
        self._ended = True
        self._changed.set()
