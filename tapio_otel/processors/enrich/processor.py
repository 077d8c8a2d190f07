"""The processor: finds what is known of each event and lets the chain of enrichers add it.

What an origin becomes is kept in its cache, with the generation of all knowledge at that time, so that most events cost one
look. When the generation has moved on, the origin is only made anew if something has changed of what it is about.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial
from typing import Any, Final

from tapio_otel.component import ComponentContext, Processor, Stability
from tapio_otel.enrichment import EnricherContext
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import UNKNOWN_ENTITY, EntityReference
from tapio_otel.event import Origin, UnifiedEvent
from tapio_otel.processors.enrich.chain import Chain, Link, make_chain, said
from tapio_otel.processors.enrich.config import EnrichConfig
from tapio_otel.processors.enrich.connection import connection_for
from tapio_otel.processors.enrich.known import HINTS, Knowledge, Known
from tapio_otel.processors.enrich.subject import Additions, laid_over

_LOOKS: Final = 0.1
"""Seconds between two looks whether events that are held back may go on."""
_MOST_HELD: Final = 50_000
"""Events that are held back at most."""
_FAILED: Final = 300.0
"""Seconds for which health tells that an enricher failed."""
_HINTS: Final = frozenset(HINTS)
_KEPT: Final = 4096
"""Entities of events without an origin for which what is known is kept."""


class Entry:
    """Keep what an origin becomes: good while nothing has changed since `generation`, or `stamp` is still the same."""

    __slots__ = ("added", "each", "generation", "origin", "stamp")

    def __init__(
        self, generation: int, stamp: tuple[Any, ...], origin: Origin, added: Additions, each: tuple[Link, ...]
    ) -> None:
        self.generation = generation
        self.stamp = stamp
        self.origin = origin
        self.added = added
        self.each = each


_DONE: Final = Entry(-1, (), Origin(), Additions("", UNKNOWN_ENTITY, {}, {}, {}), ())
"""Marks an origin that came out of this: it is not enriched again."""


class EnrichProcessor(Processor[EnrichConfig]):
    """Put on events what is known of what they are about."""

    type = "enrich"
    Config = EnrichConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: EnrichConfig) -> None:
        super().__init__(context, config)
        self._connection = connection = connection_for(context, config)
        self._cluster = cluster = connection.cache
        self._problems = Problems(context)
        self._knowledge = Knowledge(context.entities, cluster, config.kubernetes.node)
        self._chain: Chain = make_chain(
            config,
            lambda name: EnricherContext(
                name, context, cluster, config.overwrite, partial(self._problems.set, f"enricher {name}")
            ),
            context.provided("enrichers"),
            self._problems.failed,
        )
        self._problems.last()
        self._key = object()  # of its own, as another enrich processor may see the same origins
        self._alike: Bounded[Any, Entry] = Bounded(_KEPT)
        self._held: list[UnifiedEvent] = []
        self._held_from: int | None = None
        self._until: float | None = None
        if config.wait_for_sync and config.kubernetes.wanted:
            self.flush_interval = _LOOKS
        context.counters.gauge("enrich_pods", lambda: cluster.sizes["pods"])

    @property
    def held_from(self) -> int | None:
        """Return the serial of the first batch that waits for the cluster."""
        return self._held_from

    async def start(self) -> None:
        """Start the enrichers and begin to ask the cluster, without waiting for it."""
        await self._chain.start()
        self._connection.hold(self.context, self._problems.set)
        if self.config.wait_for_sync and self.config.kubernetes.wanted:
            self._until = asyncio.get_running_loop().time() + self.config.wait_for_sync

    async def shutdown(self) -> None:
        """Let go of the cluster and shut the enrichers down."""
        await self._connection.release(self.context)
        await self._chain.shutdown()

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Enrich the events in place; returns the same list, unless they are to wait for the cluster."""
        if self._until is not None:
            if self._waits():
                self._hold(events)
                return []
            events = [*self._let_go(), *events]
        key, generation = self._key, self._generation()
        reads, chain = self._chain.reads, self._chain
        nothing_read_of = reads.isdisjoint
        for event in events:
            origin = event.shared
            if origin is None:
                self._enrich_alone(event, generation)
                continue
            entry = origin.cache.get(key)
            if entry is None or entry.generation != generation:
                entry = self._entry(origin, event.source, generation)
            event.shared = entry.origin
            own = event.own
            if entry.each or (own and not nothing_read_of(own)):
                chain.enrich_event(event, own, entry.each)
        self._problems.tell()
        return events

    def flush(self, final: bool) -> list[UnifiedEvent]:
        """Return what was held back, enriched, once the cluster is known or was waited for long enough."""
        if self._until is None or (not final and self._waits()):
            return []
        return self.process(self._let_go())

    def _generation(self) -> int:
        """Return a number that goes up whenever anything that is known, of the cluster or by an enricher, changes."""
        return self._cluster.generation + self._chain.version

    # --- events that share an origin ------------------------------------------------------------------------------------

    def _entry(self, origin: Origin, source: str, generation: int) -> Entry:
        """Return what an origin becomes now; what that becomes is itself."""
        entry: Entry | None = origin.cache.get(self._key)
        if entry is _DONE:
            return Entry(generation, (), origin, Additions(source, origin.entity, {}, {}, {}), ())
        known = self._knowledge.of(origin.entity, origin.attributes, source)
        version = self._chain.version
        stamp = (*known.stamp, version)
        if entry is not None and entry.stamp == stamp:
            entry.generation = generation
            return entry
        added, each = self._ask(known, origin, source)
        enriched = self._enriched(origin, known.entity, added)
        entry = Entry(generation, stamp, enriched, added, each)
        origin.cache[self._key] = entry
        if enriched is not origin:
            enriched.cache[self._key] = _DONE
        return entry

    def _ask(self, known: Known, origin: Origin, source: str) -> tuple[Additions, tuple[Link, ...]]:
        subject = Additions(source, known.entity, origin.attributes, origin.labels, origin.annotations)
        subject.pod, subject.container, subject.node = known.pod, known.container, known.node
        subject.namespace, subject.unit, subject.here = known.namespace, known.unit, known.here
        return subject, self._chain.enrich(subject)

    def _enriched(self, origin: Origin, entity: EntityReference, added: Additions) -> Origin:
        overwrite = self.config.overwrite
        attributes = added.laid_over(origin.attributes, overwrite)
        labels = laid_over(origin.labels, added.added_labels, overwrite)
        annotations = laid_over(origin.annotations, added.added_annotations, overwrite)
        before = (origin.entity, origin.attributes, origin.labels, origin.annotations)
        if (entity, attributes, labels, annotations) == before:
            return origin
        return Origin(entity, attributes, labels, annotations, origin.record)

    # --- events by themselves -------------------------------------------------------------------------------------------

    def _enrich_alone(self, event: UnifiedEvent, generation: int) -> None:
        """Enrich an event that shares nothing: as one of the origin that its entity and source would make."""
        attributes = event.attributes
        entity = self._knowledge.of_flow(event.entity, event.type, attributes)
        hints = {} if _HINTS.isdisjoint(attributes) else {name: attributes[name] for name in HINTS if name in attributes}
        key = (event.source, entity, *hints.items()) if hints else (event.source, entity)
        try:
            entry = self._alike.get(key)
        except TypeError:  # an attribute that is a list
            key, entry, hints = (event.source, entity), None, {}
        if entry is None or entry.generation != generation:
            stand_in = Origin(entity, hints)
            if entry is not None:
                stand_in.cache[self._key] = entry
            entry = self._entry(stand_in, event.source, generation)
            self._alike.keep(key, entry)
        added, overwrite = entry.added, self.config.overwrite
        if entry.origin.entity is not event.entity:
            event.entity = entry.origin.entity
        if added.added:
            event.attributes = added.laid_over(attributes, overwrite)
        if added.added_labels:
            event.labels = laid_over(event.labels, added.added_labels, overwrite)
        if added.added_annotations:
            event.annotations = laid_over(event.annotations, added.added_annotations, overwrite)
        if entry.each or not self._chain.reads.isdisjoint(event.attributes):
            self._chain.enrich_event(event, event.attributes, entry.each)

    # --- waiting for the cluster ----------------------------------------------------------------------------------------

    def _waits(self) -> bool:
        """Tell whether events are still to wait."""
        if self._until is None or self._connection.synced or len(self._held) >= _MOST_HELD:
            return False
        return asyncio.get_running_loop().time() < self._until

    def _hold(self, events: list[UnifiedEvent]) -> None:
        self._held += events
        if self._held_from is None and events:
            self._held_from = self.serial

    def _let_go(self) -> list[UnifiedEvent]:
        held, self._held, self._held_from, self._until = self._held, [], None, None
        return held


