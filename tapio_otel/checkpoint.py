"""Checkpoints: where each receiver resumes, kept in one SQLite file under the state directory.

A write happens only when a checkpoint has moved, off the event loop, and always stores the latest one. SQLite's WAL makes it
atomic; what a power cut may take away is only the last moves, after which events are repeated and never missed. Each checkpoint
has a checksum, so that a flipped bit makes it a missing one and never a wrong one.

What can be wrong with the file never stops the agent, and never makes it fail again at each start:
- A file that is damaged, of a newer schema or something else altogether is set aside under another name.
- A single checkpoint that is damaged is left out; the others count.
- While the file cannot be written (full disk, read-only), checkpoints are kept in memory and tried again; what it holds counts.
- A file that was deleted or replaced while the agent runs is made anew with all checkpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import time
import zlib
from pathlib import Path
from typing import Any, Final

from tapio_otel.component import ComponentError

SCHEMA_VERSION: Final = 2
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS checkpoint
    (component TEXT PRIMARY KEY, value TEXT NOT NULL, moved_ns INTEGER NOT NULL, checksum INTEGER)
"""
_OF_THE_DISK: Final = frozenset(
    (
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY),
        *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN),
    )
)
"""Errors that say nothing about what the file holds: it may be well again in a moment."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts to write to a file that cannot be written."""


