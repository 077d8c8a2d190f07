"""Events on this machine's disk: written by the exporter `sqlite`, read by the page, the API and `tapio timeline`."""

from __future__ import annotations

from tapio_otel.event_store.errors import EventQueryError, EventStoreError
from tapio_otel.event_store.query import Bucket, EventQuery, Mark, Page, StoredEntity, StoredEvent, StoreStatistics
from tapio_otel.event_store.store import EventStore

__all__ = [
    "Bucket",
    "EventQuery",
    "EventQueryError",
    "EventStore",
    "EventStoreError",
    "Mark",
    "Page",
    "StoreStatistics",
    "StoredEntity",
    "StoredEvent",
]
