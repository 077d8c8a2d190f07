"""Stores for tests: written as the exporter writes them, read as everybody reads them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import Batch, ComponentContext, ComponentId, Kind, Scope
from tapio_otel.event import EntityReference, Severity, UnifiedEvent
from tapio_otel.event_store import EventQuery, EventStore
from tapio_otel.event_store.record import Encoder, Record
from tapio_otel.event_store.retention import RetentionLimits
from tapio_otel.event_store.writer import EventStoreWriter
from tapio_otel.exporters.sqlite import SqliteConfig, SqliteExporter
from tapio_otel.identity import event_id
from tests.collect import Counters

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
NODE = EntityReference("node", "n1")
ENDLESS = RetentionLimits(1 << 62, 1 << 40, 1 << 40)


def limits(**changed: int) -> RetentionLimits:
    """Return limits that keep everything, but for those named."""
    return RetentionLimits(**{"max_age_ns": 1 << 62, "max_bytes": 1 << 40, "max_events": 1 << 40, **changed})


def pod(name: str, namespace: str = "prod", uid: str = "") -> EntityReference:
    """Return a pod on a node."""
    return EntityReference("pod", name, namespace, uid or f"uid-{namespace}-{name}", NODE)


def event(number: int, at: int | None = None, **told: Any) -> UnifiedEvent:
    """Return an event with a number; by default so many seconds after the start."""
    options = {"source": "journald", "type": "log", "severity": Severity.WARNING, "entity": pod("web-0"), **told}
    attributes = options.pop("attributes", {"number": number})
    text = options.pop("text", f"message {number}")
    when = START + number * SECOND if at is None else at
    return UnifiedEvent(
        options.pop("id", event_id(number)), when, title=text, description=text, attributes=attributes, observed=when, **options
    )


WRITERS: list[EventStoreWriter] = []
"""Those that a test made; they are closed after it."""


def writer(directory: Path, keep: RetentionLimits = ENDLESS) -> EventStoreWriter:
    """Return a writer of the store in a directory."""
    WRITERS.append(EventStoreWriter(directory / "events.db", keep))
    return WRITERS[-1]


def disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Make writing fail as long as the first of a list is true."""
    add, is_full = EventStoreWriter.add, [True]

    def full(self: EventStoreWriter, records: Sequence[Record]) -> int:
        if is_full[0]:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return add(self, records)

    monkeypatch.setattr(EventStoreWriter, "add", full)
    return is_full


def add(target: EventStoreWriter, events: Iterable[UnifiedEvent]) -> int:
    """Write events; returns how many were there already."""
    records, refused = Encoder().records(events)
    assert not refused
    return target.add(records)


def tidy(target: EventStoreWriter, now: int = START) -> None:
    """Keep to the limits, to the end."""
    while target.tidy(now):
        pass


def store_of(directory: Path, events: Iterable[UnifiedEvent]) -> EventStore:
    """Return a store that holds events."""
    target = writer(directory)
    add(target, events)
    target.close()
    return EventStore(directory)


def ids(store: EventStore, **query: Any) -> list[str]:
    """Return the ids of the events that a query gives."""
    return [one.event.id for one in store.events(EventQuery(**query)).items]


def numbers(store: EventStore, **query: Any) -> list[int]:
    """Return the numbers of the events that a query gives."""
    return [one.event.get("number") for one in store.events(EventQuery(**query)).items]


def exporter(state: Path, **options: Any) -> SqliteExporter:
    """Return an exporter, not started; by default no event is too old for it."""
    log = logging.getLogger("test.sqlite")
    context = ComponentContext(ComponentId("sqlite"), Kind.EXPORTER, Counters(), state, log)
    context.report = Problems()
    return SqliteExporter(context, SqliteConfig(**{"max_age": "1000000h", **options}))


class Problems:
    """Keep what is reported as health."""

    def __init__(self) -> None:
        self.told: list[str | None] = []
        self.changed = threading.Event()

    def __call__(self, problem: str | None) -> None:
        self.told.append(problem)
        self.changed.set()


def counts(target: SqliteExporter) -> dict[str, int]:
    """Return what an exporter counted."""
    assert isinstance(target.context.counters, Counters)
    return {name: count for name, count in target.context.counters.values.items() if count}


def batch(events: list[UnifiedEvent]) -> Batch:
    """Return a batch."""
    return Batch(events, Scope("test", "0"))


def settled(events: list[UnifiedEvent]) -> tuple[Batch, asyncio.Future[None]]:
    """Return a batch, and a future that is done when the batch is delivered."""
    one = batch(events)
    future = asyncio.get_running_loop().create_future()
    one.delivery._settled = lambda: future.set_result(None)
    return one, future
