"""How many events each lane has in each block of time, kept by the writer: so that a view of a million events reads few rows.

Blocks are powers of two of nanoseconds, of two sizes; an event counts in the block of its place. A row has the counts of all
lanes of a block as JSON: a list of lanes and one of numbers. The numbers are exact: what is removed is taken off again in the
same transaction.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson

from tapio_otel.event_store.rows import apply, insert, select

LEVELS: Final = (40, 36)
"""Blocks of 2**40 ns are some 18 minutes long, those of 2**36 ns 69 seconds."""
TALLY: Final = "tally_"
"""How the names of the tables begin; the level follows."""
_JSON: Final = "'[[' || group_concat(lane) || '],[' || group_concat(events) || ']]'"


def created() -> tuple[str, ...]:
    """Return the statements that make the tables and fill them with what there is."""
    made = (f"CREATE TABLE {TALLY}{level} (block INTEGER PRIMARY KEY, counts TEXT NOT NULL)" for level in LEVELS)
    return (*made, *map(_filled, LEVELS))


def _filled(level: int) -> str:
    counted = f"SELECT place >> {level} AS block, lane, count(*) AS events FROM event NOT INDEXED GROUP BY 1, 2"  # noqa: S608
    return f"INSERT INTO {TALLY}{level} SELECT block, {_JSON} FROM ({counted}) GROUP BY block"  # noqa: S608


def add(database: sqlite3.Connection, places: Sequence[int], lanes: Sequence[int], sign: int = 1) -> None:
    """Count events in, or out where `sign` is -1."""
    pairs = sorted(zip(places, lanes, strict=True))
    ordered, of = [place for place, _ in pairs], [lane for _, lane in pairs]
    for level in LEVELS:
        _change(database, level, _by_block(ordered, of, level), sign)


def remove_until(database: sqlite3.Connection, last: int) -> None:
    """Count out all events up to a place, which are still there."""
    query = "SELECT json_group_array(lane) FROM event NOT INDEXED WHERE place BETWEEN ? AND ?"
    for level in LEVELS:
        block = last >> level
        (lanes,) = database.execute(query, (block << level, last)).fetchone()
        _change(database, level, {block: Counter(orjson.loads(lanes))}, -1)
        database.execute(f"DELETE FROM {TALLY}{level} WHERE block < ?", (block,))  # noqa: S608


def read(database: sqlite3.Connection, level: int, first: int, last: int) -> Iterator[tuple[int, dict[int, int]]]:
    """Yield blocks from one to another, both included, that have events, with the numbers of events by lane."""
    query = f"SELECT block, counts FROM {TALLY}{level} WHERE block BETWEEN ? AND ? ORDER BY block"  # noqa: S608
    for block, counts in database.execute(query, (first, last)):
        yield block, _loaded(counts)


def _by_block(places: Sequence[int], lanes: Sequence[int], level: int) -> dict[int, Mapping[int, int]]:
    """Return the numbers of events by block and lane; `places` are in order."""
    found: dict[int, Mapping[int, int]] = {}
    start = 0
    while start < len(places):
        block = places[start] >> level
        end = bisect_left(places, (block + 1) << level, start)
        found[block] = Counter(lanes[start:end])
        start = end
    return found


def _change(database: sqlite3.Connection, level: int, changes: Mapping[int, Mapping[int, int]], sign: int) -> None:
    table = f"{TALLY}{level}"
    known: dict[int, str] = dict(select(database, f"SELECT block, counts FROM {table} WHERE block IN ({{}})", list(changes)))  # noqa: S608
    rows = []
    for block, counts in changes.items():
        merged = _loaded(known[block]) if block in known else {}
        for lane, count in counts.items():
            merged[lane] = merged.get(lane, 0) + sign * count
        if sign < 0:
            merged = {lane: count for lane, count in merged.items() if count > 0}
        if merged:
            rows.append((block, orjson.dumps((list(merged), list(merged.values()))).decode()))
    apply(database, f"DELETE FROM {table} WHERE block IN ({{}})", list(known))  # noqa: S608
    insert(database, f"{table} (block, counts)", rows)


def _loaded(counts: str) -> dict[int, int]:
    return dict(zip(*orjson.loads(counts), strict=True))
