"""Repetitions held back: an event that occurs again and again is told once an interval, with the count reached.

Kubernetes counts repetitions in the event itself, so that the last of them says it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from tapio_otel.entities.bounded import Bounded

MOST_HELD: Final = 256
"""Events held back at most: they are part of every checkpoint."""
_REMEMBERED: Final = 16_384

Trimmed = dict[str, Any]
"""An event as `events.trim` makes it."""


class Throttle:
    """Decide which repetitions are told; `interval` in seconds, `clock` monotonic.

    `held` are those of an earlier run: they are due at once.
    """

    def __init__(self, interval: float, clock: Callable[[], float], held: Iterable[Trimmed] = ()) -> None:
        self._interval, self._clock = interval, clock
        self._told: Bounded[str, float] = Bounded(_REMEMBERED)
        self._held: dict[str, tuple[float, Trimmed]] = {one["uid"]: (clock(), one) for one in held}
        self.replaced = 0
        """Repetitions so far that a later one was told instead of."""

    @property
    def held(self) -> tuple[Trimmed, ...]:
        """Return what is held back."""
        return tuple([one for _, one in self._held.values()])

    def take(self, event: Trimmed, repeats: bool) -> list[Trimmed]:
        """Return what is to be told now that this event has come: itself, nothing, or one that waited longest."""
        uid, now = event["uid"], self._clock()
        waiting = self._held.get(uid)
        if waiting is not None:
            self._held[uid] = (waiting[0], event)
            self.replaced += 1
            return []
        due = self._told.get(uid, now - self._interval) + self._interval
        if not repeats or due <= now:
            self._told.keep(uid, now)
            return [event]
        self._held[uid] = (due, event)
        if len(self._held) <= MOST_HELD:
            return []
        return [self._release(min(self._held, key=lambda one: self._held[one][0]), now)]

    def due(self) -> list[Trimmed]:
        """Return what has waited long enough."""
        now = self._clock()
        return [self._release(uid, now) for uid, (due, _) in list(self._held.items()) if due <= now]

    def wait(self) -> float | None:
        """Return the seconds until something is due; None while nothing is held."""
        return max(min(due for due, _ in self._held.values()) - self._clock(), 0.0) if self._held else None

    def _release(self, uid: str, now: float) -> Trimmed:
        self._told.keep(uid, now)
        return self._held.pop(uid)[1]
