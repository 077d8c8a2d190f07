"""Many rows by few statements: SQLite works on some hundred rows at a time, and other threads go on meanwhile.

Python's sqlite3 binds numbers, texts and bytearrays at once; for None and bytes it looks for an adapter first, which takes five
times as long. So what is written for every event is none of these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

_SIZES: Final = (256, 32, 4, 1)
"""Rows for one statement; few sizes, so that all of them stay prepared."""


def insert(database: sqlite3.Connection, into: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows; `into` is the table with its columns, of our own words."""
    width = into.count(",") + 1
    row = f"({', '.join('?' * width)})"
    for part, size in _parts(list(chain.from_iterable(rows)), width):
        database.execute(f"INSERT INTO {into} VALUES {', '.join([row] * size)}", part)  # noqa: S608


def select(database: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query with `IN ({})` in it, over all of the values."""
    for part, size in _parts(list(values)):
        yield from database.execute(query.format(", ".join("?" * size)), part)


def apply(database: sqlite3.Connection, statement: str, values: Sequence[Any]) -> None:
    """Execute a statement with `IN ({})` in it over all of the values."""
    for part, size in _parts(list(values)):
        database.execute(statement.format(", ".join("?" * size)), part)


def _parts(values: list[Any], width: int = 1) -> Iterator[tuple[list[Any], int]]:
    """Yield values in portions of so many rows."""
    start, left = 0, len(values) // width
    for size in _SIZES:
        while left >= size:
            yield values[start : start + size * width], size
            start += size * width
            left -= size


def total(database: sqlite3.Connection, query: str, values: Iterable[Any] = ()) -> int:
    """Return the number that a query gives, 0 for none."""
    row = database.execute(query, tuple(values)).fetchone()
    return int(row[0]) if row and row[0] is not None else 0
