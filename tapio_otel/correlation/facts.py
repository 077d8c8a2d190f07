"""Facts: what happened once, whoever told it.

The kernel's OOM event, the journal's line about it, the unit's result and the pod's status are four events and one fact. Events
are given in the order of (timestamp, id); the first to tell a fact is its canonical event, the later ones are its witnesses.
Two events tell one fact when they are of one class, share a key of one of the class's ranks, lie within its window, and nothing
says that they are about two occurrences (another pid, another container, another run).

State is bounded: a fact takes witnesses for its class's window, and is then let go by this module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tapio_otel.correlation.classes import CLASSES, FactClass
from tapio_otel.correlation.lineage import Key
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import Severity, Source, UnifiedEvent

_CANDIDATES: Final = 8
"""How many facts of one class and key an event is compared with, the latest ones: in a storm the time must not grow with it."""
_VAGUE: Final = frozenset((EntityType.NODE, EntityType.PROCESS))
_BY_KEY: Final = frozenset(("container", "invocation", "device", "interface"))
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Witness:
    """Hold one event with its keys; `told_by` are the open findings that have it among their members."""

    __slots__ = ("event", "keys", "told_by")

    def __init__(self, event: UnifiedEvent, keys: tuple[Key, ...]) -> None:
        self.event = event
        self.keys = keys
        self.told_by: tuple[Any, ...] = ()


class Fact:
    """Be one occurrence of a class, with all events that witness it, the canonical one first."""

    __slots__ = ("class_name", "groups", "keys", "marks", "sources", "targets", "timestamp", "witnesses")

    def __init__(self, class_name: str, witness: Witness, marks: Mapping[str, Any], targets: tuple[Key, ...]) -> None:
        self.class_name = class_name
        self.witnesses: tuple[Witness, ...] = (witness,)
        self.timestamp = witness.event.timestamp
        """When it happened: the canonical event's timestamp, in nanoseconds."""
        self.keys = witness.keys
        self.targets = targets
        self.marks = marks
        """What tells it from other occurrences of its class."""
        self.sources: tuple[str, ...] = (witness.event.source,)
        """The sources that told it, in the order in which they did."""
        self.groups: tuple[Any, ...] = ()
        """The open groups of rules that have it."""

    @property
    def event(self) -> UnifiedEvent:
        """Return the canonical event: the earliest by timestamp and id."""
        return self.witnesses[0].event

    @property
    def entity(self) -> EntityReference:
        """Return what it happened to: of what its events name, a workload before a process or the node, a named one first."""
        return max((one.event.entity for one in self.witnesses), key=_how_telling)

    @property
    def severity(self) -> Severity:
        """Return the worst severity of its events."""
        return Severity(max(one.event.severity for one in self.witnesses))

    def first_by(self, source: str) -> int:
        """Return when a source first told it; it must be one of `sources`."""
        return min(one.event.timestamp for one in self.witnesses if one.event.source == source)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, of the first event that has it."""
        for one in self.witnesses:
            value = one.event.get(name)
            if value is not None:
                return value
        return default

    def add(self, witness: Witness, marks: Mapping[str, Any]) -> None:
        """Take another event that tells the same."""
        self.witnesses = (*self.witnesses, witness)
        if witness.keys != self.keys:
            self.keys = tuple(dict.fromkeys((*self.keys, *witness.keys)))
        if marks:
            self.marks = {**marks, **self.marks}
        if witness.event.source not in self.sources:
            self.sources = (*self.sources, witness.event.source)

    def __repr__(self) -> str:
        return f"Fact({self.class_name} {self.event.id} of {len(self.witnesses)} events)"


class Facts:
    """Join events to facts."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._recent: dict[tuple[str, Key], list[Fact]] = {}
        self._ends: deque[tuple[int, Fact]] = deque()

    def __len__(self) -> int:
        return len(self._ends)

    def place(self, class_name: str, witness: Witness, targets: tuple[Key, ...]) -> tuple[Fact, bool]:
        """Return the fact of a class that an event tells, and whether it is a new one."""
        kind = CLASSES.get(class_name)
        if kind is None:
            return Fact(class_name, witness, _NOTHING, targets), True
        marks = _marks(kind, witness, targets)
        ranks = kind.ranks
        places = [(class_name, key) for key in witness.keys if key[0] in ranks]
        fact = self._find(kind, witness.event, marks, places)
        if fact is not None:
            if all(one.event.id != witness.event.id for one in fact.witnesses):
                fact.add(witness, marks)
                for place in places:
                    self._enter(place, fact)
            return fact, False
        fact = Fact(class_name, witness, marks, targets)
        if places:
            for place in places:
                self._enter(place, fact)
            self._ends.append((fact.timestamp + kind.window_ns, fact))
        return fact, True

    def _find(
        self, kind: FactClass, event: UnifiedEvent, marks: Mapping[str, Any], places: list[tuple[str, Key]]
    ) -> Fact | None:
        recent = self._recent
        tried: list[Fact] | None = None
        alone = None if kind.repeats else event.source
        for place in places:
            facts = recent.get(place)
            if facts is None or facts == tried:
                continue
            for fact in reversed(facts):
                if alone not in fact.sources and _is_same(kind, fact, event, marks):
                    return fact
            tried = facts
        return None

    def _enter(self, place: tuple[str, Key], fact: Fact) -> None:
        known = self._recent.get(place)
        if known is None:
            self._recent[place] = [fact]
        elif known[-1] is not fact and fact not in known:
            known.append(fact)
            if len(known) > _CANDIDATES:
                del known[0]

    def forget(self, now_ns: int) -> int:
        """Let go of the facts that take no more witnesses; returns how many had to go early for want of room."""
        early = 0
        while self._ends and (self._ends[0][0] + _SLOWEST < now_ns or len(self._ends) > self._limit):
            end, fact = self._ends.popleft()
            early += end >= now_ns
            for key in fact.keys:
                known = self._recent.get((fact.class_name, key))
                if known is not None and fact in known:
                    known.remove(fact)
                    if not known:
                        del self._recent[fact.class_name, key]
        return early


