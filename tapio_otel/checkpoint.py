"""Checkpoints: where each receiver resumes, kept in one SQLite file under the state directory.

A write happens only when a checkpoint has moved, off the event loop, and always stores the latest one. SQLite's WAL makes it
atomic; what a power cut may take away is only the last moves, after which events are repeated and never missed.
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
from pathlib import Path
from typing import Any, Final

from tapio_otel.component import ComponentError

SCHEMA_VERSION: Final = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS checkpoint (component TEXT PRIMARY KEY, value TEXT NOT NULL, moved_ns INTEGER NOT NULL)
"""


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
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the directory; safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class CheckpointStore:
    """Keep the latest checkpoint of every component in `checkpoints.db`.

    A file that SQLite cannot read, or of a newer schema, is set aside under another name with an error in the log; the
    receivers then start as their configuration says.
    """

    def __init__(self, directory: Path, log: logging.Logger) -> None:
        self._path = directory / "checkpoints.db"
        self._log = log
        self._pending: dict[str, Any] = {}
        self._moved = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._database: sqlite3.Connection | None = None
        self.saved: dict[str, Any] = {}

    def open(self) -> None:
        """Open the file and read what it holds."""
        try:
            self._load()
        except (sqlite3.DatabaseError, ValueError) as error:
            self._set_aside(error)
            self._load()

    def _load(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._database = database
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise ValueError(f"it has schema version {version}, this agent knows {SCHEMA_VERSION}")
        database.execute(_TABLE)
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        rows = database.execute("SELECT component, value FROM checkpoint").fetchall()
        self.saved = {component: json.loads(value) for component, value in rows}

    def _set_aside(self, error: Exception) -> None:
        self.close()
        aside = self._path.with_name(f"{self._path.name}.unreadable-{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        self._log.error(
            "the checkpoints in %s cannot be read (%s); set aside as %s. Receivers start anew, as their start_at says",
            *(self._path, error, aside.name),
        )

    def put(self, component: str, value: Any) -> None:
        """Note where a component has come to; it reaches the disk soon after, see `keep_writing`."""
        self._pending[component] = value
        self._moved.set()

    async def keep_writing(self) -> None:
        """Write checkpoints as they move, until cancelled."""
        while True:
            await self._moved.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write what has moved since the last write; when cancelled, only after a write under way has ended."""
        async with self._one_at_a_time:
            self._moved.clear()
            moved, self._pending = self._pending, {}
            if moved and self._database is not None:
                await self._written(moved)

    async def _written(self, moved: dict[str, Any]) -> None:
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, moved))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise
        except sqlite3.Error as error:
            self._log.error("checkpoints cannot be written to %s: %s. They are kept and tried again", self._path, error)
            self._pending = {**moved, **self._pending}
            await asyncio.sleep(1)
            self._moved.set()

    def _write(self, moved: dict[str, Any]) -> None:
        database = self._database
        if database is None:
            return
        now = time.time_ns()
        rows = [(component, json.dumps(value), now) for component, value in moved.items()]
        with database:
            database.execute("BEGIN")
            database.executemany("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._database is not None:
            self._database.close()
            self._database = None
