"""One incident as the page reads it: a timeline's events as lanes and marks, with the findings among or about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tapio_otel.correlation.finding import rfc3339
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.event_json import to_dict
from tapio_otel.timeline.model import Timeline
from tapio_otel.version import VERSION

_TITLE_LENGTH: Final = 200
_MARGIN: Final = 1_000_000_000
_MEMBERS_BESIDE: Final = 100
"""Events of a finding that is not about the focus: its root cause, and what comes next."""


def incident_of(
    timeline: Timeline,
    findings: Iterable[UnifiedEvent] = (),
    events: Iterable[UnifiedEvent] = (),
    *,
    around: Iterable[UnifiedEvent] = (),
    title: str = "",
    trace_url: str | None = None,
) -> dict[str, Any]:
    """Return what `page_of` shows: a timeline, findings (those of the timeline, and others given), and their events.

    `events` are looked through for what findings refer to and the timeline lacks; `around` are shown whatever refers to them.
    `trace_url` is the address of a trace in some backend, with `{trace_id}` in it.
    """
    own = [entry.event for entry in timeline.entries]
    told, about = _told(own, findings), {event.id for event in own}
    members = {one.id: members_of(one)[: None if one.id in about else _MEMBERS_BESIDE] for one in told}
    wanted = {id for ids in members.values() for id in ids}
    beside = (event for event in events if event.id in wanted)
    known = {event.id: event for event in (*around, *beside, *own) if event.type != EventType.CORRELATION}
    shown = sorted(known.values(), key=lambda one: (one.timestamp, one.id))
    nodes = {one.name for event in shown for one in event.entity.lineage() if one.type == EntityType.NODE}
    return {
        "title": title or f"What happened to {timeline.focus}",
        "opened": next((one.id for one in told if one.id in about), ""),
        "timeline": _timeline(timeline, shown, told),
        "findings": [_finding(one, members[one.id], known) for one in told],
        "events": {event.id: to_dict(event) for event in shown},
        "settings": {"trace_url": trace_url, "node": nodes.pop() if len(nodes) == 1 else "", "version": VERSION},
    }


def path_of(entity: EntityReference) -> list[str]:
    """Return an entity and its parents as names for people, the outermost first: `node/n1`, `pod/prod/web-0`."""
    return [
        f"{one.type}/{one.namespace}/{one.name}" if one.namespace else f"{one.type}/{one.name}"
        for one in reversed(entity.lineage())
    ]


def _told(entries: Iterable[UnifiedEvent], findings: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
    """Return the last revision of each finding that no better one supersedes, the newest first."""
    last: dict[str, UnifiedEvent] = {}
    for event in (*entries, *findings):
        if event.type == EventType.CORRELATION and _revision(event) >= (_revision(last[event.id]) if event.id in last else -1):
            last[event.id] = event
    told = (one for one in last.values() if not one.get("superseded_by"))
    return sorted(told, key=lambda one: (-one.timestamp, one.id))


def _revision(finding: UnifiedEvent) -> int:
    revision = finding.get("revision")
    return revision if isinstance(revision, int) else 0


def members_of(finding: UnifiedEvent) -> list[str]:
    """Return the ids of the events that a finding is about: its root cause, its impacts, and all who attest them."""
    found: list[str] = []
    for name in ("root_cause", "impacts", "members"):
        value = finding.get(name)
        found.extend(value if isinstance(value, list) else [value])
    return [id for id in dict.fromkeys(found) if isinstance(id, str)]


def _finding(finding: UnifiedEvent, members: Sequence[str], known: Mapping[str, UnifiedEvent]) -> dict[str, Any]:
    return {**to_dict(finding), "events": {id: to_dict(known[id]) for id in members if id in known}}


def _timeline(timeline: Timeline, events: list[UnifiedEvent], findings: list[UnifiedEvent]) -> dict[str, Any]:
    """Return what `/api/v1/timeline` answers, for these events."""
    lanes: dict[tuple[str, ...], int] = {}
    marks = [_mark(event, lanes.setdefault(tuple(path_of(event.entity)), len(lanes))) for event in events]
    entities = {tuple(path_of(event.entity)): event.entity for event in events}
    start = min([timeline.start, *(event.timestamp - _MARGIN for event in events)])
    end = max([timeline.end, *(event.timestamp + _MARGIN for event in events)])
    return {
        "since": rfc3339(start),
        "until": rfc3339(end),
        "total": len(marks),
        "lanes": [_lane(path, entities[path]) for path in lanes],
        "marks": marks,
        "density": [],
        "links": [link for finding in findings for link in _links(finding)],
    }


def _mark(event: UnifiedEvent, lane: int) -> list[Any]:
    title = (event.title or event.description)[:_TITLE_LENGTH]
    return [lane, event.timestamp / 1e6, int(event.severity), event.source, event.type, event.id, title]


def _lane(path: tuple[str, ...], entity: EntityReference) -> dict[str, Any]:
    return {"path": list(path), "type": entity.type, "name": entity.name, "namespace": entity.namespace}


def _links(finding: UnifiedEvent) -> list[list[str]]:
    root, impacts = finding.get("root_cause"), finding.get("impacts")
    return [[root, id, finding.id] for id in impacts] if isinstance(root, str) and isinstance(impacts, list) else []
