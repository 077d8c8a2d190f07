"""Whether a reading process that sends nothing hangs, or has long to do.

A process that waits for the journal gives a sign of life at intervals. One that is silent for three of them has either been
stopped or is blocked for ever (then it uses no processor), or reads something large or damaged (then it does, and is given far
longer). Silence is counted in looks and not by the clock, so that neither looks hung after the agent or the whole machine stood
still.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at a silent process."""
IDLE_PERIODS: Final = 3
"""Signs of life that may be missing from a process that uses no processor."""
BUSY_SECONDS: Final = 600.0
"""Seconds for which a process may be silent at all: some damaged files keep libsystemd going round for ever."""


class Patience:
    """Follow the silence of a process; `period` are the seconds between its signs of life, `ran` tells what it has used."""

    def __init__(self, period: float, ran: Callable[[], float]) -> None:
        self._ran = ran
        self._used = -1.0
        self._silent = self._idle = 0
        self.interval = min(LOOK_INTERVAL, period)
        """Seconds between two looks."""
        self._most_idle = IDLE_PERIODS * period / self.interval
        self._most_silent = max(BUSY_SECONDS / self.interval, self._most_idle)

    def heard(self) -> None:
        """Note that something came."""
        self._silent = self._idle = 0

    def look(self) -> bool:
        """Note that nothing came since the last look; tells whether the process is at work all the same."""
        used, self._used = self._used, self._ran()
        self._silent += 1
        self._idle = 0 if self._used > used else self._idle + 1
        return self._idle == 0

    @property
    def is_over(self) -> bool:
        """Tell whether the process is to be ended."""
        return self._idle >= self._most_idle or self._silent >= self._most_silent
