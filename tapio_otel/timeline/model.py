"""What a timeline is made of: entries, their impact, and the patterns that were seen in them. Times are nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tapio_otel.event import Severity, UnifiedEvent

SECOND: Final = 1_000_000_000

SEVERITY_WEIGHTS: Final = {
    Severity.DEBUG: 0.0,
    Severity.INFO: 0.05,
    Severity.NOTICE: 0.1,
    Severity.WARNING: 0.3,
    Severity.ERROR: 0.6,
    Severity.CRITICAL: 0.8,
    Severity.ALERT: 0.9,
    Severity.EMERGENCY: 1.0,
}


@dataclass(frozen=True, slots=True)
class ImpactScore:
    """Say how much an event mattered, each part from 0 to 1.

    `severity` is the event's rank; `breadth` 1 - 1/n for n things that it and its correlated events are about; `duration`
    d / (d + 60 s) for the time d until the thing was well again, or else until the last correlated event; `user_facing` 1
    where it or a correlated event is felt by users, else 0.
    """

    severity: float
    breadth: float
    duration: float
    user_facing: float

    @property
    def score(self) -> float:
        """Return severity x (1 + breadth) x (1 + duration) x (1 + user_facing) / 8: from 0 to 1, to three places."""
        return round(self.severity * (1 + self.breadth) * (1 + self.duration) * (1 + self.user_facing) / 8, 3)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Place an event: its number, its time after the first entry, what it is to the focus, and what belongs to it.

    `relation` is direct (about the focus or a part of it), toward (it failed to reach the focus), above (about what the focus
    belongs to), trace (of a trace that the focus takes part in) or finding.
    """

    event: UnifiedEvent
    index: int
    relative: int
    relation: str
    correlated: tuple[str, ...]
    impact: ImpactScore


@dataclass(frozen=True, slots=True)
class Pattern:
    """Be a course of events that has a name; `entries` are their indexes, `subject` what it is about."""

    kind: str
    subject: str
    first: int
    last: int
    entries: tuple[int, ...]
    description: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Hold what happened to an entity within a window, in the order of time. `left_out` entries were too many."""

    focus: str
    start: int
    end: int
    entries: tuple[TimelineEntry, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    left_out: int = 0
