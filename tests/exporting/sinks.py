"""A place on this machine for every exporter to send to, and what has arrived there; an exporter of a new type needs one."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tapio_otel.event_store import EventQuery, EventStore
from tapio_otel.event_store.store import FILE
from tests.exporting.servers import GrpcServer, HttpServer

Written = Callable[[], str]
"""Return what was written to standard output."""


@dataclass
class Sink:
    """Say how an exporter is configured to reach the sink, and return the bodies that have arrived."""

    options: dict[str, Any]
    bodies: Callable[[], list[str]]


@contextlib.asynccontextmanager
async def terminal(_directory: Path, written: Written) -> AsyncIterator[Sink]:
    """Be standard output."""
    yield Sink({"verbosity": "normal"}, lambda: re.findall(r"body-\d+\b", written()))


@contextlib.asynccontextmanager
async def file(directory: Path, _written: Written) -> AsyncIterator[Sink]:
    """Be a file."""
    path = directory / "out.jsonl"

    def bodies() -> list[str]:
        return [
            record["body"]["stringValue"]
            for line in path.read_text().splitlines()
            for resource in json.loads(line)["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]

    yield Sink({"path": str(path)}, bodies)


@contextlib.asynccontextmanager
async def grpc(_directory: Path, _written: Written) -> AsyncIterator[Sink]:
    """Be a gRPC server."""
    async with GrpcServer() as server:
        yield Sink({"endpoint": f"http://127.0.0.1:{server.port}"}, lambda: list(server.received.bodies.elements()))


@contextlib.asynccontextmanager
async def http(_directory: Path, _written: Written) -> AsyncIterator[Sink]:
    """Be an HTTP server."""
    async with HttpServer() as server:
        yield Sink({"endpoint": server.url}, lambda: list(server.received.bodies.elements()))


@contextlib.asynccontextmanager
async def sqlite(directory: Path, _written: Written) -> AsyncIterator[Sink]:
    """Be a store that keeps everything, however old."""

    def bodies() -> list[str]:
        with contextlib.closing(EventStore(directory / "store" / FILE)) as store:
            return [one.event.title for one in store.events(EventQuery(limit=10_000)).items]

    yield Sink({"directory": str(directory / "store"), "min_severity": "debug", "max_age": "1000000h"}, bodies)


SINKS: Final[Mapping[str, Callable[[Path, Written], AbstractAsyncContextManager[Sink]]]] = {
    "debug": terminal,
    "file": file,
    "otlp": grpc,
    "otlp_grpc": grpc,
    "otlphttp": http,
    "sqlite": sqlite,
    "otlp_http": http,
}
