"""Time: the kernel stamps occurrences with the time since boot; events carry wall-clock time.

The difference of the two clocks is measured anew for each batch, for it changes: whoever sets the wall clock makes it jump, and
time synchronisation lets it drift. CLOCK_BOOTTIME goes on while the machine sleeps, so that suspend needs no correction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

ReadClock = Callable[[], int]
_ATTEMPTS: Final = 3


def boottime_ns() -> int:
    """Return the nanoseconds since boot, time asleep included (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class WallClock:
    """Turn time since boot into wall-clock time; both clocks, in nanoseconds, can be replaced."""

    def __init__(self, realtime: ReadClock = time.time_ns, boottime: ReadClock = boottime_ns) -> None:
        self._realtime, self._boottime = realtime, boottime

    def difference(self) -> int:
        """Return what to add to a time since boot, in nanoseconds.

        The wall clock is read between two readings of the other; the closest pair of some attempts counts, since the process
        may be interrupted in the midst of one.
        """
        return min(self._measure() for _ in range(_ATTEMPTS))[1]

    def _measure(self) -> tuple[int, int]:
        before = self._boottime()
        wall = self._realtime()
        after = self._boottime()
        return after - before, wall - (before + after) // 2
