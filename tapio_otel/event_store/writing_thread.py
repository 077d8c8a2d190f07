"""The thread that writes a store: what has gathered meanwhile becomes one transaction; limits are kept in between.

While the disk is full or fails, or a reader keeps the write-ahead log from being folded, what is to be written waits and is
tried again every second. A damaged file, one of a newer agent and one that is no store are set aside under another name, and a
new one is begun. After a fault of the agent's own the file is opened anew, and what is to be written is tried again; what alone
brings the fault about once more is refused.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tapio_otel.event_store.errors import is_damaged
from tapio_otel.event_store.record import Record
from tapio_otel.event_store.retention import RetentionLimits
from tapio_otel.event_store.writer import EventStoreWriter
from tapio_otel.storage.errors import DISK_ERRORS, ForeignFile
from tapio_otel.storage.salvage import set_aside

GROUP: Final = 20_000
"""Most events of one transaction, so that the first of many do not wait for all."""
RETRY_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 30.0
"""How often limits are looked at while nothing is written."""
WAL_BYTES: Final = 256 * 1024 * 1024
"""Size of the write-ahead log from which on nothing more is written until it can be folded."""
_STEPS: Final = 4
_TOLD: Final = 2
"""Faults in a row that are logged."""

_NOT_OURS: Final = (sqlite3.ProgrammingError, sqlite3.InterfaceError, ValueError, OverflowError, TypeError)
"""What is raised for a record that SQLite cannot hold: the file is not at fault."""


class _Group(NamedTuple):
    records: list[Record]
    written: Callable[[], None]


class Listener(NamedTuple):
    """Name who is told what happens; called in the thread. `counted` gets how many were written, repeated and refused."""

    counted: Callable[[int, int, int], None]

    problem: Callable[[str | None], None]
    ended: Callable[[], None]


class WritingThread:
    """Write records to the store in a file. `add` and `stop` return at once and may be called from any thread."""

    def __init__(self, path: Path, limits: RetentionLimits, fsync: bool, listener: Listener, log: logging.Logger) -> None:
        self._path, self._limits, self._fsync, self._listener, self._log = path, limits, fsync, listener, log
        self._changed = threading.Condition()
        self._waiting: deque[_Group] = deque()
        self._stopping = self._is_failing = self._was_set_aside = False
        self._faults = 0
        """Faults of ours in a row."""
        self._problem = ""
        self._writer: EventStoreWriter | None = None
        self._thread = threading.Thread(target=self._run, name=f"event store {path}", daemon=True)

    def start(self) -> None:
        """Start the thread, which opens the file first."""
        self._thread.start()

    def add(self, records: list[Record], written: Callable[[], None]) -> None:
        """Write records, after those before them; `written` is called in the thread."""
        with self._changed:
            self._waiting.append(_Group(records, written))
            self._changed.notify()

    def stop(self) -> None:
        """End once everything is written, or at once if that is not possible now."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._work()
            while self._wait():
                self._work()
        finally:
            self._close()
            self._listener.ended()

    def _wait(self) -> bool:
        """Wait for something to do; tells whether to go on."""
        with self._changed:
            if self._is_failing:
                self._changed.wait_for(lambda: self._stopping, RETRY_SECONDS)
                return not self._stopping
            self._changed.wait_for(lambda: self._stopping or bool(self._waiting), IDLE_SECONDS)
            return bool(self._waiting) or not self._stopping

    def _work(self) -> None:
        try:
            self._attempt()
        except BaseException as error:  # whatever it is: nobody else would write, and receivers would wait for ever
            self._recover(error)

    def _attempt(self) -> None:
        try:
            writer = self._opened()
            count = self._write(writer)
            self._tidy(writer, count)
            if not self._waiting:
                writer.rest()
        except _LogTooLarge as error:
            self._hold_on(str(error))
        except DISK_ERRORS as error:
            self._overcome(error)
        else:
            self._is_failing = self._was_set_aside = False
            self._faults = 0
            self._note("")

    def _opened(self) -> EventStoreWriter:
        if self._writer is not None and not self._writer.is_in_place:
            self._log.error("%s was removed or replaced: a new event store is begun unless there is one", self._path)
            self._close()
        if self._writer is None:
            self._writer = EventStoreWriter(self._path, self._limits, self._fsync)
        return self._writer

    def _write(self, writer: EventStoreWriter) -> int:
        """Write what has gathered; returns how many events that were."""
        groups = self._gathered()
        records = [record for group in groups for record in group.records]
        if records:
            self._fold_if_large(writer)
            repeated, refused = _add(writer, records, self._faults > 0)
            with self._changed:
                for _ in groups:
                    self._waiting.popleft()
            self._listener.counted(len(records) - repeated - refused, repeated, refused)
            for group in groups:
                group.written()
        return len(records)

    def _gathered(self) -> list[_Group]:
        groups: list[_Group] = []
        count = 0
        with self._changed:
            for group in self._waiting:
                if groups and count + len(group.records) > GROUP:
                    break
                groups.append(group)
                count += len(group.records)
        return groups

    def _fold_if_large(self, writer: EventStoreWriter) -> None:
        if writer.wal_bytes() > WAL_BYTES:
            writer.fold()
            if writer.wal_bytes() > WAL_BYTES:
                raise _LogTooLarge(f"a program that reads {str(self._path)!r} does not come to an end; waiting for it")

    def _tidy(self, writer: EventStoreWriter, count: int) -> None:
        """Keep to the limits: at least as fast as events come, and to the end where none are waiting."""
        steps = _STEPS + count // 1000
        while writer.tidy(time.time_ns()):
            steps -= 1
            with self._changed:
                if (self._waiting or self._stopping) and steps <= 0:
                    return

    def _overcome(self, error: Exception) -> None:
        """Set a file aside that cannot be used, or note that it cannot be written for now."""
        if (isinstance(error, ForeignFile) or is_damaged(error)) and not self._was_set_aside:
            try:
                self._set_aside(error)
            except DISK_ERRORS as another:
                error = another
            else:
                self._was_set_aside = True
                return self._attempt()
        words = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return self._hold_on(f"cannot write to {str(self._path)!r}: {words}; waiting until it works")

    def _recover(self, error: BaseException) -> None:
        """Begin anew after a fault of ours."""
        self._faults += 1
        if self._faults <= _TOLD:
            self._log.error("a fault while writing %s, which is opened again", self._path, exc_info=error)
        self._close()
        self._hold_on(
            f"a fault of the agent ({type(error).__name__}: {error}) keeps it from writing to {str(self._path)!r}; it is "
            "opened again every second. Report what the log says; if it does not end, restart the agent, or move the file away"
        )

    def _set_aside(self, error: Exception) -> None:
        self._close()
        aside = set_aside(self._path, error.suffix if isinstance(error, ForeignFile) else "damaged")
        self._log.error("%s cannot be used (%s): set aside as %s, a new event store is begun", self._path, error, aside)

    def _hold_on(self, problem: str) -> None:
        self._is_failing = True
        self._note(problem)

    def _note(self, problem: str) -> None:
        before, self._problem = self._problem, problem
        if problem != before:
            self._listener.problem(problem or None)

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except sqlite3.Error as error:
                self._log.warning("%s was not closed properly: %s", self._path, error)