class Problems:
    """Tell health and log what is wrong with the cluster or an enricher, one thing at a time, and when all is well again."""

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._now: dict[str, str] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._failed_until: dict[str, float] = {}
        self._clock = time.monotonic
        self._told: str | None = None

    def set(self, part: str, problem: str | None) -> None:
        """Note what is wrong with a part, or None that it is well."""
        if problem is None:
            self._now.pop(part, None)
        else:
            self._now[part] = problem
        self._report()

    def failed(self, enricher: str, error: Exception) -> None:
        """Note that an enricher raised; its events go on without it."""
        self._failures[enricher, type(error).__name__] += 1
        part = f"failing {enricher}"
        self._now[part] = f"enricher {enricher!r} fails: {said(error)}; events go on without what it knows"
        self._failed_until[part] = self._clock() + _FAILED

    def last(self) -> None:
        """Keep what failed so far in health for good: enrichers that could not be made will not be asked again."""
        self._failed_until.clear()

    def tell(self) -> None:
        """Count and report what failed since."""
        if not self._failures and not self._failed_until:
            return
        for (enricher, reason), amount in self._failures.items():
            self._context.counters.add("failed", amount, enricher=enricher, reason=reason)
        self._failures.clear()
        now = self._clock()
        for part in [part for part, until in self._failed_until.items() if until <= now]:
            del self._failed_until[part]
            self._now.pop(part, None)
        self._report()

    def _report(self) -> None:
        problem = "; ".join(self._now.values()) or None
        if problem == self._told:
            return
        self._told = problem
        if problem is None:
            self._context.report(None)
        else:
            self._context.warn(problem)
