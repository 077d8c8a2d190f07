"""The outbox: transitions in the order in which they came, each held back until what its event lacks is known.

An event waits for its unit's cgroup and file, its job's type or its job's result, for a while only; those behind it wait too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tapio_otel.receivers.systemd.transition import Transition

PATIENCE: Final = 5.0
"""Seconds an event waits for answers, which systemd gives at once unless it is hung."""
JOB_END_PATIENCE: Final = 0.5
"""Seconds an event waits for nothing but the result of its job, which comes right after it."""
LIMIT: Final = 10_000
"""Transitions held at most; beyond it they go out as they are."""


@dataclass(slots=True)
class Pending:
    """Hold a transition and the names of what it waits for: `unit:NAME`, `cause:…`, `job:ID`, `end:ID`.

    `soon` is when it goes if nothing but the end of its job is to come, `until` when it goes in any case.
    """

    transition: Transition
    soon: float
    until: float
    waits: set[str]

    @property
    def deadline(self) -> float:
        """Return when it goes whatever it waits for."""
        return self.soon if all(name.startswith("end:") for name in self.waits) else self.until


class Outbox:
    """Keep transitions until they can go; strictly first in, first out."""

    def __init__(self) -> None:
        self._pending: deque[Pending] = deque()
        self._waiting: dict[str, list[Pending]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, transition: Transition, waits: Iterable[str], now: float) -> None:
        """Add a transition."""
        pending = Pending(transition, now + JOB_END_PATIENCE, now + PATIENCE, set(waits))
        self._pending.append(pending)
        for name in pending.waits:
            self._waiting.setdefault(name, []).append(pending)

    def waits_for(self, name: str) -> list[Transition]:
        """Return the transitions that wait for something."""
        return [pending.transition for pending in self._waiting.get(name, [])]

    def settle(self, name: str) -> bool:
        """Note that something is known, or never will be; returns whether anything waited for it."""
        found = self._waiting.pop(name, [])
        for pending in found:
            pending.waits.discard(name)
        return bool(found)

    def take(self, now: float) -> list[Transition]:
        """Return and remove what can go, in order."""
        ready: list[Transition] = []
        pending = self._pending
        while pending and (not pending[0].waits or pending[0].deadline <= now or len(pending) > LIMIT):
            first = pending.popleft()
            for name in first.waits:
                self._forget(name, first)
            ready.append(first.transition)
        return ready

    def take_all(self) -> list[Transition]:
        """Return and remove everything: nothing is going to be answered any more."""
        ready = [pending.transition for pending in self._pending]
        self._pending.clear()
        self._waiting.clear()
        return ready

    def postpone(self, seconds: float) -> None:
        """Let everything wait longer, as nothing was read for some time and no answer could come."""
        for pending in self._pending:
            pending.soon += seconds
            pending.until += seconds

    def next_deadline(self) -> float | None:
        """Return when the first transition goes whatever it waits for."""
        return self._pending[0].deadline if self._pending else None

    def _forget(self, name: str, gone: Pending) -> None:
        left = [pending for pending in self._waiting.get(name, []) if pending is not gone]
        if left:
            self._waiting[name] = left
        else:
            self._waiting.pop(name, None)
