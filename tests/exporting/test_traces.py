"""Findings sent as traces by the OTLP exporters, beside the logs: delivered once, never in the way of logs, all counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tapio_otel.cli import replay
from tapio_otel.component import Batch, Delivery, Kind, Scope
from tapio_otel.event import EventType, Origin
from tapio_otel.event_store.record import Encoder
from tapio_otel.exporters.debug import DebugExporter
from tapio_otel.exporters.file import FileExporter
from tapio_otel.exporters.otlp import OtlpExporter
from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tapio_otel.exporting import queue as memory_queue
from tapio_otel.exporting.durable_queue import DurableQueue
from tapio_otel.exporting.options import QueueOptions
from tapio_otel.exporting.queue import Request
from tapio_otel.exporting.reencode import JSON, PROTO, count_spans, reencode
from tapio_otel.exporting.responses import read_answer
from tapio_otel.exporting.retry import Answer
from tapio_otel.exporting.signal import Signal
from tapio_otel.extensions.file_storage import FileStorageConfig, FileStorageExtension
from tapio_otel.extensions.ui.live import LiveEvents, Place
from tapio_otel.otlp.members import without_members
from tapio_otel.otlp.semconv import EMIT_TRACE
from tapio_otel.otlp.spans import span_id, trace_requests
from tapio_otel.otlp.wire import RequestBuilder
from tapio_otel.storage.row import Row
from tapio_otel.timeline.index import EventIndex
from tests.components import SCOPE, context, events, make
from tests.exporters.test_otlp import FAST_RETRY
from tests.exporting.certificates import Authority
from tests.exporting.servers import GrpcServer, HttpServer, Step
from tests.otlp.incidents import finding, members
from tests.storage.files import content, make_file

KINDS = {
    "grpc": (OtlpExporter, {}),
    "http": (OtlpHttpExporter, {}),
    "http-json": (OtlpHttpExporter, {"encoding": "json", "compression": "zstd"}),
}
FIRST = {"batch": {"flush_timeout": "1ms"}}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """Keep the machine's proxies out."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def storage(tmp_path):
    """Return a running file_storage in `tmp_path/queues`."""
    one = FileStorageExtension(context(Kind.EXTENSION, "file_storage"), FileStorageConfig(directory=tmp_path / "queues"))
    await one.start()
    yield one
    await one.shutdown()


def server_for(kind: str, *steps: Step, traces=()):
    """Return a server that this kind of exporter can send to."""
    return (GrpcServer if kind == "grpc" else HttpServer)(*steps, traces=traces)


@contextlib.asynccontextmanager
async def running(kind: str, endpoint: str, storage=None, **options):
    """Run an exporter that tries again at once."""
    exporter_class, more = KINDS[kind]
    surroundings = context(Kind.EXPORTER, exporter_class.type)
    queue = {**FIRST, **options.pop("sending_queue", {})}
    if storage is not None:
        surroundings.extension = {"file_storage": storage}.get
        queue["storage"] = "file_storage"
    retry = {**FAST_RETRY, **options.pop("retry_on_failure", {})}
    config = {"endpoint": endpoint, "retry_on_failure": retry, "sending_queue": queue} | more | options
    one = exporter_class(surroundings, exporter_class.Config(**config))
    await one.start()
    try:
        yield one
    finally:
        await one.shutdown()


class Sent:
    """Batches handed over, and how often each was settled."""

    def __init__(self) -> None:
        self.settled: list[int] = []

    def batch(self, *found) -> Batch:
        self.settled.append(0)
        number = len(self.settled) - 1

        def settle() -> None:
            self.settled[number] += 1

        return Batch(list(found), SCOPE, Delivery(settle))


def numbered(number: int):
    """Return a finding of its own, with members of its own."""
    one = finding()
    one.id = f"finding {number}"
    one.title = f"finding {number}"
    return one


async def until(condition) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def counts(one) -> dict[str, int]:
    """Return what an exporter counted, without reasons."""
    return {name: amount for name, amount in one.context.counters.counts.items() if ":" not in name}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_finding_is_sent_as_a_log_and_as_a_trace(kind):
    """Each once; events and spans are counted apart, and the batch is settled once."""
    one, sent = finding(), Sent()
    async with server_for(kind) as server:
        async with running(kind, f"http://127.0.0.1:{server.port}", headers={"x-tenant": "blue"}) as exporter:
            await exporter.consume(sent.batch(*events("a"), one))
            await exporter.consume(sent.batch(*events("b")))
        assert server.received.bodies == {"a": 1, one.title: 1, "b": 1}
        names = {span.name: span for _, span in server.received.spans}
        root = names["oom_kill of shop.service"]
        assert len(names) == len(server.received.spans) == 5
        assert names["service_restart of shop.service"].parent_span_id == root.span_id
        assert {resource["os.type"] for resource, _ in server.received.spans} == {"linux"}
        (headers,) = server.received.trace_headers
    assert {name.lower(): value for name, value in headers.items()}["x-tenant"] == "blue"
    assert counts(exporter) == {"sent": 3, "sent_spans": 5}
    assert sent.settled == [1, 1]


