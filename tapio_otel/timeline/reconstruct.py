"""The reconstructor: what happened to one entity within a window, of all that was told.

What belongs to an entity is found by lineage: events about it and its parts; events of what could not reach it; warnings and
changes of what it belongs to (owner, service, node); notable events of traces that it takes part in; findings about any of
these. Further names of the entity (a pod's UID and address, a unit's processes) are learnt from the events within the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tapio_otel.correlation.lineage import Key, keys_of, targets_of
from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.timeline.focus import Focus
from tapio_otel.timeline.impact import Marked, correlate, impacts
from tapio_otel.timeline.meaning import is_consequential, is_notable
from tapio_otel.timeline.model import Timeline, TimelineEntry
from tapio_otel.timeline.patterns import find_patterns

MOST_ENTRIES: Final = 10_000
DIRECT, TOWARD, ABOVE, TRACE, FINDING = "direct", "toward", "above", "trace", "finding"
_OWN_RANKS: Final = frozenset(("namespace", "node", "service", "owner"))
_EVER: Final = 1 << 70


class TimelineReconstructor:
    """Reconstruct timelines. `window_ns` is used where no window is named: that long before the last event."""

    def __init__(self, window_ns: int = 0, max_entries: int = MOST_ENTRIES) -> None:
        self._window, self._most = window_ns, max_entries

    def reconstruct(
        self,
        events: Iterable[UnifiedEvent],
        focus: Focus | EntityReference | str,
        start: int | None = None,
        end: int | None = None,
    ) -> Timeline:
        """Return what happened to `focus` from `start` to `end`, both in nanoseconds and included.

        Events may come in any order; repeats of one id count once, of a finding the last revision. Of too many entries the
        plain log lines go first, the oldest before others. Raises `FocusError`.
        """
        aim = as_focus(focus)
        known = _once(events)
        last = max((one.timestamp for one in known), default=0)
        until = last if end is None else end
        since = start if start is not None else (until - self._window if self._window else -_EVER)
        within = [one for one in known if since <= one.timestamp <= until]
        related = _Relating(aim, within).related()
        return self._timeline(aim, since, until, related)

    def _timeline(self, focus: Focus, since: int, until: int, related: list[tuple[UnifiedEvent, str]]) -> Timeline:
        kept = self._fitting(related)
        marked = [Marked.of(event, relation) for event, relation in kept]
        correlate(marked)
        scores = impacts(marked)
        origin = marked[0].event.timestamp if marked else 0
        entries = tuple(
            TimelineEntry(
                one.event,
                index,
                one.event.timestamp - origin,
                one.relation,
                tuple(marked[other].event.id for other in sorted(one.correlated)),
                scores[index],
            )
            for index, one in enumerate(marked)
        )
        start = since if since > -_EVER else origin
        return Timeline(focus.text, start, until, entries, tuple(find_patterns(marked)), len(related) - len(kept))

    def _fitting(self, related: list[tuple[UnifiedEvent, str]]) -> list[tuple[UnifiedEvent, str]]:
        if len(related) <= self._most:
            return related
        ranked = sorted(related, key=lambda one: (is_notable(one[0]), one[0].timestamp), reverse=True)
        return sorted(ranked[: self._most], key=_in_time)


def as_focus(focus: Focus | EntityReference | str) -> Focus:
    """Return the focus that a text or an entity names; raises `FocusError`."""
    if isinstance(focus, str):
        return Focus.parse(focus)
    return Focus.of(focus) if isinstance(focus, EntityReference) else focus


def _once(events: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
    found: dict[str, UnifiedEvent] = {}
    for event in events:
        before = found.get(event.id)
        if before is None or (event.type == EventType.CORRELATION and _revision(event) >= _revision(before)):
            found[event.id] = event
    return [one for one in found.values() if one.type != EventType.CORRELATION or not one.get("superseded_by")]


def _revision(event: UnifiedEvent) -> int:
    revision = event.get("revision")
    return revision if isinstance(revision, int) else 0


def _in_time(one: tuple[UnifiedEvent, str]) -> tuple[int, bool, str]:
    return (one[0].timestamp, one[0].type != EventType.CORRELATION, one[0].id)


class _Relating:
    """Tell what each event is to the focus."""

    def __init__(self, focus: Focus, events: Sequence[UnifiedEvent]) -> None:
        self._focus = focus
        self._events = [(one, keys_of(one)) for one in events if one.type != EventType.CORRELATION]
        self._findings = [one for one in events if one.type == EventType.CORRELATION]
        self._names: set[Key] = set(focus.keys)
        self._above: set[Key] = set()
        self._learn()
        self._traces = {one.trace_id for one, keys in self._events if one.trace_id and self._is_direct(keys)}

    def _learn(self) -> None:
        """Learn further names from events that bear the focus's own, and no more from those: a name of a name is a guess."""
        for _, keys in self._events:
            if any(map(self._focus.names, keys)):
                self._names.update(key for key in keys if self._focus.names(key))
                self._names.update(self._focus.aliases(keys))
                self._above.update(self._focus.ancestors(keys))

    def _is_direct(self, keys: Sequence[Key]) -> bool:
        return not self._names.isdisjoint(keys)

    def related(self) -> list[tuple[UnifiedEvent, str]]:
        found = [(event, relation) for event, keys in self._events if (relation := self._relation(event, keys))]
        ids = {event.id for event, relation in found if relation in {DIRECT, TOWARD}}
        for finding in self._findings:
            if not ids.isdisjoint(finding.get("members") or ()) or self._is_direct(keys_of(finding)):
                found.append((finding, FINDING))
        return sorted(found, key=_in_time)

    def _relation(self, event: UnifiedEvent, keys: Sequence[Key]) -> str:
        if self._is_direct(keys):
            return DIRECT
        targets = targets_of(event)
        if targets and not self._names.isdisjoint(targets):
            return TOWARD
        if self._above and self._is_above(event, keys):
            return ABOVE
        return TRACE if event.trace_id in self._traces and is_notable(event) else ""

    def _is_above(self, event: UnifiedEvent, keys: Sequence[Key]) -> bool:
        """Tell whether an event is about the owner, service or node itself, and may have to do with what is part of it."""
        if not is_consequential(event):
            return False
        own = next((key for key in keys if key[0] != "namespace"), None)
        return own is not None and own[0] in _OWN_RANKS and own in self._above
