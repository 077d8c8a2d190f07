"""Read a store. Every call blocks (call it in a thread), sees one moment of the store, and ends soon: see `reading`.

A store may be read by any number of processes and threads beside the one that writes it; none of them waits for another.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType, Severity, UnifiedEvent
from tapio_otel.event_store import searching
from tapio_otel.event_store.decoding import Decoder
from tapio_otel.event_store.density import Parts, density, density_of
from tapio_otel.event_store.errors import EventQueryError
from tapio_otel.event_store.interning import folded, reference
from tapio_otel.event_store.lanes import Lane, described
from tapio_otel.event_store.query import EVER, Bucket, EventQuery, Mark, Page, StoredEntity, StoredEvent, StoreStatistics
from tapio_otel.event_store.reading import Reading
from tapio_otel.event_store.record import restored, unpacked_id
from tapio_otel.event_store.related import Related
from tapio_otel.event_store.rows import select, total
from tapio_otel.event_store.selection import Selection, lanes_where
from tapio_otel.timeline.focus import Focus
from tapio_otel.timeline.reconstruct import as_focus

FILE: Final = "events.db"
"""Name of the file in the store's directory."""
MOST_MARKS: Final = 50_000
MOST_RELATED: Final = 10_000
MOST_BYTES: Final = 16 * 1024**2
"""Bytes of events after which a page ends, whatever its limit."""
MOST_BUCKETS: Final = 2_000
MOST_DENSE: Final = 200_000
"""Events with certain words, ids or of a trace that `density` counts at most."""
_MARKS: Final = (
    "SELECT place, shift, lane, id, CASE typeof(title) WHEN 'null' THEN substr(description, 1, 200) "
    "WHEN 'integer' THEN substr(description, 1, min(title, 200)) ELSE title END "
    "FROM event JOIN body USING (place) WHERE place IN ({})"
)
_FIRST: Final = "(SELECT place - shift FROM event WHERE event.lane = lane.id ORDER BY place LIMIT 1)"
_LAST: Final = "(SELECT place - shift FROM event WHERE event.lane = lane.id ORDER BY place DESC LIMIT 1)"
_ENTITIES: Final = (
    f"SELECT entity.type, namespace, name, uid, path, min({_FIRST}), max({_LAST}) AS last, sum(lane.events), "  # noqa: S608
    "max(kind.severity) FROM entity JOIN subject ON subject.entity = entity.id JOIN lane ON lane.subject = subject.id "
    "JOIN kind ON kind.id = lane.kind WHERE lane.events > 0 AND instr(folded, ?) GROUP BY entity.id ORDER BY last DESC LIMIT ?"
)


