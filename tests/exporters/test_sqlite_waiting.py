"""What becomes of events that the store does not take at once: after a fault of the writer, and while the disk is full."""

from __future__ import annotations

import asyncio

import pytest

from tapio_otel import outlet as outlet_module
from tapio_otel.component import Delivery
from tapio_otel.event_store import EventStore, writing_thread
from tapio_otel.event_store.writer import EventStoreWriter
from tapio_otel.exporters import sqlite as sqlite_module
from tapio_otel.outlet import Outlet
from tests.components import SCOPE
from tests.event_store.support import Problems, batch, counts, disk_that_is_full, event, exporter, numbers, settled


@pytest.mark.parametrize("fault", [KeyError("a fault"), SystemExit(1)])
async def test_a_fault_of_the_writer_is_overcome(tmp_path, monkeypatch, caplog, fault):
    """The file is opened again, and what was to be written is; else who must not lose events would wait for ever."""
    monkeypatch.setattr(writing_thread, "RETRY_SECONDS", 0.01)
    insert, faults = EventStoreWriter._insert, [fault, fault]

    def faulty(self, records, replaced):
        if faults and len(records) > 1:
            raise faults.pop()
        insert(self, records, replaced)

    monkeypatch.setattr(EventStoreWriter, "_insert", faulty)
    target = exporter(tmp_path, required=True)
    problems = target.context.report
    assert isinstance(problems, Problems)
    await target.start()
    one, delivered = settled([event(1), event(2)])
    await target.consume(one)
    await asyncio.wait_for(delivered, 20)
    await target.consume(batch([event(3)]))
    await target.shutdown()
    assert numbers(EventStore(target.path)) == [3, 2, 1]
    assert "it is opened again every second. Report what the log says" in (problems.told[0] or "")
    assert problems.told[-1] is None
    assert "a fault while writing" in caplog.text


async def test_an_event_that_brings_about_a_fault_is_refused(tmp_path, monkeypatch):
    """Once it did so twice; those beside it are written."""
    monkeypatch.setattr(writing_thread, "RETRY_SECONDS", 0.01)
    insert = EventStoreWriter._insert

    def picky(self, records, replaced):
        if any(one.words == "poison" for one in records):
            raise KeyError("a fault")
        insert(self, records, replaced)

    monkeypatch.setattr(EventStoreWriter, "_insert", picky)
    target = exporter(tmp_path, required=True)
    await target.start()
    one, delivered = settled([event(number, text="poison" if number in {2, 3} else "x") for number in range(7)])
    await target.consume(one)
    await asyncio.wait_for(delivered, 20)
    await target.shutdown()
    assert counts(target) == {"sent": 5, "failed/invalid": 2}
    assert numbers(EventStore(target.path), order="asc") == [0, 1, 4, 5, 6]


async def test_a_fault_that_stays_costs_no_events(tmp_path, monkeypatch, caplog):
    """Of several none is refused where none can be written; stopping does not hang."""
    monkeypatch.setattr(writing_thread, "RETRY_SECONDS", 0.01)
    opened = []

    def faulty(self, _records, _replaced):
        opened.append(id(self))
        raise KeyError("a fault")

    monkeypatch.setattr(EventStoreWriter, "_insert", faulty)
    target = exporter(tmp_path, required=True)
    await target.start()
    one, delivered = settled([event(1), event(2)])
    await target.consume(one)
    async with asyncio.timeout(20):
        while len(opened) < 8:
            await asyncio.sleep(0.01)
        await target.shutdown()
    assert not delivered.done()
    assert "failed/invalid" not in counts(target)
    assert "stopped with 2 events not written" in caplog.text
    assert caplog.text.count("a fault while writing") == 2


async def test_large_events_wait_in_smaller_number(tmp_path, monkeypatch):
    """What waits for a full disk is bounded by its bytes, too."""
    monkeypatch.setattr(writing_thread, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_module, "MOST_WAITING_BYTES", 1_000_000)
    is_full = disk_that_is_full(monkeypatch)
    target = exporter(tmp_path)
    await target.start()
    for number in range(2):
        await target.consume(settled([event(number, text="x" * 600_000)])[0])
    third = asyncio.create_task(target.consume(settled([event(2)])[0]))
    await asyncio.sleep(0.05)
    assert not third.done()
    is_full[0] = False
    await asyncio.wait_for(third, 20)
    await target.shutdown()
    assert numbers(EventStore(target.path)) == [2, 1, 0]


async def test_what_waits_behind_a_full_disk_is_bounded_by_its_bytes(tmp_path, monkeypatch):
    """A thousand messages of a mebibyte are few events. The batch that is being handed over counts for itself."""
    monkeypatch.setattr(writing_thread, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_module, "MOST_WAITING_BYTES", 1_000_000)
    monkeypatch.setattr(outlet_module, "MOST_WAITING_BYTES", 3 * 1024**2)  # of one, whose title is as long as its text
    is_full = disk_that_is_full(monkeypatch)
    target = exporter(tmp_path)
    await target.start()
    outlet = Outlet(target)
    for number in range(12):
        await outlet.hand_over(outlet.parcel([event(number, text="x" * 1024**2)], SCOPE, Delivery()))
        async with asyncio.timeout(20):
            while not target._waiting:  # the first is all that the exporter has room for
                await asyncio.sleep(0)
    assert counts(target) == {"dropped/queue_full": 9}
    is_full[0] = False
    await outlet.drain(20, final=True)
    await target.shutdown()
    assert numbers(EventStore(target.path), order="asc") == [0, 1, 2]
    assert outlet._waiting_bytes == 0
