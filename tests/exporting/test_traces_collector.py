"""Findings sent as traces come out of a real otel-collector as the waterfall that they are."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import Batch, Delivery
from tapio_otel.exporters.otlp import OtlpExporter
from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tests.components import SCOPE, events, make
from tests.integration.collector import Collector, plain_attributes
from tests.integration.conftest import collector_binary
from tests.otlp.incidents import OTHER_TRACE, SECOND, SPAN, START, TRACE, finding, members

__all__ = ["collector_binary"]

TRANSPORTS = {
    "grpc": (OtlpExporter, {}),
    "grpc-none": (OtlpExporter, {"compression": "none"}),
    "http-proto-gzip": (OtlpHttpExporter, {}),
    "http-proto-zstd": (OtlpHttpExporter, {"compression": "zstd"}),
    "http-json": (OtlpHttpExporter, {"encoding": "json"}),
}


@pytest.fixture(params=[True, False], ids=["with traces", "logs alone"])
def takes_traces(request) -> bool:
    """Tell whether the collector has a pipeline for traces."""
    return bool(request.param)


@pytest.fixture
def running(collector_binary: Path, tmp_path: Path, takes_traces: bool):
    """Run a collector that writes logs and, besides, traces to files."""
    traces = tmp_path / "traces.jsonl"
    logs_only = Collector(collector_binary, tmp_path).configuration()["service"]
    pipelines = logs_only["pipelines"]
    if takes_traces:
        pipelines |= {"traces": {"receivers": ["otlp"], "exporters": ["file/traces"]}}
    one = Collector(collector_binary, tmp_path)
    configuration = one.configuration()
    exporters = configuration["exporters"] | {"file/traces": {"path": str(traces), "flush_interval": "50ms"}}
    one._extra = {"exporters": exporters, "service": configuration["service"] | {"pipelines": pipelines}}
    with one:
        yield one


async def written(path: Path, count: int) -> list[dict[str, Any]]:
    """Return the spans in a file once there are so many, each with its resource and scope."""
    deadline = time.monotonic() + 20
    while True:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        found = [
            span | {"resource": plain_attributes(resource.get("resource", {})), "scope": scope.get("scope", {})}
            for line in lines
            if line.endswith(b"\n")
            for resource in json.loads(line)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, f"{len(found)} of {count} spans"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_collector_understands_findings_and_their_traces(running, takes_traces, transport, tmp_path, caplog):
    """Parents, names, times, links, services; where it takes no traces, the logs arrive all the same and that is said."""
    exporter_class, options = TRANSPORTS[transport]
    endpoint = running.grpc_endpoint if exporter_class is OtlpExporter else running.http_endpoint
    exporter, settled = make(exporter_class, endpoint=endpoint, **options), []
    await exporter.start()
    await exporter.consume(Batch([*events("before"), finding()], SCOPE, Delivery(lambda: settled.append(1))))
    await exporter.consume(Batch(events("after"), SCOPE, Delivery(lambda: settled.append(1))))
    await exporter.shutdown()
    logs = await running.wait_for(3)
    assert {one.body for one in logs} == {"before", finding().title, "after"}
    (told,) = [one for one in logs if one.record.get("eventName") == "tapio.correlation"]
    assert told.attributes["tapio.correlation.rule"] == "oom_cascade"
    assert told.attributes["tapio.correlation.member.uids"] == [one.id for one in members()]
    assert settled == [1, 1]
    counts = exporter.context.counters.counts
    if not takes_traces:
        assert (counts["sent"], counts["failed_spans:permanent"], counts["sent_spans"]) == (3, 5, 0)
        assert "takes no traces" in caplog.text
        return
    assert counts == {"sent": 3, "sent_spans": 5}
    check(await written(tmp_path / "traces.jsonl", 5))


def check(spans: list[dict[str, Any]]) -> None:
    """Compare what the collector wrote with the finding and its members."""
    one, told = finding(), members()
    by_uid = {plain_attributes(span)["log.record.uid"]: span for span in spans}
    assert len(by_uid) == len(spans) == 5
    ids = {event.id: by_uid[event.id]["spanId"] for event in told}
    assert len(set(ids.values())) == 5
    assert {span["traceId"] for span in spans} == {one.id.replace("-", "")}
    root, oom_line, restart, started, failed = (by_uid[event.id] for event in told)
    assert root.get("parentSpanId", "") == ""
    assert oom_line["parentSpanId"] == restart["parentSpanId"] == failed["parentSpanId"] == root["spanId"]
    assert started["parentSpanId"] == restart["spanId"]
    assert [span["name"] for span in (root, restart, failed)] == [
        "oom_kill of shop.service",
        "service_restart of shop.service",
        "connection_failed of cart.service",
    ]
    assert [int(by_uid[event.id]["startTimeUnixNano"]) for event in told] == [event.timestamp for event in told]
    assert int(root["endTimeUnixNano"]) == START + 3 * SECOND + 1_000_000
    assert all(int(span["endTimeUnixNano"]) > int(span["startTimeUnixNano"]) for span in spans)
    assert [span["resource"]["service.name"] for span in (root, restart, failed)] == ["shop", "shop", "cart"]
    assert all(span["scope"]["name"] == "tapio_otel.processors.correlate" and span["kind"] == 1 for span in spans)
    assert [(link["traceId"], link.get("spanId", "")) for link in failed["links"]] == [(TRACE, SPAN)]
    assert [(link["traceId"], link.get("spanId", "")) for link in root["links"]] == [(TRACE, SPAN), (OTHER_TRACE, "")]
    assert (root["status"]["code"], root["status"]["message"]) == (2, one.description)
    assert restart["status"] == {}
    assert plain_attributes(root)["tapio.correlation.hint"] == one.copy().attributes["hint"]
