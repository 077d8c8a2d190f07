"""The clock of events: what time it is for events, when none arrive.

While the newest event is not far behind the wall clock, that is the time. Where old events are read (a journal from its
beginning, a replay), time is theirs, however fast they are read, and goes on by itself only once none has come for ten
seconds: a replay that waits for a slow exporter is not silent yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LIVE: Final = 30.0
"""Seconds that the newest event may be behind the wall clock where events are live."""
SILENCE: Final = 10.0
"""Seconds without an event after which time goes on where they are not."""
_SECOND: Final = 1_000_000_000


class EventClock:
    """Tell the time of events from the newest one and how long ago it arrived."""

    def __init__(self, monotonic: Callable[[], float], wall_ns: Callable[[], int]) -> None:
        self._monotonic, self._wall_ns = monotonic, wall_ns
        self._latest: int | None = None
        self._arrived = 0.0

    def arrived(self, latest_ns: int) -> None:
        """Note that events have arrived, and when the newest of all happened."""
        self._latest = latest_ns
        self._arrived = self._monotonic()

    def now_ns(self) -> int:
        """Return the time of events in nanoseconds; 0 where nothing but events tells it."""
        if self._latest is None:
            return 0
        wall = self._wall_ns()
        if wall - self._latest <= LIVE * _SECOND:
            return wall
        silent = self._monotonic() - self._arrived
        return self._latest + round(silent * _SECOND) if silent >= SILENCE else 0
