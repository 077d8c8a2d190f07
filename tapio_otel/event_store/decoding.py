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
from tapio_otel.event_store.record import restored, unpacked_id
from tapio_otel.event_store.rows import select
from tapio_otel.event_values import unpack_all

_KEPT: Final = 8192
_ROWS: Final = (
    "SELECT body.place, body.place - event.shift, body.id, origin.id, origin.digest, lag, title, description, own, trace, "
    "span, parent, source, type, severity FROM event JOIN body USING (place) JOIN lane ON lane.id = event.lane "
    "JOIN kind ON kind.id = lane.kind JOIN origin ON origin.id = body.origin WHERE place IN ({})"
)
_FRAME: Final = {"id": "x", "timestamp": "1970-01-01T00:00:00Z", "source": "x", "type": "log", "severity": "info"}


class Decoder:
    """Make events of the rows of one store. For several threads."""

    def __init__(self) -> None:
        self._origins: Bounded[tuple[int, int], Origin] = Bounded(_KEPT)

    def events(self, database: sqlite3.Connection, places: Sequence[int]) -> list[UnifiedEvent]:
        """Return the events at places that are there, in the order of the places given."""
        found = {row[0]: row for row in select(database, _ROWS, places)}
        rows = [found[place] for place in places if place in found]
        try:
            origins = self._read(database, {(row[3], row[4]) for row in rows})
            return [_event(row, origins[row[3], row[4]]) for row in rows]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise sqlite3.DatabaseError(f"an event cannot be read: {type(error).__name__}: {error}") from error

    def _read(self, database: sqlite3.Connection, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Origin]:
        known = {key: self._origins.get(key) for key in wanted}
        missing = {key[0]: key for key, origin in known.items() if origin is None}
        for id, content in select(database, "SELECT id, content FROM origin WHERE id IN ({})", list(missing)):
            known[missing[id]] = self._keep(missing[id], from_dict({**_FRAME, **_loaded(content)}).view())
        return {key: origin for key, origin in known.items() if origin is not None}

    def _keep(self, key: tuple[int, int], origin: Origin) -> Origin:
        if len(self._origins) >= _KEPT:
            self._origins = Bounded(_KEPT)  # not emptied in place: another thread may be reading it
        self._origins[key] = origin
        return origin


def _event(row: tuple[Any, ...], origin: Origin) -> UnifiedEvent:
    _, timestamp, id, _, _, lag, title, description, own, trace, span, parent, source, type, severity = row
    text = restored(description)
    head = text if title is None else text[:title] if isinstance(title, int) else restored(title)
    event = UnifiedEvent.of_origin(
        *(origin, unpacked_id(id), timestamp, timestamp + lag, restored(source), restored(type), Severity(severity)),
        *(head, text, unpack_all(_loaded(own)) if own else {}),
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
