"""How entries belong together, and how much each mattered."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tapio_otel.correlation.lineage import Key, keys_of, targets_of
from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.timeline.meaning import is_failure, is_felt, is_notable, is_recovery, name_of, subject_of
from tapio_otel.timeline.model import SECOND, SEVERITY_WEIGHTS, ImpactScore

NEAR: Final = 30 * SECOND
"""How far apart two events may be that belong together by their lineage."""
MOST_CORRELATED: Final = 20
_WIDE: Final = frozenset(("namespace", "node", "service", "owner"))
_HALF: Final = 60 * SECOND


@dataclass(slots=True)
class Marked:
    """Hold an event with what is asked of it more than once."""

    event: UnifiedEvent
    relation: str
    keys: tuple[Key, ...] = ()
    targets: tuple[Key, ...] = ()
    subject: Key = ()
    is_failure: bool = False
    is_recovery: bool = False
    is_felt: bool = False
    is_notable: bool = False
    correlated: dict[int, None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what the event is about, as people write it."""
        return name_of(self.subject, self.event.entity)

    @classmethod
    def of(cls, event: UnifiedEvent, relation: str) -> Marked:
        """Return an event with its meaning."""
        keys = tuple(key for key in keys_of(event) if key[0] not in _WIDE)
        flags = (is_failure(event), is_recovery(event), is_felt(event), is_notable(event))
        return cls(event, relation, keys, targets_of(event), subject_of(event), *flags)


def correlate(marked: Sequence[Marked]) -> None:
    """Note for each event which others belong to it: by a finding, by a trace, or by lineage within thirty seconds."""
    _by_finding(marked)
    _by_trace(marked)
    _by_lineage(marked)


def _join(marked: Sequence[Marked], one: int, other: int) -> None:
    if one != other:
        for mine, yours in ((one, other), (other, one)):
            if len(marked[mine].correlated) < MOST_CORRELATED:
                marked[mine].correlated[yours] = None


def _by_finding(marked: Sequence[Marked]) -> None:
    places = {one.event.id: index for index, one in enumerate(marked)}
    for index, one in enumerate(marked):
        if one.event.type == EventType.CORRELATION:
            members = [places[id] for id in one.event.get("members") or () if id in places][:MOST_CORRELATED]
            for place, member in enumerate(members):
                _join(marked, index, member)
                for other in members[:place]:
                    _join(marked, other, member)


def _by_trace(marked: Sequence[Marked]) -> None:
    last: dict[str, int] = {}
    for index, one in enumerate(marked):
        if one.event.trace_id:
            if one.event.trace_id in last:
                _join(marked, last[one.event.trace_id], index)
            last[one.event.trace_id] = index


def _by_lineage(marked: Sequence[Marked]) -> None:
    """Join notable events that differ in type or source and share a key, or of which one is what the other failed to reach."""
    recent: defaultdict[Key, deque[int]] = defaultdict(lambda: deque(maxlen=MOST_CORRELATED))
    for index, one in enumerate(marked):
        if not one.is_notable or one.event.type == EventType.CORRELATION:
            continue
        names = dict.fromkeys((*one.keys, *one.targets))
        for earlier in dict.fromkeys(place for key in names if key in recent for place in recent[key]):
            other = marked[earlier].event
            near = one.event.timestamp - other.timestamp <= NEAR
            if near and (other.type, other.source) != (one.event.type, one.event.source):
                _join(marked, earlier, index)
        for key in names:
            recent[key].append(index)


def impacts(marked: Sequence[Marked]) -> list[ImpactScore]:
    """Return how much each event mattered; to be called after `correlate`."""
    recovered: dict[Key, int] = {}
    found: list[ImpactScore] = []
    for one in reversed(marked):
        found.append(_impact(one, marked, recovered.get(one.subject)))
        if one.is_recovery:
            recovered[one.subject] = one.event.timestamp
    return found[::-1]


def _impact(one: Marked, marked: Sequence[Marked], recovered: int | None) -> ImpactScore:
    others = [marked[index] for index in one.correlated]
    subjects = len({one.subject, *(other.subject for other in others)})
    if one.event.type == EventType.CORRELATION:
        subjects = max(subjects, len(one.event.get("entities") or ()))
    now = one.event.timestamp
    until = max((other.event.timestamp for other in others), default=now)
    if one.is_failure and recovered is not None:
        until = recovered
    lasted = max(until - now, 0)
    felt = one.is_felt or any(other.is_felt for other in others)
    return ImpactScore(SEVERITY_WEIGHTS[one.event.severity], 1 - 1 / subjects, lasted / (lasted + _HALF), float(felt))
