"""Which store is shown: that of the sqlite exporter, looked up anew for every question, or else what is kept in memory.

Exporters come and go at a reload while the extension stays, and start after it: so nothing of them is held for longer than a
question. Blocking calls of a store belong in threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from tapio_otel.entity import EntityReference
from tapio_otel.event import UnifiedEvent
from tapio_otel.event_store import Bucket, EventQuery, EventStore, Mark, Page, StoredEntity, StoredEvent, StoreStatistics
from tapio_otel.extensions.ui.errors import ApiError
from tapio_otel.extensions.ui.memory_store import MemoryStore
from tapio_otel.timeline.focus import Focus

TYPE: Final = "sqlite"


class Store(Protocol):
    """Answer questions about events, as `EventStore` does."""

    def events(self, query: EventQuery) -> Page[StoredEvent]:
        """Return a page of events."""

    def event(self, id: str) -> UnifiedEvent | None:
        """Return one event."""

    def events_by_id(self, ids: list[str]) -> dict[str, UnifiedEvent]:
        """Return events by their ids."""

    def count(self, query: EventQuery) -> int:
        """Count events."""

    def marks(self, query: EventQuery, limit: int) -> list[Mark]:
        """Return events as marks."""

    def density(self, query: EventQuery, buckets: int) -> list[Bucket]:
        """Count events by time, entity and severity."""

    def entities(self, text: str, limit: int) -> list[StoredEntity]:
        """Return entities."""

    def findings(self, since_ns: int, until_ns: int, limit: int, rule: str) -> list[UnifiedEvent]:
        """Return findings."""

    def related(self, focus: Focus | EntityReference | str, since_ns: int, until_ns: int) -> Sequence[UnifiedEvent]:
        """Return what may belong to an entity."""

    def statistics(self) -> StoreStatistics:
        """Tell how much there is."""


class Stores:
    """Find the store. `exporters` returns those that run, `name` is the id of the one to show, empty for the only one."""

    def __init__(self, exporters: Callable[[], Mapping[str, Any]], name: str, memory: MemoryStore) -> None:
        self._exporters = exporters
        self._name = name
        self._memory = memory
        self._open: EventStore | None = None
        self._opening = threading.Lock()

    def path(self) -> Path | None:
        """Return where the shown store is; None where events are kept in memory. Raises `ApiError` where it is not clear."""
        found = {id: one for id, one in self._exporters().items() if one.type == TYPE}
        if self._name:
            if self._name not in found:
                known = f"there are {', '.join(found)}" if found else "there is none"
                raise ApiError(
                    503, "no_store", f"store: no sqlite exporter {self._name!r} runs, {known}: correct store", "store"
                )
            return Path(found[self._name].path)
        if len(found) > 1:
            raise ApiError(
                503, "no_store", f"store: there are several sqlite exporters, {', '.join(found)}: name one of them", "store"
            )
        return next((Path(one.path) for one in found.values()), None)

    def current(self) -> Store:
        """Return the store to ask."""
        path = self.path()
        if path is None:
            return self._memory
        with self._opening:
            if self._open is None or self._open.path != path:
                if self._open is not None:
                    self._open.close()
                self._open = EventStore(path)
            return self._open

    def close(self) -> None:
        """Close what is open."""
        with self._opening:
            store, self._open = self._open, None
        if store is not None:
            store.close()
