"""Trace propagation: events of the kernel, of units and of pods inherit the trace that logs of the same workload carry.

Logs with a trace context teach; an event that nobody could give one asks. Both are joined by what they are about: the same
process, the same run of a unit, container, unit or pod, never by a node, a namespace or a service. The nearest of these that
any trace was seen for within the window decides: one trace there is inherited, two are ambiguous and leave the event as it is.

Guarantees: an event never inherits while two traces are known for its nearest rank, also where room ran out: what had to be
forgotten counts as ambiguous for as long as it could have mattered. A line teaches about who wrote it, never about whom its
text speaks of, and only where nothing contradicts it: a pid that was given away again, another container of a pod, another run
of a unit. A line of a process never inherits: it may belong to another request. What was inherited is never taught. State is
bounded by `max_keys`, each with eight traces.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tapio_otel.component import CounterSink
from tapio_otel.correlation.keys import Key
from tapio_otel.correlation.lineage import keys_of, keys_of_writer
from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType, Origin, Source, UnifiedEvent
from tapio_otel.patterns.writer import writer_of

SOURCE_KEY: Final = "tapio.trace.source"
FROM_KEY: Final = "tapio.trace.from"
CONFIDENCE_KEY: Final = "tapio.trace.confidence"
FLAGS_KEY: Final = "trace_flags"
PROPAGATED: Final = "propagated"
"""The value of `tapio.trace.source` of an event that inherited its trace."""

RANKS: Final = ("process", "run", "container", "unit", "pod")
"""What joins an event with logs, nearest first. A run is a unit from its start to its end."""
CERTAINTY: Final = {"process": 0.95, "run": 0.85, "container": 0.85, "unit": 0.75, "pod": 0.65}
"""The confidence at the moment of the log, by rank; at the end of the window it is half of that."""
MOST_STRETCHES: Final = 8
"""How many traces are kept for a key, or times of one trace with a window of silence between them."""
INHERITING: Final = frozenset((Source.EBPF, Source.SYSTEMD, Source.KUBERNETES))
"""Sources whose events inherit; of the journal those lines do that the kernel or the service manager wrote."""

_RANK_OF: Final = {
    **{"process": "process", "invocation": "run", "container": "container", "unit": "unit"},
    **{"pod": "pod", "pod_name": "pod"},
}
_CONTAINED: Final = frozenset(("CONTAINER_ID_FULL", "CONTAINER_ID", "CONTAINER_NAME"))
"""Fields that container runtimes give to the lines that they pass on to the journal."""
_TOLD_RUNS: Final = frozenset(("INVOCATION_ID", "USER_INVOCATION_ID"))
"""Fields in which a service manager names the run that it speaks of: anybody may write them."""
_OUTSIDE: Final = frozenset(("process", "run", "unit"))
_INSIDE: Final = frozenset(("container", "pod"))
_CACHED: Final = "correlation.propagation"
_CACHED_WRITER: Final = "correlation.propagation.writer"
_AHEAD: Final = 60_000_000_000
"""Nanoseconds that a log may be ahead of the clock of this machine: a clock that is wrong must not spoil what others taught."""
_LENGTH_OF_TRACE: Final = 32
_NEVER: Final = -(1 << 80)
_NO_FLAGS: Final = -1
_LOG: Final = EventType.LOG
_KERNEL: Final = "kernel"
_SERVICE_MANAGER: Final = "1"

Teaching = tuple[int, str, str, int]
"""What a log taught: its time, its id, its span, its trace flags or -1."""


Place = tuple[str, str, str]
"""The container, the run and the unit of which something is, each empty where that is not known, or more than one."""


class Subject(NamedTuple):
    """Name what an event is about, nearest rank first, and where that is."""

    ranks: tuple[tuple[str, tuple[Key, ...]], ...]
    place: Place

    @property
    def keys(self) -> tuple[Key, ...]:
        """Return the keys of all ranks."""
        return tuple(key for _, keys in self.ranks for key in keys)


class Writer(NamedTuple):
    """Name who wrote a line: by all keys under which it teaches its trace, and where that is."""

    keys: tuple[Key, ...]
    place: Place


def subject_of(event: UnifiedEvent) -> Subject:
    """Return what an event is about, as far as traces go; cached where the event says nothing of its own about it."""
    keys = keys_of(event)
    origin = event.shared
    if origin is None:
        without_process = event.source == Source.SYSTEMD or not _CONTAINED.isdisjoint(event.attributes)
        return _subject(_sure(keys, event.entity), without_process)
    cached: tuple[tuple[Key, ...], Subject] | None = origin.cache.get(_CACHED)
    if cached is None or cached[0] is not keys:
        cached = origin.cache[_CACHED] = (keys, _subject(_sure(keys, origin.entity), _passed_on(origin)))
    return cached[1]


def writer_of_line(event: UnifiedEvent) -> Writer:
    """Return who wrote a line, as its entity and its origin tell; what was read from its text does not count."""
    origin = event.shared
    if origin is None:
        return _writer(event.entity, *keys_of_writer(event), event.attributes, not _CONTAINED.isdisjoint(event.attributes))
    found: Writer | None = origin.cache.get(_CACHED_WRITER)
    if found is None:
        found = _writer(origin.entity, *keys_of_writer(event), origin.attributes, _passed_on(origin))
        origin.cache[_CACHED_WRITER] = found
    return found


def _sure(keys: tuple[Key, ...], entity: EntityReference) -> tuple[Key, ...]:
    """Return the keys that mean one process, run, container, unit or pod: a mere name is that of many."""
    found = tuple(key for key in keys if key[0] in _RANK_OF and (key[0] != "process" or key[1].__class__ is int))
    if any(key[0] == "container" for key in found):
        names = {("container", one.uid) for one in entity.lineage() if one.uid in {one.name, f"{one.namespace}/{one.name}"}}
        found = tuple(key for key in found if key not in names) if names else found
    return found


def _passed_on(origin: Origin) -> bool:
    return not (_CONTAINED.isdisjoint(origin.record) and _CONTAINED.isdisjoint(origin.attributes))


def _subject(keys: tuple[Key, ...], without_process: bool) -> Subject:
    """Sort keys by rank.

    What a container's runtime passes on has the pid of the runtime, which is not what it is about; what the service manager
    tells is about a unit with all of its processes, whichever it names as the main one.
    """
    ranks: dict[str, list[Key]] = {}
    for key in keys:
        rank = _RANK_OF[key[0]]
        if not (without_process and rank == "process"):
            ranks.setdefault(rank, []).append(key)
    container, run, unit = (ranks.get(rank, ()) for rank in ("container", "run", "unit"))
    return Subject(
        tuple((rank, tuple(ranks[rank])) for rank in RANKS if rank in ranks), (_only(container), _only(run), _only(unit))
    )


def _only(keys: Sequence[Key]) -> str:
    return str(keys[0][1]) if len(keys) == 1 else ""


def _writer(
    entity: EntityReference, named: tuple[Key, ...], told: tuple[Key, ...], attributes: Mapping[str, Any], passed_on: bool
) -> Writer:
    """Take what the entity names, and what is told besides only for ranks that it does not name.

    A program of the machine itself is in no container and no pod: those that it tells of are others.
    """
    sure = _sure(named, entity)
    known = {_RANK_OF[key[0]] for key in sure}
    barred = known | (_INSIDE if not known.isdisjoint(_OUTSIDE) and known.isdisjoint(_INSIDE) else frozenset())
    if not _TOLD_RUNS.isdisjoint(attributes):
        barred |= {"run"}
    more = (key for key in _sure(told, entity) if _RANK_OF[key[0]] not in barred)
    subject = _subject(tuple(dict.fromkeys((*sure, *more))), passed_on)
    return Writer(subject.keys, subject.place)


def _contradict(one: Place, other: Place) -> bool:
    """Tell whether two places are known to be different."""
    return one != other and any(mine and yours and mine != yours for mine, yours in zip(one, other, strict=True))


def may_inherit(event: UnifiedEvent) -> bool:
    """Tell whether an event is of a kind that has no trace by nature: nobody who wrote it was serving a request."""
    if event.type == _LOG:
        return False
    if event.source in INHERITING:
        return True
    if event.source != Source.JOURNALD:
        return False
    writer = writer_of(event)
    return writer.transport == _KERNEL or (writer.pid == _SERVICE_MANAGER and not writer.contained)


def confidence(rank: str, age_ns: int, window_ns: int) -> float:
    """Return how sure it is that an event belongs to a trace: by rank, falling to half of that at the end of the window."""
    return round(CERTAINTY[rank] * (1 - 0.5 * age_ns / window_ns), 3)


class Stretch:
    """Hold the first and the last log of one trace, between which it was never silent for longer than the window.

    `place` says where they were written.
    """

    __slots__ = ("first", "last", "place", "trace")

    def __init__(self, trace: str, place: Place, log: Teaching) -> None:
        self.trace, self.place = trace, place
        self.first = self.last = log


class Known:
    """Hold the traces seen for one key; nothing is known of times up to `horizon`."""

    __slots__ = ("horizon", "stretches")

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.stretches: dict[tuple[str, Place] | int, Stretch] = {}
        """By trace and place, or a number for those from which a log of the same trace was too far away."""

    def note(self, trace: str, place: Place, log: Teaching, window: int, limit: int) -> None:
        """Take that a log of a trace was written; whatever is beyond `limit` was told by a clock that was ahead."""
        at, stretches = log[0], self.stretches
        if at <= self.horizon:
            if self.horizon <= limit:  # whoever asks about that time is told that it is not known
                return
            self.horizon = at - 1
        name: tuple[str, Place] | int = (trace, place)
        one = stretches.get(name)
        if one is not None:
            if one.first[0] - window <= at <= one.last[0] + window:
                if log > one.last:
                    one.last = log
                elif log < one.first:
                    one.first = log
                return
            if at > one.last[0]:
                stretches[id(one)] = one
            else:
                name = id(log)
        stretches[name] = Stretch(trace, place, log)
        if len(stretches) > MOST_STRETCHES:
            self.horizon = max(self.horizon, stretches.pop(next(iter(stretches))).last[0])

    @property
    def latest(self) -> int:
        """Return the time up to which anything was seen."""
        return max([self.horizon, *(one.last[0] for one in self.stretches.values())])


class Propagation:
    """Learn the traces of logs, and give them to events. For one thread; times are nanoseconds of event time."""

    def __init__(self, window_ns: int, max_keys: int, counters: CounterSink | None = None) -> None:
        self._window, self._max_keys = window_ns, max_keys
        self._ahead = max(2 * window_ns, _AHEAD)
        self._known: OrderedDict[Key, Known] = OrderedDict()
        self._forgotten = self._newest = _NEVER
        self._counters = counters
        self._counts: Counter[tuple[str, str, str]] = Counter()

    @property
    def key_count(self) -> int:
        """Return for how many keys traces are known."""
        return len(self._known)

    def learn_all(self, events: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
        """Learn from the events that have a trace of their own; return those that have none and may inherit one."""
        asking: list[UnifiedEvent] = []
        for event in events:
            if event.trace_id:
                self.learn(event)
            elif event.type != _LOG and may_inherit(event):
                asking.append(event)
        return asking

    def learn(self, event: UnifiedEvent) -> None:
        """Learn from one event that has a trace."""
        trace = event.trace_id
        if len(trace) != _LENGTH_OF_TRACE or event.get(SOURCE_KEY) == PROPAGATED:
            return
        keys, place = writer_of_line(event)
        if not keys:
            return
        at, limit, known, window = event.timestamp, event.observed + self._ahead, self._known, self._window
        if at > limit:
            self._counts["trace_propagation_ahead", "", ""] += 1
            return
        flags = event.get(FLAGS_KEY)
        log = (at, event.id, event.span_id, flags if flags.__class__ is int else _NO_FLAGS)
        self._newest = max(min(self._newest, limit), at)
        self._forgotten = min(self._forgotten, limit)
        for key in keys:
            one = known.get(key)
            if one is None:
                one = self._begin(key)
            else:
                known.move_to_end(key)
            one.note(trace, place, log, window, limit)

    def _begin(self, key: Key) -> Known:
        """Make room for a key. What may have been known of it before counts as forgotten."""
        known = self._known
        while len(known) >= self._max_keys:
            latest = known.popitem(last=False)[1].latest
            self._forgotten = max(self._forgotten, latest)
            if latest >= self._newest - self._window:  # else it was of no use any more
                self._counts["trace_propagation_evicted", "", ""] += 1
        one = known[key] = Known(self._forgotten)
        return one

    def inherit_all(self, events: Iterable[UnifiedEvent]) -> None:
        """Give events the traces that they inherit."""
        if self._known:
            for event in events:
                self.inherit(event)
        if self._counts:
            self._count()

    def _count(self) -> None:
        if self._counters is not None:
            for (name, attribute, value), amount in self._counts.items():
                self._counters.add(name, amount, **({attribute: value} if attribute else {}))
        self._counts.clear()

    def inherit(self, event: UnifiedEvent) -> bool:
        """Give an event the trace of the nearest rank that has any; tells whether it has got one."""
        if event.trace_id:
            return False
        subject = subject_of(event)
        for rank, keys in subject.ranks:
            alive, is_known = self._alive(keys, event.timestamp, subject.place)
            if not is_known or len({one.trace for one in alive}) > 1:
                self._counts["trace_propagation_ambiguous", "reason", "traces" if is_known else "forgotten"] += 1
                return False
            if alive:
                self._give(event, rank, alive)
                return True
        return False

    def _alive(self, keys: tuple[Key, ...], at: int, place: Place) -> tuple[list[Stretch], bool]:
        """Return what was seen within the window of a moment, and whether nothing is missing of that."""
        since, until = at - self._window, at + self._window
        alive: list[Stretch] = []
        for key in keys:
            known = self._known.get(key)
            if (self._forgotten if known is None else known.horizon) >= since:
                return alive, False
            if known is not None:
                for one in known.stretches.values():
                    if one.first[0] <= until and one.last[0] >= since and not _contradict(one.place, place):
                        alive.append(one)
        return alive, True

    def _give(self, event: UnifiedEvent, rank: str, alive: list[Stretch]) -> None:
        at = event.timestamp
        age, log = min((abs(at - log[0]), log) for one in alive for log in (one.first, one.last))
        if any(one.first[0] < at < one.last[0] for one in alive):
            age = min(age, self._window // 2)  # there were logs nearer than those that are remembered
        event.trace_id, event.span_id = alive[0].trace, log[2]
        if log[3] != _NO_FLAGS:
            event.set(FLAGS_KEY, log[3])
        event.set(SOURCE_KEY, PROPAGATED)
        event.set(FROM_KEY, log[1])
        event.set(CONFIDENCE_KEY, confidence(rank, age, self._window))
        self._counts["trace_propagated", "rank", rank] += 1
