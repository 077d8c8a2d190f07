"""How many events there were in each part of a window, by entity and severity: for views of more events than can be drawn.

SQLite gives the lanes of a part's events as one text with a letter for each event, whose letters Python counts: faster than to
group rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from tapio_otel.event import Severity
from tapio_otel.event_store.query import Bucket
from tapio_otel.event_store.rows import select
from tapio_otel.event_store.selection import Selection

_SURROGATES: Final = 0xD800
_NO_LETTERS: Final = 0x800
_LETTERS: Final = 0x110000 - _NO_LETTERS
"""Lanes that a letter can stand for."""
_LETTER: Final = f"char(event.lane + {_NO_LETTERS} * (event.lane >= {_SURROGATES}))"
_LANES: Final = (
    "SELECT lane.id, entity.path, kind.severity FROM lane JOIN kind ON kind.id = lane.kind "
    "JOIN subject ON subject.id = lane.subject JOIN entity ON entity.id = subject.entity WHERE lane.id IN ({})"
)
_Name = tuple[tuple[str, ...], Severity]
_Part = tuple[int, int, Counter[int]]


class Parts:
    """Cut a window, both ends included, into parts of equal width; the last may be shorter."""

    def __init__(self, since: int, until: int, parts: int) -> None:
        self.since, self.until = since, until
        self.width = max(-(-(until - since + 1) // parts), 1)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for start in range(self.since, self.until + 1, self.width):
            yield start, min(start + self.width - 1, self.until)


def density(database: sqlite3.Connection, chosen: Selection, parts: Parts) -> list[Bucket]:
    """Return the counts above 0, in the order of time; `parts` are within the selection."""
    if chosen.is_empty:
        return []
    if chosen.is_few:
        rows = database.execute(
            f"SELECT event.place - event.shift, event.lane FROM {chosen.table} WHERE {chosen.condition}",  # noqa: S608
            chosen.values,
        )
        return _named(database, _sorted_into(rows.fetchall(), parts))
    (most,) = database.execute("SELECT max(id) FROM lane").fetchone()
    count = _letters if most < _LETTERS else _grouped
    return _named(
        database,
        [(start, end, count(database, replace(chosen, since=start, until=end))) for start, end in parts],
    )


def density_of(database: sqlite3.Connection, places: Sequence[int], parts: Parts) -> list[Bucket]:
    """Return the same of events at places."""
    rows = select(database, "SELECT place - shift, lane FROM event WHERE place IN ({})", places)
    return _named(database, _sorted_into(list(rows), parts))


def _sorted_into(rows: Sequence[tuple[int, int]], parts: Parts) -> list[_Part]:
    counted = Counter(((time - parts.since) // parts.width, lane) for time, lane in rows)
    found: dict[int, Counter[int]] = {}
    for (number, lane), count in counted.items():
        found.setdefault(number, Counter())[lane] = count
    ranges = list(parts) if found else []
    return [(*ranges[number], found[number]) for number in sorted(found)]


def _letters(database: sqlite3.Connection, part: Selection) -> Counter[int]:
    (text,) = _row(database, f"group_concat({_LETTER}, '')", part)
    return Counter({_lane(letter): count for letter, count in Counter(text or "").items()})


def _row(database: sqlite3.Connection, what: str, part: Selection) -> Any:
    return database.execute(f"SELECT {what} FROM {part.table} WHERE {part.condition}", part.values).fetchone()  # noqa: S608


def _lane(letter: str) -> int:
    number = ord(letter)
    return number - _NO_LETTERS if number >= _SURROGATES else number


def _grouped(database: sqlite3.Connection, part: Selection) -> Counter[int]:
    statement = f"SELECT event.lane, count(*) FROM {part.table} WHERE {part.condition} GROUP BY event.lane"  # noqa: S608
    return Counter(dict(database.execute(statement, part.values).fetchall()))


def _named(database: sqlite3.Connection, parts: Sequence[_Part]) -> list[Bucket]:
    lanes = sorted({lane for _, _, counts in parts for lane in counts})
    names: dict[int, _Name] = {
        lane: (tuple(json.loads(path)), Severity(severity)) for lane, path, severity in select(database, _LANES, lanes)
    }
    return [
        Bucket(start, end + 1, path, severity, count)
        for start, end, counts in parts
        for (path, severity), count in _merged(counts, names).items()
    ]


def _merged(counts: Counter[int], names: dict[int, _Name]) -> Counter[_Name]:
    merged: Counter[_Name] = Counter()
    for lane, count in counts.items():
        merged[names[lane]] += count
    return merged
