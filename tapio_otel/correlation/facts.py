"""Facts: what happened once, whoever told it.

The kernel's OOM event, the journal's line about it, the unit's result and the pod's status are four events and one fact. Events
are given in the order of (timestamp, id); the first to tell a fact is its canonical event, the later ones are its witnesses.
Two events tell one fact when they are of one class, share a key of one of the class's ranks, lie within its window, and nothing
says that they are about two occurrences (another pid, another container, another run).

State is bounded: a fact takes witnesses for its class's window, and is then let go by this module.
"""

from __future__ import annotations

from typing import Any, Final

from tapio_otel.correlation.fact_class import FactClass
from tapio_otel.correlation.keys import Key, Keys, made
from tapio_otel.correlation.occurrence import Marks, marks_of, moment_of
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import Severity, Source, UnifiedEvent

_CANDIDATES: Final = 4
"""How many facts an event is compared with, the latest ones of its nearest keys: in a storm the time must not grow with it."""
_sources: Final[Bounded[str, tuple[str, ...]]] = Bounded(64)
_SPEAKER: Final = frozenset(("pid", "comm", "exe", "cmdline", "uid"))
"""Attributes that say who wrote a line, which is not always who it is about."""
_VAGUE: Final = frozenset((EntityType.NODE, EntityType.PROCESS))


class Witness:
    """Hold one event with its keys; `told_by` are the open findings that have it among their members."""

    __slots__ = ("_marking", "_marks", "event", "keys", "told_by")

    def __init__(self, event: UnifiedEvent, keys: Keys) -> None:
        self.event = event
        self.keys = keys
        self.told_by: tuple[Any, ...] = ()
        self._marks: Marks | None = None
        self._marking = -1

    def marks(self, kind: FactClass, targets: tuple[Key, ...]) -> Marks:
        """Return what tells the occurrence of a class apart from others, as far as this event says it."""
        if self._marks is None or self._marking != kind.marking:
            self._marks, self._marking = marks_of(kind, self.event, self.keys, targets), kind.marking
        return self._marks


