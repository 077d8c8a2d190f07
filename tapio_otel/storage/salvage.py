"""Make a new file of what can be read of an old one, which is damaged, removed or of an older version, and set that aside.

The new file is complete (marked in the transaction that fills it) before anything is renamed, so that a crash at any point
leaves either the old file or a complete new one; `finish` goes on with a renaming that was interrupted.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tapio_otel.storage.queue_file import (
    COLUMNS,
    COLUMNS_OF_VERSION_0,
    PAGE_BYTES,
    SCHEMA_VERSION,
    QueueFile,
    connect,
    create,
    has_checksums,
    schema_version,
    sync_directory,
)
from tapio_otel.storage.row import Damaged, Row, Totals, weigh, whole
from tapio_otel.storage.wal import damaged_log, mend

MOST_MISSES: Final = 4096
"""Ids in a row that are tried past a place that cannot be read: more than one page of the file may hold."""
FILES_KEPT: Final = 2
"""Files set aside that are kept for each queue, so that a disk that damages files is not filled up by them."""
NEVER: Final = 1 << 62
NOTHING: Final = Totals()


@dataclass(slots=True)
class Salvaged:
    """Say what became of the rows, and the name that the old file has now."""

    saved: Totals = NOTHING
    damaged: Totals = NOTHING
    aside: str = ""


def salvage(path: Path, suffix: str) -> Salvaged:
    """Copy what can be read into a new file and rename the old one to `<name>.<suffix>-<time>`; raises for the new one only."""
    result = Salvaged()
    _fill_new(path, _counted(_every_row(path), result))
    result.aside = _swap(path, suffix)
    return result


def _every_row(path: Path) -> Iterator[Row | Damaged]:
    """Yield what can be read; where the log is damaged, first without and then with what follows that place.

    What the second reading removed since is there again, and is sent twice rather than lost with a damaged page.
    """
    log = damaged_log(path)
    mended = None if log is None else mend(log)
    if log is not None:
        shutil.copyfile(log.path, f"{log.path}.damaged-{time.time_ns()}")  # SQLite ends the log with the first reading
        _forget_older(log.path, "damaged")
    with contextlib.closing(_Reading(path)) as reading:
        yield from reading.rows()
    if log is not None and mended is not None:
        log.path.write_bytes(mended)
        with contextlib.closing(_Reading(path)) as reading:
            yield from reading.rows()


def put_back(file: QueueFile) -> str:
    """Write an open file anew that was removed or replaced under it; returns how what is in its place now is named."""
    _fill_new(file.path, file.rows())
    file.close()
    aside = _swap(file.path, "replaced")
    file.open()
    return aside


def set_aside(path: Path, suffix: str) -> str:
    """Rename a file that cannot be used, and return its new name."""
    aside = path.with_name(f"{path.name}.{suffix}-{time.time_ns()}")
    for part in ("-wal", "-shm", ""):  # a WAL that outlived its file would be taken for the next one's
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{part}").rename(f"{aside}{part}")
    sync_directory(path.parent)
    _forget_older(path, suffix)
    return aside.name


def finish(path: Path) -> str | None:
    """Go on with an interrupted salvage: take the new file if it is complete, and return the old one's name if so."""
    new = _new_name(path)
    if not new.exists():
        return None
    if _is_complete(new):
        return _swap(path, "damaged")
    for part in ("-journal", "-wal", ""):
        Path(f"{new}{part}").unlink(missing_ok=True)
    return None


def _fill_new(path: Path, rows: Iterable[Row]) -> None:
    new = _new_name(path)
    for leftover in ("", "-journal", "-wal"):
        Path(f"{new}{leftover}").unlink(missing_ok=True)
    new.touch(0o600)
    with contextlib.closing(connect(new)) as database:
        database.execute(f"PRAGMA page_size={PAGE_BYTES}")
        create(database, rows)


def _new_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvage")


def _is_complete(new: Path) -> bool:
    try:
        with contextlib.closing(connect(new)) as database:
            return schema_version(database) == SCHEMA_VERSION
    except sqlite3.Error:
        return False


def _swap(path: Path, suffix: str) -> str:
    aside = set_aside(path, suffix)
    _new_name(path).rename(path)
    sync_directory(path.parent)
    return aside


def _forget_older(path: Path, suffix: str) -> None:
    kept = sorted(one for one in path.parent.glob(f"{path.name}.{suffix}-*") if one.name.rpartition("-")[2].isdecimal())
    for old in kept[:-FILES_KEPT]:
        for part in ("-wal", "-shm", ""):
            with contextlib.suppress(OSError):
                Path(f"{old}{part}").unlink(missing_ok=True)


def _counted(rows: Iterator[Row | Damaged], result: Salvaged) -> Iterator[Row]:
    seen: set[int] = set()
    for row in rows:
        if row.id in seen:
            continue
        seen.add(row.id)
        if isinstance(row, Row):
            result.saved = result.saved.plus(weigh(row))
            yield row
        else:
            result.damaged = result.damaged.plus(weigh(row))


class _Reading:
    """Read rows out of a file that raises errors here and there."""

    def __init__(self, path: Path) -> None:
        self._database: sqlite3.Connection | None = None
        self._columns = COLUMNS
        self._gave_up = False
        with contextlib.suppress(sqlite3.Error):
            self._database = connect(path)
            self._database.execute("PRAGMA writable_schema=ON")  # else nothing is read of a file that was cut off
            # The columns say the version better than a number that may be damaged.
            self._columns = COLUMNS if has_checksums(self._database) else COLUMNS_OF_VERSION_0

    def close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()

    def rows(self) -> Iterator[Row | Damaged]:
        """Yield rows from the beginning on and, if that comes to no end, from the end on backwards; some of them twice."""
        yield from self._pass("id > ? ORDER BY id", -1, 1)
        if self._gave_up:
            yield from self._pass("id < ? ORDER BY id DESC", NEVER, -1)

    def _pass(self, condition: str, place: int, step: int) -> Iterator[Row | Damaged]:
        misses = 0
        while misses <= MOST_MISSES:
            try:
                for columns in self._select(condition, place):
                    row = self._row(columns)
                    if isinstance(row, Row):  # the id of a damaged row may be far from its place
                        place, misses = row.id, 0
                    yield row
            except (sqlite3.Error, OverflowError):
                place += step
                misses += 1
            else:
                return
        self._gave_up = True

    def _select(self, condition: str, place: int) -> Iterator[tuple[Any, ...]]:
        if self._database is None:
            return
        query = f"SELECT {self._columns} FROM request WHERE {condition}"  # noqa: S608 - our own words
        cursor = self._database.execute(query, (place,))
        with contextlib.closing(cursor):
            yield from cursor

    def _row(self, columns: tuple[Any, ...]) -> Row | Damaged:
        if self._columns is COLUMNS_OF_VERSION_0 and isinstance(columns[-1], bytes):
            id, items, created_ns, encoding, _size, _checksum, body = columns
            return Row(id, items, created_ns, encoding, body)
        return whole(columns)
