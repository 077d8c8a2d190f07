"""Places of events in the order of time: the time itself in nanoseconds, or one a little later where that one is taken."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice
from operator import lt, sub
from typing import Final

from tapio_otel.event_store.rows import select, total

MAX_SHIFT: Final = "max_shift"
_TAKEN: Final = "SELECT place FROM event WHERE place IN ({})"
_CROWDED_KEPT: Final = 1024


class Places:
    """Give each event a place that no other has. The largest distance between a time and its place is kept for readers."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._most: int | None = None
        self._newest: int | None = None
        self._crowded: dict[int, int] = {}

    def forget(self) -> None:
        """Look into the store again: the last transaction failed."""
        self._most = self._newest = None
        self._crowded.clear()

    def take(self, times: Sequence[int], before: Sequence[int | None] = ()) -> list[int]:
        """Return places for times, which are in order; the new place of what had one before is behind that one."""
        if self._newest is None or self._most is None:
            self._newest = total(self._database, "SELECT max(place) FROM event")
            self._most = total(self._database, "SELECT value FROM setting WHERE name = ?", (MAX_SHIFT,))
        is_spread = not before and not self._crowded and all(map(lt, times, islice(times, 1, None)))
        places = list(times) if is_spread else self._spread(times, before or (None,) * len(times))
        late = [place for place in places if place <= self._newest]
        if late:
            self._step_aside(places, {place for (place,) in select(self._database, _TAKEN, late)})
        self._newest = max(self._newest, *places)
        self._note(max(map(sub, places, times)))
        return places

    def _spread(self, times: Sequence[int], old: Sequence[int | None]) -> list[int]:
        """Return places that differ from each other, and from those that were given for the same times before."""
        used: set[int] = set()
        places = []
        for time, before in zip(times, old, strict=True):
            place = max(time, self._crowded.get(time, 0)) if before is None else before + 1
            first = place
            while place in used:
                place += 1
            if place != first or before is not None:
                self._crowd(time, place + 1)
            used.add(place)
            places.append(place)
        return places

    def _crowd(self, time: int, following: int) -> None:
        if len(self._crowded) >= _CROWDED_KEPT:
            self._crowded.clear()
        self._crowded[time] = following

    def _step_aside(self, places: list[int], taken: set[int]) -> None:
        """Move those that are on a place of an earlier event, in widening steps."""
        used = set(places)
        for number, first in enumerate(places):
            if first in taken:
                place, step = first, 1
                while place in used or self._is_taken(place):
                    place += step
                    step = min(2 * step, 1 << 20)
                used.add(place)
                self._crowd(first, place + 1)
                places[number] = place

    def _is_taken(self, place: int) -> bool:
        return self._database.execute("SELECT 1 FROM event WHERE place = ?", (place,)).fetchone() is not None

    def _note(self, shift: int) -> None:
        assert self._most is not None
        if shift > self._most:
            self._most = shift
            self._database.execute(
                "INSERT INTO setting VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (MAX_SHIFT, shift)
            )
