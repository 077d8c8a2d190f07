"""The rule by which events of receivers that cannot wait are dropped: the less memory is left, the worse they must be.

`pressure` is how much of the way from the soft to the hard limit is used up, 0 to 1. So large a share comes in:

    pressure           0       0.2     0.4     0.6
    error and worse    all     all     all ... none
    warning            all     all ... none    none
    notice, info       all ... none    none    none
    debug              none    none    none    none

and evenly fewer where there are dots. The rest is left for what is on its way: it is encoded, and sent again and again.
A share is taken evenly, not at random: of a third, every third event. The severity is what the source's normalizer makes of the
event, as it comes in before `normalize`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tapio_otel.component import Normalizer
from tapio_otel.event import Severity, UnifiedEvent

_STEPS: Final = ((Severity.ERROR, 0.6), (Severity.WARNING, 0.4), (Severity.INFO, 0.2))
"""The pressure from which on nothing of a severity, or a milder one, comes in: the worst first."""
FULL: Final = _STEPS[0][1]
"""The pressure from which on nothing comes in."""
_WIDTH: Final = 0.2
"""How much less the pressure must be for everything of that severity to come in."""


def share(severity: Severity, pressure: float) -> float:
    """Return which part of the events of a severity comes in, 0 to 1."""
    for least, none in _STEPS:
        if severity >= least:
            return min(max((none - pressure) / _WIDTH, 0.0), 1.0)
    return 0.0


class Sampler:
    """Choose which events come in. `normalizers` are those of `normalize`, by source."""

    def __init__(self, normalizers: Mapping[str, Normalizer]) -> None:
        self._normalizers = normalizers
        self._credit: dict[int, float] = {}

    def choose(self, events: list[UnifiedEvent], pressure: float) -> list[UnifiedEvent]:
        """Return the events that come in, in their order and unchanged."""
        if pressure >= FULL:
            return []
        chosen = []
        credit = self._credit
        for event, severity in zip(events, self._severities(events), strict=True):
            due = credit.get(severity, 0.0) + share(severity, pressure)
            if due >= 1.0:
                chosen.append(event)
                due -= 1.0
            credit[severity] = due
        return chosen

    def _severities(self, events: list[UnifiedEvent]) -> list[Any]:
        """Return how bad the events are, as `normalize` would tell."""
        sources = {event.source for event in events}
        normalizer = self._normalizers.get(sources.pop()) if len(sources) == 1 else None
        if normalizer is None:
            return [event.severity for event in events]
        copies = [event.copy() for event in events]
        try:
            normalizer(copies)
        except Exception:  # `normalize` will tell of it
            return [event.severity for event in events]
        return [copy.severity for copy in copies]
