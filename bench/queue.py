"""Measure the sending queue on disk: events per second, with an fsync for every batch.

    python -m bench.queue [--events N] [--sizes 512,8192] [--directory DIR]

Three ways, each with batches of journal-like events of the given sizes:

- one by one: a batch is put in when the one before is on disk, so that each costs a transaction and an fsync of its own;
- together: batches are put in as they come, and what has gathered meanwhile is one transaction (how the exporters do it);
- exporter: the whole `otlphttp` exporter with a dead backend, encoding included, until every batch's checkpoint may move.

For comparison the first line says how many fsyncs per second the disk makes. DIR must be on the disk to be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tapio_otel.component import Batch, ComponentContext, ComponentId, Delivery, Kind, Scope
from tapio_otel.event import EntityReference, EntityType, Origin, Severity, UnifiedEvent
from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tapio_otel.extensions.file_storage import FileStorageExtension
from tapio_otel.identity import event_id
from tapio_otel.otlp.wire import RequestBuilder
from tapio_otel.storage import RequestStore

SCOPE: Final = Scope("tapio_otel.bench", "1")
LOG: Final = logging.getLogger("tapio.bench")
MOST_PENDING: Final = 16 * 1024 * 1024
DEAD: Final = "http://127.0.0.1:9"


class Counts:
    """Count in memory."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1, **_attributes: str) -> None:
        """Add to a counter."""
        self.counts[name] += amount

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Do nothing with gauges."""


def events(count: int) -> list[UnifiedEvent]:
    """Return events as a service's log lines are."""
    entity = EntityReference(EntityType.SERVICE, "web.service")
    origin = Origin(entity, {"pid": 4711, "comm": "web", "exe": "/usr/bin/web"}, {"unit": "web.service"}, {})
    return [
        UnifiedEvent.of_origin(
            origin,
            *(event_id("bench", str(number)), 1_700_000_000_000_000_000 + number, 1, "journald", "log", Severity.INFO),
            *(f"GET /api/v1/items/{number} 200 in 12 ms for 10.0.0.{number % 250}", ""),
            {"SYSLOG_IDENTIFIER": "web"},
        )
        for number in range(count)
    ]


def fsyncs(directory: Path, seconds: float = 1.0) -> float:
    """Return how often per second 4 KiB can be appended and synced."""
    begun, count = time.perf_counter(), 0
    with (directory / "fsyncs").open("wb", buffering=0) as file:
        while time.perf_counter() - begun < seconds:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            count += 1
    return count / (time.perf_counter() - begun)


async def one_by_one(directory: Path, batch: list[UnifiedEvent], batches: int) -> None:
    """Put each request in when the one before is on disk."""
    body = request(batch)
    store = RequestStore(directory / "queue.db", 1 << 40, True, LOG, print)
    await store.open()
    for _ in range(batches):
        written = asyncio.get_running_loop().create_future()
        store.put(body, len(batch), "proto", written.set_result)
        await written
    await store.close()


async def together(directory: Path, batch: list[UnifiedEvent], batches: int) -> None:
    """Put requests in as fast as they are taken."""
    body = request(batch)
    store = RequestStore(directory / "queue.db", 1 << 40, True, LOG, print)
    changed = asyncio.Event()
    store.changed = changed.set
    await store.open()
    for _ in range(batches):
        while store.pending_bytes > MOST_PENDING:
            changed.clear()
            await changed.wait()
        store.put(body, len(batch), "proto", lambda _row: None)
    await store.close(600)


async def exporter(directory: Path, batch: list[UnifiedEvent], batches: int) -> None:
    """Hand batches to an exporter whose backend is dead, until each is settled."""
    storage = FileStorageExtension(
        context(Kind.EXTENSION, "file_storage"), FileStorageExtension.Config(directory=directory, max_bytes=1 << 40)
    )
    await storage.start()
    options = {"endpoint": DEAD, "sending_queue": {"storage": "file_storage", "batch": {"min_size": len(batch)}}}
    running = OtlpHttpExporter(
        context(Kind.EXPORTER, "otlphttp", {"file_storage": storage}.get), OtlpHttpExporter.Config(**options)
    )
    await running.start()
    left, done = batches, asyncio.Event()

    def settle() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    for _ in range(batches):
        await running.consume(Batch(list(batch), SCOPE, Delivery(settle)))
    await done.wait()
    await running.shutdown()
    await storage.shutdown()


def context(kind: Kind, id: str, extension: Callable[[str], Any] = lambda _id: None) -> ComponentContext:
    """Return the surroundings of a component."""
    return ComponentContext(ComponentId(id), kind, Counts(), Path("/nonexistent"), LOG, extension=extension)


def request(batch: list[UnifiedEvent]) -> bytes:
    """Return a batch as an encoded request."""
    builder = RequestBuilder(max_records=0, max_bytes=1 << 30)
    builder.add(batch, SCOPE)
    return builder.build()


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=500_000, help="events for each figure (default 500000)")
    parser.add_argument("--sizes", default="512,8192", help="events in a batch (default 512,8192)")
    parser.add_argument("--directory", type=Path, help="directory on the disk to measure (default: that of temporary files)")
    arguments = parser.parse_args()
    LOG.setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="tapio-bench-") as name:
        print(f"{'the disk alone':<28}{fsyncs(Path(name)):>12,.0f} fsyncs/s", flush=True)
    for size in map(int, arguments.sizes.split(",")):
        batch = events(size)
        batches = max(arguments.events // size, 1)
        print(f"batches of {size:,} events, {len(request(batch)):,} bytes", flush=True)
        for way in (one_by_one, together, exporter):
            with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="tapio-bench-") as name:
                begun, used = time.perf_counter(), time.process_time()
                asyncio.run(way(Path(name), batch, batches))
                seconds, cpu = time.perf_counter() - begun, time.process_time() - used
            rate, each = size * batches / seconds, cpu / (size * batches) * 1e6
            print(f"  {way.__name__.replace('_', ' '):<26}{rate:>12,.0f} events/s {each:8.2f} us CPU/event", flush=True)


if __name__ == "__main__":
    main()