class StateDirectory:
    """Own the state directory: one agent only. Raises `ComponentError` when it cannot be used or another agent has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def acquire(self) -> None:
        """Create the directory and lock it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ComponentError(
                f"service.state_dir: cannot use {str(self.path)!r}: {error.strerror}. "
                "Set service.state_dir to a directory this user may write, or correct its rights"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise ComponentError(
                f"service.state_dir: another agent (pid {holder}) uses {str(self.path)!r}. "
                "Stop it, or give this one a service.state_dir of its own"
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the pid only serves a message
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the directory; safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class CheckpointStore:
    """Keep the latest checkpoint of every component in `checkpoints.db`. `saved` has them all, also those not yet written."""

    def __init__(self, directory: Path, log: logging.Logger) -> None:
        self._path = directory / "checkpoints.db"
        self._log = log
        self._texts: dict[str, str] = {}
        self._pending: dict[str, str] = {}
        self._moved = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._database: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._trouble: str | None = None
        self.saved: dict[str, Any] = {}

    def open(self) -> None:
        """Open the file and read what it holds; what is wrong with it goes to the log, and nothing is raised."""
        if os.path.lexists(self._path) and not self._path.is_file():
            self._set_aside("it is no regular file")
        try:
            self._take(self._open())
        except (sqlite3.Error, ValueError, OSError) as error:
            if _is_of_the_disk(error):
                self._read_only(error)
            else:
                self._set_aside(str(error))
                self._begin_anew()

    def _begin_anew(self) -> None:
        try:
            self._open()
        except (sqlite3.Error, ValueError, OSError) as error:
            self._note_trouble(error)

    def _open(self) -> sqlite3.Connection:
        database = self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        _check(database)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        with database:
            database.execute("BEGIN IMMEDIATE")  # proves that it can be written
            _upgrade(database)
        found = self._path.stat()
        self._file = found.st_dev, found.st_ino
        return database

    def _take(self, database: sqlite3.Connection) -> None:
        damaged = []
        for component, text, checksum in database.execute("SELECT component, value, checksum FROM checkpoint"):
            try:
                if checksum is not None and checksum != _checksum(component, text):
                    raise ValueError("its checksum is wrong")
                self.saved[component] = json.loads(text)
                self._texts[component] = text
            except (ValueError, TypeError):
                damaged.append(str(component))
        if damaged:
            self._log.error(
                "in %s the checkpoints of %s are damaged and left out. These start anew, as their start_at says",
                *(self._path, ", ".join(damaged)),
            )

    def _read_only(self, error: Exception) -> None:
        """Take what a file holds that cannot be written at this moment."""
        self.close()
        for how in ("mode=ro", "immutable=1"):  # the second where not even the WAL's index can be made
            try:
                with contextlib.closing(sqlite3.connect(f"{self._path.as_uri()}?{how}", uri=True)) as database:
                    _check(database)
                    self._take(database)
                    break
            except (sqlite3.Error, ValueError):
                continue
        self._note_trouble(error)

    def _set_aside(self, reason: str) -> None:
        self.close()
        aside = self._path.with_name(f"{self._path.name}.unreadable-{time.time_ns()}")
        try:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        except OSError as error:
            self._log.error("%s cannot be read (%s), and not be set aside: %s", self._path, reason, error.strerror)
            return
        goes_on = "Those of this run are written anew" if self._texts else "Receivers start anew, as their start_at says"
        self._log.error(
            "the checkpoints in %s cannot be read (%s); set aside as %s. %s", self._path, reason, aside.name, goes_on
        )

    def put(self, component: str, value: Any) -> None:
        """Note where a component has come to; it reaches the disk soon after, see `keep_writing`."""
        try:
            text = json.dumps(value)
        except (TypeError, ValueError) as error:
            self._log.error("%s: its checkpoint %r cannot be saved, for it is not JSON: %s", component, value, error)
            return
        self.saved[component] = value
        self._texts[component] = self._pending[component] = text
        self._moved.set()

    async def keep_writing(self) -> None:
        """Write checkpoints as they move, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            await self._moved.wait()
            if await self.flush():
                pause = FIRST_PAUSE
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                self._moved.set()

    async def flush(self) -> bool:
        """Write what has moved since the last write; when cancelled, only after a write under way has ended.

        Tells whether it was written; if not, it is kept for the next time.
        """
        async with self._one_at_a_time:
            self._moved.clear()
            moved, self._pending = self._pending, {}
            return not moved or await self._written(moved)

    async def _written(self, moved: dict[str, str]) -> bool:
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, moved, dict(self._texts)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            if writing.exception() is not None:
                self._pending = {**moved, **self._pending}
            raise
        except (sqlite3.Error, OSError) as error:
            self._pending = {**moved, **self._pending}
            self._note_trouble(error)
            return False
        if self._trouble is not None:
            self._trouble = None
            self._log.warning("checkpoints are written to %s again", self._path)
        return True

    def _note_trouble(self, error: Exception) -> None:
        """Tell once of each thing that keeps checkpoints from being written."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._log.error(
                "checkpoints cannot be written to %s: %s. They are kept and tried again; "
                "were the agent to end now, receivers would repeat what came since the last one written",
                *(self._path, error),
            )

    def _write(self, moved: dict[str, str], every: dict[str, str]) -> None:
        """Write the checkpoints that moved, or all to a file that is new; runs in a thread."""
        if self._database is None or not self._is_ours():
            self._reopen()
            moved = every
        try:
            self._store(moved)
        except sqlite3.DatabaseError as error:
            if _is_of_the_disk(error):
                raise
            self._set_aside(str(error))
            self._reopen()
            self._store(every)

    def _reopen(self) -> None:
        """Open the file that is there now, which need not be the one that was."""
        self.close()
        try:
            self._open()
        except (sqlite3.DatabaseError, ValueError) as error:
            self.close()
            if _is_of_the_disk(error):
                raise
            self._set_aside(str(error))
            self._open()

    def _is_ours(self) -> bool:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._file

    def _store(self, texts: dict[str, str]) -> None:
        assert self._database is not None
        now = time.time_ns()
        rows = [(component, text, now, _checksum(component, text)) for component, text in texts.items()]
        if self._database.in_transaction:  # a commit that failed may leave it so
            self._database.rollback()
        with self._database as database:
            database.execute("BEGIN")
            database.executemany("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()


def _check(database: sqlite3.Connection) -> None:
    """Raise ValueError when a file is of another schema, of another program, or damaged."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if not 0 <= version <= SCHEMA_VERSION:
        raise ValueError(f"it has schema version {version}, this agent knows {SCHEMA_VERSION}")
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise ValueError(f"it is damaged: {found}")
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables != ({"checkpoint"} if version else set()):
        raise ValueError(f"it holds no checkpoints of this agent (tables {sorted(tables)})")


def _upgrade(database: sqlite3.Connection) -> None:
    """Bring the file to the schema of this version; raises sqlite3.Error when it has other tables of these names."""
    if database.execute("PRAGMA user_version").fetchone()[0] == 1:
        database.execute("ALTER TABLE checkpoint ADD COLUMN checksum INTEGER")
    database.execute(_TABLE)
    database.execute("SELECT component, value, moved_ns, checksum FROM checkpoint LIMIT 0")
    if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _checksum(component: str, text: str) -> int:
    return zlib.crc32(f"{component}\0{text}".encode())


def _is_of_the_disk(error: Exception) -> bool:
    """Tell whether an error is about writing and says nothing about what the file holds."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK
    return isinstance(error, OSError)
