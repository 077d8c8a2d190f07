"""Which rows of `event` are meant: a window of time, and a set of lanes; how many events those have decides the way to them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from tapio_otel.event_store.errors import EventQueryError
from tapio_otel.event_store.interning import folded
from tapio_otel.event_store.places import MAX_SHIFT
from tapio_otel.event_store.query import EVER, EventQuery
from tapio_otel.event_store.record import storable
from tapio_otel.event_store.rows import total

FEW: Final = 100_000
"""Up to so many events in lanes are found by their lanes, and sorted; of more, the events of all lanes are run through."""


_LANES: Final = (
    "SELECT lane.id, lane.events FROM lane JOIN kind ON kind.id = lane.kind JOIN subject ON subject.id = lane.subject "
    "WHERE lane.events > 0"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Mean the events from one time to another, both included, of some lanes (None for all) and beyond a cursor's place."""

    since: int
    until: int
    slack: int
    """How far a place may be behind its time."""
    lanes: tuple[int, ...] | None = None
    events: int = EVER
    """How many events the lanes have, of all times."""
    beyond: int | None = None
    is_down: bool = True

    @classmethod
    def window(cls, database: sqlite3.Connection, since: int, until: int) -> Self:
        """Return all events of a window."""
        slack = total(database, "SELECT value FROM setting WHERE name = ?", (MAX_SHIFT,))
        return cls(min(max(since, 0), EVER), max(min(until, EVER), -1), slack)

    @classmethod
    def of(cls, database: sqlite3.Connection, query: EventQuery) -> Self:
        """Return what a query says of time, cursor, source, type, severity and entity; raises EventQueryError."""
        chosen = replace(cls.window(database, query.since_ns, query.until_ns), is_down=query.order == "desc")
        if query.cursor:
            chosen = replace(chosen, beyond=_cursor(query.cursor))
        rows = _lanes(database, query)
        return chosen if rows is None else chosen.among(rows)

    def among(self, rows: Sequence[tuple[int, int]]) -> Self:
        """Return the same of some lanes only, given as rows and numbers of events."""
        return replace(self, lanes=tuple(lane for lane, _ in rows), events=sum(events for _, events in rows))

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing can be meant."""
        return self.since > self.until or not self.events

    @property
    def is_few(self) -> bool:
        """Tell whether it is better to look at each lane than at all events."""
        return self.lanes is not None and self.events <= FEW

    @property
    def span(self) -> tuple[int, int]:
        """Return the first and the last place that may be meant."""
        return self.since, min(self.until + self.slack, EVER)

    @property
    def table(self) -> str:
        """Return the table to select from, with the way to go."""
        return "event INDEXED BY event_lane" if self.is_few else "event NOT INDEXED"

    @property
    def condition(self) -> str:
        """Return the condition on rows of `event`, for `values`."""
        parts = ["event.place BETWEEN ? AND ?"]
        if self.slack:
            parts.append("event.place - event.shift BETWEEN ? AND ?")
        if self.beyond is not None:
            parts.append(f"event.place {'<' if self.is_down else '>'} ?")
        return " AND ".join((*parts, self.lane_condition))

    @property
    def values(self) -> tuple[Any, ...]:
        """Return the values of the condition."""
        found: tuple[Any, ...] = self.span
        if self.slack:
            found += (self.since, self.until)
        if self.beyond is not None:
            found += (self.beyond,)
        return (*found, *self.lane_values)

    @property
    def lane_condition(self) -> str:
        """Return what the condition says of lanes, for `lane_values`."""
        return "1" if self.lanes is None else "event.lane IN (SELECT value FROM json_each(?))"

    @property
    def lane_values(self) -> tuple[str, ...]:
        """Return the values of `lane_condition`."""
        return () if self.lanes is None else (json.dumps(self.lanes),)

    def places(self, database: sqlite3.Connection, limit: int) -> list[int]:
        """Return places in the order asked for, `limit` at most."""
        if self.is_empty:
            return []
        found = database.execute(
            f"SELECT event.place FROM {self.table} WHERE {self.condition} "  # noqa: S608 - our own words
            f"ORDER BY event.place {'DESC' if self.is_down else ''} LIMIT ?",
            (*self.values, limit),
        )
        return [place for (place,) in found]

    def count(self, database: sqlite3.Connection, at_most: int) -> int:
        """Count the events, up to a number."""
        if self.is_empty:
            return 0
        statement = f"SELECT count(*) FROM (SELECT 1 FROM {self.table} WHERE {self.condition} LIMIT ?)"  # noqa: S608
        return total(database, statement, (*self.values, at_most))


def _cursor(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= EVER:
        return int(text)
    raise EventQueryError("cursor", f"found {text!r}: give the `next` of the page before, or leave it out")


def _lanes(database: sqlite3.Connection, query: EventQuery) -> list[tuple[int, int]] | None:
    """Return the lanes that meet the conditions on source, type, severity and entity; None without any."""
    conditions: list[str] = []
    values: list[Any] = []
    if query.types:
        conditions.append(f"kind.type IN ({', '.join('?' * len(query.types))})")
        values += map(storable, query.types)
    if query.source:
        conditions.append("kind.source = ?")
        values.append(storable(query.source))
    if query.severity is not None:
        conditions.append("kind.severity >= ?")
        values.append(int(query.severity))
    if query.entity:
        conditions.append("subject.entity IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(entities(database, query.entity)))
    return lanes_where(database, " AND ".join(conditions), values) if conditions else None


def lanes_where(database: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[tuple[int, int]]:
    """Return the lanes that have events and meet a condition on `lane`, `kind` and `subject`, with their number of events."""
    return database.execute(
        f"{_LANES} AND {condition}",
        values,
    ).fetchall()


def entities(database: sqlite3.Connection, text: str) -> list[int]:
    """Return the rows of the entity that a text names and of its parts; else of those whose name contains the text."""
    name = f"systemd_{text}" if text.startswith("unit/") else text
    exact = "SELECT id FROM entity WHERE EXISTS (SELECT 1 FROM json_each(entity.path) WHERE value = ?)"
    found = [id for (id,) in database.execute(exact, (name.encode("utf-8", "replace").decode(),))]
    if found:
        return found
    return [id for (id,) in database.execute("SELECT id FROM entity WHERE instr(folded, ?)", (folded(text),))]
