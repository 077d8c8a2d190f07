"""The file of one queue: transactions, order, versions, room."""

from __future__ import annotations

import sqlite3
import stat

import pytest

from tapio_otel.storage import queue_file
from tapio_otel.storage.errors import ForeignFile
from tapio_otel.storage.queue_file import QueueFile
from tapio_otel.storage.row import Totals
from tests.storage.files import OLD_TABLE, content, make_file, rows


@pytest.fixture
def path(tmp_path):
    """Return where the file goes."""
    return tmp_path / "queue.db"


@pytest.fixture
def file(path):
    """Return an open, empty file."""
    one = QueueFile(path)
    one.open()
    yield one
    one.close()


def test_what_was_committed_is_there_in_order_after_opening_again(path):
    """Requests come back with everything they had."""
    wanted = rows(50)
    make_file(path, wanted)
    assert content(path) == wanted


def test_what_was_removed_is_not_there(file, path):
    """Adding and removing happen in one transaction."""
    file.commit(rows(10), [])
    file.commit(rows(1, begin=11), [1, 2, 7])
    file.close()
    assert [row.id for row in content(path)] == [3, 4, 5, 6, 8, 9, 10, 11]


def test_a_transaction_that_fails_leaves_nothing(file):
    """A request whose id is taken takes the others of its transaction with it."""
    file.commit(rows(3), [])
    with pytest.raises(sqlite3.IntegrityError):
        file.commit([*rows(2, begin=10), *rows(1)], [2])
    assert [row.id for row in file.rows()] == [1, 2, 3]


def test_reading_stops_at_a_number_of_bytes(file):
    """The request that reaches it is the last; the next reading goes on behind it."""
    file.commit(rows(10, size=1000), [])
    first, _ = file.read(-1, 2500)
    second, _ = file.read(first[-1].id, 1)
    rest, _ = file.read(second[-1].id, 1 << 40)
    assert [len(first), len(second), len(rest)] == [3, 1, 6]
    assert [row.id for row in (*first, *second, *rest)] == list(range(1, 11))


def test_totals_count_what_follows(file):
    """Requests, events and bytes, of all or behind an id."""
    wanted = rows(5)
    file.commit(wanted, [])
    assert file.totals() == Totals(5, sum(row.items for row in wanted), sum(len(row.body) for row in wanted))
    assert file.totals(4) == Totals(1, wanted[-1].items, len(wanted[-1].body))
    assert (file.last_id(), file.oldest_ns()) == (5, 1001)


def test_a_damaged_request_is_told_and_does_not_hide_the_others(file):
    """SQLite takes an altered value for a good one; the checksum does not."""
    file.commit(rows(3), [])
    file._open.execute("UPDATE request SET body = x'00' WHERE id = 2")
    file._open.execute("UPDATE request SET encoding = CAST(x'FF' AS TEXT) WHERE id = 3")
    found, damaged = file.read(-1, 1 << 40)
    assert [row.id for row in found] == [1]
    assert [(row.id, row.items) for row in damaged] == [(2, 3), (3, 4)]


def test_only_its_owner_may_read_it(file, path):
    """Events may be confidential, and the files beside it have the same mode."""
    file.commit(rows(1), [])
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert modes == {"queue.db": 0o600, "queue.db-wal": 0o600}


@pytest.mark.parametrize(("fsync", "added", "removed"), [(True, 2, 1), (False, 1, 1)])
def test_only_what_adds_is_waited_for(path, fsync, added, removed):
    """With fsync SQLite's `synchronous` is FULL (2) for additions and NORMAL (1) for removals."""
    file = QueueFile(path, fsync)
    file.open()
    file.commit(rows(1), [])
    levels = [file._open.execute("PRAGMA synchronous").fetchone()[0]]
    file.commit([], [1])
    levels.append(file._open.execute("PRAGMA synchronous").fetchone()[0])
    file.close()
    assert levels == [added, removed]


def test_another_process_cannot_write_it_meanwhile(file, path):
    """One that gets around the directory's lock is kept out by SQLite's."""
    file.commit(rows(1), [])
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM request")
    other.close()


def test_disk_space_is_given_back(file, path):
    """Once most of a large file is free it becomes small, with what is left in it."""
    many = rows(80, size=1_000_000)
    for row in many:
        file.commit([row], [])
    file.commit([], [row.id for row in many[:-1]])
    assert path.stat().st_size > 64 * 1024 * 1024
    file.compact()
    assert path.stat().st_size < 4 * 1024 * 1024
    assert list(file.rows()) == many[-1:]


def test_space_is_not_given_back_while_much_would_have_to_be_copied(file, path):
    """A queue that is still long is left as it is."""
    many = rows(100, size=1_000_000)
    for row in many:
        file.commit([row], [])
    file.commit([], [row.id for row in many[:80]])
    before = path.stat().st_size
    file.compact()
    assert path.stat().st_size == before


def test_removed_space_is_used_again(file, path):
    """A queue in use does not grow beyond what it held at most."""
    for number in range(1, 300):
        file.commit(rows(1, size=200_000, begin=number), [number - 1])
    assert path.stat().st_size < 16 * 1024 * 1024


def test_a_file_that_was_removed_or_replaced_is_noticed(file, path):
    """The one that is open is another one then."""
    assert file.is_in_place
    path.rename(path.with_name("elsewhere"))
    assert not file.is_in_place
    path.touch()
    assert not file.is_in_place


def test_an_empty_file_becomes_a_queue(path):
    """As a crash at the very beginning leaves it."""
    path.touch()
    make_file(path, rows(1))
    assert content(path) == rows(1)


@pytest.mark.parametrize(
    ("statements", "suffix", "words"),
    [
        ([OLD_TABLE], "old", "schema version 0"),
        ([OLD_TABLE, f"PRAGMA application_id={queue_file.APPLICATION_ID}"], "old", "schema version 0"),
        (
            [
                "CREATE TABLE request (id INTEGER PRIMARY KEY, more TEXT)",
                f"PRAGMA application_id={queue_file.APPLICATION_ID}",
                f"PRAGMA user_version={queue_file.SCHEMA_VERSION + 1}",
            ],
            "newer",
            f"schema version {queue_file.SCHEMA_VERSION + 1}, this agent knows {queue_file.SCHEMA_VERSION}",
        ),
        (["CREATE TABLE song (title TEXT)"], "foreign", r"no queue \(application id 0, tables \['song'\]\)"),
    ],
)
def test_what_is_no_queue_of_this_version_is_refused(path, statements, suffix, words):
    """The error says what it is, and how it is to be set aside."""
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    with pytest.raises(ForeignFile, match=words) as caught:
        QueueFile(path).open()
    assert caught.value.suffix == suffix


def test_closing_is_safe_twice_and_unopened(path):
    """Nothing happens then."""
    file = QueueFile(path)
    file.close()
    file.open()
    file.close()
    file.close()
    assert not file.is_open
