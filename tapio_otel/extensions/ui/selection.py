"""Which events are meant, decided event by event: for the live stream, and for events that are kept in memory.

Means the same as the store's queries do; words of a text are looked for as parts of words, without an index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tapio_otel.event import EntityReference, Severity, UnifiedEvent
from tapio_otel.event_store.query import EventQuery
from tapio_otel.extensions.ui.naming import name_of

Selects = Callable[[UnifiedEvent], bool]
_WORD = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')


def selects(query: EventQuery) -> Selects:
    """Return what tells whether a query means an event."""
    tests: list[Selects] = []
    if query.since_ns > 0:
        tests.append(lambda event: event.timestamp >= query.since_ns)
    tests.append(lambda event: event.timestamp <= query.until_ns)
    if query.severity is not None:
        least = query.severity
        tests.append(lambda event: event.severity >= least)
    if query.types:
        types = frozenset(query.types)
        tests.append(lambda event: event.type in types)
    if query.source:
        tests.append(lambda event: event.source == query.source)
    if query.trace_id:
        tests.append(lambda event: event.trace_id == query.trace_id)
    if query.ids:
        ids = frozenset(query.ids)
        tests.append(lambda event: event.id in ids)
    if query.entity:
        tests.append(_about(query.entity))
    if query.text.strip():
        tests.append(_says(query.text))
    return lambda event: all(test(event) for test in tests)


def of_stream(severity: Severity | None, entity: str, types: Sequence[str]) -> Selects:
    """Return what tells whether a live stream is to have an event."""
    return selects(EventQuery(since_ns=0, severity=severity, entity=entity, types=types))


def _about(text: str) -> Selects:
    if "/" in text:
        return lambda event: any(_is_named(one, text) for one in event.entity.lineage())
    part = text.lower()
    return lambda event: part in event.entity.name.lower()


def _is_named(entity: EntityReference, text: str) -> bool:
    return name_of(entity) == text or (entity.namespace == "" and f"{entity.type}/{entity.uid}" == text)


def _says(text: str) -> Selects:
    found = [(match[1], (match[2] or match[3] or "").rstrip("*").lower()) for match in _WORD.finditer(text)]
    wanted = [word for minus, word in found if not minus and word]
    unwanted = [word for minus, word in found if minus and word]

    def says(event: UnifiedEvent) -> bool:
        said = f"{event.title}\n{event.description}".lower()
        return all(word in said for word in wanted) and not any(word in said for word in unwanted)

    return says
