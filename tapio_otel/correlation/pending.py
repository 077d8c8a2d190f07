"""Events that wait for the watermark, in the order of (timestamp, id), however they arrived."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from tapio_otel.correlation.keys import Key, Keys
from tapio_otel.correlation.selection import Told
from tapio_otel.event import UnifiedEvent


class PendingEvent(NamedTuple):
    """Hold an event that waits; the serial number is that of its arrival."""

    at: int
    id: str
    serial: int
    event: UnifiedEvent
    keys: Keys
    targets: tuple[Key, ...]
    """The keys of what it failed to reach."""
    told: Told


class Due(NamedTuple):
    """Hold events whose turn it is; of these `excess` are beyond the limit, `early` of them before their time."""

    events: list[PendingEvent]
    early: int
    excess: int
    has_more: bool
    """Whether it is the turn of others too."""


class Pending:
    """Hold events until their time has come."""

    def __init__(self) -> None:
        self._sorted: list[PendingEvent] = []
        self._fresh: list[PendingEvent] = []
        self.keep = self._fresh.append
        """Take one event."""

    def __len__(self) -> int:
        return len(self._sorted) + len(self._fresh)

    def __iter__(self) -> Iterator[PendingEvent]:
        """Return all that waits, in no particular order."""
        return chain(self._sorted, self._fresh)

    def due(self, watermark: int, limit: int, most: int) -> Due:
        """Take out the events before a watermark, `most` of them at most, and in any case the earliest beyond a limit."""
        self._sort()
        waiting = self._sorted
        ready = bisect_left(waiting, watermark, key=_when)
        excess = max(len(waiting) - limit, 0)
        count = max(min(ready, most), excess)
        due = waiting[:count]
        del waiting[:count]
        return Due(due, max(excess - ready, 0), excess, count < ready)

    def put_back(self, events: list[PendingEvent]) -> None:
        """Let the last events of `due` wait again."""
        self._sorted[:0] = events

    def _sort(self) -> None:
        """Sort what has come since the last time in where it belongs."""
        known, fresh = self._sorted, self._fresh
        if not fresh:
            return
        fresh.sort()
        place = bisect_left(known, fresh[0])
        if place == len(known):
            known += fresh
        else:
            known[place:] = sorted([*known[place:], *fresh])
        fresh.clear()


def _when(one: PendingEvent) -> int:
    return one.at


def newest(events: Sequence[UnifiedEvent]) -> int:
    """Return the latest time that any event tells: by one clock that is behind, or ahead, nothing was set back."""
    return max(max(event.timestamp, event.observed) for event in events)
