"""The sending queue on disk: order, limits, what is dropped, and what a restart finds."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tapio_otel.component import Kind
from tapio_otel.exporting import durable_queue
from tapio_otel.exporting.durable_queue import DurableQueue
from tapio_otel.exporting.options import QueueOptions
from tapio_otel.otlp.json import JsonRequestBuilder
from tapio_otel.storage import RequestStore, Totals
from tapio_otel.storage.queue_file import QueueFile
from tests.components import SCOPE, context, events
from tests.exporting.test_queue import Sink, request
from tests.storage.files import content, fill, make_file, rows, small_disk

LOG = logging.getLogger("tapio.test")


@pytest.fixture
def path(tmp_path):
    """Return where the queue's file goes."""
    return tmp_path / "queue.db"


class Durable:
    """Hold a queue and its surroundings; `storage` is the most bytes that the extension allows."""

    def __init__(self, path, sink: Sink, storage: int = 1 << 30, encoding: str = "proto", **options) -> None:
        self.context = context(Kind.EXPORTER, "otlp")
        self.problems: list[str | None] = []
        self.context.report = self.problems.append
        store = RequestStore(path, storage, True, LOG, self.problems.append)
        limits = QueueOptions(storage="file_storage", **options).on_disk(storage)
        self.queue = DurableQueue(limits, store, sink.send, self.context, encoding)
        self.hopeless, self.traces_hopeless = asyncio.Event(), asyncio.Event()

    @property
    def counts(self):
        return self.context.counters.counts

    async def __aenter__(self) -> Durable:
        await self.queue.open()
        self.queue.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.queue.close()

    async def drain(self) -> None:
        """Wait until everything was sent."""
        async with asyncio.timeout(20):
            await self.queue.drain(self.hopeless, self.traces_hopeless)

    async def until_written(self) -> None:
        """Wait until everything is on disk."""
        self.hopeless.set()
        await self.drain()
        self.hopeless.clear()


async def test_requests_are_sent_in_order_and_settled_once_on_disk(path):
    """A batch is settled before anything is sent; what was answered for is not on disk any more."""
    sink, settled = Sink(is_open=False), []
    async with Durable(path, sink, num_consumers=1) as one:
        bodies = [b"%d" % number for number in range(50)]
        for body in bodies:
            one.queue.put(request(body, settled=settled))
        assert settled == []
        await one.until_written()
        assert (settled, sink.bodies) == (bodies, [])
        sink.gate.set()
        await one.drain()
    assert sink.bodies == bodies
    assert (one.queue.requests, one.queue.items, one.queue.bytes) == (0, 0, 0)
    assert content(path) == []


async def test_what_was_not_answered_for_is_sent_after_the_next_start(path):
    """Counted as restored; the order stays, and new requests come behind."""
    sink = Sink(is_open=False)
    async with Durable(path, sink, num_consumers=1) as one:
        for number in range(10):
            one.queue.put(request(b"%d" % number, count=3))
        await one.until_written()
    assert one.queue.items == 30
    sink = Sink()
    async with Durable(path, sink, num_consumers=1) as one:
        one.queue.put(request(b"new"))
        await one.drain()
    assert sink.bodies == [*(b"%d" % number for number in range(10)), b"new"]
    assert one.counts["restored"] == 30


async def test_more_than_memory_holds_is_read_back_in_order(path, monkeypatch):
    """Only the next requests to be sent are kept in memory."""
    monkeypatch.setattr(durable_queue, "AHEAD_BYTES", 1000)
    sink = Sink(is_open=False)
    bodies = [b"%03d" % number * 100 for number in range(200)]
    async with Durable(path, sink, num_consumers=1) as one:
        for body in bodies[:150]:
            one.queue.put(request(body))
        await one.until_written()
        assert one.queue._ahead_bytes <= 1300
        sink.gate.set()
        for body in bodies[150:]:
            one.queue.put(request(body))
            await asyncio.sleep(0)
        await one.drain()
    assert sink.bodies == bodies
    assert content(path) == []


@pytest.mark.parametrize(
    ("options", "storage", "most"),
    [({}, 5000, 5), ({"max_bytes": 3000}, 5000, 3), ({"max_bytes": 9000}, 5000, 5), ({"queue_size": 2}, 5000, 2)],
    ids=["the storage's bytes", "fewer of its own", "more than the storage's", "requests"],
)
async def test_it_is_full_at_the_first_limit_that_is_reached(path, options, storage, most):
    """Producers wait then, until a request has been answered for."""
    sink = Sink(is_open=False)
    async with Durable(path, sink, storage=storage, num_consumers=1, **options) as one:
        for number in range(most):
            assert not one.queue.is_full
            await one.queue.room()
            one.queue.put(request(b"%04d" % number * 250))
        assert one.queue.is_full
        waiting = asyncio.create_task(one.queue.room())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        sink.gate.set()
        async with asyncio.timeout(20):
            await waiting


async def test_dropping_the_oldest_is_exact(path, monkeypatch):
    """What is on its way stays, the next oldest go, from memory and from disk; each is told once, and none is sent."""
    monkeypatch.setattr(durable_queue, "AHEAD_BYTES", 1000)
    sink, dropped = Sink(is_open=False), []
    async with Durable(path, sink, num_consumers=1, queue_size=10) as one:
        for number in range(40):
            await one.queue.make_room(lambda one: dropped.append(one.count))
            one.queue.put(request(b"%02d" % number * 200, count=number + 1))
            await one.until_written()
        assert one.queue.requests == 10
        sink.gate.set()
        await one.drain()
    sent = [int(body[:2]) for body in sink.bodies]
    assert sent == [0, *range(31, 40)]
    assert dropped == list(range(2, 32))
    assert content(path) == []


