"""Traces in a queue on disk: kept over a restart, read back when they are sent, counted apart from logs."""

from __future__ import annotations

import itertools

import pytest

from tapio_otel.otlp.wire import RequestBuilder
from tapio_otel.storage.row import Row
from tests.components import SCOPE, events
from tests.exporting import traces
from tests.exporting.servers import HttpServer, Step
from tests.exporting.traces import KINDS, Sent, counts, numbered, running, server_for, until
from tests.otlp.incidents import finding
from tests.storage.files import content, make_file

no_proxy, storage = traces.no_proxy, traces.storage
"""Fixtures."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_queue_on_disk_keeps_traces_over_a_restart(kind, storage, tmp_path):
    """Settled once on disk; sent by the next run, to the same place, with logs and spans counted apart."""
    sent = Sent()
    async with running(kind, "http://127.0.0.1:9", storage) as exporter:
        await exporter.consume(sent.batch(*events("a"), finding()))
        await until(lambda: sent.settled == [1])
    (path,) = (tmp_path / "queues").glob("*.db")
    encoding = "json" if kind == "http-json" else "proto"
    assert [(row.encoding, row.items) for row in content(path)] == [(f"{encoding}/traces", 0), (encoding, 2)]
    async with server_for(kind) as server, running(kind, f"http://127.0.0.1:{server.port}", storage) as exporter:
        await until(lambda: counts(exporter) == {"restored": 2, "sent": 2, "sent_spans": 5})
    assert server.received.bodies == {"a": 1, finding().title: 1}
    assert len(server.received.spans) == 5
    assert content(path) == []


@pytest.mark.parametrize(("before", "after"), [("http", "http-json"), ("http-json", "http")])
async def test_a_trace_on_disk_is_sent_in_the_encoding_of_now(before, after, storage):
    """The user changed `encoding` between two runs."""
    sent = Sent()
    async with running(before, "http://127.0.0.1:9", storage) as exporter:
        await exporter.consume(sent.batch(finding()))
        await until(lambda: sent.settled == [1])
    async with HttpServer() as server, running(after, server.url, storage) as exporter:
        await until(lambda: exporter.context.counters.counts["sent_spans"] == 5)
    (root,) = [span for _, span in server.received.spans if not span.parent_span_id]
    assert root.trace_id.hex() == finding().id.replace("-", "")
    assert len(root.links) == 2


async def test_a_queue_from_before_there_were_traces_goes_on(storage, tmp_path):
    """Its rows are logs; traces are put behind them."""
    builder = RequestBuilder()
    builder.add(events("old"), SCOPE)
    path = tmp_path / "queues" / "exporters.otlphttp.db"
    make_file(path, [Row(1, 1, 5, "proto", builder.build())])
    async with HttpServer() as server, running("http", server.url, storage) as exporter:
        await exporter.consume(Sent().batch(finding()))
        await until(lambda: counts(exporter) == {"restored": 1, "sent": 2, "sent_spans": 5})
    assert server.received.bodies == {"old": 1, finding().title: 1}


async def test_traces_that_wait_on_disk_are_not_kept_in_memory(storage):
    """But for those on their way; after a restart they are all there."""
    server, queue = HttpServer(traces=itertools.repeat(Step(503))), {"num_consumers": 1}
    async with server, running("http", f"http://127.0.0.1:{server.port}", storage, sending_queue=queue) as exporter:
        for number in range(20):
            await exporter.consume(Sent().batch(numbered(number)))
        await until(lambda: exporter.context.counters.counts["sent"] == 20)
        waiting = exporter._queue._lane._waiting
        assert [len(aside.row.body) for aside in waiting] == [0] * 16
    async with HttpServer() as server, running("http", server.url, storage) as exporter:
        await until(lambda: exporter.context.counters.counts["sent_spans"] == 100)
    assert len({span.trace_id for _, span in server.received.spans}) == 20


async def test_a_damaged_trace_on_disk_costs_itself_alone(storage):
    """Read again after it had to wait; the others are sent."""
    is_broken = True

    def steps():
        while True:
            yield Step(503) if is_broken else Step()

    async with HttpServer(traces=steps()) as server, running("http", server.url, storage) as exporter:
        for number in range(10):
            await exporter.consume(Sent().batch(numbered(number)))
        await until(lambda: exporter.context.counters.counts["sent"] == 10 and len(exporter._queue._lane._waiting) == 6)
        id = exporter._queue._lane._waiting[2].row.id
        exporter._queue._store._writer._file._open.execute("UPDATE request SET body = x'00' WHERE id = ?", (id,))
        is_broken = False
        await until(lambda: exporter.context.counters.counts["sent_spans"] == 45 and not exporter._queue.requests)
    assert len(server.received.traces) == 9


async def test_dropping_the_oldest_counts_traces_apart(storage):
    """Events are counted where they are logs."""
    limits = {"queue_size": 4, "drop_oldest": True, "num_consumers": 1, "block_on_overflow": False}
    async with running("http", "http://127.0.0.1:9", storage, sending_queue=limits) as exporter:
        for number in range(10):
            await exporter.consume(Sent().batch(numbered(number)))
            await until(lambda: not exporter._batcher.pending and not exporter._queue._unwritten)
        found = exporter.context.counters.counts
        assert found["dropped:queue_full"] >= 4
        assert found["dropped_spans:queue_full"] % 5 == 0
        assert found["dropped_spans:queue_full"] >= 20
