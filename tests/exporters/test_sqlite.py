"""`sqlite` keeps what it is given, through damage and full disks, and counts what it does not keep."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time

import pytest

from tapio_otel.component import ComponentError
from tapio_otel.event import Severity
from tapio_otel.event_store import EventQuery, EventStore, writing_thread
from tapio_otel.event_store.writer import EventStoreWriter
from tapio_otel.exporters.sqlite import SqliteConfig
from tests.event_store.support import (
    SECOND,
    Problems,
    batch,
    counts,
    disk_that_is_full,
    event,
    exporter,
    ids,
    numbers,
    settled,
    store_of,
)


async def test_events_are_written_before_they_count_as_delivered(tmp_path):
    """And are read meanwhile."""
    target = exporter(tmp_path)
    await target.start()
    one, delivered = settled([event(1), event(2)])
    await target.consume(one)
    async with asyncio.timeout(20):
        await delivered
    store = EventStore(tmp_path / "events")
    assert numbers(store) == [2, 1]
    assert counts(target) == {"sent": 2}
    await target.shutdown()
    store.close()


async def test_ordinary_log_lines_are_kept_from_a_severity_up(tmp_path):
    """Those of other types always; what is left out is counted and delivered."""
    target = exporter(tmp_path)
    await target.start()
    kinds = [("log", Severity.INFO), ("log", Severity.WARNING), ("oom_kill", Severity.DEBUG), ("log", Severity.NOTICE)]
    one, delivered = settled([event(number, type=type, severity=severity) for number, (type, severity) in enumerate(kinds)])
    await target.consume(one)
    async with asyncio.timeout(20):
        await delivered
    only, at_once = settled([event(9, severity=Severity.INFO)])
    await target.consume(only)
    assert at_once.done() or await asyncio.wait_for(at_once, 20) is None
    await target.shutdown()
    assert numbers(EventStore(target.path)) == [2, 1]
    assert counts(target) == {"sent": 2, "dropped/min_severity": 3}


async def test_all_log_lines_are_kept_where_that_is_asked_for(tmp_path):
    """By `min_severity: debug`."""
    target = exporter(tmp_path, min_severity="debug")
    await target.start()
    await target.consume(batch([event(1, severity=Severity.DEBUG)]))
    await target.shutdown()
    assert numbers(EventStore(target.path)) == [1]


async def test_repeats_and_what_cannot_be_stored_are_counted(tmp_path):
    """And the rest is written."""
    target = exporter(tmp_path)
    await target.start()
    odd = [event(3, at=-1), event(4, attributes={"x": object()}), event(5, id="\ud800")]
    await target.consume(batch([event(1), event(1), *odd]))
    await target.consume(batch([event(1), event(2)]))
    await target.shutdown()
    assert counts(target) == {"sent": 2, "dropped/repeated": 2, "failed/invalid": 3}


async def test_a_record_that_sqlite_refuses_does_not_stop_the_others(tmp_path, monkeypatch):
    """It is looked for by halves."""
    add = EventStoreWriter.add

    def picky(self, records):
        if any(one.words == "poison" for one in records):
            raise OverflowError("too large")
        return add(self, records)

    monkeypatch.setattr(EventStoreWriter, "add", picky)
    target = exporter(tmp_path)
    await target.start()
    await target.consume(batch([event(number, text="poison" if number == 3 else "x") for number in range(7)]))
    await target.shutdown()
    assert counts(target) == {"sent": 6, "failed/invalid": 1}
    assert numbers(EventStore(target.path), order="asc") == [0, 1, 2, 4, 5, 6]


async def test_what_would_be_removed_at_once_is_not_taken(tmp_path):
    """Too old, or as far ahead; it is counted, and delivered all the same."""
    target, now, hour = exporter(tmp_path, max_age="1h"), time.time_ns(), 3600 * SECOND
    await target.start()
    one, delivered = settled(
        [event(1, now), event(2, now - hour - SECOND), event(3, now + 2 * hour), event(4, now - hour // 2)]
    )
    await target.consume(one)
    await asyncio.wait_for(delivered, 20)
    only_old, delivered = settled([event(5, now - 2 * hour)])
    await target.consume(only_old)
    await asyncio.wait_for(delivered, 20)
    await target.shutdown()
    assert counts(target) == {"sent": 2, "dropped/max_age": 3}
    assert sorted(numbers(EventStore(target.path))) == [1, 4]


async def test_the_directory_is_the_owners_alone(tmp_path):
    """And that of one exporter."""
    target, other = exporter(tmp_path), exporter(tmp_path)
    await target.start()
    assert target.directory.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ComponentError, match="is in use by another sqlite exporter or agent"):
        await other.start()
    await target.shutdown()
    await other.shutdown()
    again = exporter(tmp_path)
    await again.start()
    await again.shutdown()


async def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    """At the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ComponentError, match="Set directory to one that this user may write"):
        await exporter(tmp_path, directory=tmp_path / "file" / "events").start()


@pytest.mark.parametrize("content", ["garbage", "foreign", "newer"])
async def test_a_file_that_cannot_be_used_is_set_aside(tmp_path, content, caplog):
    """And the agent goes on with a new one."""
    directory = tmp_path / "events"
    directory.mkdir()
    path = directory / "events.db"
    if content == "garbage":
        path.write_bytes(os.urandom(20_000))
    else:
        if content == "newer":
            store_of(directory, [event(7)]).close()
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 99" if content == "newer" else "CREATE TABLE x (y)")
        database.close()
    before = path.read_bytes()
    target = exporter(tmp_path)
    await target.start()
    await target.consume(batch([event(1)]))
    await target.shutdown()
    assert numbers(EventStore(directory)) == [1]
    suffix = {"garbage": "damaged"}.get(content, content)
    [aside] = directory.glob(f"events.db.{suffix}-*")
    assert aside.read_bytes() == before
    assert f"set aside as {aside.name}" in caplog.text


