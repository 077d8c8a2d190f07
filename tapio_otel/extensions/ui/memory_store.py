"""Events in memory, with the answers of an event store, for an agent that has no sqlite exporter.

Kept are the last events but for `log` ones below warning, which would push out everything else. Queries look at each event:
that is quick enough for some ten thousand. Events are added by the event loop, while queries run in threads on a snapshot.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType, Severity, UnifiedEvent
from tapio_otel.event_size import size_of
from tapio_otel.event_store import (
    Bucket,
    EventQuery,
    EventQueryError,
    Mark,
    Page,
    StoredEntity,
    StoredEvent,
    StoreStatistics,
)
from tapio_otel.event_store.query import EVER
from tapio_otel.extensions.ui.naming import lineage_names, name_of
from tapio_otel.extensions.ui.ring import identity_of
from tapio_otel.extensions.ui.selection import selects
from tapio_otel.timeline.focus import Focus

MAX_BYTES: Final = 64 * 1024**2


class MemoryStore:
    """Keep the last notable events."""

    def __init__(self, max_events: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_events, self._max_bytes = max_events, max_bytes
        self._events: deque[UnifiedEvent] = deque()
        self._known: set[str | tuple[str, object]] = set()
        self._sizes: deque[int] = deque()
        self._bytes = 0

    def add(self, events: Iterable[UnifiedEvent]) -> None:
        """Take events; the oldest give way."""
        for event in events:
            identity = identity_of(event)
            if (event.type != EventType.LOG or event.severity >= Severity.WARNING) and identity not in self._known:
                self._known.add(identity)
                self._events.append(event)
                self._sizes.append(size_of(event))
                self._bytes += self._sizes[-1]
        while len(self._events) > self._max_events or (self._bytes > self._max_bytes and self._events):
            gone = self._events.popleft()
            self._known.discard(identity_of(gone))
            self._bytes -= self._sizes.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._events.clear()
        self._known.clear()
        self._sizes.clear()
        self._bytes = 0

    def _latest(self) -> list[UnifiedEvent]:
        """Return the events as they are now, of each finding the last revision."""
        while True:
            try:
                found = list(self._events)
            except RuntimeError:  # added to meanwhile
                continue
            return list({event.id: event for event in found}.values())

    def _selected(self, query: EventQuery) -> list[UnifiedEvent]:
        is_meant = selects(query)
        found = [event for event in self._latest() if is_meant(event)]
        found.sort(key=_place, reverse=query.order == "desc")
        return found

    def events(self, query: EventQuery) -> Page[StoredEvent]:
        """Return a page of events in the order of time."""
        found = self._selected(query)
        if query.cursor:
            after = _read_cursor(query.cursor)
            found = [one for one in found if (_place(one) < after if query.order == "desc" else _place(one) > after)]
        page = found[: query.limit]
        items = [StoredEvent(one, name_of(one.entity), lineage_names(one.entity)) for one in page]
        return Page(items, _cursor(page[-1]) if len(found) > len(page) else "")

    def event(self, id: str) -> UnifiedEvent | None:
        """Return one event; None where it is not there (any more)."""
        return self.events_by_id([id]).get(id)

    def events_by_id(self, ids: list[str]) -> dict[str, UnifiedEvent]:
        """Return those of the events that are there, by their ids."""
        wanted = set(ids)
        return {event.id: event for event in self._latest() if event.id in wanted}

    def count(self, query: EventQuery, at_most: int = EVER) -> int:
        """Count the events of a query."""
        return min(len(self._selected(query)), at_most)

    def marks(self, query: EventQuery, limit: int = 50_000) -> list[Mark]:
        """Return up to `limit` events of a query as marks, in its order."""
        return [mark_of(event) for event in self._selected(query)[:limit]]

    def density(self, query: EventQuery, buckets: int) -> list[Bucket]:
        """Count the events of a query by time, entity and severity."""
        found = self._selected(query)
        if not found:
            return []
        times = [event.timestamp for event in found]
        since = query.since_ns if query.since_ns > 0 else min(times)
        until = query.until_ns if query.until_ns < EVER else max(times)
        width = max(-(-(until - since + 1) // buckets), 1)
        counts: dict[tuple[int, tuple[str, ...], Severity], int] = {}
        for event in found:
            key = ((event.timestamp - since) // width, lineage_names(event.entity), event.severity)
            counts[key] = counts.get(key, 0) + 1
        return [
            Bucket(since + number * width, since + (number + 1) * width, path, severity, count)
            for (number, path, severity), count in sorted(counts.items())
        ]

    def entities(self, text: str = "", limit: int = 100) -> list[StoredEntity]:
        """Return entities whose name contains a text; those with the latest events first."""
        found: dict[tuple[str, ...], list[UnifiedEvent]] = {}
        for event in self._latest():
            found.setdefault(lineage_names(event.entity), []).append(event)
        part = text.lower()
        entities = [_entity(path, events) for path, events in found.items() if part in path[-1].lower()]
        return sorted(entities, key=lambda one: one.last_ns, reverse=True)[:limit]

    def findings(self, since_ns: int = 0, until_ns: int = EVER, limit: int = 100, rule: str = "") -> list[UnifiedEvent]:
        """Return the last revision of each finding, without those that another one stands for; newest first."""
        query = EventQuery(since_ns, until_ns, types=(EventType.CORRELATION,))
        found = [one for one in self._selected(query) if not one.get("superseded_by")]
        return [one for one in found if not rule or one.get("rule") == rule][:limit]

    def related(
        self, focus: Focus | EntityReference | str, since_ns: int = 0, until_ns: int = EVER, limit: int = EVER
    ) -> list[UnifiedEvent]:
        """Return what may belong to an entity: everything within the window, for the reconstructor to choose from."""
        del focus, limit  # what is kept is little
        return self._selected(EventQuery(since_ns, until_ns, order="asc"))

    def statistics(self) -> StoreStatistics:
        """Tell how much is kept."""
        events = self._latest()
        times = [event.timestamp for event in events] or [0]
        findings = sum(event.type == EventType.CORRELATION for event in events)
        entities = len({lineage_names(event.entity) for event in events})
        return StoreStatistics(len(events), findings, entities, self._bytes, min(times), max(times))


def mark_of(event: UnifiedEvent) -> Mark:
    """Return as much of an event as a point on a timeline needs."""
    path = lineage_names(event.entity)
    return Mark(event.id, event.timestamp, path, event.severity, event.source, event.type, event.title or event.description)


def _entity(path: tuple[str, ...], events: Sequence[UnifiedEvent]) -> StoredEntity:
    entity, times = events[-1].entity, [event.timestamp for event in events]
    worst = Severity(max(event.severity for event in events))
    named = (entity.type, entity.namespace, entity.name, entity.uid)
    return StoredEntity(*named, path, min(times), max(times), len(events), worst)


def _place(event: UnifiedEvent) -> tuple[int, str]:
    return event.timestamp, event.id


def _cursor(event: UnifiedEvent) -> str:
    return base64.urlsafe_b64encode(f"{event.timestamp} {event.id}".encode()).decode()


def _read_cursor(text: str) -> tuple[int, str]:
    try:
        timestamp, _, id_ = base64.b64decode(text.encode("ascii"), b"-_", validate=True).decode().partition(" ")
        return int(timestamp), id_
    except (ValueError, binascii.Error):
        raise EventQueryError("cursor", f"found {text[:100]!r}: write the `next` of an answer, or leave it out") from None
