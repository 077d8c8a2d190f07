"""The SQLite file of one queue: opened, upgraded, written in transactions, read in order. Every call blocks.

WAL with `synchronous=FULL` puts each transaction that adds requests on the disk before `commit` returns; one that only removes
answered requests is not waited for, as losing it repeats a request and loses none. One process at a time has the file
(`locking_mode=EXCLUSIVE`), so that there is no shared memory: that works on network file systems too.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tapio_otel.storage.errors import ForeignFile
from tapio_otel.storage.row import Damaged, Row, Totals, values, whole
from tapio_otel.storage.wal import damaged_log

SCHEMA_VERSION: Final = 1
MOST_VERSIONS: Final = 1000
"""A file that claims to be of a later version than this is damaged rather than new."""
APPLICATION_ID: Final = 0x74617069
PAGE_BYTES: Final = 16 * 1024
"""Large requests make few pages of this size; a small one does not make a transaction much larger than itself."""
CHECKPOINT_PAGES: Final = 512
CHECKED_BYTES: Final = 64 * 1024 * 1024
"""A file up to this size is checked as a whole when it is opened; damage in larger ones is found when it is met."""
FREE_BYTES: Final = 64 * 1024 * 1024
USED_BYTES: Final = 8 * 1024 * 1024
TABLE: Final = """
CREATE TABLE request (
  id INTEGER PRIMARY KEY, items INTEGER NOT NULL, created_ns INTEGER NOT NULL, encoding TEXT NOT NULL,
  size INTEGER NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL
)
"""
COLUMNS: Final = "id, items, created_ns, encoding, size, checksum, body"
# Before version 1 nothing told an altered row, and protobuf was the only encoding.
COLUMNS_OF_VERSION_0: Final = "id, count, created_ns, 'proto', length(body), NULL, body"
INSERT: Final = f"INSERT INTO request ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own words


class QueueFile:
    """Hold the file of one queue open."""

    def __init__(self, path: Path, fsync: bool = True) -> None:
        self.path = path
        self._fsync = fsync
        self._is_synchronous: bool | None = None
        self._database: sqlite3.Connection | None = None
        self._inode = (0, 0)

    @property
    def is_open(self) -> bool:
        """Tell whether the file is open."""
        return self._database is not None

    def open(self) -> None:
        """Open the file, making it if there is none; raises sqlite3.Error, OSError, or ForeignFile for one not to be used.

        A file of an older version raises ForeignFile with the suffix `old`: its rows are to be copied into a new one.
        """
        log = damaged_log(self.path)
        if log is not None:
            raise sqlite3.DatabaseError(f"its write-ahead log is damaged, {log.transactions_behind} transactions follow")
        is_new = not self.path.exists()
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = self._database = connect(self.path)
        try:
            self._prepare(database)
        except BaseException:
            self.close()
            raise
        found = self.path.stat()
        self._inode = found.st_dev, found.st_ino
        if is_new:
            sync_directory(self.path.parent)

    @property
    def is_in_place(self) -> bool:
        """Tell whether the open file is the one that has its name: not if someone removed or replaced it meanwhile."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute(f"PRAGMA page_size={PAGE_BYTES}")
        version = schema_version(database)
        if version is None:
            database.execute("PRAGMA journal_mode=WAL")
            create(database)
        elif version < SCHEMA_VERSION:
            raise ForeignFile(f"it has schema version {version}", "old")
        elif version > SCHEMA_VERSION:
            raise ForeignFile(f"it has schema version {version}, this agent knows {SCHEMA_VERSION}", "newer")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        database.execute(f"PRAGMA journal_size_limit={2 * CHECKPOINT_PAGES * PAGE_BYTES}")
        database.execute("PRAGMA temp_store=MEMORY")
        self._check(database)

    def _check(self, database: sqlite3.Connection) -> None:
        if self.path.stat().st_size <= CHECKED_BYTES:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(" ".join(str(found).split()))

    @property
    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise sqlite3.OperationalError("the queue's file is not open")
        return self._database

    def totals(self, after: int = -1) -> Totals:
        """Count the requests with a higher id; reads the rows' beginnings only."""
        requests, items, size = self._open.execute(
            "SELECT count(*), total(items), total(size) FROM request WHERE id > ?", (after,)
        ).fetchone()
        return Totals(requests, int(items), int(size))

    def last_id(self) -> int:
        """Return the highest id, or 0 without any request."""
        return int(self._open.execute("SELECT coalesce(max(id), 0) FROM request").fetchone()[0])

    def oldest_ns(self) -> int:
        """Return when the oldest request was made, or 0 without any."""
        row = self._open.execute("SELECT created_ns FROM request ORDER BY id LIMIT 1").fetchone()
        return int(row[0]) if row else 0

    def commit(self, added: Sequence[Row], removed: Sequence[int]) -> None:
        """Write and remove requests in one transaction; what is added is on the disk when this returns (with `fsync`)."""
        database = self._open
        self._synchronous(self._fsync and bool(added))
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany("DELETE FROM request WHERE id = ?", ((id,) for id in removed))
            database.executemany(INSERT, map(values, added))
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise

    def _synchronous(self, wanted: bool) -> None:
        if wanted is not self._is_synchronous:
            self._open.execute(f"PRAGMA synchronous={'FULL' if wanted else 'NORMAL'}")
            self._is_synchronous = wanted

    def read(self, after: int, most_bytes: int) -> tuple[list[Row], list[Damaged]]:
        """Return the requests that follow an id, in order, until they reach `most_bytes`, and the damaged ones among them.

        Raises sqlite3.DatabaseError where the order itself is damaged, so that an id of a damaged row hides no other.
        """
        rows: list[Row] = []
        damaged: list[Damaged] = []
        size = 0
        cursor = self._open.execute(f"SELECT {COLUMNS} FROM request WHERE id > ? ORDER BY id", (after,))  # noqa: S608
        with contextlib.closing(cursor):
            for columns in cursor:
                row = whole(columns)
                if row.id <= after:
                    raise sqlite3.DatabaseError(f"request {row.id} follows request {after}")
                after = row.id
                if isinstance(row, Damaged):
                    damaged.append(row)
                    continue
                rows.append(row)
                size += len(row.body)
                if size >= most_bytes:
                    break
        return rows, damaged

    def rows(self) -> Iterator[Row]:
        """Yield every whole request, in order."""
        with contextlib.closing(self._open.execute(f"SELECT {COLUMNS} FROM request ORDER BY id")) as cursor:  # noqa: S608
            yield from (row for row in map(whole, cursor) if isinstance(row, Row))

    def compact(self) -> None:
        """Give the disk space of many removed requests back, where few are left to be copied for it."""
        pages, free = (int(self._open.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count"))
        if free * PAGE_BYTES >= FREE_BYTES and (pages - free) * PAGE_BYTES <= USED_BYTES:
            self._open.execute("VACUUM")
            self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def holds_only(self, ids: Iterable[int]) -> bool:
        """Tell whether there is no other request than these."""
        left = set(ids)
        return all(id in left for (id,) in self._open.execute("SELECT id FROM request"))

    def reset(self) -> None:
        """Begin with an empty file, without needing room for it: for a disk so full that nothing can be removed in place."""
        self.close()
        for suffix in ("-wal", "-shm", ""):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.open()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        database, self._database, self._is_synchronous = self._database, None, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):  # what could not be moved out of the WAL now is at the next start
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with contextlib.suppress(sqlite3.Error):
                database.close()


def connect(path: Path) -> sqlite3.Connection:
    """Open a file without looking into it."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    database.text_factory = lambda text: text.decode(errors="replace")  # of a damaged row: its checksum tells
    database.execute("PRAGMA locking_mode=EXCLUSIVE")
    return database


def schema_version(database: sqlite3.Connection) -> int | None:
    """Return the version of a queue's file, None for an empty file; raises ForeignFile for anything else."""
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    application = int(database.execute("PRAGMA application_id").fetchone()[0])
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if not tables and not version and not application:
        return None
    if (application, version) == (APPLICATION_ID, SCHEMA_VERSION) and tables == ["request"]:
        return version
    if has_checksums(database) and (application != APPLICATION_ID or not 0 <= version <= MOST_VERSIONS):
        raise sqlite3.DatabaseError("its header is damaged")
    if application == APPLICATION_ID or (not application and not version and tables == ["request"]):
        return version
    raise ForeignFile(f"it is no queue (application id {application}, tables {tables})", "foreign")


def has_checksums(database: sqlite3.Connection) -> bool:
    """Tell whether the table is that of this version."""
    return {name.strip() for name in COLUMNS.split(",")} == {row[1] for row in database.execute("PRAGMA table_info(request)")}


def create(database: sqlite3.Connection, rows: Iterable[Row] = ()) -> None:
    """Make the table, fill it, and mark the file as complete: all in one transaction, or not at all."""
    database.execute("BEGIN IMMEDIATE")
    database.execute(TABLE)
    database.executemany(INSERT.replace("INSERT", "INSERT OR IGNORE", 1), map(values, rows))
    database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    database.execute("COMMIT")


def sync_directory(directory: Path) -> None:
    """Put the names of new files on the disk; where a file system cannot, it does so by itself."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