async def test_dropping_is_exact_when_it_is_interrupted(path, monkeypatch):
    """What was dropped by then has been told."""
    monkeypatch.setattr(durable_queue, "AHEAD_BYTES", 100)
    make_file(path, rows(100))
    sink, dropped = Sink(is_open=False), []
    async with Durable(path, sink, num_consumers=1, queue_size=5) as one:
        before = one.queue.items
        dropping = asyncio.create_task(one.queue.make_room(lambda one: dropped.append(one.count)))
        while len(dropped) < 20:
            await asyncio.sleep(0)
        dropping.cancel()
        await asyncio.wait([dropping])
        assert dropping.cancelled()
        assert before == sum(dropped) + one.queue.items
        assert len(dropped) < 95


async def test_a_full_disk_makes_producers_wait_and_sending_goes_on(tmp_path, monkeypatch):
    """What is on disk goes out, which makes room for what waits; nothing is lost or sent twice."""
    monkeypatch.setattr(durable_queue, "UNWRITTEN_BYTES", 500_000)
    with small_disk(tmp_path / "disk", "3m") as disk:
        sink, settled = Sink(is_open=False), []
        async with Durable(disk / "queue.db", sink, num_consumers=1) as one:
            ballast = fill(disk)
            with ballast.open("ab") as file:
                file.truncate(ballast.stat().st_size - 600_000)
            bodies = [b"%02d" % number * 50_000 for number in range(20)]

            async def produce() -> None:
                for body in bodies:
                    await one.queue.room()
                    one.queue.put(request(body, settled=settled))

            producing = asyncio.create_task(produce())
            async with asyncio.timeout(20):
                while not one.problems:
                    await asyncio.sleep(0.02)
            assert not producing.done()
            assert len(settled) < 20
            sink.gate.set()
            async with asyncio.timeout(60):
                await producing
                await one.queue.drain(one.hopeless, one.traces_hopeless)
        assert sink.bodies == settled == bodies


async def test_damage_met_while_sending_is_counted_and_the_rest_goes_out(path, monkeypatch):
    """A checksum that is wrong costs its own request only; received = sent + dropped."""
    monkeypatch.setattr(durable_queue, "AHEAD_BYTES", 1000)
    sink = Sink(is_open=False)
    make_file(path, rows(100, size=900))
    async with Durable(path, sink, num_consumers=1) as one:
        while not sink.at_once:
            await asyncio.sleep(0.01)
        database = one.queue._store._writer._file._open
        database.execute("UPDATE request SET body = x'00' WHERE id IN (50, 51)")
        sink.gate.set()
        await one.drain()
    lost = [row for row in rows(100) if row.id in (50, 51)]
    assert len(sink.bodies) == 98
    assert one.counts["dropped:damaged"] == sum(row.items for row in lost)
    assert any(
        (problem and "2 requests were damaged" in problem) or "1 requests were damaged" in (problem or "")
        for problem in one.problems
    )
    assert content(path) == []
    file = QueueFile(path)
    file.open()
    assert file.totals() == Totals()  # else it would be met, and counted, again after every start
    file.close()


async def test_a_file_that_loses_its_content_while_sending_is_counted(path, monkeypatch):
    """Whatever cannot be read any more is dropped and counted, exactly; what was in memory goes out."""
    monkeypatch.setattr(durable_queue, "AHEAD_BYTES", 1000)
    sink = Sink(is_open=False)
    wanted = rows(3000, size=30_000)
    make_file(path, wanted)
    async with Durable(path, sink, num_consumers=1) as one:
        while not sink.at_once:
            await asyncio.sleep(0.01)
        with path.open("r+b") as file:
            file.seek(40_000_000)
            file.write(b"\xa5" * 200_000)
        sink.gate.set()
        async with asyncio.timeout(100):
            await one.queue.drain(one.hopeless, one.traces_hopeless)
    bodies = {row.body: row.items for row in wanted}
    sent = sum(bodies[body] for body in sink.bodies)
    assert len(set(sink.bodies)) == len(sink.bodies) > 2900
    assert sent + one.counts["dropped:damaged"] == sum(bodies.values())


async def test_requests_of_another_encoding_are_translated(path):
    """The user changed `encoding` between two runs."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    builder = JsonRequestBuilder()
    builder.add(events("a", "b"), SCOPE)
    async with Durable(path, Sink(is_open=False), encoding="json") as one:
        one.queue.put(request(builder.build(), count=2))
        await one.until_written()
    sink = Sink()
    async with Durable(path, sink) as one:
        await one.drain()
    (body,) = sink.bodies
    assert len(ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records) == 2


async def test_closing_leaves_no_task_and_can_be_done_twice(path):
    """What is in the middle of being sent stays on disk."""
    sink = Sink(is_open=False)
    one = Durable(path, sink, num_consumers=3)
    await one.__aenter__()
    for _ in range(5):
        one.queue.put(request())
    await one.until_written()
    await one.queue.close()
    await one.queue.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(content(path)) == 5