async def test_a_file_that_is_damaged_meanwhile_is_set_aside(tmp_path, monkeypatch):
    """What was to be written then is written to the new one."""
    target = exporter(tmp_path)
    await target.start()
    one, delivered = settled([event(1)])
    await target.consume(one)
    await asyncio.wait_for(delivered, 20)
    add, calls = EventStoreWriter.add, []

    def damaged(self, records):
        calls.append(len(records))
        if len(calls) == 1:
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return add(self, records)

    monkeypatch.setattr(EventStoreWriter, "add", damaged)
    await target.consume(batch([event(2)]))
    await target.shutdown()
    assert numbers(EventStore(target.path)) == [2]
    assert len(list(target.directory.glob("events.db.damaged-*"))) == 1
    assert counts(target) == {"sent": 2}


async def test_a_file_that_was_removed_is_begun_anew(tmp_path):
    """Rather than written to though nobody can read it."""
    target = exporter(tmp_path)
    await target.start()
    one, delivered = settled([event(1)])
    await target.consume(one)
    await asyncio.wait_for(delivered, 20)
    for path in target.directory.glob("events.db*"):
        path.unlink()
    await target.consume(batch([event(2)]))
    await target.shutdown()
    assert numbers(EventStore(target.path)) == [2]


async def test_while_the_disk_is_full_events_wait(tmp_path, monkeypatch):
    """It is told, and told when it is over; nothing is lost and nothing crashes."""
    monkeypatch.setattr(writing_thread, "RETRY_SECONDS", 0.01)
    target = exporter(tmp_path)
    problems = target.context.report
    assert isinstance(problems, Problems)
    is_full = disk_that_is_full(monkeypatch)
    await target.start()
    one, delivered = settled([event(1)])
    await target.consume(one)
    async with asyncio.timeout(20):
        while not problems.told:
            await asyncio.sleep(0.01)
    assert "database or disk is full; waiting until it works" in (problems.told[0] or "")
    assert not delivered.done()
    is_full[0] = False
    await asyncio.wait_for(delivered, 20)
    await target.shutdown()
    assert problems.told[-1] is None
    assert numbers(EventStore(target.path)) == [1]


async def test_stopping_while_the_disk_is_full_does_not_hang(tmp_path, monkeypatch, caplog):
    """What was not written is told and stays undelivered."""

    def full(_self, _records):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(EventStoreWriter, "add", full)
    target = exporter(tmp_path)
    await target.start()
    one, delivered = settled([event(1)])
    await target.consume(one)
    async with asyncio.timeout(20):
        await target.shutdown()
    assert not delivered.done()
    assert "stopped with 1 events not written" in caplog.text


async def test_a_reader_that_stays_makes_writing_wait(tmp_path, monkeypatch):
    """So that the write-ahead log does not grow without end; when the reader has gone, writing goes on."""
    monkeypatch.setattr(writing_thread, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(writing_thread, "WAL_BYTES", 100_000)
    target = exporter(tmp_path)
    problems = target.context.report
    assert isinstance(problems, Problems)
    await target.start()
    one, delivered = settled([event(0)])
    await target.consume(one)
    await asyncio.wait_for(delivered, 20)
    reader = sqlite3.connect(target.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM event").fetchone()
    for start in range(1, 400, 20):
        await target.consume(batch([event(number, text="x" * 1000) for number in range(start, start + 20)]))
        await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        while not problems.told:
            await asyncio.sleep(0.01)
    assert "does not come to an end" in (problems.told[0] or "")
    reader.execute("COMMIT")
    reader.close()
    async with asyncio.timeout(30):
        while problems.told[-1] is not None:
            await asyncio.sleep(0.01)
    await target.shutdown()
    assert EventStore(target.path).count(EventQuery()) == 401


async def test_limits_are_kept_while_writing(tmp_path):
    """To the exact number, once it is quiet."""
    target = exporter(tmp_path, max_events=50)
    await target.start()
    for start in range(0, 500, 10):
        await target.consume(batch([event(number) for number in range(start, start + 10)]))
    await target.shutdown()
    assert EventStore(target.path).statistics().events == 50


async def test_shutdown_is_safe_without_start(tmp_path):
    """And twice."""
    target = exporter(tmp_path)
    await target.shutdown()
    await target.shutdown()
    assert not (tmp_path / "events").exists()


async def test_the_default_is_not_to_be_waited_for(tmp_path):
    """By checkpoints and other exporters."""
    assert not exporter(tmp_path).is_required
    assert exporter(tmp_path, required=True).is_required


@pytest.mark.parametrize(
    "options", [{"directory": ""}, {"directory": "a\0b"}, {"max_size": "1MiB"}, {"max_events": 0}, {"min_severity": "loud"}]
)
def test_options_that_make_no_sense_are_refused(options):
    """With what is expected."""
    with pytest.raises(ValueError, match=r"directory|greater than|debug"):
        SqliteConfig(**options)


async def test_events_may_have_any_ids(tmp_path):
    """A text that is no UUID is one, too."""
    target = exporter(tmp_path)
    await target.start()
    odd = ["x", "00000000-0000-0000-0000-00000000000G", "AAAAAAAA-0000-8000-8000-000000000000", "é" * 8, "0" * 36]
    await target.consume(batch([event(number, id=id) for number, id in enumerate(odd)]))
    await target.shutdown()
    store = EventStore(target.path)
    assert sorted(ids(store)) == sorted(odd)
    assert all(store.event(id) is not None for id in odd)
