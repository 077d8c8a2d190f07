"""Exporters that send findings as traces, for tests of these."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tapio_otel.component import Batch, Delivery, Kind
from tapio_otel.exporters.otlp import OtlpExporter
from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tapio_otel.extensions.file_storage import FileStorageConfig, FileStorageExtension
from tests.components import SCOPE, context
from tests.exporters.test_otlp import FAST_RETRY
from tests.exporting.servers import GrpcServer, HttpServer, Step
from tests.otlp.incidents import finding

KINDS = {
    "grpc": (OtlpExporter, {}),
    "http": (OtlpHttpExporter, {}),
    "http-json": (OtlpHttpExporter, {"encoding": "json", "compression": "zstd"}),
}
FIRST = {"batch": {"flush_timeout": "1ms"}}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
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
