"""Many rows by few statements: SQLite works on some hundred rows at a time, and other threads go on meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

_SIZES: Final = (256, 32, 4, 1)
"""Rows for one statement; few sizes, so that all of them stay prepared."""


def insert(database: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows; `into` is the table with its columns, of our own words."""
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    for part, size in _parts(rows):
        flat = [value for columns in part for value in columns]
        database.execute(f"INSERT INTO {into} VALUES {', '.join([row] * size)}", flat)  # noqa: S608


def select(database: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query with `IN ({})` in it, over all of the values."""
    for part, size in _parts(values):
        yield from database.execute(query.format(", ".join("?" * size)), list(part))


def apply(database: sqlite3.Connection, statement: str, values: Sequence[Any]) -> None:
    """Execute a statement with `IN ({})` in it over all of the values."""
    for part, size in _parts(values):
        database.execute(statement.format(", ".join("?" * size)), list(part))


def _parts(rows: Sequence[Any]) -> Iterator[tuple[Sequence[Any], int]]:
    start = 0
    for size in _SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size], size
            start += size


def total(database: sqlite3.Connection, query: str, values: Iterable[Any] = ()) -> int:
    """Return the number that a query gives, 0 for none."""
    row = database.execute(query, tuple(values)).fetchone()
    return int(row[0]) if row and row[0] is not None else 0
