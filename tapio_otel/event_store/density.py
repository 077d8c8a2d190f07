"""How many events there were in each part of a window, by entity and severity: for views of more events than can be drawn.

SQLite gives the lanes of a part's events as one JSON array, whose members Python counts: much faster than to group rows.
Within the window, an event that was moved on by some nanoseconds counts where its place is.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from tapio_otel.event import Severity
from tapio_otel.event_store.lanes import described
from tapio_otel.event_store.query import Bucket
from tapio_otel.event_store.rows import select
from tapio_otel.event_store.selection import Selection


class _Part(NamedTuple):
    start: int
    end: int
    lanes: Mapping[int, int]


class Parts:
    """Cut a window, both ends included, into parts of equal width; the last may be shorter."""

    def __init__(self, since: int, until: int, parts: int) -> None:
        self.since, self.until = since, until
        self.width = max(-(-(until - since + 1) // parts), 1)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for start in range(self.since, self.until + 1, self.width):
            yield start, min(start + self.width - 1, self.until)


def density(database: sqlite3.Connection, chosen: Selection, parts: Parts) -> list[Bucket]:
    """Return the counts above 0, in the order of time; `parts` cover the events of the selection."""
    if chosen.is_empty:
        return []
    if chosen.is_few:
        rows = database.execute(
            f"SELECT event.place - event.shift, event.lane FROM {chosen.table} WHERE {chosen.condition}",  # noqa: S608
            chosen.values,
        )
        return _named(database, _sorted_into(rows.fetchall(), parts))
    ends = {parts.since, parts.until}
    counted = []
    for start, end in parts:
        last = min(end + chosen.slack, (1 << 63) - 1) if end == parts.until else end
        # Only at the ends of the window may a place be in it and its time not.
        within = chosen.condition if ends & {start, end} else chosen.lane_condition
        values = chosen.values if ends & {start, end} else chosen.lane_values
        where = f"event NOT INDEXED WHERE event.place BETWEEN {start} AND {last} AND {within}"
        counted.append(_Part(start, end, _counts(database, where, values)))
    return _named(database, counted)


def density_of(database: sqlite3.Connection, places: Sequence[int], parts: Parts) -> list[Bucket]:
    """Return the same of events at places."""
    rows = select(database, "SELECT place - shift, lane FROM event WHERE place IN ({})", places)
    return _named(database, _sorted_into(list(rows), parts))


def _sorted_into(rows: Sequence[tuple[int, int]], parts: Parts) -> list[_Part]:
    counted = Counter(((time - parts.since) // parts.width, lane) for time, lane in rows)
    found: dict[int, dict[int, int]] = {}
    for (number, lane), count in counted.items():
        found.setdefault(number, {})[lane] = count
    ranges = list(parts) if found else []
    return [_Part(*ranges[number], found[number]) for number in sorted(found)]


def _counts(database: sqlite3.Connection, where: str, values: Sequence[Any]) -> Mapping[int, int]:
    (lanes,) = database.execute(f"SELECT json_group_array(event.lane) FROM {where}", values).fetchone()  # noqa: S608
    return Counter(orjson.loads(lanes))


def _named(database: sqlite3.Connection, parts: Sequence[_Part]) -> list[Bucket]:
    """Return buckets, in which lanes of the same entity and severity are one."""
    lanes = described(database, {lane for part in parts for lane in part.lanes})
    groups: dict[tuple[tuple[str, ...], Severity], int] = {}
    group_of = {lane: groups.setdefault((told.path, told.severity), len(groups)) for lane, told in lanes.items()}
    names = list(groups)
    found = []
    for part in parts:
        merged: dict[int, int] = {}
        for lane, count in part.lanes.items():
            group = group_of[lane]
            merged[group] = merged.get(group, 0) + count
        end = part.end + 1
        found += [Bucket(part.start, end, *names[group], count) for group, count in merged.items()]
    return found
