"""The sending queue: bounds, order, concurrency, draining."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tapio_otel.component import Delivery
from tapio_otel.exporting.options import QueueOptions
from tapio_otel.exporting.queue import Request, SendingQueue

LOG = logging.getLogger("tapio.test")


class Sink:
    """Send when allowed to."""

    def __init__(self, is_open: bool = True) -> None:
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()
        self.bodies: list[bytes] = []
        self.at_once = self.most_at_once = 0

    async def send(self, request: Request) -> None:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await self.gate.wait()
        self.bodies.append(request.body)
        self.at_once -= 1


def request(body: bytes = b"x", count: int = 1, settled: list[bytes] | None = None) -> Request:
    """Return a request of one batch."""
    return Request(body, count, [Delivery(lambda: settled.append(body) if settled is not None else None)])


@pytest.mark.parametrize(("sizer", "size"), [("requests", 2), ("items", 30), ("bytes", 200)])
async def test_the_queue_is_bounded_in_each_unit(sizer, size):
    """queue_size counts requests, events or bytes; those on their way count too."""
    sink = Sink(is_open=False)
    queue = SendingQueue(QueueOptions(sizer=sizer, queue_size=size, num_consumers=1), sink.send, LOG)
    queue.start()
    queue.put(request(b"x" * 100, 15))
    await asyncio.sleep(0)
    assert not queue.is_full
    queue.put(request(b"x" * 100, 15))
    assert queue.is_full
    assert queue.size == size
    waiting = asyncio.create_task(queue.room())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    sink.gate.set()
    await waiting
    await queue.drain()
    assert queue.size == 0
    await queue.close()


async def test_memory_is_bounded_whatever_the_unit():
    """max_bytes holds even where queue_size counts requests."""
    queue = SendingQueue(QueueOptions(queue_size=1000, max_bytes=2000), Sink().send, LOG)
    queue.put(request(b"x" * 1999))
    assert not queue.is_full
    queue.put(request(b"x"))
    assert queue.is_full


async def test_one_consumer_keeps_the_order():
    """With num_consumers 1 requests are sent one after the other."""
    sink, settled = Sink(), []
    queue = SendingQueue(QueueOptions(num_consumers=1), sink.send, LOG)
    queue.start()
    bodies = [b"%d" % number for number in range(50)]
    for body in bodies:
        queue.put(request(body, settled=settled))
    await queue.drain()
    await queue.close()
    assert sink.bodies == bodies == settled
    assert sink.most_at_once == 1


async def test_no_more_than_num_consumers_are_on_their_way():
    """Concurrency is bounded by num_consumers, and reached."""
    sink = Sink(is_open=False)
    queue = SendingQueue(QueueOptions(num_consumers=3), sink.send, LOG)
    queue.start()
    for _ in range(10):
        queue.put(request())
    for _ in range(5):
        await asyncio.sleep(0)
    sink.gate.set()
    await queue.drain()
    await queue.close()
    assert sink.most_at_once == 3
    assert len(sink.bodies) == 10


async def test_closing_leaves_the_rest_unsettled():
    """What was not sent is not settled, and no task is left."""
    sink, settled = Sink(is_open=False), []
    queue = SendingQueue(QueueOptions(num_consumers=2), sink.send, LOG)
    queue.start()
    for _ in range(5):
        queue.put(request(settled=settled))
    await asyncio.sleep(0)
    await queue.close()
    assert (settled, queue.requests) == ([], 5)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failing_checkpoint_does_not_stop_the_sending(caplog):
    """An error while a delivery is noted is logged; further requests are sent."""
    sink = Sink()
    queue = SendingQueue(QueueOptions(num_consumers=1), sink.send, LOG)
    queue.start()

    def fail() -> None:
        raise OSError("read-only file system")

    queue.put(Request(b"a", 3, [Delivery(fail)]))
    queue.put(request(b"b"))
    await queue.drain()
    await queue.close()
    assert sink.bodies == [b"a", b"b"]
    assert "noting the delivery of 3 events failed" in caplog.text
