"""Events that wait for logs which arrive after them: held back for a while, in the order in which they came.

An event waits by the clock, because it waits for whoever reads slower. Where events are read faster than they happened, as in a
replay, it goes on as soon as time among events has passed its window: no later log can tell anything of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from tapio_otel.event import UnifiedEvent

MOST_HELD: Final = 10_000
"""Events held back at most; for a further one the oldest goes on before its time."""


class Waiting:
    """Hold events back for `wait` seconds, or until events are `limit_ns` past them."""

    __slots__ = ("_by_time", "_held", "_latest", "_limit", "_serial", "_wait", "early")

    def __init__(self, wait: float, limit_ns: int) -> None:
        self._wait, self._limit = wait, limit_ns
        self._held: deque[tuple[float, int, int, UnifiedEvent]] = deque()
        self._by_time: list[tuple[int, int]] = []
        """When they happened, as a heap, each with its place in the order of arrival; also of some that went already."""
        self._serial = self._latest = 0
        self.early = 0
        """How many events went on before their time since this was last set to 0."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_from(self) -> int | None:
        """Return the serial of the batch that the oldest event came in; None where none waits."""
        return self._held[0][1] if self._held else None

    def saw(self, events: Iterable[UnifiedEvent]) -> None:
        """Let time among events go on: not beyond when one was observed, as its clock may be ahead."""
        self._latest = max([self._latest, *(min(event.timestamp, event.observed) for event in events)])

    def hold(self, events: Iterable[UnifiedEvent], serial: int, now: float) -> None:
        """Hold events of one batch back."""
        for event in events:
            self._serial += 1
            self._held.append((now + self._wait, serial, self._serial, event))
            heappush(self._by_time, (event.timestamp, self._serial))

    def let_go(self, now: float, every: bool = False, now_ns: int = 0) -> list[UnifiedEvent]:
        """Return the events whose time has come, all of them if `every`, in the order in which they came.

        `now_ns` is the time of events, where more is known of it than events tell.
        """
        held, until = self._held, self._passed(max(self._latest, now_ns) - self._limit)
        due: list[UnifiedEvent] = []
        while held and (every or held[0][0] <= now or held[0][2] <= until or len(held) > MOST_HELD):
            over, _, place, event = held.popleft()
            self.early += not every and over > now and place > until
            due.append(event)
        if len(self._by_time) > 2 * len(held) + 64:
            self._by_time = [(event.timestamp, place) for _, _, place, event in held]
            heapify(self._by_time)
        return due

    def _passed(self, moment_ns: int) -> int:
        """Return the place of the last event that happened before a moment: nothing before it waits any longer."""
        last = 0
        while self._by_time and self._by_time[0][0] < moment_ns:
            last = max(last, heappop(self._by_time)[1])
        return last
