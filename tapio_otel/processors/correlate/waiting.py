"""Events that wait for logs which arrive after them: held back for a while, in the order in which they came.

An event waits by the clock, because it waits for whoever reads slower. Where events are read faster than they happened, as in a
replay, it goes on as soon as time among events has passed its window: no later log can tell anything of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from tapio_otel.event import UnifiedEvent

MOST_HELD: Final = 10_000
"""Events held back at most; for a further one the oldest goes on before its time."""


class Waiting:
    """Hold events back for `wait` seconds, or until events are `window_ns` past them."""

    __slots__ = ("_held", "_latest", "_wait", "_window", "early")

    def __init__(self, wait: float, window_ns: int) -> None:
        self._wait, self._window = wait, window_ns
        self._held: deque[tuple[float, int, UnifiedEvent]] = deque()
        self._latest = 0
        self.early = 0
        """How many events went on before their time since this was last set to 0."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_from(self) -> int | None:
        """Return the serial of the batch that the oldest event came in; None where none waits."""
        return self._held[0][1] if self._held else None

    def saw(self, event: UnifiedEvent) -> None:
        """Let time among events go on: not beyond when one was observed, as its clock may be ahead."""
        self._latest = max(self._latest, min(event.timestamp, event.observed))

    def hold(self, events: Iterable[UnifiedEvent], serial: int, now: float) -> None:
        """Hold events of one batch back."""
        self._held.extend((now + self._wait, serial, event) for event in events)

    def let_go(self, now: float, every: bool = False) -> list[UnifiedEvent]:
        """Return the events whose time has come, all of them if `every`, in the order in which they came."""
        held, passed = self._held, self._latest - self._window
        due: list[UnifiedEvent] = []
        while held and (every or held[0][0] <= now or held[0][2].timestamp < passed or len(held) > MOST_HELD):
            until, _, event = held.popleft()
            self.early += not every and until > now and event.timestamp >= passed
            due.append(event)
        return due