def _add(writer: EventStoreWriter, records: list[Record], is_faulty: bool) -> tuple[int, int]:
    """Write records but for those that are refused; returns how many were there already, and how many were refused.

    Where there was a fault of ours before, what alone brings it about is refused, too; unless nothing could be written.
    """
    try:
        return writer.add(records), 0
    except _NOT_OURS:
        return _in_halves(writer, records, is_faulty)
    except (*DISK_ERRORS, MemoryError):
        raise
    except Exception:
        if not is_faulty:
            raise
        repeated, refused = _in_halves(writer, records, is_faulty)
        if refused == len(records) > 1:
            raise
        return repeated, refused


def _in_halves(writer: EventStoreWriter, records: list[Record], is_faulty: bool) -> tuple[int, int]:
    """Write records of which one at least is refused, each half alone, until it is found."""
    if len(records) == 1:
        return 0, 1
    repeated = refused = 0
    for half in (records[: len(records) // 2], records[len(records) // 2 :]):
        try:
            repeated += writer.add(half)
        except Exception as error:
            if not isinstance(error, _NOT_OURS) and (not is_faulty or isinstance(error, (*DISK_ERRORS, MemoryError))):
                raise
            counts = _in_halves(writer, half, is_faulty)
            repeated, refused = repeated + counts[0], refused + counts[1]
    return repeated, refused


class _LogTooLarge(Exception):
    """Report that the write-ahead log grows because of a reader."""
