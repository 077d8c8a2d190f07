"""A store's file through what happens to files: older versions, damage, kills, full disks, several readers."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tapio_otel.event_store import EventQuery, EventStore, EventStoreError, density, tallies
from tapio_otel.event_store.schema import SCHEMA_VERSION
from tapio_otel.storage.errors import ForeignFile
from tests.event_store.support import START, add, event, ids, numbers, store_of, writer

KILLED = """
import sys
from pathlib import Path
from tests.event_store.support import add, event, writer
target = writer(Path(sys.argv[1]))
number = 0
while True:
    add(target, [event(one) for one in range(number, number + 50)])
    number += 50
    print(number, flush=True)
"""


def make_older(directory: Path, version: int) -> None:
    """Make a store as an older version left it: with NULL for nothing, without tallies, and 1 without the index of traces."""
    store_of(directory, [event(1, trace_id="a" * 32), event(2, attributes={})]).close()
    database = sqlite3.connect(directory / "events.db", isolation_level=None)
    for level in tallies.LEVELS:
        database.execute(f"DROP TABLE tally_{level}")
    for name in ("trace", "span", "parent"):
        database.execute(f"UPDATE body SET {name} = NULL WHERE {name} = 0")
    database.execute("UPDATE body SET title = NULL, own = CAST(nullif(own, '') AS BLOB)")
    database.execute("DROP INDEX body_trace")
    if version > 1:
        database.execute("CREATE INDEX body_trace ON body (trace) WHERE trace IS NOT NULL")
    database.execute(f"PRAGMA user_version = {version}")
    database.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_older_version_is_brought_up_to_date(tmp_path, version, monkeypatch):
    """With all that is in it."""
    monkeypatch.setattr(density, "MANY", 0)
    make_older(tmp_path, version)
    with pytest.raises(EventStoreError, match=f"schema version {version}; the agent brings it up to date"):
        EventStore(tmp_path).events(EventQuery())
    target = writer(tmp_path)
    add(target, [event(3)])
    target.close()
    assert numbers(EventStore(tmp_path)) == [3, None, 1]
    assert numbers(EventStore(tmp_path), trace_id="a" * 32) == [1]
    assert EventStore(tmp_path).event(event(1).id) == event(1, trace_id="a" * 32)
    assert EventStore(tmp_path).event(event(2).id) == event(2, attributes={})
    assert [one.title for one in EventStore(tmp_path).marks(EventQuery())] == ["message 3", "message 2", "message 1"]
    window = EventQuery(since_ns=START - (3 << tallies.LEVELS[-1]), until_ns=START + (3 << tallies.LEVELS[-1]))
    assert sum(one.count for one in EventStore(tmp_path).density(window, 6)) == 3
    database = sqlite3.connect(tmp_path / "events.db")
    assert database.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    assert database.execute("SELECT 1 FROM sqlite_master WHERE name = 'body_trace'").fetchone()
    database.close()


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    """By readers and writers."""
    store_of(tmp_path, [event(1)]).close()
    database = sqlite3.connect(tmp_path / "events.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(EventStoreError, match="schema version 99, this agent knows"):
        EventStore(tmp_path).events(EventQuery())
    with pytest.raises(ForeignFile, match="schema version 99"):
        writer(tmp_path)


def test_only_the_owner_may_read(tmp_path):
    """The file and what belongs to it."""
    target = writer(tmp_path)
    add(target, [event(1)])
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "events.db": 0o600,
        "events.db-wal": 0o600,
        "events.db-shm": 0o600,
    }
    target.close()


def test_what_was_committed_outlives_a_kill(tmp_path):
    """In the middle of writing."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(10)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    written = int(rest[-1]) if rest else told[-1]
    before = EventStore(tmp_path)  # reads what the log holds, before any writer came
    assert before.statistics().events >= written
    target = writer(tmp_path)
    assert target.events >= written
    add(target, [event(1_000_000)])
    target.close()
    found = numbers(EventStore(tmp_path), order="asc", limit=10_000)
    assert found[: min(written, 9000)] == list(range(min(written, 9000)))


