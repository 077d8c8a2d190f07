"""The places of the events that a query means, whatever it asks for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from tapio_otel.event_store.errors import EventQueryError
from tapio_otel.event_store.full_text import expression
from tapio_otel.event_store.query import EventQuery
from tapio_otel.event_store.record import packed_id
from tapio_otel.event_store.rows import select
from tapio_otel.event_store.schema import WORDS
from tapio_otel.event_store.selection import Selection
from tapio_otel.event_values import EventFormatError

_HEX: Final = frozenset("0123456789abcdef")


def is_plain(query: EventQuery) -> bool:
    """Tell whether a selection says all that a query does."""
    return not (query.ids or query.trace_id or query.text)


def places(database: sqlite3.Connection, query: EventQuery, limit: int) -> list[int]:
    """Return the places of a query's events in its order, `limit` at most."""
    chosen = Selection.of(database, query)
    words = expression(query.text)
    if chosen.is_empty:
        return []
    named = _named(database, query)
    if named is not None:
        return sorted(_among(database, chosen, named, words), reverse=chosen.is_down)[:limit]
    return _with_words(database, chosen, words, limit) if words else chosen.places(database, limit)


def _named(database: sqlite3.Connection, query: EventQuery) -> set[int] | None:
    """Return the places of events with the ids or the trace that are asked for; None where neither is."""
    found = set(places_of(database, query.ids).values()) if query.ids else None
    if query.trace_id:
        trace = query.trace_id.lower()
        if len(trace) != 32 or not _HEX.issuperset(trace):
            raise EventQueryError("trace_id", f"found {query.trace_id!r}: write 32 hex digits")
        rows = database.execute("SELECT place FROM body WHERE trace = ? AND trace > 0", (bytes.fromhex(trace),))
        traced = {place for (place,) in rows}
        found = traced if found is None else found & traced
    return found


def places_of(database: sqlite3.Connection, ids: Sequence[str]) -> dict[str, int]:
    """Return the places of events that are there, by their ids."""
    wanted: dict[str | bytes, str] = {}
    for id in ids:
        try:
            wanted[packed_id(id)] = id
        except EventFormatError:
            continue  # no event has such an id
    ends = list({id[-6:] for id in wanted})
    rows = select(database, "SELECT id, place FROM body WHERE substr(id, -6) IN ({})", ends)
    return {wanted[id]: place for id, place in rows if id in wanted}


def _among(database: sqlite3.Connection, chosen: Selection, named: set[int], words: str) -> set[int]:
    """Return those of some places that meet the other conditions."""
    statement = f"SELECT event.place FROM event WHERE {chosen.condition} AND event.place IN (SELECT value FROM json_each(?))"  # noqa: S608
    met = {place for (place,) in database.execute(statement, (*chosen.values, json.dumps(sorted(named))))}
    if not words:
        return met
    found: set[int] = set()
    for table in _tables(database):
        statement = f"SELECT rowid FROM {table} WHERE {table} MATCH ? AND rowid IN (SELECT value FROM json_each(?))"  # noqa: S608
        found.update(place for (place,) in database.execute(statement, (words, json.dumps(sorted(met)))))
    return found


def _tables(database: sqlite3.Connection) -> Iterator[str]:
    """Yield the names of the full-text tables."""
    for (number,) in database.execute("SELECT number FROM words ORDER BY number").fetchall():
        yield f"{WORDS}{number}"


def _with_words(database: sqlite3.Connection, chosen: Selection, words: str, limit: int) -> list[int]:
    found: list[int] = []
    for table in _tables(database):
        rows = database.execute(
            f"SELECT event.place FROM {table} CROSS JOIN event ON event.place = {table}.rowid "  # noqa: S608
            f"WHERE {table} MATCH ? AND {table}.rowid BETWEEN ? AND ? AND {chosen.condition} "
            f"ORDER BY {table}.rowid {'DESC' if chosen.is_down else ''} LIMIT ?",
            (words, *chosen.span, *chosen.values, limit),
        )
        found += [place for (place,) in rows]
    return sorted(set(found), reverse=chosen.is_down)[:limit]
