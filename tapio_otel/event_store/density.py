"""How many events there were in each part of a window, by entity and severity: for views of more events than can be drawn.

Of many events over a long time the writer's tallies tell, so that few rows are read; the parts then begin where blocks do.
Else SQLite gives the lanes of a part's events as one JSON array, whose members Python counts: much faster than to group rows.
Within the window, an event that was moved on by some nanoseconds counts where its place is.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from tapio_otel.event import Severity
from tapio_otel.event_store import tallies
from tapio_otel.event_store.lanes import described
from tapio_otel.event_store.query import EVER, Bucket
from tapio_otel.event_store.rows import select
from tapio_otel.event_store.selection import Selection

MANY: Final = 20_000
"""Events from which on tallies are looked at."""


class _Part(NamedTuple):
    start: int
    end: int
    counts: Sequence[Mapping[int, int]]
    """Numbers of events by lane, to be added up."""


class Parts:
    """Cut a window, both ends included, into parts of equal width; the last may be shorter.

    With a `block` the parts begin at multiples of it, but for the first: fewer of them, and the first may be shorter, too.
    """

    def __init__(self, since: int, until: int, parts: int, block: int = 1) -> None:
        self.since, self.until, self.most = since, until, parts
        self.width = max(-(-(until - since + 1) // parts), 1)
        self.first = since
        if block > 1:
            self.width = max(-(-self.width // block), 1) * block
            while until // self.width - since // self.width >= parts:
                self.width += block
            self.first = since - since % self.width

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for start in range(self.first, self.until + 1, self.width):
            yield max(start, self.since), min(start + self.width - 1, self.until)

    def tallied(self) -> tuple[Parts, int] | None:
        """Return parts of whole blocks, at least half as many, and the level of the blocks; None where all are too large."""
        for level in tallies.LEVELS:
            if self.width * 2 >= 1 << level and self.most > 2:
                return Parts(self.since, self.until, self.most, 1 << level), level
        return None


def density(database: sqlite3.Connection, chosen: Selection, parts: Parts, events: int) -> list[Bucket]:
    """Return the counts above 0, in the order of time; `parts` cover the selection's, of which there are `events` at most."""
    if chosen.is_empty:
        return []
    whole = parts.tallied() if events > MANY else None
    if whole is not None:
        return _named(database, _of_tallies(database, chosen, *whole), chosen)
    if chosen.is_few:
        rows = database.execute(
            f"SELECT event.place - event.shift, event.lane FROM {chosen.table} WHERE {chosen.condition}",  # noqa: S608
            chosen.values,
        )
        return _named(database, _sorted_into(rows.fetchall(), parts), chosen)
    # Only at the ends of the window may a place be in it and its time not.
    counted = [
        _Part(start, end, [_counts(database, chosen, start, end, start == parts.since or end == parts.until)])
        for start, end in parts
    ]
    return _named(database, counted, chosen)


def density_of(database: sqlite3.Connection, places: Sequence[int], parts: Parts) -> list[Bucket]:
    """Return the same of events at places."""
    rows = select(database, "SELECT place - shift, lane FROM event WHERE place IN ({})", places)
    return _named(database, _sorted_into(list(rows), parts), None)


def _sorted_into(rows: Sequence[tuple[int, int]], parts: Parts) -> list[_Part]:
    counted = Counter(((time - parts.since) // parts.width, lane) for time, lane in rows)
    found: dict[int, dict[int, int]] = {}
    for (number, lane), count in counted.items():
        found.setdefault(number, {})[lane] = count
    ranges = list(parts) if found else []
    return [_Part(*ranges[number], [found[number]]) for number in sorted(found)]


def _counts(database: sqlite3.Connection, chosen: Selection, start: int, end: int, is_end: bool) -> Mapping[int, int]:
    """Return the numbers of events by lane from a place to another; where `is_end` those of the window's times only."""
    last = min(end + chosen.slack, EVER) if end == chosen.until else end
    # One range of places only: SQLite would take the wider of two.
    times = f"event.place - event.shift BETWEEN {chosen.since} AND {chosen.until}" if is_end and chosen.slack else "1"
    where = f"event NOT INDEXED WHERE event.place BETWEEN {start} AND {last} AND {times} AND {chosen.lane_condition}"
    (lanes,) = database.execute(f"SELECT json_group_array(event.lane) FROM {where}", chosen.lane_values).fetchone()  # noqa: S608
    return Counter(orjson.loads(lanes))


def _of_tallies(database: sqlite3.Connection, chosen: Selection, parts: Parts, level: int) -> list[_Part]:
    """Count by the tallies of whole blocks, and event by event at the ends of the window."""
    low, high = -(-(parts.since + chosen.slack) >> level), (parts.until + 1) >> level
    low = min(low, high)
    ends = (parts.since, (low << level) - 1), (high << level, parts.until)
    blocks: dict[int, list[Mapping[int, int]]] = {}
    for block, counts in tallies.read(database, level, low, high - 1):
        blocks.setdefault((block << level) // parts.width, []).append(counts)
    found = []
    for start, end in parts:
        pieces = ((max(start, first), min(end, last)) for first, last in ends)
        counted = [_counts(database, chosen, *piece, True) for piece in pieces if piece[0] <= piece[1]]
        counted += blocks.get(start // parts.width, ())
        if counted:
            found.append(_Part(start, end, counted))
    return found


def _named(database: sqlite3.Connection, parts: Sequence[_Part], chosen: Selection | None) -> list[Bucket]:
    """Return buckets, in which lanes of the same entity and severity are one."""
    wanted = {lane for part in parts for counts in part.counts for lane in counts}
    if chosen is not None and chosen.lanes is not None:
        wanted &= set(chosen.lanes)
    groups: dict[tuple[tuple[str, ...], Severity], int] = {}
    group_of = {
        lane: groups.setdefault((told.path, told.severity), len(groups)) for lane, told in described(database, wanted).items()
    }
    names = list(groups)
    found: list[Bucket] = []
    for part in parts:
        merged: dict[int, int] = {}
        find = merged.get
        for counts in part.counts:
            for lane, count in counts.items():
                group = group_of.get(lane)
                if group is not None:
                    merged[group] = find(group, 0) + count
        start, end = part.start, part.end + 1
        found += [Bucket(start, end, *names[group], count) for group, count in merged.items()]
    return found
