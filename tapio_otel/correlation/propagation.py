"""Trace propagation: events of the kernel, of units and of pods inherit the trace that logs of the same workload carry.

Logs with a trace context teach; an event that nobody could give one asks. Both are joined by what they are about: the same
process, the same run of a unit, container, unit or pod, never by a node, a namespace or a service. The nearest of these that
any trace was seen for within the window decides: one trace there is inherited, two are ambiguous and leave the event as it is.

Guarantees: an event never inherits while two traces are known for its nearest rank, also where room ran out: what had to be
forgotten counts as ambiguous for as long as it could have mattered. A line of a process never inherits: it may belong to
another request. What was inherited is never taught. State is bounded by `max_keys`, each with eight traces.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from tapio_otel.component import CounterSink
from tapio_otel.correlation.lineage import Key, keys_of
from tapio_otel.event import EventType, Source, UnifiedEvent
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
_CACHED: Final = "correlation.propagation"
_NEVER: Final = -(1 << 80)
_NO_FLAGS: Final = -1
_LOG: Final = EventType.LOG
_KERNEL: Final = "kernel"
_SERVICE_MANAGER: Final = "1"

Teaching = tuple[int, str, str, int]
"""What a log taught: its time, its id, its span, its trace flags or -1."""


class Subject(NamedTuple):
    """Name what an event is about: its keys by rank, nearest first, and its run of a unit where it is known."""

    ranks: tuple[tuple[str, tuple[Key, ...]], ...]
    taught: tuple[tuple[Key, str], ...]
    """Its keys, each with the run that counts there."""
    run: str


def subject_of(event: UnifiedEvent) -> Subject:
    """Return what an event is about, as far as traces go; cached where the event says nothing of its own about it."""
    keys = keys_of(event)
    origin = event.shared
    if origin is None:
        return _subject(keys, not _CONTAINED.isdisjoint(event.attributes))
    cached: tuple[tuple[Key, ...], Subject] | None = origin.cache.get(_CACHED)
    if cached is None or cached[0] is not keys:
        passed_on = not (_CONTAINED.isdisjoint(origin.record) and _CONTAINED.isdisjoint(origin.attributes))
        cached = origin.cache[_CACHED] = (keys, _subject(keys, passed_on))
    return cached[1]


def _subject(keys: tuple[Key, ...], passed_on: bool) -> Subject:
    """Sort keys by rank. What a container's runtime passes on has the pid of the runtime, which is not what it is about."""
    ranks: dict[str, list[Key]] = {}
    for key in keys:
        rank = _RANK_OF.get(key[0])
        if rank is not None and not (passed_on and rank == "process"):
            ranks.setdefault(rank, []).append(key)
    runs = ranks.get("run", [])
    run = str(runs[0][1]) if len(runs) == 1 else ""
    nearest_first = tuple((rank, tuple(ranks[rank])) for rank in RANKS if rank in ranks)
    taught = tuple((key, run if rank == "unit" else "") for rank, found in nearest_first for key in found)
    return Subject(nearest_first, taught, run)


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

    `run` says of which run of a unit, where that matters.
    """

    __slots__ = ("first", "last", "run", "trace")

    def __init__(self, trace: str, run: str, log: Teaching) -> None:
        self.trace, self.run = trace, run
        self.first = self.last = log


class Known:
    """Hold the traces seen for one key; nothing is known of times up to `horizon`."""

    __slots__ = ("horizon", "stretches")

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.stretches: dict[str | int, Stretch] = {}
        """By trace and run, or a number for those from which a log of the same trace was too far away."""

    def note(self, trace: str, run: str, log: Teaching, window: int) -> None:
        """Take that a log of a trace was written."""
        at, stretches = log[0], self.stretches
        if at <= self.horizon:  # whoever asks about that time is told that it is not known
            return
        name: str | int = trace + run
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
        stretches[name] = Stretch(trace, run, log)
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
        if event.get(SOURCE_KEY) == PROPAGATED:
            return
        taught = subject_of(event).taught
        if not taught:
            return
        flags = event.get(FLAGS_KEY)
        log = (event.timestamp, event.id, event.span_id, flags if flags.__class__ is int else _NO_FLAGS)
        self._newest = max(self._newest, event.timestamp)
        trace, known, window = event.trace_id, self._known, self._window
        for key, run in taught:
            one = known.get(key)
            if one is None:
                one = self._begin(key)
            else:
                known.move_to_end(key)
            one.note(trace, run, log, window)

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
        if not self._known:
            return
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
            alive, is_known = self._alive(keys, event.timestamp, subject.run)
            if not is_known or len({one.trace for one in alive}) > 1:
                self._counts["trace_propagation_ambiguous", "reason", "traces" if is_known else "forgotten"] += 1
                return False
            if alive:
                self._give(event, rank, alive)
                return True
        return False

    def _alive(self, keys: tuple[Key, ...], at: int, run: str) -> tuple[list[Stretch], bool]:
        """Return what was seen within the window of a moment, and whether nothing is missing of that."""
        since, until = at - self._window, at + self._window
        alive: list[Stretch] = []
        for key in keys:
            known = self._known.get(key)
            if (self._forgotten if known is None else known.horizon) >= since:
                return alive, False
            if known is not None:
                for one in known.stretches.values():
                    if one.first[0] <= until and one.last[0] >= since and (not run or not one.run or one.run == run):
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
