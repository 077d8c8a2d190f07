"""Queue files for tests: made, altered and read back; and a small file system that can be full."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tapio_otel.storage import RequestStore
from tapio_otel.storage.queue_file import QueueFile
from tapio_otel.storage.row import Row
from tapio_otel.storage.writer import Found
from tests.requirements import require

LOG = logging.getLogger("tapio.test")
OLD_TABLE = (
    "CREATE TABLE request (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, created_ns INTEGER NOT NULL, body BLOB NOT NULL)"
)
"""The table as it was before schema version 1."""


def rows(count: int, size: int = 100, begin: int = 1) -> list[Row]:
    """Return requests, each of another content and number of events."""
    return [Row(id, id % 7 + 1, 1000 + id, "proto", (b"%08d" % id) * (size // 8 + 1)) for id in range(begin, begin + count)]


def make_file(path: Path, wanted: list[Row]) -> None:
    """Make a file that holds these requests, closed."""
    file = QueueFile(path)
    file.open()
    for row in wanted:
        file.commit([row], [])
    file.close()


def content(path: Path) -> list[Row]:
    """Return the whole requests that a file holds."""
    file = QueueFile(path)
    file.open()
    found = list(file.rows())
    file.close()
    return found


def aside(path: Path, suffix: str = "*") -> list[str]:
    """Return the names of what was set aside."""
    return sorted(
        one.name for one in path.parent.glob(f"{path.name}.{suffix}-*") if not one.name.endswith(("-wal", "-shm", "-journal"))
    )


class Opened:
    """Hold an open store, and what it has told."""

    def __init__(self, path: Path, fsync: bool = True) -> None:
        self.problems: list[str | None] = []
        self.found: list[Found] = []
        self.written: list[Row] = []
        self.changed = asyncio.Event()
        self.store = RequestStore(path, 1 << 30, fsync, LOG, self._report)
        self.store.found = self.found.append
        self.store.changed = self.changed.set

    def _report(self, problem: str | None) -> None:
        self.problems.append(problem)
        self.changed.set()

    def put(self, *bodies: bytes) -> None:
        """Put requests in, of one event each."""
        for body in bodies:
            self.store.put(body, 1, "proto", self.written.append)

    async def until_written(self, count: int) -> None:
        """Wait until so many requests are on disk."""
        async with asyncio.timeout(20):
            while len(self.written) < count:
                self.changed.clear()
                await self.changed.wait()

    async def until_problem(self, text: str | None) -> None:
        """Wait until a problem is reported that has this text in it, or its end (None)."""
        async with asyncio.timeout(20):
            while not any(text is one or (one and text and text in one) for one in self.problems):
                self.changed.clear()
                await self.changed.wait()

    async def bodies(self) -> list[bytes]:
        """Return all that is in the file."""
        return [row.body for row in (await self.store.read(-1, 1 << 40)).rows]


@contextlib.asynccontextmanager
async def opened(path: Path, fsync: bool = True) -> AsyncIterator[Opened]:
    """Open a store meanwhile."""
    one = Opened(path, fsync)
    await one.store.open()
    try:
        yield one
    finally:
        await one.store.close()


@contextlib.contextmanager
def small_disk(place: Path, size: str = "4m", options: str = "") -> Iterator[Path]:
    """Mount a small file system meanwhile."""
    require("root", os.geteuid() == 0, "mounting a small file system needs the rights of root")
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tapio-test", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(directory: Path) -> Path:
    """Take up all the room of a file system; returns the file to remove for room."""
    ballast = directory / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast
