"""Giving back to the system what was freed: Python's garbage collector, and the free pages within the C library's heap.

The agent keeps a large free heap on purpose, for speed, and collects garbage seldom; near the limit both are the first to go.
What fails again and again, such as sending to a backend that is away, leaves young garbage: that is collected most often.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from typing import Any, Final

RARELY: Final = 20
"""Between the limits, each way of freeing memory may cost at most one part in so many of the time."""
OFTEN: Final = 4
"""The same above the hard limit, where there is little else to do."""
_YOUNG: Final = 1
"""The older of the garbage collector's two young generations; what survives it is looked at by full collections only."""
_NEVER: Final = -float("inf")

Clock = Callable[[], float]


class Periodic:
    """Do something, but not again before a time that is a multiple of what it cost."""

    def __init__(self, action: Callable[[], object], clock: Clock) -> None:
        self._action = action
        self._clock = clock
        self._ended = _NEVER
        self._cost = 0.0

    def run(self, times: int, least: float = 0.0) -> bool:
        """Do it if the last time is `least` seconds ago, and `times` as long as it took; tells whether it was done."""
        begun = self._clock()
        if begun - self._ended < max(least, times * self._cost):
            return False
        self._action()
        self._ended = self._clock()
        self._cost = self._ended - begun
        return True


class Relief:
    """Free memory, in each way not more often than it is worth."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._all = Periodic(gc.collect, clock)
        self._young = Periodic(lambda: gc.collect(_YOUNG), clock)
        self._trim: Periodic | None = None

    def open(self) -> None:
        """Look for the C library's means; where it has none, there is only the garbage collector."""
        try:
            trim: Any = ctypes.CDLL(None).malloc_trim
        except (AttributeError, OSError):  # not glibc
            return
        self._trim = Periodic(lambda: trim(0), self._clock)

    def give_back(self, times: int, collect_every: float) -> bool:
        """Free what is due, all garbage if that was done so many seconds ago; tells whether it did anything."""
        done = self._all.run(times, collect_every) or self._young.run(times)
        return (self._trim is not None and self._trim.run(times)) or done
