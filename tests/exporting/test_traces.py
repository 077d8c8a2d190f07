"""Findings sent as traces by the OTLP exporters, beside the logs: delivered once, to the same server, all counted."""

from __future__ import annotations

import itertools
import json
import logging

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tapio_otel.exporting.reencode import JSON, PROTO, count_spans, reencode
from tapio_otel.exporting.responses import read_answer
from tapio_otel.exporting.retry import Answer
from tapio_otel.exporting.signal import Signal
from tapio_otel.otlp.semconv import EMIT_TRACE
from tapio_otel.otlp.spans import span_id, trace_requests
from tests.components import events, make
from tests.exporting import traces
from tests.exporting.certificates import Authority
from tests.exporting.servers import GrpcServer, HttpServer, Step
from tests.exporting.traces import KINDS, Sent, counts, numbered, running, server_for, until
from tests.otlp.incidents import finding, members

no_proxy, storage = traces.no_proxy, traces.storage
"""Fixtures."""


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
