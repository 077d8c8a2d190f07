"""A timeline for readers and for programs: as text, and as an object for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from tapio_otel.correlation.finding import rfc3339, spoken
from tapio_otel.correlation.template import duration
from tapio_otel.event_json import to_dict
from tapio_otel.exporting.event_text import inert
from tapio_otel.timeline.model import Pattern, Timeline, TimelineEntry

MOST_ABOVE: Final = 3
"""Entries in a row about what the focus belongs to that are shown each; of more the rest is counted. JSON has all."""


def as_text(timeline: Timeline) -> str:
    """Return a timeline as lines: what it covers, its patterns, its entries. Nothing in it acts on a terminal."""
    head = f"{timeline.focus}: {len(timeline.entries)} events from {rfc3339(timeline.start)} to {rfc3339(timeline.end)}"
    lines = [head]
    if timeline.left_out:
        lines.append(f"{timeline.left_out} events more are left out; ask for a shorter time")
    if timeline.patterns:
        lines += ["", "Patterns"]
        lines += [f"  {one.kind.replace('_', ' ')}: {one.description} {_places(one)}" for one in timeline.patterns]
    if timeline.entries:
        lines += ["", "Events (number, time after the first, impact, severity, relation, source/type, entity, what)"]
        lines += [line for run in _runs(timeline.entries) for line in _run(run)]
    return "\n".join(map(inert, lines))


def _places(pattern: Pattern) -> str:
    shown = ", ".join(f"#{place}" for place in pattern.entries[:8])
    return f"({shown}, ...)" if len(pattern.entries) > 8 else f"({shown})"


def _runs(entries: Iterable[TimelineEntry]) -> Iterator[list[TimelineEntry]]:
    """Split entries where what is told about changes between the focus and what it belongs to."""
    for _, run in groupby(entries, key=lambda one: one.relation == "above"):
        yield list(run)


def _run(run: list[TimelineEntry]) -> list[str]:
    """Return the lines of a run: each about the focus, but of many above it only those that mattered most."""
    if run[0].relation != "above" or len(run) <= MOST_ABOVE:
        return [_line(one) for one in run]
    shown = sorted(sorted(run, key=lambda one: -one.impact.score)[:MOST_ABOVE], key=lambda one: one.index)
    kept = {one.index for one in shown}
    severities = Counter(one.event.severity for one in run if one.index not in kept)
    counted = ", ".join(f"{count} {severity.keyword}" for severity, count in sorted(severities.items(), reverse=True))
    return [
        *map(_line, shown),
        f"{'':>6} and {len(run) - len(shown)} more above from #{run[0].index} to #{run[-1].index}: {counted}",
    ]


def _line(entry: TimelineEntry) -> str:
    event = entry.event
    lines = (event.title or event.description).splitlines()
    what = lines[0][:160] if lines else ""
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
