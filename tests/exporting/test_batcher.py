"""Cutting events into requests, with the real request builder."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tapio_otel.component import Batch, Delivery
from tapio_otel.exporting.batcher import Batcher
from tapio_otel.exporting.options import BatchOptions, Sizer
from tapio_otel.exporting.queue import Request
from tapio_otel.otlp.wire import RequestBuilder
from tests.components import SCOPE, events


class Cuts:
    """A batcher and the requests it has cut."""

    def __init__(self, queue_sizer: Sizer = Sizer.REQUESTS, **options) -> None:
        self.requests: list[Request] = []
        self.settled: list[int] = []
        self.batcher = Batcher(
            BatchOptions(**options),
            lambda records, size: RequestBuilder({}, max_records=records, max_bytes=size),
            self.requests.append,
            queue_sizer,
        )

    def add(self, *titles: str) -> None:
        number = len(self.settled)
        self.settled.append(0)

        def settle() -> None:
            self.settled[number] += 1

        delivery = Delivery(settle)
        self.batcher.add(Batch(events(*titles), SCOPE), delivery)
        delivery.done()

    @property
    def counts(self) -> list[int]:
        return [request.count for request in self.requests]

    def bodies(self) -> list[str]:
        parsed = [ExportLogsServiceRequest.FromString(request.body) for request in self.requests]
        return [
            record.body.string_value
            for request in parsed
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


def titles(count: int, size: int = 1) -> list[str]:
    """Return titles of at least `size` characters."""
    return [f"{number}".rjust(size, ".") for number in range(count)]


async def test_a_request_is_cut_when_it_is_large_enough():
    """min_size cuts without waiting; the rest waits for more, or for the flush."""
    cuts = Cuts(min_size=10, flush_timeout="1h")
    cuts.add(*titles(9))
    assert (cuts.counts, cuts.batcher.pending) == ([], 9)
    cuts.add("a", "b")
    assert (cuts.counts, cuts.batcher.pending) == ([11], 0)
    cuts.add("c")
    cuts.batcher.flush()
    assert cuts.counts == [11, 1]


async def test_no_request_is_larger_than_max_size():
    """A batch is split over requests of max_size events."""
    cuts = Cuts(min_size=4, max_size=4, flush_timeout="1h")
    cuts.add(*titles(10))
    assert cuts.counts == [4, 4]
    cuts.add("x", "y")
    assert cuts.counts == [4, 4, 4]
    assert cuts.settled == [0, 0]
    for request in cuts.requests:
        request.settle()
    assert cuts.settled == [1, 1]


async def test_sizes_may_be_counted_in_bytes():
    """With the bytes sizer min_size and max_size bound the encoded size; the queue's sizer is the default."""
    cuts = Cuts(queue_sizer=Sizer.BYTES, min_size=2000, max_size=3000, flush_timeout="1h")
    cuts.add(*titles(50, 400))
    assert len(cuts.requests) > 5
    assert all(2000 - 700 <= len(request.body) <= 3000 for request in cuts.requests)


async def test_time_cuts_too():
    """After flush_timeout what is there is sent, and the next request begins its own time."""
    cuts = Cuts(flush_timeout="10ms")
    for title in ("a", "b"):
        cuts.add(title)
        while cuts.batcher.pending:
            await asyncio.sleep(0.001)
    assert cuts.counts == [1, 1]


async def test_an_empty_batch_settles_at_once():
    """Nothing to send is delivered."""
    cuts = Cuts()
    cuts.add()
    assert (cuts.settled, cuts.requests) == ([1], [])


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3000), max_size=12), max_size=8),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(1024, 6000),
)
def test_events_come_out_once_in_order_within_limits_and_settle_once(batches, least, most, max_bytes):
    """Whatever the batches and the limits: nothing lost, repeated or reordered; limits kept; each batch settles once."""

    async def check() -> None:
        cuts = Cuts(min_size=min(least, most) if most else least, max_size=most, max_bytes=max_bytes, flush_timeout="1h")
        expected = []
        for number, sizes in enumerate(batches):
            names = [f"{number}.{index}:" + "x" * size for index, size in enumerate(sizes)]
            expected += names
            cuts.add(*names)
        cuts.batcher.flush()
        assert cuts.bodies() == expected
        assert all(request.count <= (most or request.count) for request in cuts.requests)
        assert all(len(request.body) <= max_bytes for request in cuts.requests if request.count > 1)
        assert cuts.settled == [0 if sizes else 1 for sizes in batches]
        for request in cuts.requests:
            request.settle()
        assert cuts.settled == [1] * len(batches)

    asyncio.run(check())
