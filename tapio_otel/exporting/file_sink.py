"""A file that only ever holds whole entries: what a failed or interrupted write left over is cut off again.

It has one writer: a lock on the open file (flock) keeps other exporters and agents out. Entries go to the file's end,
wherever that is by then, so that a program may empty the file meanwhile (logrotate's `copytruncate`). Everything here blocks
and runs in the writer's thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tapio_otel.component import ComponentError
from tapio_otel.exporting.file_age import begun

MEGABYTE: Final = 1024 * 1024
DAY: Final = 86400.0
LENGTH_BYTES: Final = 4
RETRY_SECONDS: Final = 1.0
# What a file system without locks says: NFS without a lock service, some FUSE ones.
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_STAMP = "%Y-%m-%dT%H-%M-%S"
_STAMP_PATTERN = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}"


class AlreadyWritten(OSError):
    """Tell that somebody else writes the file."""


class Abandoned(Exception):
    """Tell that entries were not written because the agent stopped first."""


@dataclass(frozen=True, slots=True)
class RotationLimits:
    """Say when a file is put aside and how many such are kept; 0 sets no limit."""

    max_bytes: int = 100 * MEGABYTE
    max_days: int = 0
    max_backups: int = 100
    localtime: bool = False


class FileSink:
    """Write entries to one path, rotate it, wait and try again when there is no room."""

    def __init__(
        self,
        path: str,
        framed: bool = False,
        append: bool = True,
        rotation: RotationLimits | None = None,
        report: Callable[[str | None], None] = lambda _problem: None,
        now: Callable[[], float] = time.time,
        mode: int = 0o640,
        waits: bool = True,
    ) -> None:
        """Take what the file shall be; with `waits` false a failed write raises OSError rather than being tried again."""
        self._path = Path(path)
        self._mode = mode
        self._waits = waits
        self._framed = framed
        self._append = append
        self._rotation = rotation
        self._report = report
        self._now = now
        self._stop = threading.Event()
        self._descriptor = -1
        self._size = 0
        self._is_regular = True
        self._begun = 0.0
        self._problems: dict[str, str | None] = {}
        self.removed_bytes = 0
        """Bytes of a torn last entry that `open` cut off."""

    def open(self, directory_mode: int | None = None) -> None:
        """Open the file, making its directory if a mode is given; raises ComponentError."""
        try:
            if directory_mode is not None:
                self._path.parent.mkdir(mode=directory_mode, parents=True, exist_ok=True)
            self._open()
            if not self._append:
                self._empty()
            self._repair()
        except AlreadyWritten as error:
            raise ComponentError(f"{error.strerror} {str(self._path)!r}; give it a path of its own") from error
        except OSError as error:
            raise ComponentError(
                f"cannot write to {str(self._path)!r}: {error.strerror}: check the path and its rights, or set create_directory"
            ) from error

    def write(self, entries: list[bytes]) -> None:
        """Write whole entries, rotating between them; returns when the system has them. Raises Abandoned after `abandon`."""
        self._follow()
        gathered: list[bytes] = []
        size = 0
        for entry in entries:
            if self._must_rotate(size + len(entry)) and (size or self._size):
                self._write(b"".join(gathered))
                gathered, size = [], 0
                self._rotate()
            gathered.append(entry)
            size += len(entry)
        self._write(b"".join(gathered))

    def abandon(self) -> None:
        """Make a `write` that waits for room give up. For other threads."""
        self._stop.set()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
        try:
            descriptor = os.open(self._path, flags, self._mode)
        except OSError:
            if not self._path.is_fifo() and not self._path.is_char_device():
                raise
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
        status = os.fstat(descriptor)
        is_regular = stat.S_ISREG(status.st_mode)
        if is_regular:
            _lock(descriptor)
        self._descriptor, self._is_regular = descriptor, is_regular
        self._size = status.st_size if is_regular else 0
        self._begun = self._age_of_content()

    def _age_of_content(self) -> float:
        """Return when what is in the file was begun; only asked of the file where it matters."""
        if not self._size or self._rotation is None or not self._rotation.max_days:
            return self._now()
        return min(begun(self._descriptor), self._now())

    def _empty(self) -> None:
        if self._is_regular:
            os.ftruncate(self._descriptor, 0)
            self._size, self._begun = 0, self._now()

    def _repair(self) -> None:
        if not self._is_regular:
            return
        self._size = os.fstat(self._descriptor).st_size
        whole = self._end_of_entries()
        self.removed_bytes = self._size - whole
        if self.removed_bytes:
            self._size = whole
            os.ftruncate(self._descriptor, whole)

    def _end_of_entries(self) -> int:
        return self._end_of_frames() if self._framed else self._end_of_lines()

    def _end_of_lines(self) -> int:
        end = self._size
        while end:
            start = max(0, end - MEGABYTE)
            newline = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def _end_of_frames(self) -> int:
        end = 0
        while end + LENGTH_BYTES <= self._size:
            length = int.from_bytes(os.pread(self._descriptor, LENGTH_BYTES, end), "big")
            if end + LENGTH_BYTES + length > self._size:
                break
            end += LENGTH_BYTES + length
        return end

    def _write(self, content: bytes) -> None:
        while content:
            try:
                self._write_all(content)
            except OSError as error:
                self._cut()
                waiting = "; waiting until it works" if self._waits else ""
                self._note("write", f"cannot write to {str(self._path)!r}: {error.strerror}{waiting}")
                if not self._waits:
                    raise
                if self._stop.wait(RETRY_SECONDS):
                    raise Abandoned(f"{error.strerror}: {self._path}") from error
            else:
                self._size += len(content)
                break
        self._note("write", None)

    def _note(self, kind: str, problem: str | None) -> None:
        """Report a problem, or its end, once."""
        if self._problems.get(kind) != problem:
            self._problems[kind] = problem
            self._report(problem)

    def _write_all(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _cut(self) -> None:
        """Remove what follows the last whole entry."""
        if not self._is_regular:
            return
        there = os.fstat(self._descriptor).st_size
        if there < self._size:  # somebody emptied the file meanwhile: to cut at the old size would fill it up with NUL bytes
            self._size, self._begun = there, self._now()
            self._size = self._end_of_entries()
        os.ftruncate(self._descriptor, self._size)

    def _must_rotate(self, additional: int) -> bool:
        limits = self._rotation
        if limits is None or not self._is_regular:
            return False
        too_large = bool(limits.max_bytes) and self._size + additional > limits.max_bytes
        return too_large or bool(limits.max_days and self._now() - self._begun >= limits.max_days * DAY)

    def _follow(self) -> None:
        """Begin a new file if someone moved or removed the one written to, as logrotate does."""
        if not self._is_regular:
            return
        try:
            there = self._path.stat()
        except FileNotFoundError:
            self._replace()
        except OSError:
            return
        else:
            mine = os.fstat(self._descriptor)
            if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
                self._replace()
                self._repair()
            else:
                self._notice_size(mine.st_size)

    def _notice_size(self, size: int) -> None:
        """Take the size that the file has by now; one that was emptied is a new one."""
        if size < self._size:
            self._begun = self._now()
        self._size = size

    def _replace(self) -> None:
        old = self._descriptor
        try:
            self._open()
        except OSError as error:  # nothing has changed then
            self._note("open", f"cannot open {str(self._path)!r} anew: {error.strerror}; going on with the removed file")
            return
        self._note("open", None)
        os.close(old)

    def _rotate(self) -> None:
        """Put the file aside under a name with the time in it, and begin a new one; goes on with the old one if it cannot."""
        try:
            self._path.rename(self._backup_path())
        except OSError as error:
            self._note("rotate", f"cannot rotate {str(self._path)!r}: {error.strerror}; going on with the same file")
            return
        self._note("rotate", None)
        self._replace()
        self._prune()

    def _backup_path(self) -> Path:
        assert self._rotation is not None
        moment = self._now()
        while True:
            stamp = datetime.fromtimestamp(moment, None if self._rotation.localtime else UTC)
            text = f"{stamp.strftime(_STAMP)}.{stamp.microsecond // 1000:03d}"
            path = self._path.with_name(f"{self._path.stem}-{text}{self._path.suffix}")
            if not path.exists():
                return path
            moment += 0.001

    def _prune(self) -> None:
        limits = self._rotation
        assert limits is not None
        backups = self.backups()
        keep = len(backups) - limits.max_backups if limits.max_backups else 0
        for number, path in enumerate(backups):
            if number < keep or (limits.max_days and self._now() - self._stamp(path) > limits.max_days * DAY):
                path.unlink(missing_ok=True)

    def _stamp(self, path: Path) -> float:
        """Return when a file was put aside, which its name says."""
        assert self._rotation is not None
        text = path.stem[len(self._path.stem) + 1 :]
        moment = datetime.strptime(text, f"{_STAMP}.%f")
        return (moment if self._rotation.localtime else moment.replace(tzinfo=UTC)).timestamp()

    def backups(self) -> list[Path]:
        """Return the files put aside, oldest first."""
        name = re.compile(re.escape(self._path.stem) + "-" + _STAMP_PATTERN + re.escape(self._path.suffix))
        return sorted(path for path in self._path.parent.iterdir() if name.fullmatch(path.name))


def _lock(descriptor: int) -> None:
    """Lock an open file for as long as it is open; closes it and raises AlreadyWritten if somebody else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AlreadyWritten(error.errno, "another exporter or agent writes") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise
