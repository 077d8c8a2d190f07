"""Timelines: what happened to one entity, from all sources, in the order of time."""

from __future__ import annotations

from tapio_otel.timeline.focus import Focus, FocusError
from tapio_otel.timeline.index import EventIndex
from tapio_otel.timeline.model import ImpactScore, Pattern, Timeline, TimelineEntry
from tapio_otel.timeline.reconstruct import TimelineReconstructor

__all__ = [
    "EventIndex",
    "Focus",
    "FocusError",
    "ImpactScore",
    "Pattern",
    "Timeline",
    "TimelineEntry",
    "TimelineReconstructor",
]
