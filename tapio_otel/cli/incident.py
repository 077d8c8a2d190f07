"""What `tapio timeline` tells about: the events of an entity, from a store or from recorded events, and what was found beside.

A timeline has what belongs to one entity. For the page as a file there is more, as on the page itself: the findings of the same
time, with their events, and what went wrong elsewhere meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tapio_otel.config.types import parse_duration
from tapio_otel.event import EventType, Severity, UnifiedEvent

if TYPE_CHECKING:
    from tapio_otel.event_store import EventStore
    from tapio_otel.timeline.focus import Focus
    from tapio_otel.timeline.model import Timeline

_SECOND: Final = 1_000_000_000
MOST_FINDINGS: Final = 100
"""Findings about something else that a file has."""
MOST_AROUND: Final = 1_000
"""Warnings and worse about something else that a file has, the newest."""
MOST_MEMBERS: Final = 10_000
"""Events that findings name."""


class WhenError(ValueError):
    """Report a time that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hold the times that were asked for, as they were written: `since` before `until`, `until` before the last event."""

    since: str | None
    until: str | None

    def times(self, last: int) -> tuple[int | None, int]:
        """Return both in nanoseconds, the first one None where none was asked for; raises `WhenError`."""
        end = _moment(self.until, last, "--until")
        return (None if self.since is None else _moment(self.since, end, "--since")), end


@dataclass(frozen=True, slots=True)
class Told:
    """Hold a timeline; the findings of the same time; the events that findings name; and what went wrong elsewhere."""

    timeline: Timeline
    findings: Sequence[UnifiedEvent] = ()
    events: Sequence[UnifiedEvent] = ()
    around: Sequence[UnifiedEvent] = ()


def of_store(path: Path, focus: Focus, window: Window, *, correlate: bool, beside: bool) -> Told:
    """Tell what a store has; with findings about it concluded where the store has none at all.

    `beside` asks for more than the timeline. Raises `EventStoreError`, `WhenError`.
    """
    from tapio_otel.event_store import EventQuery, EventStore
    from tapio_otel.timeline.reconstruct import TimelineReconstructor

    with EventStore(path) as store:
        held = store.statistics()
        start, end = window.times(held.newest_ns)
        events = store.related(focus, start or 0, end)
        if correlate and not held.findings:
            events += _concluded(events)
        timeline = TimelineReconstructor().reconstruct(events, focus, start, end)
        if not beside:
            return Told(timeline)
        findings = store.findings(timeline.start, timeline.end, MOST_FINDINGS)
        told = EventQuery(timeline.start, max(timeline.start, timeline.end), severity=Severity.WARNING, limit=MOST_AROUND)
        around = [one.event for one in store.events(told).items]
        return Told(timeline, findings, _members(store, timeline, findings), around)


def of_files(files: Sequence[str], focus: Focus, window: Window, *, correlate: bool, beside: bool) -> Told:
    """Tell what files of events have, with findings concluded unless findings were recorded with them.

    Raises `StoredEventError`, `WhenError`.
    """
    from tapio_otel.timeline.reconstruct import TimelineReconstructor
    from tapio_otel.timeline.stored import read_events

    events = [event for file in files for event in read_events(file)]
    if correlate and not any(event.type == EventType.CORRELATION for event in events):
        events += _concluded(events)
    start, end = window.times(max((one.timestamp for one in events), default=0))
    timeline = TimelineReconstructor().reconstruct(events, focus, start, end)
    if not beside:
        return Told(timeline)
    within = [one for one in events if timeline.start <= one.timestamp <= timeline.end]
    findings = [one for one in within if one.type == EventType.CORRELATION]
    bad = (one for one in within if one.type != EventType.CORRELATION and one.severity >= Severity.WARNING)
    return Told(
        timeline,
        nlargest(MOST_FINDINGS, findings, key=_when),
        events,
        nlargest(MOST_AROUND, bad, key=_when),
    )


def _when(event: UnifiedEvent) -> tuple[int, str]:
    return (event.timestamp, event.id)


def _members(store: EventStore, timeline: Timeline, findings: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
    from tapio_otel.ui.incident import members_of

    own = [entry.event for entry in timeline.entries if entry.event.type == EventType.CORRELATION]
    wanted = dict.fromkeys(id for one in (*own, *findings) for id in members_of(one))
    return list(store.events_by_id(list(wanted)[:MOST_MEMBERS]).values())


def _concluded(events: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
    from tapio_otel.correlation.engine import Engine
    from tapio_otel.correlation.examples import last_revisions, replay
    from tapio_otel.correlation.library import load_rules

    engine = Engine(load_rules(("builtin",)))
    return last_revisions(replay(engine, sorted(events, key=_when)))


def _moment(when: str | None, before: int, option: str) -> int:
    """Return the time that is meant, in nanoseconds: so long before another, or as written."""
    if when is None:
        return before
    try:
        return before - round(parse_duration(when) * _SECOND)
    except ValueError:
        pass
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise WhenError(f"{option} {when!r}: write a duration such as 1h, or a time such as 2026-01-31T12:00:00Z")
    return int(moment.timestamp()) * _SECOND + moment.microsecond * 1000
