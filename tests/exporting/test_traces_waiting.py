"""Traces that cannot be sent: never in the way of logs, bounded in number and memory, counted when they are dropped."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from tapio_otel.component import Kind
from tapio_otel.exporting import queue as memory_queue
from tapio_otel.exporting.durable_queue import DurableQueue
from tapio_otel.exporting.options import QueueOptions
from tapio_otel.exporting.queue import Request
from tapio_otel.exporting.reencode import PROTO
from tapio_otel.exporting.signal import Signal
from tests.components import context, events
from tests.exporting import traces
from tests.exporting.servers import HttpServer, Step
from tests.exporting.traces import Sent, counts, numbered, running, until
from tests.otlp.incidents import finding

no_proxy, storage = traces.no_proxy, traces.storage
"""Fixtures."""


@pytest.mark.parametrize("is_durable", [False, True])
async def test_traces_that_cannot_be_sent_never_keep_logs_waiting(is_durable, storage):
    """However many wait, with a single consumer; all arrive once the backend takes them."""
    is_broken = True

    def steps():
        while True:
            yield Step(503) if is_broken else Step()

    sent = Sent()
    async with HttpServer(traces=steps()) as server:
        where = server.url
        queue = {"num_consumers": 1, "queue_size": 1000}
        async with running("http", where, storage if is_durable else None, sending_queue=queue) as exporter:
            for number in range(30):
                await exporter.consume(sent.batch(*events(f"event {number}"), numbered(number)))
                await until(lambda: len(server.received.bodies) == 2 * number + 2)  # noqa: B023 - called at once
            assert exporter.context.counters.counts["sent_spans"] == 0
            is_broken = False
            await until(lambda: exporter.context.counters.counts["sent_spans"] == 150)
    assert len(server.received.traces) == 30
    assert len({span.trace_id for _, span in server.received.spans}) == 30
    assert counts(exporter) == {"sent": 60, "sent_spans": 150}
    assert sent.settled == [1] * 30


@pytest.mark.parametrize("overflow", [{}, {"block_on_overflow": False}, {"drop_oldest": True}])
@pytest.mark.parametrize("sizer", [{"queue_size": 12}, {"max_bytes": 200_000}])
async def test_traces_never_fill_a_queue_on_disk(storage, overflow, sizer, caplog):
    """A backend that takes no traces for days costs the oldest of them, counted: the logs have their room."""
    async with HttpServer(traces=itertools.repeat(Step(503))) as server:
        queue = {"num_consumers": 1, **sizer, **overflow}
        async with running("http", server.url, storage, sending_queue=queue) as exporter:
            for number in range(40):
                async with asyncio.timeout(20):
                    await exporter.consume(Sent().batch(*events(f"event {number}"), numbered(number)))
                await until(lambda: len(server.received.bodies) == 2 * number + 2)  # noqa: B023 - called at once
            await until(lambda: not exporter._queue.is_full)
            waiting = exporter._queue._lane.size
            found = exporter.context.counters.counts
            assert waiting >= 3
            await until(lambda: found["dropped_spans:queue_full"] == 5 * (40 - waiting))
            await until(lambda: found["sent"] == 80)
            assert found["dropped"] == 0
    assert "the oldest are dropped" in caplog.text


async def test_what_a_server_never_answers_does_not_keep_logs_waiting():
    """The trace is given up by its time limit; the logs went meanwhile."""
    async with HttpServer(traces=itertools.repeat(Step(hang=True))) as server:
        retry = {"max_elapsed_time": "1ms"}
        queue = {"num_consumers": 1, "wait_for_result": True}
        async with running("http", server.url, timeout="500ms", sending_queue=queue, retry_on_failure=retry) as exporter:
            await exporter.consume(Sent().batch(finding()))
            assert server.received.trace_attempts <= 1
            await exporter.consume(Sent().batch(*events("a")))
            assert exporter.context.counters.counts["sent"] == 2
    assert exporter.context.counters.counts["failed_spans:retries_exhausted"] == 5


async def test_waiting_traces_take_a_bounded_amount_of_memory(monkeypatch, caplog):
    """The oldest that are not on their way are dropped and counted."""
    monkeypatch.setattr(memory_queue, "LANE_BYTES", 30_000)
    sent = Sent()
    async with HttpServer(traces=itertools.repeat(Step(503))) as server:
        retry = {"max_elapsed_time": "1s"}
        async with running("http", server.url, retry_on_failure=retry) as exporter:
            for number in range(20):
                await exporter.consume(sent.batch(numbered(number)))
            await until(lambda: exporter.context.counters.counts["sent"] == 20)
            assert 0 < exporter._queue._aside_bytes <= 30_000
            dropped = exporter.context.counters.counts["dropped_spans:queue_full"]
            assert dropped >= 30
    assert dropped + exporter.context.counters.counts["failed_spans"] == 100
    assert sent.settled == [1] * 20
    assert "the oldest are dropped" in caplog.text


@pytest.mark.parametrize("answer", [Step(503), Step(hang=True)])
async def test_a_batch_waits_for_its_trace_for_a_while_only(answer, monkeypatch):
    """Checkpoints go on: the logs are where they belong. In the end each batch was settled once."""
    monkeypatch.setattr(memory_queue, "LONGEST_HOLD", 0.05)
    sent = Sent()
    async with HttpServer(traces=itertools.repeat(answer)) as server:
        retry = {"max_elapsed_time": "1s"}
        async with running("http", server.url, timeout="1s", retry_on_failure=retry) as exporter:
            for number in range(8):
                await exporter.consume(sent.batch(*events(f"event {number}"), numbered(number)))
            await until(lambda: sent.settled == [1] * 8)
            assert exporter._queue.traces == 8
        assert exporter.context.counters.counts["failed_spans:retries_exhausted"] == 40
    assert sent.settled == [1] * 8


@pytest.mark.parametrize("refused", [Signal.LOGS, Signal.TRACES])
async def test_only_logs_that_cannot_be_sent_end_the_wait_for_logs(storage, refused):
    """At shutdown a backend that takes no traces is no reason to leave logs on disk."""
    gate, log, traces = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send(request):
        await (gate if request.signal is Signal.LOGS else asyncio.Event()).wait()

    surroundings = context(Kind.EXPORTER, "otlp")
    store = storage.request_store(Kind.EXPORTER, surroundings.id, surroundings.log, lambda _problem: None)
    queue = DurableQueue(QueueOptions(num_consumers=1).on_disk(1 << 20), store, send, surroundings, PROTO)
    await queue.open()
    queue.start()
    queue.put(Request(b"t", 0, [], Signal.TRACES))
    queue.put(Request(b"l", 1, []))
    draining = asyncio.create_task(queue.drain(log, traces))
    await until(lambda: queue._aside.requests == 1 and not queue._unwritten)
    (log if refused is Signal.LOGS else traces).set()
    await asyncio.sleep(0.05)
    assert draining.done() is (refused is Signal.LOGS)
    gate.set()
    async with asyncio.timeout(20):
        await draining
    await queue.close()


async def test_traces_that_cannot_be_sent_at_shutdown_are_told(caplog):
    """Their batches stay undelivered, so that receivers that can resume read them again."""
    sent = Sent()
    async with HttpServer(traces=itertools.repeat(Step(hang=True))) as server:
        with contextlib.suppress(TimeoutError):
            async with running("http", server.url) as exporter:
                await exporter.consume(sent.batch(finding()))
                await until(lambda: exporter.context.counters.counts["sent"] == 1)
                async with asyncio.timeout(0.2):
                    await exporter.shutdown()
    assert sent.settled == [0]
    assert "stopped with the traces of 1 findings undelivered" in caplog.text
