"""dedup: sends the first of equal events and, when the window closes, one summary that tells how many repeats were held back.

Events are equal when source, type, entity uid and title are (`hash_function` puts another identity in place of that, or none,
which makes an event nobody's repeat). The first is sent at once and opens a window; its repeats are counted as `dropped` with
`reason: duplicate`. All events but plain `log` ones are subject to this; `conditions` and `exclude` choose otherwise.

Time is the events' own, source by source, so that a replay of old events gives what the live run gave, however fast it runs:
- The window reaches from the first event's timestamp to `window` later and does not move (tumbling): an event that never
  stops repeating is sent once a window.
- An event less than `window` *older* than the first is a repeat that arrives late; one older still closes the window and
  opens one of its own.
- A window closes when an event of its source (of any type) is later than its end, when `cache_size` windows are open and it
  is the one longest without an event, when its source has been silent for `window` by the monotonic clock (ten seconds at
  least), or at the end. Event time comes from the event at hand: one with a clock far ahead closes windows early, no more.

The summary has the first event's source, type, entity, title, labels, trace id, span id and (but for long ones) attributes,
so that what enriches the first downstream, its trace context among it, enriches the summary alike. It has the highest
severity seen, the last timestamp, `parent_id` = the first event's id, and the attributes `dedup_count` (how many repeats were
held back; the first, which was sent, is not among them), `first_timestamp` and `last_timestamp` (RFC 3339, over the first and
all its repeats). Without repeats there is none. A summary is never deduplicated again.

Guarantees: events in = events out without summaries + the sum of `dedup_count`. The first event, when a receiver reads it
again, is sent again, so no event is lost to a retry. After a crash the counts of open windows are gone; the first events are
not. Memory is bounded by `cache_size`, whatever the events hold.
"""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from pydantic import Field, model_validator

from tapio_otel.component import ComponentConfig, ComponentContext, ComponentError, HashFunction, Processor, Stability
from tapio_otel.config.types import Duration
from tapio_otel.event import AttributeValue, EventType, Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id

COUNT_KEY: Final = "dedup_count"
FIRST_KEY: Final = "first_timestamp"
LAST_KEY: Final = "last_timestamp"

_NEVER: Final = 1 << 80
_SHORTEST_SILENCE: Final = 10.0  # seconds; a replay that waits for a slow exporter is not silent yet
_LONGEST_KEPT: Final = 1024  # characters or bytes of one title or attribute that a window keeps
_MOST_TYPES: Final = 1024
_MOST_SOURCES: Final = 256

_SOURCE: Final = attrgetter("source")


class Selector(ComponentConfig):
    """Choose events by source, by type, or by both."""

    source: str | None = Field(None, description="Source the event must have, such as `journald`; any when left out.")
    type: str | None = Field(None, description="Type the event must have, such as `service_state`; any when left out.")

    @model_validator(mode="after")
    def _says_something(self) -> Selector:
        if self.source is None and self.type is None:
            raise ValueError("a selector needs a source, a type, or both, such as {type: oom_kill}")
        return self

    def matches(self, source: str, type: str) -> bool:
        """Tell whether events of that source and type are chosen."""
        return self.source in (None, source) and self.type in (None, type)


class DedupConfig(ComponentConfig):
    """Be the options of `dedup`."""

    window: Duration = Field(300.0, gt=0, description="How long after the first event, by event time, repeats are held back.")
    cache_size: int = Field(10_000, ge=1, description="How many windows may be open at once; the least recently used closes.")
    conditions: list[Selector] = Field(
        default_factory=list,
        description="Deduplicate only events that one of these selects by source, type or both. Empty: all but plain logs.",
    )
    exclude: list[Selector] = Field(
        default_factory=list, description="Never deduplicate events that one of these selects; goes before `conditions`."
    )
    hash_function: str = Field(
        "default",
        description="Name of the function that tells what makes events equal: `default`; `unit_transition`, by which a unit's "
        "transition is the same in the journal and on D-Bus (choose both sources by `conditions`); plugins add more.",
    )

    def selects(self, source: str, type: str) -> bool:
        """Tell whether events of that source and type are deduplicated."""
        if any(selector.matches(source, type) for selector in self.exclude):
            return False
        if not self.conditions:
            return type != EventType.LOG
        return any(selector.matches(source, type) for selector in self.conditions)