class Fact:
    """Be one occurrence of a class, with all events that witness it, the canonical one first."""

    __slots__ = ("_firsts", "_marks", "groups", "keys", "kind", "sources", "targets", "timestamp", "witnesses")

    def __init__(self, kind: FactClass, witness: Witness, targets: tuple[Key, ...]) -> None:
        self.kind = kind
        self.witnesses: tuple[Witness, ...] = (witness,)
        self.timestamp = witness.event.timestamp
        """When it happened: the canonical event's timestamp, in nanoseconds."""
        self.keys = witness.keys
        self.targets = targets
        source = witness.event.source
        self.sources: tuple[str, ...] = _sources.get(source) or _sources.keep(source, (source,))
        """The sources that told it, in the order in which they did."""
        self.groups: tuple[Any, ...] = ()
        """The open groups of rules that have it."""
        self._marks: Marks | None = None
        self._firsts: dict[str, int] | None = None

    @property
    def class_name(self) -> str:
        """Return the name of its class."""
        return self.kind.name

    @property
    def marks(self) -> Marks:
        """Return what tells it from other occurrences of its class."""
        if self._marks is None:
            self._marks = self.witnesses[0].marks(self.kind, self.targets)
        return self._marks

    @property
    def event(self) -> UnifiedEvent:
        """Return the canonical event: the earliest by timestamp and id."""
        return self.witnesses[0].event

    @property
    def entity(self) -> EntityReference:
        """Return what it happened to: of what its events name, a workload before a process or the node, a named one first."""
        if len(self.witnesses) == 1:
            return self.witnesses[0].event.entity
        return max((one.event.entity for one in self.witnesses), key=_how_telling)

    @property
    def severity(self) -> Severity:
        """Return the worst severity of its events."""
        return Severity(max(one.event.severity for one in self.witnesses))

    def first_by(self, source: str) -> int:
        """Return when a source first told it; it must be one of `sources`."""
        if len(self.witnesses) == 1:
            return self.timestamp
        if self._firsts is None:
            self._firsts = {}
            for one in self.witnesses:
                self._note_first(one.event)
        return self._firsts[source]

    def _note_first(self, event: UnifiedEvent) -> None:
        firsts, at = self._firsts, event.timestamp
        if firsts is not None and firsts.get(event.source, at) >= at:
            firsts[event.source] = at

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, of the first event that has it."""
        for one in self.witnesses:
            event = one.event
            if name in _SPEAKER and event.source == Source.JOURNALD and event.get("pid") == 1:
                value = event.get(f"subject_{name}")  # the service manager speaks of others
            else:
                value = event.get(name)
            if value is not None:
                return value
        return default

    def has(self, event: UnifiedEvent) -> bool:
        """Tell whether an event, as its id tells it from others, is among the witnesses."""
        for one in self.witnesses:  # noqa: SIM110 - a generator would cost more than the search
            if one.event.id == event.id:
                return True
        return False

    def add(self, witness: Witness, marks: Marks) -> None:
        """Take another event that tells the same."""
        self._marks = {**marks, **self.marks}
        self.witnesses = (*self.witnesses, witness)
        if witness.keys != self.keys:
            self.keys = made(dict.fromkeys((*self.keys, *witness.keys)))
        self._note_first(witness.event)
        if witness.event.source not in self.sources:
            self.sources = (*self.sources, witness.event.source)

    def __repr__(self) -> str:
        return f"Fact({self.class_name} {self.event.id} of {len(self.witnesses)} events)"


class _Generation:
    """Hold the facts of a stretch of time by class and key; it is let go as a whole."""

    __slots__ = ("began", "by_class", "count", "last", "sources")

    def __init__(self, began: int) -> None:
        self.began = self.last = began
        self.count = 0
        self.by_class: dict[str, dict[Key, Any]] = {}
        """Under each key the one fact, as mostly, or a list of several: most of the memory would else be lists of one."""
        self.sources: dict[str, set[str]] = {}
        """Which sources have told facts of a class."""


class Facts:
    """Join events to facts. Facts are kept in two generations, each as long as the longest window at least."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._now = self._before = _Generation(0)
        self._early = 0
        self._alone: dict[str, str] = {}
        """The classes that one source alone has told facts of, with that source; as far as anybody asked."""

    def __len__(self) -> int:
        return self._now.count + (self._before.count if self._before is not self._now else 0)

    def place(self, kind: FactClass, witness: Witness, targets: tuple[Key, ...]) -> tuple[Fact, bool]:
        """Return the fact of a class that an event tells, and whether it is a new one."""
        if not kind.types:
            return Fact(kind, witness, targets), True
        name, source = kind.name, witness.event.source
        places = witness.keys.of(kind.key_ranks)
        if not places:
            return Fact(kind, witness, targets), True
        if kind.repeats or (self._alone.get(name) != source and self._others_told(name, source)):
            fact = self._find(kind, witness, targets, places)
            if fact is not None:
                return fact, False
        fact = Fact(kind, witness, targets)
        self._keep(name, fact, places)
        return fact, True

    def _others_told(self, name: str, source: str) -> bool:
        """Tell whether another source has told facts of a class of late."""
        for generation in (self._now, self._before):
            sources = generation.sources.get(name)
            if sources and (len(sources) > 1 or source not in sources):
                return True
        self._alone[name] = source
        return False

    def _find(self, kind: FactClass, witness: Witness, targets: tuple[Key, ...], places: tuple[Key, ...]) -> Fact | None:
        now, before = self._now.by_class.get(kind.name), self._before.by_class.get(kind.name)
        if not now and not before:
            return None
        event, marks = witness.event, witness.marks(kind, targets)
        alone = None if kind.repeats else event.source
        tries = _CANDIDATES
        generations = [known for known in (now, before) if known]
        for place in places:
            for known in generations:
                facts = known.get(place)
                for fact in () if facts is None else (facts,) if facts.__class__ is Fact else reversed(facts):
                    if alone is not None and alone in fact.sources:
                        continue
                    if _is_same(kind, fact, event, marks):
                        if not fact.has(event):
                            fact.add(witness, marks)
                            self._enter(kind.name, fact, places)
                        return fact
                    tries -= 1
                    if not tries:
                        return None
        return None

    def _keep(self, name: str, fact: Fact, places: tuple[Key, ...]) -> None:
        now = self._now
        if fact.timestamp - now.began > _SLOWEST or now.count >= self._half:
            now = self._turn(fact.timestamp)
        now.count += 1
        now.last = fact.timestamp
        self._enter(name, fact, places)

    def _turn(self, now_ns: int) -> _Generation:
        """Begin another generation and let go of the one before the last."""
        before, self._before = self._before, self._now
        if before.count and before is not self._before and before.last + _SLOWEST >= now_ns:
            self._early += before.count
        self._now = _Generation(now_ns)
        return self._now

    def _enter(self, name: str, fact: Fact, places: tuple[Key, ...]) -> None:
        now = self._now
        known = now.by_class.get(name)
        if known is None:
            known = now.by_class[name] = {}
            now.sources[name] = set()
        source = fact.sources[-1]
        if source not in now.sources[name]:
            now.sources[name].add(source)
            if self._alone.get(name, source) != source:
                del self._alone[name]
        for place in places:
            facts = known.get(place)
            if facts is None:
                known[place] = fact
            elif facts.__class__ is Fact:
                if facts is not fact:
                    known[place] = [facts, fact]
            elif fact not in facts:
                facts.append(fact)
                if len(facts) > _CANDIDATES:
                    del facts[0]

    def forget(self, now_ns: int) -> int:
        """Let go of the facts that take no more witnesses; returns how many had to go early for want of room."""
        if self._now.count and self._now.last + _SLOWEST < now_ns:
            self._now = self._before = _Generation(now_ns)
        early, self._early = self._early, 0
        return early


def _is_same(kind: FactClass, fact: Fact, event: UnifiedEvent, marks: Marks) -> bool:
    """Tell whether an event can be about the same occurrence as a fact that shares a key with it."""
    known = fact._marks
    if known is None:
        known = fact.marks
    has_mark = False
    for name, value in marks.items():
        if name in known:
            if known[name] != value:
                return False
            has_mark = True
    sources = fact.sources
    slow = event.source == Source.KUBERNETES or Source.KUBERNETES in sources
    if abs(moment_of(kind, event) - fact.timestamp) > (kind.slow_window_ns if slow else kind.window_ns):
        return False
    return has_mark or event.source not in sources or not _is_told(fact, event)


def _is_told(fact: Fact, event: UnifiedEvent) -> bool:
    """Tell whether the event's source has told the fact by an event of this type: who says the same again means another one."""
    source, type = event.source, event.type
    for one in fact.witnesses:
        told = one.event
        if told.type == type and told.source == source:
            return True
    return False


_SLOWEST: Final = 60_000_000_000
"""As long as the longest window of a class, in nanoseconds."""


def _how_telling(entity: EntityReference) -> tuple[bool, bool]:
    return entity.type not in _VAGUE, bool(entity.namespace)
