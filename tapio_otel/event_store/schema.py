"""The tables of a store, and how a file of an older version becomes one of this.

Every event has a *place*: its time in nanoseconds, moved on by a few where an earlier event has that one, so that the order of
rows is the order of time. `event` holds little more than places and is quick to run through; `body` holds the rest. What many
events have in common is stored once: an *origin* is what the events of one process or unit share; a *kind* is source, type and
severity; a *subject* is an entity with the lineage keys of an origin; a *lane* is all events of one kind about one subject, so
that most conditions of a query are a set of lanes. Lineage keys that one event has besides are in `mention`. The words of
messages are in several full-text tables, one after another, so that the words of old events go as a whole. How many events
lanes have in blocks of time is in `tally_…`. No new row of `body` has NULL in it (see `rows`): 0 and an empty text stand for
nothing, and a number for a title of that length with which the description begins.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tapio_otel.event_store import tallies
from tapio_otel.storage.errors import ForeignFile

SCHEMA_VERSION: Final = 3
APPLICATION_ID: Final = 0x74617065
PAGE_BYTES: Final = 4096
CHECKED_BYTES: Final = 64 * 1024 * 1024
"""A file up to this size is checked as a whole when it is opened; damage in larger ones is found when it is met."""
_CACHE_KIB: Final = 32 * 1024
_CHECKPOINT_PAGES: Final = 8192
WORDS: Final = "words_"
"""How the names of full-text tables begin; the number of its row in `words` follows."""

_TABLES: Final = (
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE kind (id INTEGER PRIMARY KEY, source NOT NULL, type NOT NULL, severity INTEGER NOT NULL, "
    "UNIQUE (source, type, severity))",
    "CREATE TABLE entity (id INTEGER PRIMARY KEY, type NOT NULL, namespace NOT NULL, name NOT NULL, uid NOT NULL, "
    "folded TEXT NOT NULL, path TEXT NOT NULL, UNIQUE (path, uid))",
    "CREATE TABLE subject (id INTEGER PRIMARY KEY, digest INTEGER NOT NULL UNIQUE, entity NOT NULL, keys BLOB NOT NULL)",
    "CREATE INDEX subject_entity ON subject (entity)",
    "CREATE TABLE lineage (key INTEGER NOT NULL, subject INTEGER NOT NULL, PRIMARY KEY (key, subject)) WITHOUT ROWID",
    "CREATE TABLE lane (id INTEGER PRIMARY KEY, subject INTEGER NOT NULL, kind INTEGER NOT NULL, events INTEGER NOT NULL, "
    "UNIQUE (subject, kind))",
    "CREATE INDEX lane_kind ON lane (kind)",
    "CREATE TABLE origin (id INTEGER PRIMARY KEY, digest INTEGER NOT NULL UNIQUE, events INTEGER NOT NULL, content NOT NULL)",
    "CREATE TABLE event (place INTEGER PRIMARY KEY, lane INTEGER NOT NULL, shift INTEGER NOT NULL)",
    "CREATE INDEX event_lane ON event (lane)",
    "CREATE TABLE mention (key INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (key, place)) WITHOUT ROWID",
    "CREATE TABLE body (place INTEGER PRIMARY KEY, id NOT NULL, origin INTEGER NOT NULL, lag INTEGER NOT NULL, title, "
    "description NOT NULL, own, trace BLOB, span BLOB, parent)",
    "CREATE INDEX body_id ON body (substr(id, -6))",
    "CREATE TABLE words (number INTEGER PRIMARY KEY, events INTEGER NOT NULL, letters INTEGER NOT NULL, last INTEGER NOT NULL)",
)
_TRACES: Final = "CREATE INDEX body_trace ON body (trace) WHERE trace > 0"
"""Of events that have a trace: any blob is more than any number, and 0 stands for none."""
_MIGRATIONS: Final = {1: (), 2: ("DROP INDEX IF EXISTS body_trace", _TRACES, *tallies.created())}
"""By the version that a file has: what makes it one of the next version."""


def connect(path: Path, fsync: bool = False) -> sqlite3.Connection:
    """Open a store for writing, making or upgrading it; raises sqlite3.Error, OSError, or ForeignFile if it is none."""
    _make(path)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0, cached_statements=256)
    try:
        _prepare(database, path, fsync)
    except BaseException:
        database.close()
        raise
    return database


def _make(path: Path) -> None:
    """Make the file unless it is there; where a name is laid out for it that leads elsewhere, nothing is written there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)  # events are for the agent's user alone, whoever copied the file here
    finally:
        os.close(descriptor)


def _prepare(database: sqlite3.Connection, path: Path, fsync: bool) -> None:
    version = schema_version(database)
    if not version:
        database.execute(f"PRAGMA page_size={PAGE_BYTES}")
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
    database.execute("PRAGMA journal_mode=WAL")
    for setting in (
        f"synchronous={'FULL' if fsync else 'NORMAL'}",
        f"cache_size=-{_CACHE_KIB}",
        f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        f"journal_size_limit={_CHECKPOINT_PAGES * PAGE_BYTES}",
        "temp_store=MEMORY",
        "secure_delete=OFF",
    ):
        database.execute(f"PRAGMA {setting}")
    if version and path.stat().st_size <= CHECKED_BYTES:
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(" ".join(str(found).split()))
    with transaction(database):
        _upgrade(database, version)


def _upgrade(database: sqlite3.Connection, version: int) -> None:
    if not version:
        for statement in (*_TABLES, _TRACES, *tallies.created()):
            database.execute(statement)
        database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    for before in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
        for statement in _MIGRATIONS[before]:
            database.execute(statement)
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def schema_version(database: sqlite3.Connection) -> int:
    """Return the version of a store's file, 0 for an empty one; raises ForeignFile for anything else."""
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    application = int(database.execute("PRAGMA application_id").fetchone()[0])
    if not version and not application and not database.execute("SELECT 1 FROM sqlite_master").fetchone():
        return 0
    if application != APPLICATION_ID:
        raise ForeignFile("it is no event store", "foreign")
    if not 1 <= version <= SCHEMA_VERSION:
        raise ForeignFile(f"it has schema version {version}, this agent knows {SCHEMA_VERSION}", "newer")
    return version


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Make what is done meanwhile happen as a whole or not at all."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
