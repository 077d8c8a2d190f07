"""Forget the oldest events: by age, by number and by size on disk; some at a time, so that writing goes on in between.

What claims to be of a time to come, further ahead than events may be old, goes too: nothing would ever be older, and it would
stay for good in the place of what really happens.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tapio_otel.event_store import tallies
from tapio_otel.event_store.interning import Interning
from tapio_otel.event_store.rows import apply, select, total
from tapio_otel.event_store.schema import PAGE_BYTES, transaction
from tapio_otel.event_store.words import Words

_STEP: Final = 4000
"""Most events that one transaction removes."""
_SWEEP_AFTER: Final = 50_000
"""Removed events after which what no event needs any more is removed, too."""
_LATEST: Final = (1 << 63) - 1
_SHRINK_PAGES: Final = 2048
_FREE_SHARE: Final = 4
"""Space is given back to the disk where more than one page in so many is free; else it is used again."""
_SHRUNK: Final = (
    "UPDATE {0} SET events = {0}.events - told.value FROM json_each(?) AS told WHERE {0}.id = CAST(told.key AS INTEGER)"
)


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """Say how much is kept: the newest events that meet all three."""

    max_age_ns: int
    max_bytes: int
    max_events: int


class Retention:
    """Keep a store within its limits."""

    def __init__(self, database: sqlite3.Connection, interning: Interning, words: Words, limits: RetentionLimits) -> None:
        self._database, self._interning, self._words, self._limits = database, interning, words, limits
        self._removed = 0
        self.events = 0
        self.recount()

    def recount(self) -> None:
        """Count the events anew."""
        self.events = total(self._database, "SELECT total(events) FROM lane")

    def step(self, now_ns: int) -> bool:
        """Remove some of what is too much; returns whether there is more."""
        ahead = self._ahead(now_ns)
        if ahead:
            with transaction(self._database):
                self.remove(ahead)
            self.events -= len(ahead)
            self._removed += len(ahead)
            return True
        gone = self._excess(now_ns)
        if gone:
            with transaction(self._database):
                self._remove_oldest(gone)
            self.events -= len(gone)
            self._removed += len(gone)
        if self._removed >= _SWEEP_AFTER:
            self._sweep()
        return bool(gone) or self._shrink()

    def _ahead(self, now_ns: int) -> list[int]:
        """Return the places of events that are further ahead than others may be old."""
        query = "SELECT place FROM event WHERE place > ? ORDER BY place DESC LIMIT ?"
        return [place for (place,) in self._database.execute(query, (min(now_ns + self._limits.max_age_ns, _LATEST), _STEP))]

    def _excess(self, now_ns: int) -> list[int]:
        """Return the places of the oldest events that are too many, too large or too old."""
        wanted = self.events - self._limits.max_events
        used = self._used_bytes()
        if used > self._limits.max_bytes and self.events:
            # Events of equal size are assumed; the next step knows better. What is in common is not theirs.
            wanted = max(wanted, (used - self._limits.max_bytes) * self.events // used + 1)
        if wanted > 0:
            query = "SELECT place FROM event ORDER BY place LIMIT ?"
            return [place for (place,) in self._database.execute(query, (min(wanted, _STEP),))]
        query = "SELECT place FROM event WHERE place < ? ORDER BY place LIMIT ?"
        return [place for (place,) in self._database.execute(query, (max(now_ns - self._limits.max_age_ns, 0), _STEP))]

    def _used_bytes(self) -> int:
        pages, free = (total(self._database, f"PRAGMA {name}") for name in ("page_count", "freelist_count"))
        return (pages - free) * PAGE_BYTES

    def _remove_oldest(self, places: Sequence[int]) -> None:
        self._remove_until(places[-1])
        first = self._database.execute("SELECT min(place) FROM event").fetchone()[0]
        self._words.prune((1 << 63) - 1 if first is None else first)

    def _remove_until(self, last: int) -> None:
        """Remove all events up to a place."""
        tallies.remove_until(self._database, last)
        for table, of in (("lane", "event"), ("origin", "body")):
            # By an index, all of them would be run through.
            query = f"SELECT {table}, count(*) FROM {of} NOT INDEXED WHERE place <= ? GROUP BY 1"  # noqa: S608
            counts = dict(self._database.execute(query, (last,)).fetchall())
            self._database.execute(_SHRUNK.format(table), (json.dumps(counts),))
            self._database.execute(f"DELETE FROM {of} WHERE place <= ?", (last,))  # noqa: S608

    def remove(self, places: Sequence[int]) -> None:
        """Remove events by their places, in the transaction at hand; `events` is left to the caller."""
        rows = list(
            select(self._database, "SELECT place, lane, origin FROM event JOIN body USING (place) WHERE place IN ({})", places)
        )
        tallies.add(self._database, [row[0] for row in rows], [row[1] for row in rows], -1)
        for number, table in ((1, "lane"), (2, "origin")):
            self._database.execute(_SHRUNK.format(table), (json.dumps(Counter(row[number] for row in rows)),))
        for table in ("event", "body"):
            apply(self._database, f"DELETE FROM {table} WHERE place IN ({{}})", places)  # noqa: S608

    def _sweep(self) -> None:
        """Remove what no event needs any more: lanes, subjects with their keys, entities, kinds and origins."""
        database = self._database
        with transaction(database):
            database.execute("DELETE FROM mention WHERE place < (SELECT min(place) FROM event)")
            database.execute("DELETE FROM mention WHERE place > (SELECT max(place) FROM event)")
            database.execute("DELETE FROM lane WHERE events <= 0")
            database.execute("DELETE FROM origin WHERE events <= 0")
            gone = database.execute("SELECT id, keys FROM subject WHERE id NOT IN (SELECT subject FROM lane)").fetchall()
            pairs = [(key, id) for id, keys in gone for key in struct.unpack(f"<{len(keys) // 8}q", keys)]
            database.executemany("DELETE FROM lineage WHERE key = ? AND subject = ?", pairs)
            database.executemany("DELETE FROM subject WHERE id = ?", ((id,) for id, _ in gone))
            database.execute("DELETE FROM entity WHERE id NOT IN (SELECT entity FROM subject)")
            database.execute("DELETE FROM kind WHERE id NOT IN (SELECT kind FROM lane)")
        self._interning.forget()
        self._removed = 0

    def _shrink(self) -> bool:
        """Give some free space back to the disk where there is much of it; returns whether there is more."""
        pages, free = (total(self._database, f"PRAGMA {name}") for name in ("page_count", "freelist_count"))
        if free < _SHRINK_PAGES or free * _FREE_SHARE < pages:
            return False
        self._database.execute(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})").fetchall()
        return True
