"""Events sent by every transport come out of a real otel-collector equal to what went in, field by field."""

from __future__ import annotations

import pytest

from tapio_otel.component import Batch, Delivery, Scope
from tapio_otel.event import EntityReference, EntityType, Origin, Severity, UnifiedEvent
from tapio_otel.exporters.otlp import OtlpExporter
from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tapio_otel.identity import event_id
from tests.components import make
from tests.exporting.certificates import Authority
from tests.integration.collector import Collector, Received, plain_attributes

SCOPE = Scope("tapio_otel.receivers.journald", "0.1.0")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
AWKWARD = 'žluťoučký \U0001f40e\x00\x1b[31m "quoted" \\ \n\t\u2028 end'
TRANSPORTS = {
    "grpc": (OtlpExporter, {}),
    "grpc-gzip": (OtlpExporter, {"compression": "gzip"}),
    "grpc-none": (OtlpExporter, {"compression": "none"}),
    "http-proto-gzip": (OtlpHttpExporter, {"compression": "gzip"}),
    "http-proto-zstd": (OtlpHttpExporter, {"compression": "zstd"}),
    "http-proto-none": (OtlpHttpExporter, {"compression": "none"}),
    "http-json-gzip": (OtlpHttpExporter, {"encoding": "json", "compression": "gzip"}),
    "http-json-zstd": (OtlpHttpExporter, {"encoding": "json", "compression": "zstd"}),
    "http-json-none": (OtlpHttpExporter, {"encoding": "json", "compression": "none"}),
}


def sample() -> list[UnifiedEvent]:
    """Return events that use every field, awkward text and every kind of attribute value."""
    origin = Origin(
        EntityReference(EntityType.SYSTEMD_UNIT, "nginx.service"),
        {"comm": "nginx", "exe": "/usr/sbin/nginx", "pid": 7, "_TRANSPORT": "stdout"},
        {"unit": "nginx.service"},
    )
    found = []
    for number, severity in enumerate(Severity):
        event = UnifiedEvent.of_origin(
            origin,
            event_id("sample", number),
            1_700_000_000_123_456_789 + number,
            1_700_000_001_000_000_001 + number,
            "journald",
            "log",
            severity,
            f"title {number}",
            f"{number} {AWKWARD}",
            {"REQUEST_ID": f"r-{number}", "custom.key": number},
        )
        found.append(event)
    found[0].trace_id, found[0].span_id = TRACE, SPAN
    found.append(
        UnifiedEvent(
            event_id("sample", "structured"),
            1_700_000_000_500_000_000,
            "ebpf",
            "oom_kill",
            Severity.CRITICAL,
            EntityReference(
                EntityType.CONTAINER, "web", uid="a" * 64, parent=EntityReference(EntityType.POD, "web-1", "shop", "uid-1")
            ),
            "Out of memory: killed java",
            attributes={
                **{"x.text": AWKWARD, "x.int": -(2**63), "x.float": 0.1, "x.bool": True, "x.bytes": b"\x00\xff"},
                **{"x.list": ["a", 1, 2.5, False], "x.map": {"k": "v", "n": [1]}, "x.empty": "", "x.zero": 0},
            },
            labels={"team": "blue"},
            observed=1_700_000_000_600_000_000,
        )
    )
    return found


async def send(exporter_type, options, count: int = 1) -> list[int]:
    """Send the sample `count` times in batches of their own."""
    exporter = make(exporter_type, **options)
    settled: list[int] = []
    await exporter.start()
    for _ in range(count):
        await exporter.consume(Batch(sample(), SCOPE, Delivery(lambda: settled.append(1))))
    await exporter.shutdown()
    assert exporter.context.counters.counts == {"sent": count * len(sample())}
    return settled


def endpoint(collector: Collector, exporter_type) -> str:
    """Return where this kind of exporter finds the collector."""
    return collector.grpc_endpoint if exporter_type is OtlpExporter else collector.http_endpoint


def check(received: list[Received]) -> None:
    """Compare the collector's records with the sample, field by field."""
    by_id = {plain_attributes(one.record)["log.record.uid"]: one for one in received}
    assert len(by_id) == len(received) == len(sample())
    for event in sample():
        one = by_id[event.id]
        record = one.record
        assert one.scope == {"name": SCOPE.name, "version": SCOPE.version}
        assert int(record["timeUnixNano"]) == event.timestamp
        assert int(record["observedTimeUnixNano"]) == event.observed
        assert record["severityNumber"] == int(event.severity)
        assert record["severityText"] == event.severity.keyword
        assert one.body == (event.description or event.title)
        assert record.get("traceId", "") == event.trace_id
        assert record.get("spanId", "") == event.span_id
        assert record.get("eventName", "") == ("" if event.type == "log" else f"tapio.{event.type}")
        assert one.attributes["tapio.source"] == event.source
        check_attributes(event, one)


