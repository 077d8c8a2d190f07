"""Events made of rows. What an origin says is read once; its events share it as they did when they were written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import AttributeValue, Origin, Severity, UnifiedEvent
from tapio_otel.event_json import from_dict
from tapio_otel.event_size import EVENT_BYTES
from tapio_otel.event_store.record import restored, unpacked_id
from tapio_otel.event_store.rows import select
from tapio_otel.event_values import unpack_all

_KEPT: Final = 8192
_PORTION: Final = 256
_AT_ONCE: Final = 32 * 1024**2
"""Bytes that a portion has at most; one of larger events is read in smaller ones."""
_NO_END: Final = 1 << 62
_ROWS: Final = (
    "SELECT place, lane, shift, id, origin, lag, title, description, own, trace, span, parent "
    "FROM event JOIN body USING (place) WHERE place IN ({})"
)
_KINDS: Final = "SELECT lane.id, source, type, severity FROM lane JOIN kind ON kind.id = lane.kind WHERE lane.id IN ({})"
_FRAME: Final = {"id": "x", "timestamp": "1970-01-01T00:00:00Z", "source": "x", "type": "log", "severity": "info"}
_SEVERITIES: Final = {int(severity): severity for severity in Severity}
_JSON_PLAIN: Final = frozenset((str, int, float, bool, type(None)))
Kind = tuple[str, str, Severity]
Row = tuple[Any, ...]


class _Known(NamedTuple):
    """Hold what rows stand for, as long as one moment of the store is read."""

    origins: dict[int, Origin]
    kinds: dict[int, Kind]


class Decoder:
    """Make events of the rows of one store. For several threads."""

    def __init__(self) -> None:
        self._origins: Bounded[int, Origin] = Bounded(_KEPT)

    def events(self, database: sqlite3.Connection, places: Sequence[int]) -> list[UnifiedEvent]:
        """Return the events at places that are there, in the order of the places given."""
        return self.some(database, places, _NO_END)[0]

    def some(self, database: sqlite3.Connection, places: Sequence[int], room: int) -> tuple[list[UnifiedEvent], int, int]:
        """Return the events at the first places, in their order, until `room` bytes are used; how many places, and bytes.

        Only as much is read at a time as there is room for, and some events more.
        """
        found: list[UnifiedEvent] = []
        known = _Known({}, {})
        start, used, portion = 0, 0, _PORTION
        while start < len(places) and used < room:
            part = places[start : start + portion]
            rows = _rows(database, part, min(room - used, _AT_ONCE) if portion > 1 else _NO_END)
            if rows is None:
                portion = max(portion // 16, 1)
                continue
            found += self._decoded(database, [rows[place] for place in part if place in rows], known)
            used += sum(map(_size, rows.values()))
            start += portion
        return found, min(start, len(places)), used

    def _decoded(self, database: sqlite3.Connection, rows: Sequence[Row], known: _Known) -> list[UnifiedEvent]:
        try:
            known.origins.update(self._read(database, {row[4] for row in rows} - known.origins.keys()))
            known.kinds.update(_kinds(database, {row[1] for row in rows} - known.kinds.keys()))
            return [_event(row, known.origins[row[4]], known.kinds[row[1]]) for row in rows]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise sqlite3.DatabaseError(f"an event cannot be read: {type(error).__name__}: {error}") from error

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


def _rows(database: sqlite3.Connection, places: Sequence[int], most: int) -> dict[int, Row] | None:
    """Return the rows at places; None once they are more than so many bytes."""
    found = {}
    for row in select(database, _ROWS, places):
        found[row[0]] = row
        most -= len(row[7])
        if most < 0:
            return None
    return found


def _size(row: Row) -> int:
    return EVENT_BYTES + len(row[7]) + len(row[8] or "")


def _event(row: Row, origin: Origin, kind: Kind) -> UnifiedEvent:
    place, _, shift, id, _, lag, title, description, own, trace, span, parent = row
    text = description if description.__class__ is str else restored(description)
    head = text if title is None else text[:title] if title.__class__ is int else restored(title)
    timestamp = place - shift
    event = UnifiedEvent.of_origin(
        origin, unpacked_id(id), timestamp, timestamp + lag, *kind, head, text, _attributes(own) if own else {}
    )
    if trace:
        event.trace_id = trace.hex()
    if span:
        event.span_id = span.hex()
    if parent:
        event.parent_id = restored(parent)
    return event


def _attributes(own: str | bytes) -> dict[str, AttributeValue]:
    found = _loaded(own)
    if found.__class__ is dict and _JSON_PLAIN.issuperset(map(type, found.values())):
        return found
    return unpack_all(found)


def _loaded(content: str | bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:  # lone surrogates
        return json.loads(content)
