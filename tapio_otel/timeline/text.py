"""A timeline for readers and for programs: as text, and as an object for JSON."""

from __future__ import annotations

from typing import Any

from tapio_otel.correlation.finding import rfc3339, spoken
from tapio_otel.correlation.template import duration
from tapio_otel.event_json import to_dict
from tapio_otel.timeline.model import Pattern, Timeline, TimelineEntry


def as_text(timeline: Timeline) -> str:
    """Return a timeline as lines: what it covers, its patterns, its entries."""
    head = f"{timeline.focus}: {len(timeline.entries)} events from {rfc3339(timeline.start)} to {rfc3339(timeline.end)}"
    lines = [head]
    if timeline.left_out:
        lines.append(f"{timeline.left_out} events more are left out; ask for a shorter time")
    if timeline.patterns:
        lines += ["", "Patterns"]
        lines += [f"  {one.kind.replace('_', ' ')}: {one.description} {_places(one)}" for one in timeline.patterns]
    if timeline.entries:
        lines += ["", "Events (number, time after the first, impact, severity, relation, source/type, entity, what)"]
        lines += [_line(one) for one in timeline.entries]
    return "\n".join(lines)


def _places(pattern: Pattern) -> str:
    shown = ", ".join(f"#{place}" for place in pattern.entries[:8])
    return f"({shown}, ...)" if len(pattern.entries) > 8 else f"({shown})"


def _line(entry: TimelineEntry) -> str:
    event = entry.event
    lines = (event.title or event.description).splitlines()
    what = "".join(one if one.isprintable() else " " for one in (lines[0] if lines else ""))[:160]
    relation = "" if entry.relation == "direct" else f" {entry.relation}"
    number, after = f"#{entry.index}", f"+{duration(entry.relative)}"
    return (
        f"{number:>6} {after:>10} {entry.impact.score:5.3f} {event.severity.keyword:<9}{relation} "
        f"{event.source}/{event.type} {spoken(event.entity)}: {what}"
    )


def as_dict(timeline: Timeline) -> dict[str, Any]:
    """Return a timeline as an object for JSON: times in RFC 3339, durations in seconds, events in the event JSON form.

    Raises `EventFormatError` for an event that JSON cannot hold.
    """
    return {
        "focus": timeline.focus,
        "start": rfc3339(timeline.start),
        "end": rfc3339(timeline.end),
        "left_out": timeline.left_out,
        "patterns": [_pattern(one) for one in timeline.patterns],
        "entries": [_entry(one) for one in timeline.entries],
    }


def _pattern(pattern: Pattern) -> dict[str, Any]:
    return {
        "kind": pattern.kind,
        "subject": pattern.subject,
        "first": rfc3339(pattern.first),
        "last": rfc3339(pattern.last),
        "entries": list(pattern.entries),
        "description": pattern.description,
    }


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    impact = entry.impact
    return {
        "index": entry.index,
        "relative": entry.relative / 1e9,
        "relation": entry.relation,
        "correlated": list(entry.correlated),
        "impact": {
            "score": impact.score,
            "severity": impact.severity,
            "breadth": round(impact.breadth, 3),
            "duration": round(impact.duration, 3),
            "user_facing": impact.user_facing,
        },
        "event": to_dict(entry.event),
    }
