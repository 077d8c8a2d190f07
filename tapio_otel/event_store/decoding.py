"""Events made of rows. What an origin says is read once; its events share it as they did when they were written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import Origin, Severity, UnifiedEvent
from tapio_otel.event_json import from_dict
from tapio_otel.event_size import size_of
from tapio_otel.event_store.record import restored, unpacked_id
from tapio_otel.event_store.rows import select
from tapio_otel.event_values import unpack_all

_KEPT: Final = 8192
_PORTION: Final = 64
"""Events that are read before it is looked how large they are."""
_ROWS: Final = (
    "SELECT place, lane, shift, id, origin, lag, title, description, own, trace, span, parent "
    "FROM event JOIN body USING (place) WHERE place IN ({})"
)
_KINDS: Final = "SELECT lane.id, source, type, severity FROM lane JOIN kind ON kind.id = lane.kind WHERE lane.id IN ({})"
_FRAME: Final = {"id": "x", "timestamp": "1970-01-01T00:00:00Z", "source": "x", "type": "log", "severity": "info"}
_SEVERITIES: Final = {int(severity): severity for severity in Severity}
Kind = tuple[str, str, Severity]


class Decoder:
    """Make events of the rows of one store. For several threads."""

    def __init__(self) -> None:
        self._origins: Bounded[int, Origin] = Bounded(_KEPT)

    def events(self, database: sqlite3.Connection, places: Sequence[int]) -> list[UnifiedEvent]:
        """Return the events at places that are there, in the order of the places given."""
        found = {row[0]: row for row in select(database, _ROWS, places)}
        rows = [found[place] for place in places if place in found]
        try:
            origins = self._read(database, {row[4] for row in rows})
            kinds = _kinds(database, {row[1] for row in rows})
            return [_event(row, origins[row[4]], kinds[row[1]]) for row in rows]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise sqlite3.DatabaseError(f"an event cannot be read: {type(error).__name__}: {error}") from error

    def some(self, database: sqlite3.Connection, places: Sequence[int], room: int) -> tuple[list[UnifiedEvent], int]:
        """Return the events at the first places, in their order, until `room` bytes are used; and at how many places."""
        found: list[UnifiedEvent] = []
        for start in range(0, len(places), _PORTION):
            if room <= 0:
                return found, start
            events = self.events(database, places[start : start + _PORTION])
            found += events
            room -= sum(map(size_of, events))
        return found, len(places)

    def _read(self, database: sqlite3.Connection, wanted: Iterable[int]) -> dict[int, Origin]:
        """Return origins by their rows. A row may become that of another origin, so that known ones go by their digest."""
        marks = dict(select(database, "SELECT id, digest FROM origin WHERE id IN ({})", list(wanted)))
        found = {row: origin for row, mark in marks.items() if (origin := self._origins.get(mark)) is not None}
        missing = [row for row in marks if row not in found]
        for row, content in select(database, "SELECT id, content FROM origin WHERE id IN ({})", missing):
            found[row] = self._keep(marks[row], from_dict({**_FRAME, **_loaded(content)}).view())
        return found

    def _keep(self, mark: int, origin: Origin) -> Origin:
        if len(self._origins) >= _KEPT:
            self._origins = Bounded(_KEPT)  # not emptied in place: another thread may be reading it
        self._origins[mark] = origin
        return origin


def _kinds(database: sqlite3.Connection, lanes: Iterable[int]) -> dict[int, Kind]:
    return {
        lane: (restored(source), restored(type), _SEVERITIES[severity])
        for lane, source, type, severity in select(database, _KINDS, list(lanes))
    }


def _event(row: tuple[Any, ...], origin: Origin, kind: Kind) -> UnifiedEvent:
    place, _, shift, id, _, lag, title, description, own, trace, span, parent = row
    text = description if description.__class__ is str else restored(description)
    head = text if title is None else text[:title] if title.__class__ is int else restored(title)
    timestamp = place - shift
    event = UnifiedEvent.of_origin(
        origin, unpacked_id(id), timestamp, timestamp + lag, *kind, head, text, unpack_all(_loaded(own)) if own else {}
    )
    if trace:
        event.trace_id = trace.hex()
    if span:
        event.span_id = span.hex()
    if parent:
        event.parent_id = restored(parent)
    return event


def _loaded(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:  # lone surrogates
        return json.loads(content)