def _is_same(kind: FactClass, fact: Fact, event: UnifiedEvent, marks: Mapping[str, Any]) -> bool:
    """Tell whether an event can be about the same occurrence as a fact that shares a key with it."""
    known = fact.marks
    has_mark = False
    for name, value in marks.items():
        if name in known:
            if known[name] != value:
                return False
            has_mark = True
    sources = fact.sources
    slow = event.source == Source.KUBERNETES or Source.KUBERNETES in sources
    if abs(event.timestamp - fact.timestamp) > (kind.slow_window_ns if slow else kind.window_ns):
        return False
    return has_mark or event.source not in sources or not _is_told(fact, event)


def _is_told(fact: Fact, event: UnifiedEvent) -> bool:
    """Tell whether the event's source has told the fact by an event of this type: who says the same again means another one."""
    return any(one.event.source == event.source and one.event.type == event.type for one in fact.witnesses)


def _marks(kind: FactClass, witness: Witness, targets: tuple[Key, ...]) -> Mapping[str, Any]:
    """Return what tells this occurrence from others of its class, as far as the event says it."""
    event = witness.event
    marks: dict[str, Any] = {}
    for name in kind.differs:
        if name in _BY_KEY:
            for key in witness.keys:
                if key[0] == name:
                    marks[name] = key[1]
                    break
        elif name == "target":
            if targets:
                marks[name] = targets[0]
        elif name == "restarts":  # each source counts from its own beginning
            value = event.get("restart_count", event.get("n_restarts"))
            if value is not None:
                marks[f"{name} {event.source}"] = value
        else:
            value = event.get(_ATTRIBUTES.get(name, name))
            if value is not None and not (name == "pid" and value == 1):
                marks[name] = value
    return marks or _NOTHING


_ATTRIBUTES: Final = {"container_name": "k8s.container.name"}
_SLOWEST: Final = max(one.slow_window_ns for one in CLASSES.values())


def _how_telling(entity: EntityReference) -> tuple[bool, bool]:
    return entity.type not in _VAGUE, bool(entity.namespace)
