"""Read-only connections to a store: opened when needed, used by one thread at a time, closed together.

Those that nobody uses are closed with the last reference to who lends them, too.

Each reading sees one moment of the store and is ended after `DEADLINE_SECONDS`, so that none keeps the writer from folding its
write-ahead log.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tapio_otel.event_store.errors import EventStoreError, is_damaged
from tapio_otel.event_store.schema import SCHEMA_VERSION, schema_version
from tapio_otel.storage.errors import ForeignFile

DEADLINE_SECONDS: Final = 10.0
"""A query that takes longer is ended with `EventStoreError`."""
_LOOK_EVERY: Final = 200_000
"""Steps of SQLite's machine between looks at the clock; some milliseconds."""
_CACHE_KIB: Final = 16 * 1024
Inode = tuple[int, int]


class Reading:
    """Lend connections to the file at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._idle: list[tuple[Inode, sqlite3.Connection]] = []
        self._lent: set[sqlite3.Connection] = set()
        self._is_closed = False
        weakref.finalize(self, _close_all, self._idle)

    @contextlib.contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a transaction; raises EventStoreError, also for what goes wrong meanwhile."""
        try:
            inode, database = self._connection()
            try:
                self._lend(database)
                deadline = time.monotonic() + DEADLINE_SECONDS
                database.set_progress_handler(lambda: self._is_closed or time.monotonic() > deadline, _LOOK_EVERY)
                database.execute("BEGIN")
                yield database
                database.execute("COMMIT")
                database.set_progress_handler(None, 0)  # which knows of this object
            except BaseException:
                with self._lock:
                    self._lent.discard(database)
                database.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise self._told(error) from error
        with self._lock:
            self._lent.discard(database)
            if not self._is_closed:
                self._idle.append((inode, database))
                return
        database.close()

    def _lend(self, database: sqlite3.Connection) -> None:
        with self._lock:
            if self._is_closed:
                raise EventStoreError(f"{str(self.path)!r} was closed: open it again to read on")
            self._lent.add(database)

    def _connection(self) -> tuple[Inode, sqlite3.Connection]:
        found = self.path.stat()
        inode = found.st_dev, found.st_ino
        while True:
            with self._lock:
                if not self._idle:
                    return inode, _connected(self.path)
                of, database = self._idle.pop()
            if of == inode:
                return inode, database
            database.close()

    def _told(self, error: Exception) -> EventStoreError:
        where = str(self.path)
        if isinstance(error, FileNotFoundError):
            return EventStoreError(
                f"there is no event store at {where!r}: name the directory of a sqlite exporter, or its file"
            )
        if isinstance(error, ForeignFile):
            return EventStoreError(f"{where!r} cannot be read: {error}")
        if isinstance(error, OSError):
            return EventStoreError(f"{where!r} cannot be read: {error.strerror or error}; read it as the user who writes it")
        if self._is_closed:
            return EventStoreError(f"{where!r} was closed meanwhile: open it again to read on")
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return EventStoreError(
                f"{where!r}: the query took longer than {DEADLINE_SECONDS:.0f} s: ask for less time or fewer events"
            )
        if is_damaged(error):
            return EventStoreError(f"{where!r} is damaged ({error}): the agent sets it aside when it next writes to it")
        return EventStoreError(f"{where!r} cannot be read: {error}")

    def close(self) -> None:
        """Close connections, and end what is being read, so that no process waits for it; safe to call twice."""
        with self._lock:
            self._is_closed = True
            for database in self._lent:
                database.interrupt()
            _close_all(self._idle)


def _close_all(idle: list[tuple[Inode, sqlite3.Connection]]) -> None:
    while idle:
        idle.pop()[1].close()


def _connected(path: Path) -> sqlite3.Connection:
    with path.open("rb"):  # says better than SQLite what is wrong
        pass
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        version = schema_version(database)
        if version != SCHEMA_VERSION:
            raise ForeignFile(f"it has schema version {version}; the agent brings it up to date when it next starts", "old")
        # Not mapped into memory: a file that is cut off would end the process.
        for setting in (f"cache_size=-{_CACHE_KIB}", "query_only=ON", "temp_store=MEMORY"):
            database.execute(f"PRAGMA {setting}")
    except BaseException:
        database.close()
        raise
    return database