async def test_logs_alone_open_no_second_connection():
    """Nor does a finding that does not ask for a trace."""
    one = finding()
    del one.attributes[EMIT_TRACE]
    async with HttpServer() as server, running("http", server.url) as exporter:
        await exporter.consume(Sent().batch(*events("a"), one))
        await until(lambda: exporter.context.counters.counts["sent"])
        assert len(server.connections) == 1
    assert server.paths == ["/v1/logs"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_durable", [False, True])
async def test_a_backend_without_traces_gets_the_logs_all_the_same(kind, is_durable, storage, tmp_path, caplog):
    """That is said once; each trace is counted and becomes a dead letter, which can be sent again."""
    steps = None if kind == "grpc" else itertools.repeat(Step(404, "page not found"))
    path, sent = tmp_path / "dead.jsonl", Sent()
    retry = {"dead_letter": {"path": str(path)}}
    caplog.set_level(logging.WARNING)
    async with server_for(kind, traces=steps) as server:
        where = f"http://127.0.0.1:{server.port}"
        async with running(kind, where, storage if is_durable else None, retry_on_failure=retry) as exporter:
            for number in range(3):
                await exporter.consume(sent.batch(*events(f"event {number}"), numbered(number)))
            await until(lambda: exporter.context.counters.counts["failed_spans"] == 15)
    assert len(server.received.bodies) == 6
    assert counts(exporter) == {"sent": 6, "failed_spans": 15, "dead_lettered_spans": 15}
    assert exporter.context.counters.counts["failed_spans:permanent"] == 15
    assert sent.settled == [1, 1, 1]
    assert [record.message for record in caplog.records if "takes no traces" in record.message] == [
        record.message for record in caplog.records
    ]
    assert len(caplog.records) == 1
    letters = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["deadLetter"]["signal"], one["deadLetter"]["count"]) for one in letters] == [("traces", 5)] * 3
    body = json.dumps({"resourceSpans": letters[0]["resourceSpans"]}).encode()
    assert count_spans(reencode(body, JSON, PROTO, Signal.TRACES)) == 5


@pytest.mark.parametrize("kind", KINDS)
async def test_a_trace_is_tried_again_and_what_is_rejected_is_counted(kind):
    """As logs are: what may pass is tried again, the server says how many spans it does not take."""
    broken = Step("UNAVAILABLE" if kind == "grpc" else 503)
    sent = Sent()
    server = server_for(kind, traces=[broken, broken, Step(rejected=2, words="too old")])
    async with server, running(kind, f"http://127.0.0.1:{server.port}") as exporter:
        await exporter.consume(sent.batch(finding()))
    assert server.received.trace_attempts == 3
    assert len(server.received.spans) == 5
    assert counts(exporter) == {"sent": 1, "sent_spans": 3, "failed_spans": 2}
    assert sent.settled == [1]


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


async def test_a_trace_larger_than_a_request_is_cut():
    """Servers take 4 MiB by default."""
    queue = {"batch": {"flush_timeout": "1ms", "max_bytes": 2048}}
    async with HttpServer() as server, running("http", server.url, sending_queue=queue) as exporter:
        await exporter.consume(Sent().batch(finding()))
    assert len(server.received.traces) > 1
    assert counts(exporter) == {"sent": 1, "sent_spans": 5}


async def test_a_finding_that_makes_no_trace_is_a_log_all_the_same(caplog):
    """Whatever it brings in place of events; what cannot even be told is logged."""
    nothing, strange = numbered(1), numbered(2)
    nothing.attributes[EMIT_TRACE] = [None, {}]
    strange.id = 7  # type: ignore[assignment]
    strange.severity = None  # type: ignore[assignment]
    async with HttpServer() as server, running("http", server.url) as exporter:
        await exporter.consume(Sent().batch(nothing))
        assert await exporter._traces.requests([strange]) == []
    assert counts(exporter) == {"sent": 1}
    assert server.received.traces == []
    assert "finding 7 makes no trace" in caplog.text


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_traces_are_encrypted_as_logs_are(kind, tmp_path):
    """By the same authority and the same certificate of the client."""
    authority = Authority(tmp_path)
    server, own = authority.issue("server"), authority.issue("client")
    tls = {"ca_file": authority.file, "cert_file": own.cert_file, "key_file": own.key_file}
    backend = (GrpcServer if kind == "grpc" else HttpServer)(tls=server, clients=authority)
    async with backend, running(kind, f"https://localhost:{backend.port}", tls=tls) as exporter:
        await exporter.consume(Sent().batch(finding()))
    assert counts(exporter) == {"sent": 1, "sent_spans": 5}