def default_hash(event: UnifiedEvent) -> Hashable:
    """Return an event's identity: source, type, entity uid and title."""
    title = event.title
    if len(title) > _LONGEST_KEPT:
        title = blake2b(title.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return (event.source, event.type, event.entity.uid, title)


class _Timeline:
    """Follow event time for one source: which of its windows are open and when the next one ends."""

    __slots__ = ("arrived", "earliest", "ends", "open", "passing", "subject")

    def __init__(self) -> None:
        self.arrived = 0.0
        self.earliest = _NEVER
        """A time before which no window of this source ends."""
        self.ends: list[tuple[int, int, _Window]] = []
        self.open = 0
        self.passing: set[str] = set()
        """Types of event that are never deduplicated, as far as met."""
        self.subject: set[str] = set()

    def add(self, window: _Window, serial: int) -> None:
        """Note when a window ends; what is left of windows closed otherwise never outweighs the open ones."""
        if len(self.ends) > 2 * self.open + 64:
            self.ends = [entry for entry in self.ends if entry[2].is_open]
            heapq.heapify(self.ends)
        heapq.heappush(self.ends, (window.end, serial, window))
        self.open += 1
        self.earliest = self.ends[0][0]

    def pop_due(self, now: int) -> Iterable[_Window]:
        """Yield the open windows that end at `now` or before, in order."""
        while self.ends and self.ends[0][0] <= now:
            window = heapq.heappop(self.ends)[2]
            if window.is_open:
                yield window
        self.earliest = self.ends[0][0] if self.ends else _NEVER


class _Window:
    """Hold what is known of one event and its repeats. The event itself, which may be a megabyte, is let go."""

    __slots__ = (
        *("end", "first", "id", "is_open", "key", "last", "observed", "origin", "own", "repeats", "severity"),
        *("source", "span_id", "start", "timeline", "title", "trace_id", "type"),
    )

    def __init__(self, key: Hashable, event: UnifiedEvent, length: int, timeline: _Timeline) -> None:
        self.key = key
        self.timeline = timeline
        self.is_open = True
        self.repeats = 0
        self.id = event.id
        self.start = self.first = self.last = event.timestamp
        self.end = event.timestamp + length
        self.observed = event.observed
        self.source, self.type = event.source, event.type
        self.severity = event.severity
        self.title = event.title[:_LONGEST_KEPT]
        self.origin, self.own = _remembered(event)
        self.trace_id, self.span_id = event.trace_id, event.span_id

    def count(self, event: UnifiedEvent) -> None:
        """Count one repeat."""
        self.repeats += 1
        self.observed = event.observed
        self.last = max(self.last, event.timestamp)
        self.first = min(self.first, event.timestamp)
        self.severity = max(self.severity, event.severity)

    def summary(self) -> UnifiedEvent:
        """Return the event that stands for the repeats."""
        first, last = rfc3339(self.first), rfc3339(self.last)
        told: dict[str, AttributeValue] = {COUNT_KEY: self.repeats, FIRST_KEY: first, LAST_KEY: last}
        times = "once" if self.repeats == 1 else f"{self.repeats:,} times"
        event = UnifiedEvent.of_origin(
            self.origin,
            event_id("dedup", self.id, self.first, self.last, self.repeats),
            self.last,
            self.observed,
            self.source,
            self.type,
            Severity(self.severity),
            self.title,
            f"{self.title} (repeated {times} between {first} and {last})",
            {**self.own, **told},
        )
        event.trace_id, event.span_id, event.parent_id = self.trace_id, self.span_id, self.id
        return event


class DedupProcessor(Processor[DedupConfig]):
    """Hold back repeats of an event and tell their number."""

    type = "dedup"
    Config = DedupConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: DedupConfig, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(context, config)
        self._identity = _chosen_hash(context, config.hash_function)
        self._length = round(config.window * 1e9)
        self._silence = max(config.window, _SHORTEST_SILENCE)
        self.flush_interval = min(self._silence / 10, 30.0)
        self._monotonic = monotonic
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()
        self._timelines: dict[str, _Timeline] = {}
        self._opened = 0
        self._held_back = 0
        context.counters.gauge("dedup_open_windows", lambda: len(self._windows))

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Return the events without repeats, and before each event the summaries of windows that it closes."""
        if len(set(map(_SOURCE, events))) == 1:  # as good as always: a batch comes from one receiver
            passed = self._process(events[0].source, events)
        else:
            passed = [event for source, run in groupby(events, _SOURCE) for event in self._process(source, list(run))]
        if self._held_back:
            self.context.counters.add("dropped", self._held_back, reason="duplicate")
            self._held_back = 0
        return passed

    def flush(self, final: bool) -> list[UnifiedEvent]:
        """Return the summaries of sources that fell silent; of all windows when `final`."""
        limit = self._monotonic() - self._silence
        passed: list[UnifiedEvent] = []
        for timeline in self._timelines.values():
            if timeline.open and (final or timeline.arrived <= limit):
                self._close_due(timeline, _NEVER, passed)
        return passed

    def _process(self, source: str, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Process events of one source. Nearly all of them end at the loop's first condition."""
        timeline = self._timelines.get(source) or self._new_timeline(source)
        timeline.arrived = self._monotonic()
        passing, earliest = timeline.passing, timeline.earliest
        passed: list[UnifiedEvent] = []
        passes = passed.append
        for event in events:
            if event.type in passing and event.timestamp < earliest:
                passes(event)
            else:
                self._consider(timeline, event, passed)
                earliest = timeline.earliest
        return passed

    def _consider(self, timeline: _Timeline, event: UnifiedEvent, passed: list[UnifiedEvent]) -> None:
        if event.timestamp >= timeline.earliest:
            self._close_due(timeline, event.timestamp, passed)
        if not self._is_subject(timeline, event) or not self._is_repeat(timeline, event, passed):
            passed.append(event)

    def _is_subject(self, timeline: _Timeline, event: UnifiedEvent) -> bool:
        if event.type in timeline.subject:
            return event.get(COUNT_KEY) is None
        if event.type in timeline.passing:
            return False
        self._decide(timeline, event)
        return self._is_subject(timeline, event)

    def _decide(self, timeline: _Timeline, event: UnifiedEvent) -> None:
        """Decide, once for all events of this source and type, whether they are deduplicated."""
        types = timeline.subject if self.config.selects(event.source, event.type) else timeline.passing
        if len(types) >= _MOST_TYPES:
            types.clear()
        types.add(event.type)

    def _is_repeat(self, timeline: _Timeline, event: UnifiedEvent, passed: list[UnifiedEvent]) -> bool:
        try:
            key = self._identity(event)
            window = self._windows.get(key)
        except Exception as error:
            self._report(error)
            return False
        if key is None:
            return False
        if window is not None:
            if window.id == event.id:  # read again: whether it was delivered the first time is not known here
                return False
            if window.start - self._length < event.timestamp < window.end:
                window.count(event)
                self._windows.move_to_end(key)
                self._held_back += 1
                return True
            self._close(window, passed)
        self._open(key, event, timeline, passed)
        return False

    def _open(self, key: Hashable, event: UnifiedEvent, timeline: _Timeline, passed: list[UnifiedEvent]) -> None:
        if len(self._windows) >= self.config.cache_size:
            self._close(next(iter(self._windows.values())), passed)
        self._opened += 1
        window = self._windows[key] = _Window(key, event, self._length, timeline)
        timeline.add(window, self._opened)

    def _close(self, window: _Window, passed: list[UnifiedEvent]) -> None:
        window.is_open = False
        window.timeline.open -= 1
        del self._windows[window.key]
        if window.repeats:
            passed.append(window.summary())

    def _close_due(self, timeline: _Timeline, now: int, passed: list[UnifiedEvent]) -> None:
        for window in timeline.pop_due(now):
            self._close(window, passed)

    def _new_timeline(self, source: str) -> _Timeline:
        if len(self._timelines) >= _MOST_SOURCES:
            self._timelines = {name: timeline for name, timeline in self._timelines.items() if timeline.open}
        timeline = self._timelines[source] = _Timeline()
        return timeline

    def _report(self, error: Exception) -> None:
        self.context.counters.add("failed", 1, reason="hash_function")
        self.context.report(
            f"hash_function {self.config.hash_function!r} fails: {type(error).__name__}: {error}; the events go on as they are"
        )


def rfc3339(nanoseconds: int) -> str:
    """Return a timestamp as the JSON form writes it; the bare number where no calendar reaches."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
    except (ValueError, OverflowError, OSError):
        return str(nanoseconds)


def _chosen_hash(context: ComponentContext, name: str) -> HashFunction:
    known: dict[str, HashFunction] = {"default": default_hash, **context.provided("hash_functions")}
    try:
        return known[name]
    except KeyError:
        available = ", ".join(sorted(known))
        raise ComponentError(
            f"processors.{context.id}.hash_function: there is no hash function {name!r}; write one of {available},"
            " or install the plugin that brings it (hook tapio_hash_functions)"
        ) from None


def _remembered(event: UnifiedEvent) -> tuple[Origin, dict[str, AttributeValue]]:
    """Return what a summary repeats of an event: an origin to share, and attributes that cost little to keep."""
    if event.shared is not None:
        return event.shared, _short(event.own)
    return Origin(event.entity, None, dict(event.labels), dict(event.annotations)), _short(event.attributes)


def _short(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {key: value for key, value in attributes.items() if _is_short(value)}


def _is_short(value: Any) -> bool:
    return len(value) <= _LONGEST_KEPT if isinstance(value, (str, bytes)) else isinstance(value, (int, float))