class EventStore:
    """Read the store in a file or its directory. Connections are opened read-only, as many as are used at the same time.

    Every method raises `EventStoreError` where the store cannot be read, `EventQueryError` where what was asked is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / FILE if path.is_dir() else path
        self._reading = Reading(self.path)
        self._decoder = Decoder()

    def events(self, query: EventQuery) -> Page[StoredEvent]:
        """Return a page of events in the order of time; fewer than `limit` once they are 16 MiB."""
        with self._reading.open() as database:
            found = searching.places(database, query, query.limit + 1)
            events, count, _ = self._decoder.some(database, found[: query.limit], MOST_BYTES)
            places = found[:count]
        return Page([_stored(event) for event in events], str(places[-1]) if len(found) > len(places) else "")

    def event(self, id: str) -> UnifiedEvent | None:
        """Return one event; None where it is not there (any more)."""
        return self.events_by_id([id]).get(id)

    def events_by_id(self, ids: list[str]) -> dict[str, UnifiedEvent]:
        """Return those of the events that are there, by their ids; the first 32 MiB of them."""
        with self._reading.open() as database:
            places = searching.places_of(database, ids)
            events, _, _ = self._decoder.some(database, list(places.values()), 2 * MOST_BYTES)
            return {event.id: event for event in events}

    def count(self, query: EventQuery, at_most: int = EVER) -> int:
        """Count the events of a query (`limit` plays no part), up to `at_most`."""
        with self._reading.open() as database:
            if searching.is_plain(query):
                return Selection.of(database, query).count(database, at_most)
            return len(searching.places(database, query, at_most))

    def marks(self, query: EventQuery, limit: int = MOST_MARKS) -> list[Mark]:
        """Return up to `limit` events of a query as marks, in its order; cheaper than `events`."""
        with self._reading.open() as database:
            places = searching.places(database, query, limit)
            rows = {row[0]: row for row in select(database, _MARKS, places)}
            lanes = described(database, {row[2] for row in rows.values()})
        return [_mark(rows[place], lanes) for place in places]

    def density(self, query: EventQuery, buckets: int) -> list[Bucket]:
        """Count the events of a query by time, entity and severity; `buckets` equal parts from `since_ns` to `until_ns`.

        Where there are very many events there are fewer parts, at least half of them, and the first may be shorter. A window
        that is open is that from the oldest or to the newest event. Only counts above 0 are told. Of a query for words, ids or
        a trace the first 200,000 events are counted.
        """
        if not 1 <= buckets <= MOST_BUCKETS:
            raise EventQueryError("buckets", f"found {buckets!r}: write a number from 1 to {MOST_BUCKETS}")
        with self._reading.open() as database:
            chosen = Selection.of(database, query)
            first, last = (total(database, f"SELECT {one}(place) FROM event") for one in ("min", "max"))  # noqa: S608
            parts = Parts(max(query.since_ns, first - chosen.slack), min(query.until_ns, last), buckets)
            if not last or parts.since > parts.until:
                return []
            if not searching.is_plain(query):
                return density_of(database, searching.places(database, query, MOST_DENSE), parts)
            events = chosen.events if chosen.lanes is not None else total(database, "SELECT total(events) FROM lane")
            return density(database, chosen, parts, events)

    def entities(self, text: str = "", limit: int = 100) -> list[StoredEntity]:
        """Return entities whose name contains a text, whatever the case; those with the latest events first."""
        with self._reading.open() as database:
            return [_entity(row) for row in database.execute(_ENTITIES, (folded(text), limit))]

    def findings(self, since_ns: int = 0, until_ns: int = EVER, limit: int = 100, rule: str = "") -> list[UnifiedEvent]:
        """Return the last revision of each finding, without those that another one stands for; newest first."""
        with self._reading.open() as database:
            lanes = lanes_where(database, "kind.type = ?", (EventType.CORRELATION,))
            places = Selection.window(database, since_ns, until_ns).among(lanes).places(database, EVER)
            found: list[UnifiedEvent] = []
            for start in range(0, len(places), limit):
                events = self._decoder.events(database, places[start : start + limit])
                found += [one for one in events if not one.get("superseded_by") and rule in {"", one.get("rule")}]
                if len(found) >= limit:
                    break
        return found[:limit]

    def related(
        self, focus: Focus | EntityReference | str, since_ns: int = 0, until_ns: int = EVER, limit: int = MOST_RELATED
    ) -> list[UnifiedEvent]:
        """Return what may belong to an entity, in the order of time, for `TimelineReconstructor.reconstruct`.

        Of more than `limit` events plain log lines are left out first, then the oldest. Raises `FocusError`.
        """
        aim = as_focus(focus)
        with self._reading.open() as database:
            window = Selection.window(database, since_ns, until_ns)
            return Related(database, self._decoder, aim, window).events(limit)

    def statistics(self) -> StoreStatistics:
        """Tell how much the store holds; cheap enough to be asked every second."""
        with self._reading.open() as database:
            findings = lanes_where(database, "kind.type = ?", (EventType.CORRELATION,))
            entities = (
                "SELECT count(DISTINCT subject.entity) FROM lane JOIN subject ON subject.id = lane.subject WHERE events > 0"
            )
            pages, free, size = (total(database, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size"))
            return StoreStatistics(
                total(database, "SELECT total(events) FROM lane"),
                sum(events for _, events in findings),
                total(database, entities),
                (pages - free) * size,
                *_ends(database),
            )

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._reading.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _ends(database: sqlite3.Connection) -> tuple[int, int]:
    """Return the times of the oldest and the newest event, 0 without any."""
    return (
        total(database, "SELECT place - shift FROM event ORDER BY place LIMIT 1"),
        total(database, "SELECT place - shift FROM event ORDER BY place DESC LIMIT 1"),
    )


def _stored(event: UnifiedEvent) -> StoredEvent:
    path = tuple(reference(one) for one in reversed(event.entity.lineage()))
    return StoredEvent(event, path[-1], path)


def _mark(row: tuple[Any, ...], lanes: Mapping[int, Lane]) -> Mark:
    place, shift, lane, id, title = row
    path, severity, source, type = lanes[lane]
    text = title if isinstance(title, str) else bytes(title).decode("utf-8", "replace")
    return Mark(unpacked_id(id), place - shift, path, severity, source, type, text)


def _entity(row: tuple[Any, ...]) -> StoredEntity:
    type, namespace, name, uid, path, first, last, events, worst = row
    kind, within, name, uid = map(restored, (type, namespace, name, uid))
    return StoredEntity(kind, within, name, uid, tuple(json.loads(path)), first, last, events, Severity(worst))