@pytest.mark.parametrize(
    ("options", "variables", "url"),
    [
        ({"endpoint": "http://a/otlp"}, {}, "http://a/otlp/v1/traces"),
        ({"endpoint": "http://a/", "traces_endpoint": "https://b/t"}, {}, "https://b/t"),
        ({"logs_endpoint": "http://a/x/v1/logs"}, {}, "http://a/x/v1/traces"),
        ({"logs_endpoint": "http://a/loki"}, {}, "http://a/v1/traces"),
        ({"endpoint": "http://b", "logs_endpoint": "http://a/loki"}, {}, "http://b/v1/traces"),
        ({}, {"ENDPOINT": "http://c/x"}, "http://c/x/v1/traces"),
        ({}, {"ENDPOINT": "http://c", "LOGS_ENDPOINT": "http://d/v1/logs"}, "http://d/v1/traces"),
        ({}, {}, "http://localhost:4318/v1/traces"),
    ],
)
def test_traces_go_to_the_server_that_gets_the_logs(options, variables, url, monkeypatch):
    """Unless the configuration says otherwise."""
    for name in ("ENDPOINT", "LOGS_ENDPOINT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    assert make(OtlpHttpExporter, **options).make_transport(Signal.TRACES).destination == url


def test_traces_endpoint_must_be_a_url():
    """The error says what to write."""
    with pytest.raises(ValueError, match="no HTTP URL"):
        OtlpHttpExporter.Config(traces_endpoint="tempo:4318")


def test_a_trace_becomes_otlp_json_and_comes_back():
    """Ids are hexadecimal, those of links and parents too."""
    (body,) = trace_requests(finding(), {}, 1 << 30)
    text = reencode(body, PROTO, JSON, Signal.TRACES)
    one, told = finding(), members()
    (restart,) = [
        span
        for resource in json.loads(text)["resourceSpans"]
        for span in resource["scopeSpans"][0]["spans"]
        if span["name"].startswith("service_restart")
    ]
    assert restart["parentSpanId"] == span_id(one.id, told[0].id).hex()
    assert restart["kind"] == 1
    assert '"traceId":"0af7651916cd43dd8448eb211c80319c"' in text.decode()
    back = reencode(text, JSON, PROTO, Signal.TRACES)
    assert ExportTraceServiceRequest.FromString(back) == ExportTraceServiceRequest.FromString(body)
    assert count_spans(body) == count_spans(text) == 5
    assert count_spans(b"\xff") == count_spans(b"{") == count_spans(b'{"resourceSpans": 1}') == 0


def test_partial_success_of_traces_is_read_in_both_encodings():
    """The member has another name than that of logs."""
    text = b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "old"}}'
    assert read_answer(text, True, Signal.TRACES) == Answer(3, "old")
    assert read_answer(b"\x0a\x07\x08\x03\x12\x03old", False, Signal.TRACES) == Answer(3, "old")


async def test_no_other_exporter_shows_the_members(tmp_path, capfd):
    """The file exporter in every format, and debug with all its details."""
    path = tmp_path / "out"
    exporters = [
        make(FileExporter, path=str(path)),
        make(FileExporter, path=f"{path}.pb", format="proto"),
        make(FileExporter, path=f"{path}.jsonl", format="events"),
        make(DebugExporter, verbosity="detailed", output_paths=["stdout"]),
    ]
    for one in exporters:
        await one.start()
        await one.consume(Batch([finding()], SCOPE))
        await one.shutdown()
    written = [*(path.with_suffix(end).read_bytes() for end in ("", ".pb", ".jsonl")), capfd.readouterr().out.encode()]
    assert all(b"oom_cascade" in text and EMIT_TRACE.encode() not in text for text in written)


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("has_origin", [False, True])
def test_whoever_keeps_findings_as_events_keeps_no_members(is_shared, has_origin):
    """They were told one by one. The finding itself still has them; what has none is not copied."""
    one = finding()
    if has_origin:
        told = dict(one.attributes)
        one.shared, one.own = Origin(one.entity, told if is_shared else {}), {} if is_shared else told
    shown = without_members(one)
    assert shown.get(EMIT_TRACE) is None
    assert (shown.get("rule"), shown.id, len(one.get(EMIT_TRACE))) == ("oom_cascade", one.id, 5)
    assert without_members(shown) is shown
    (record,), refused = Encoder().records([one])
    assert (EMIT_TRACE.encode() in record.own, b"oom_cascade" in record.own, refused) == (False, True, 0)


def test_neither_a_replay_nor_a_timeline_nor_a_viewer_shows_the_members(capsys):
    """They write findings as event JSON."""
    replay._print([finding()])
    index = EventIndex()
    index.add([finding()])
    (shown,) = LiveEvents(1)._message("finding", finding(), Place(0, 1))
    texts = [capsys.readouterr().out.encode(), *index._young._loose_texts.values(), shown]
    assert len(texts) == 3
    assert all(b"oom_cascade" in text and EMIT_TRACE.encode() not in text for text in texts)


def test_findings_still_carry_their_members_after_export():
    """Exporters must not change events: another pipeline may hold them."""
    one = finding()
    builder = RequestBuilder()
    builder.add([one], Scope("x", "1"))
    assert len(ExportLogsServiceRequest.FromString(builder.build()).resource_logs) == 1
    assert one.type == EventType.CORRELATION
    assert len(one.attributes[EMIT_TRACE]) == 5