def test_of_a_torn_log_the_whole_transactions_count(tmp_path):
    """The rest never was."""
    target = writer(tmp_path)
    for number in range(20):
        add(target, [event(number)])
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("events.db", "events.db-wal"):
        shutil.copy(tmp_path / name, copy / name)
    target.close()
    log = copy / "events.db-wal"
    os.truncate(log, log.stat().st_size - 6000)
    store = EventStore(copy)
    found = numbers(store, order="asc")
    assert found == list(range(len(found)))
    assert 15 <= len(found) < 20
    target = writer(copy)
    add(target, [event(number) for number in range(20)])
    target.close()
    assert numbers(EventStore(copy), order="asc") == list(range(20))


def test_readers_and_a_writer_do_not_wait_for_each_other(tmp_path):
    """Two of them, each sees whole transactions only."""
    target = writer(tmp_path)
    add(target, [event(0)])
    over, wrong = threading.Event(), []

    def read() -> None:
        store = EventStore(tmp_path)
        last = 0
        while not over.is_set():
            events = store.statistics().events
            if events % 10 != 1 or events < last or len(ids(store, limit=10_000)) < events:
                wrong.append(events)
            last = events
        store.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(1, 1000, 10):
        add(target, [event(number) for number in range(start, start + 10)])
    over.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert target.events == 1001
    target.close()


def test_a_reader_follows_a_store_that_was_replaced(tmp_path):
    """By another one of the same name."""
    store = store_of(tmp_path, [event(1)])
    assert numbers(store) == [1]
    other = tmp_path / "other"
    other.mkdir()
    store_of(other, [event(2)]).close()
    for old in tmp_path.glob("events.db*"):
        old.unlink()
    (other / "events.db").rename(tmp_path / "events.db")
    assert numbers(store) == [2]
    store.close()


def test_damage_is_told_to_who_reads(tmp_path):
    """And is no crash, wherever it is."""
    store_of(tmp_path, [event(number, text="x" * 500) for number in range(2000)]).close()
    path = tmp_path / "events.db"
    content = bytearray(path.read_bytes())
    for start in range(8192, len(content) - 4096, 20_000):
        content[start : start + 600] = os.urandom(600)
    path.write_bytes(content)
    store = EventStore(tmp_path)
    for ask in (lambda: store.events(EventQuery(limit=5000)), store.entities, lambda: store.count(EventQuery(text="x*"))):
        try:
            ask()
        except EventStoreError as error:
            assert "damaged" in str(error) or "cannot be read" in str(error)


def test_a_reader_that_was_left_open_is_no_obstacle(tmp_path):
    """Nothing is held between two questions."""
    target = writer(tmp_path)
    add(target, [event(0)])
    store = EventStore(tmp_path)
    store.events(EventQuery())
    add(target, [event(number) for number in range(1, 500)])
    target.fold()
    assert target.wal_bytes() == 0
    target.close()
    assert store.count(EventQuery(since_ns=START)) == 500


def test_a_link_laid_in_the_place_of_a_store_is_not_followed(tmp_path):
    """An agent that runs as root would write wherever it leads."""
    (tmp_path / "events.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        writer(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_store_that_others_may_read_is_closed_to_them(tmp_path):
    """As after a copy."""
    store_of(tmp_path, [event(1)]).close()
    (tmp_path / "events.db").chmod(0o644)
    writer(tmp_path).close()
    assert (tmp_path / "events.db").stat().st_mode & 0o777 == 0o600


def test_closing_a_store_ends_what_is_being_read(tmp_path):
    """Else a process that ends would wait for its queries."""
    store = store_of(tmp_path, [event(1)])
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    begun, told = threading.Event(), []

    def read() -> None:
        try:
            with store._reading.open() as database:
                begun.set()
                database.execute(endless)
        except EventStoreError as error:
            told.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(20)
    store.close()
    thread.join(8)  # of the ten seconds that a query may take
    assert not thread.is_alive()
    assert "was closed meanwhile" in told[0]
    with pytest.raises(EventStoreError, match="was closed: open it again"):
        store.events(EventQuery())