def check_attributes(event: UnifiedEvent, one: Received) -> None:
    """Compare attributes and resource."""
    resource = one.resource_attributes
    assert resource["os.type"] == "linux"
    if event.type == "oom_kill":
        own = {key: value for key, value in one.attributes.items() if key.startswith("x.")}
        assert own == {key: value for key, value in event.copy().attributes.items() if key.startswith("x.")}
        assert one.attributes["k8s.pod.label.team"] == "blue"
        names = ("k8s.pod.name", "k8s.namespace.name", "k8s.pod.uid", "k8s.container.name", "container.id")
        assert [resource[name] for name in names] == ["web-1", "shop", "uid-1", "web", "a" * 64]
    else:
        assert one.attributes["journald.request_id"] == event.get("REQUEST_ID")
        assert one.attributes["custom.key"] == event.get("custom.key")
        assert one.attributes["journald._transport"] == "stdout"
        assert (resource["service.name"], resource["systemd.unit.name"]) == ("nginx", "nginx.service")
        assert (resource["process.pid"], resource["process.executable.path"]) == (7, "/usr/sbin/nginx")


@pytest.mark.parametrize(("exporter_type", "options"), TRANSPORTS.values(), ids=TRANSPORTS)
async def test_what_goes_in_comes_out(collector, exporter_type, options):
    """gRPC, HTTP/protobuf and HTTP/JSON, with every compression."""
    assert await send(exporter_type, {"endpoint": endpoint(collector, exporter_type)} | options) == [1]
    check(await collector.wait_for(len(sample())))


@pytest.mark.parametrize("client", [False, True], ids=["tls", "mtls"])
@pytest.mark.parametrize("exporter_type", [OtlpExporter, OtlpHttpExporter], ids=["grpc", "http"])
@pytest.mark.parametrize("extra", [{}, {"min_version": "1.3"}, {"insecure_skip_verify": True}], ids=str)
async def test_what_goes_in_comes_out_encrypted(collector_binary, tmp_path, client, exporter_type, extra):
    """TLS and mTLS by a private authority, also with the options that gRPC alone does not have."""
    authority = Authority(tmp_path / "certificates")
    server, own = authority.issue("server"), authority.issue("client")
    tls = {"cert_file": server.cert_file, "key_file": server.key_file}
    tls |= {"client_ca_file": authority.file} if client else {}
    options = extra | ({} if "insecure_skip_verify" in extra else {"ca_file": authority.file})
    options |= {"cert_file": own.cert_file, "key_file": own.key_file} if client else {}
    directory = tmp_path / "collector"
    directory.mkdir()
    with Collector(collector_binary, directory, tls=tls) as collector:
        await send(exporter_type, {"endpoint": endpoint(collector, exporter_type), "tls": options})
        check(await collector.wait_for(len(sample())))


async def test_without_the_client_certificate_nothing_gets_in(collector_binary, tmp_path):
    """A collector that demands client certificates refuses an exporter that has none; nothing is reported as sent."""
    authority = Authority(tmp_path / "certificates")
    server = authority.issue("server")
    tls = {"cert_file": server.cert_file, "key_file": server.key_file, "client_ca_file": authority.file}
    directory = tmp_path / "collector"
    directory.mkdir()
    limited = {"initial_interval": "10ms", "max_interval": "20ms", "max_elapsed_time": "200ms"}
    with Collector(collector_binary, directory, tls=tls) as collector:
        for exporter_type in (OtlpExporter, OtlpHttpExporter):
            options = {"tls": {"ca_file": authority.file}, "retry_on_failure": limited}
            exporter = make(exporter_type, endpoint=endpoint(collector, exporter_type), **options)
            await exporter.start()
            await exporter.consume(Batch(sample(), SCOPE))
            await exporter.shutdown()
            assert exporter.context.counters.counts["failed"] == len(sample())
        assert collector.records() == []


@pytest.mark.parametrize("exporter_type", [OtlpExporter, OtlpHttpExporter], ids=["grpc", "http"])
async def test_a_collector_that_is_killed_and_comes_back_gets_everything(collector, exporter_type):
    """What is sent while it is down arrives when it is back."""
    retry = {"initial_interval": "20ms", "max_interval": "100ms"}
    exporter = make(exporter_type, endpoint=endpoint(collector, exporter_type), retry_on_failure=retry)
    await exporter.start()
    collector.kill()
    for event in sample():
        await exporter.consume(Batch([event], SCOPE))
    await exporter.consume(Batch([], SCOPE))
    collector.start()
    await exporter.shutdown()
    check(await collector.wait_for(len(sample())))
