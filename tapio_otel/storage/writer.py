"""The thread that does all work on one queue's file: what has gathered meanwhile becomes one transaction.

While the disk is full or fails, what is to be written waits here and is tried again every second; reading and removing go on as
far as they can. A damaged file is salvaged in place, and the work that met the damage is done again. A file that was removed or
replaced is written anew from the open one.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tapio_otel.storage.errors import DISK_ERRORS, ForeignFile, is_damage
from tapio_otel.storage.queue_file import QueueFile
from tapio_otel.storage.row import Damaged, Row, Totals
from tapio_otel.storage.salvage import Salvaged, finish, put_back, salvage, set_aside

GROUP_BYTES: Final = 8 * 1024 * 1024
"""Most that one transaction adds, so that the first of many does not wait for all."""
RETRY_SECONDS: Final = 1.0
_NO_RIGHTS: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.EISDIR)
_NO_RIGHTS_FOR_SQLITE: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


@dataclass(frozen=True, slots=True)
class Found:
    """Say what a file held when it was opened, since when, and what of it was damaged."""

    totals: Totals
    oldest_ns: int
    damaged: Totals


@dataclass(frozen=True, slots=True)
class Rows:
    """Answer a reading. `beyond` is told once after a salvage: what there is now behind the last of these rows."""

    rows: list[Row]
    damaged: list[Damaged]
    beyond: Totals | None = None


class Addition(NamedTuple):
    """Be a request to write, and what to call when it is on the disk."""

    items: int
    created_ns: int
    encoding: str
    body: bytes
    written: Callable[[Row], None]


class Reading(NamedTuple):
    """Be a wish to read what follows an id."""

    after: int
    most_bytes: int
    answer: Callable[[Rows], None]


class Listener(NamedTuple):
    """Name who is told what happens; called in the thread."""

    opened: Callable[[Found], None]
    failed: Callable[[Exception], None]
    written: Callable[[list[tuple[Addition, Row]]], None]
    problem: Callable[[str | None], None]
    ended: Callable[[], None]


class DiskWriter:
    """Work on one file. `add`, `remove`, `read` and `stop` return at once and may be called from any thread."""

    def __init__(self, file: QueueFile, listener: Listener, log: logging.Logger) -> None:
        self._file = file
        self._listener = listener
        self._log = log
        self._changed = threading.Condition()
        self._added: deque[Addition] = deque()
        self._removed: list[int] = []
        self._readings: deque[Reading] = deque()
        self._stopping = self._is_asked = self._is_failing = False
        self._was_opened = self._is_salvaged = self._recount = False
        self._damaged = Totals()
        self._trouble = ""
        self._next_id = 1
        self._thread = threading.Thread(target=self._run, name=f"queue {file.path.name}", daemon=True)

    @property
    def unremoved(self) -> int:
        """Return how many requests were to be removed and are still in the file; 0 while the disk fails."""
        return 0 if self._is_failing else len(self._removed)

    def start(self) -> None:
        """Start the thread, which opens the file first."""
        self._thread.start()

    def add(self, addition: Addition) -> None:
        """Write a request, after those before it."""
        with self._changed:
            self._added.append(addition)
            self._changed.notify()

    def remove(self, id: int) -> None:
        """Remove a request that was written."""
        with self._changed:
            self._removed.append(id)
            self._changed.notify()

    def read(self, reading: Reading) -> None:
        """Read requests, all that was written before among them."""
        with self._changed:
            self._readings.append(reading)
            self._is_asked = True
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
            if self._is_failing and self._was_opened:
                self._work()  # the disk may have room by now
        except Exception as error:  # a fault of ours: nothing is lost that was written, and nothing more is taken
            self._log.exception("the queue in %s can no longer be written", self._file.path)
            self._listener.failed(error)
        finally:
            self._file.close()
            self._listener.ended()

    def _wait(self) -> bool:
        """Wait for something to do; tells whether to go on."""
        with self._changed:
            if self._stopping and not self._was_opened:
                return False
            if self._is_failing:
                self._changed.wait_for(lambda: self._stopping or self._is_asked, RETRY_SECONDS)
                self._is_asked = False  # one that cannot be answered now must not make this a busy loop
                return not self._stopping
            self._changed.wait_for(lambda: self._stopping or self._has_work)
            return self._has_work

    @property
    def _has_work(self) -> bool:
        return bool(self._added or self._removed or self._readings)

    def _work(self) -> None:
        try:
            self._open()
            if self._is_failing:
                self._remove_alone()
            self._write()
            self._answer()
            self._give_back()
        except DISK_ERRORS as error:
            self._overcome(error)
        else:
            self._is_failing = self._is_salvaged = False
            if not self._added:  # where room comes little by little, this is not said of each request
                self._note("")

    def _open(self) -> None:
        if self._file.is_open:
            return
        interrupted = finish(self._file.path)
        if interrupted is not None:
            self._log.error("went on with an interrupted salvage of %s; what is left of it is %s", self._file.path, interrupted)
        self._file.open()
        self._next_id = max(self._next_id, self._file.last_id() + 1)
        if not self._was_opened:
            self._was_opened = True
            self._listener.opened(Found(self._file.totals(), self._file.oldest_ns(), self._damaged))

    def _write(self) -> None:
        group, removed = self._group()
        if not group and not removed:
            return
        if not self._file.is_in_place:
            self._put_back()
        rows = [Row(self._next_id + number, *addition[:4]) for number, addition in enumerate(group)]
        try:
            self._file.commit(rows, removed)
        except sqlite3.Error as error:
            if len(rows) < 2 or is_damage(error):
                raise
            group, rows = group[:1], rows[:1]  # there may be room for one
            self._file.commit(rows, removed)
        self._next_id += len(rows)
        with self._changed:
            for _ in group:
                self._added.popleft()
            del self._removed[: len(removed)]
        self._listener.written(list(zip(group, rows, strict=True)))

    def _put_back(self) -> None:
        aside = put_back(self._file)
        was = f"replaced; what took its place is {aside}" if self._file.path.with_name(aside).exists() else "removed"
        self._log.error("%s was %s. It is written anew, nothing is lost", self._file.path, was)

    def _group(self) -> tuple[list[Addition], list[int]]:
        group: list[Addition] = []
        size = 0
        with self._changed:
            for addition in self._added:
                if group and size + len(addition.body) > GROUP_BYTES:
                    break
                group.append(addition)
                size += len(addition.body)
            return group, list(self._removed)

    def _remove_alone(self) -> None:
        """Make room by removing what was answered; if not even that is possible, and nothing else is left, begin anew."""
        with self._changed:
            removed = list(self._removed)
        if not removed:
            return
        try:
            self._file.commit([], removed)
        except sqlite3.Error as error:
            if is_damage(error) or not self._file.holds_only(removed):
                raise
            self._file.reset()
        with self._changed:
            del self._removed[: len(removed)]

    def _answer(self) -> None:
        while True:
            with self._changed:
                if not self._readings:
                    return
                reading = self._readings[0]
            rows, damaged = self._file.read(reading.after, reading.most_bytes)
            if damaged and damaged[-1].id >= self._next_id:
                raise sqlite3.DatabaseError(f"there is a request {damaged[-1].id}, which was never written")
            last = max([reading.after, *(row.id for row in rows), *(row.id for row in damaged)])
            beyond = self._file.totals(last) if self._recount else None
            self._recount = False
            with self._changed:
                self._readings.popleft()
                self._removed += [row.id for row in damaged]
            reading.answer(Rows(rows, damaged, beyond))

    def _give_back(self) -> None:
        with self._changed:
            if self._has_work:
                return
        try:
            self._file.compact()
        except sqlite3.Error as error:
            if is_damage(error):
                raise

    def _overcome(self, error: Exception) -> None:
        """Repair the file, or note that it cannot be written for now."""
        if isinstance(error, ForeignFile) or is_damage(error):
            try:
                self._repair(error)
            except DISK_ERRORS as another:
                error = another
            else:
                self._is_failing = True  # so that the work is tried again without being asked for
                return
        self._hold_on(error)

    def _hold_on(self, error: Exception) -> None:
        if not self._was_opened and _is_hopeless(error) and _has_room(self._file.path.parent):
            self._listener.failed(error)
            return self.stop()
        self._is_failing = True
        self._listener.written([])  # nobody is to wait for what is removed
        self._note(f"cannot write to {str(self._file.path)!r}: {_words(error)}; waiting until it works")
        if self._file.is_open:  # what is there can be read all the same
            with contextlib.suppress(*DISK_ERRORS):
                self._answer()
        return None

    def _note(self, problem: str) -> None:
        before, self._trouble = self._trouble, problem
        if problem != before:
            self._listener.problem(problem or None)

    def _repair(self, error: Exception) -> None:
        path = self._file.path
        self._file.close()
        suffix = error.suffix if isinstance(error, ForeignFile) else "damaged"
        if suffix in ("foreign", "newer") or self._is_salvaged:
            aside = set_aside(path, suffix)
            self._log.error("%s cannot be used (%s); set aside as %s, a new queue is begun", path, error, aside)
        else:
            self._salvage(suffix, error)
        self._is_salvaged = self._recount = True
        self._open()

    def _salvage(self, suffix: str, error: Exception) -> None:
        path = self._file.path
        result: Salvaged = salvage(path, suffix)
        self._damaged = self._damaged.plus(result.damaged)
        if suffix == "old":
            path.with_name(result.aside).unlink(missing_ok=True)
            self._log.info("%s was brought up to date: %d requests (%s)", path, result.saved.requests, error)
            return
        self._log.error(
            "%s is damaged (%s): %d requests with %d events could be saved into a new file, %d requests with %d events are "
            "known to be spoilt; the damaged file is kept as %s",
            *(path, error, result.saved.requests, result.saved.items),
            *(result.damaged.requests, result.damaged.items, result.aside),
        )


def _is_hopeless(error: Exception) -> bool:
    """Tell whether the rights or the path are wrong, which waiting does not change."""
    if isinstance(error, OSError):
        return error.errno in _NO_RIGHTS
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _NO_RIGHTS_FOR_SQLITE


def _has_room(directory: Path) -> bool:
    """Tell whether a directory's file system has room: one without says of a file that it cannot be opened, too."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return True
    return found.f_bavail > 0 and (found.f_favail > 0 or found.f_files == 0)


def _words(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
