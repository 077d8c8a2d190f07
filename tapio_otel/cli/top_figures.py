"""The figures of `tapio top`: read from an agent or a store, and what changed from one look to the next."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tapio_otel.cli.told_events import RunningAgent, StoreFile
from tapio_otel.event import UnifiedEvent

FINDINGS: Final = 5
WORST: Final = 10
LOOKED_AT: Final = 500
MINUTES: Final = 15
_KINDS: Final = ("receiver", "processor", "exporter")
_MINUTE: Final = 60 * 1_000_000_000

Key = tuple[str, str]
"""Kind and id of a component."""


@dataclass(frozen=True, slots=True)
class Source:
    """Say how a source is, and how much came from it."""

    id: str
    state: str
    reason: str
    events: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold one look at an agent or a store."""

    at: float
    title: str
    sources: tuple[Source, ...] = ()
    components: Mapping[Key, Mapping[str, float]] = field(default_factory=dict)
    """What each component has counted, by word: accepted, sent, dropped, queue_size."""
    problems: tuple[tuple[str, str], ...] = ()
    stored: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[UnifiedEvent, ...] = ()
    worst: tuple[UnifiedEvent, ...] = ()

    def rate(self, before: Reading | None, key: Key, word: str) -> float | None:
        """Return how much a counter grew in a second since an earlier look; None where that is not known."""
        if before is None or word not in self.components.get(key, {}) or self.at <= before.at:
            return None
        grown = self.components[key][word] - before.components.get(key, {}).get(word, 0)
        return max(grown, 0) / (self.at - before.at)

    def source_rate(self, before: Reading | None, id: str) -> float | None:
        """Return how many events came from a source in a second since an earlier look."""
        if before is None or self.at <= before.at:
            return None
        now, then = ({one.id: one.events for one in reading.sources}.get(id, 0) for reading in (self, before))
        return max(now - then, 0) / (self.at - before.at)


def agent_reading(agent: RunningAgent) -> Reading:
    """Look at an agent; raises `ReadError`."""
    health, metrics = agent.ask("health"), agent.ask("metrics")["metrics"]
    sources = agent.ask("sources")["sources"]
    said = f"tapio {health['version']} on {health['node']}, up {spoken(health['uptime_seconds'])}"
    recent = agent.events({"severity": "warning", "since": f"-{MINUTES}m"}, LOOKED_AT)
    return Reading(
        time.monotonic(),
        said,
        tuple(Source(one["id"], one["state"], one["reason"] or "", one["events"]) for one in sources),
        components(metrics),
        tuple((one["component"], one["problem"]) for one in health["problems"]),
        health["store"],
        tuple(agent.findings(FINDINGS)),
        worst(recent),
    )


def store_reading(file: StoreFile) -> Reading:
    """Look at a store; raises `ReadError`. Sources are counted over the last minutes that it has."""
    recent = file.events({}, 10_000)
    newest = recent[-1].timestamp if recent else 0
    counted: dict[str, int] = {}
    for event in recent:
        if event.timestamp >= newest - MINUTES * _MINUTE:
            counted[event.source] = counted.get(event.source, 0) + 1
    return Reading(
        time.monotonic(),
        f"{file.store.path}, the last {MINUTES} minutes of it",
        tuple(Source(source, "stored", "", count) for source, count in sorted(counted.items())),
        findings=tuple(file.findings(FINDINGS)),
        worst=worst([one for one in recent if one.timestamp >= newest - MINUTES * _MINUTE]),
    )


def components(metrics: list[Mapping[str, Any]]) -> dict[Key, dict[str, float]]:
    """Return what the components have counted, reasons added up."""
    found: dict[Key, dict[str, float]] = {}
    for one in metrics:
        prefix, _, rest = one["name"].partition("_")
        kind, _, word = rest.partition("_")
        component = one["attributes"].get("component")
        if prefix == "otelcol" and kind in _KINDS and component:
            word = word.removesuffix("_log_records").removeprefix("send_")
            counted = found.setdefault((kind, component), {})
            counted[word] = counted.get(word, 0) + one["value"]
    return dict(sorted(found.items(), key=lambda item: (_KINDS.index(item[0][0]), item[0][1])))


def worst(events: list[UnifiedEvent]) -> tuple[UnifiedEvent, ...]:
    """Return the worst events, of equal ones the newest first; findings are told elsewhere."""
    told = [one for one in events if one.type != "correlation"]
    return tuple(sorted(told, key=lambda one: (-one.severity, -one.timestamp))[:WORST])


def spoken(seconds: float) -> str:
    """Return a time span in its two largest units."""
    whole = int(seconds)
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // below:02d}{smaller}"
    return f"{whole}s"
