"""The words of messages: full-text tables (FTS5) one after another, each forgotten as a whole once its events are.

So nothing has to be taken out of an index word by word when events go, and a table stays small enough to be added to quickly.
Words of events that are no longer there, or of an earlier revision, are found without harm: nothing has their place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from tapio_otel.event_store.rows import insert
from tapio_otel.event_store.schema import WORDS

_PARTS: Final = 8
"""Full-text tables that the most events are spread over."""
_MOST_PARTS: Final = 3 * _PARTS
"""Beyond so many the first go, even if one of their events is left: one of a wrong time to come would keep them for long."""
_LEAST: Final = 1000
_SETTINGS: Final = (("automerge", 0), ("hashsize", 8 * 1024 * 1024), ("pgsz", 4000))
_TABLE: Final = (
    "CREATE VIRTUAL TABLE {} USING fts5 (text, content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2')"
)


class _Part(NamedTuple):
    """Be the last table."""

    number: int
    events: int
    letters: int


class Words:
    """Add the words of events, and forget those of old ones."""

    def __init__(self, database: sqlite3.Connection, max_events: int, max_bytes: int) -> None:
        self._database = database
        self._most_events = max(max_events // _PARTS, _LEAST)
        self._most_letters = max_bytes // (2 * _PARTS)
        self._last: _Part | None = None

    def forget(self) -> None:
        """Look into the store again: the last transaction failed."""
        self._last = None

    def add(self, places: Sequence[int], texts: Sequence[str]) -> None:
        """Add the words of events to the last table."""
        part = self._part()
        rows = zip(places, texts if all(map(str.isascii, texts)) else map(indexable, texts), strict=True)
        insert(self._database, f"{WORDS}{part.number} (rowid, text)", rows)
        letters = sum(map(len, texts))
        self._database.execute(
            "UPDATE words SET events = events + ?, letters = letters + ?, last = max(last, ?) WHERE number = ?",
            (len(places), letters, max(places), part.number),
        )
        self._last = _Part(part.number, part.events + len(places), part.letters + letters)

    def _part(self) -> _Part:
        part = self._last
        if part is None:
            row = self._database.execute("SELECT number, events, letters FROM words ORDER BY number DESC LIMIT 1").fetchone()
            part = _Part(*row) if row else _Part(0, self._most_events, 0)
        if part.events >= self._most_events or part.letters >= self._most_letters:
            part = _Part(part.number + 1, 0, 0)
            self._create(f"{WORDS}{part.number}")
            self._database.execute("INSERT INTO words VALUES (?, 0, 0, 0)", (part.number,))
        return part

    def _create(self, table: str) -> None:
        self._database.execute(_TABLE.format(table))
        for name, value in _SETTINGS:
            self._database.execute(f"INSERT INTO {table} ({table}, rank) VALUES (?, ?)", (name, value))  # noqa: S608

    def prune(self, before: int) -> None:
        """Forget the tables of which no event has this place or a later one, but for the last; and the first of too many."""
        gone = self._database.execute(
            "SELECT number FROM words WHERE number < (SELECT max(number) FROM words) AND (last < ? OR number <= "
            "(SELECT max(number) FROM words) - ?)",
            (before, _MOST_PARTS),
        ).fetchall()
        for (number,) in gone:
            self._database.execute(f"DROP TABLE {WORDS}{number}")
            self._database.execute("DELETE FROM words WHERE number = ?", (number,))


def indexable(text: str) -> str:
    """Return a text as SQLite can hold it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
