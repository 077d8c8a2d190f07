"""The overview of a time range: what happened to which entity, as lanes with marks, or with counts where there are too many.

Lanes are in the order of their paths, so that a pod follows its node and a container its pod. Where events are given as counts,
the events that findings name, and findings themselves, are marks all the same, so that they can be found and linked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tapio_otel.event import UnifiedEvent
from tapio_otel.event_store import Bucket, EventQuery, Mark
from tapio_otel.event_store.query import EVER
from tapio_otel.extensions.ui.answers import Values, member_ids, query_of
from tapio_otel.extensions.ui.memory_store import mark_of
from tapio_otel.extensions.ui.moments import format_moment
from tapio_otel.extensions.ui.naming import clean, parts_of
from tapio_otel.extensions.ui.store_access import Store

BUCKETS: Final = 240
MOST_LANES: Final = 2000
MOST_FINDINGS: Final = 500
MOST_LINKED: Final = 5000
LONGEST_TITLE: Final = 200
_MILLISECOND: Final = 1e6


def overview(store: Store, values: Values) -> dict[str, Any]:
    """Return the answer of `/timeline`."""
    query = query_of(values)
    limit = values["limit"]
    total = store.count(query)
    findings = store.findings(query.since_ns, query.until_ns, MOST_FINDINGS, "")
    dense = total > limit
    buckets = store.density(query, BUCKETS) if dense else []
    marks = _linked(store, query, findings) if dense else store.marks(query, limit)
    lanes = _Lanes([*(one.path for one in marks), *(one.path for one in buckets)])
    since, until = _range(query, marks, buckets)
    shown = {mark.id for mark in marks}
    return {
        "since": format_moment(since),
        "until": format_moment(until),
        "total": total,
        "lanes": lanes.as_list(),
        "lanes_left_out": lanes.left_out,
        "marks": [_mark(lanes.places[one.path], one) for one in marks if one.path in lanes.places],
        "density": [_count(lanes.places[one.path], one) for one in buckets if one.path in lanes.places],
        "links": [link for one in findings for link in _links(one) if link[0] in shown and link[1] in shown],
    }


class _Lanes:
    """Number the paths; beyond `MOST_LANES` those with the fewest entries are left out."""

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        counts: dict[tuple[str, ...], int] = {}
        for path in paths:
            counts[path] = counts.get(path, 0) + 1
        kept = sorted(counts, key=lambda path: -counts[path])[:MOST_LANES]
        self.left_out = len(counts) - len(kept)
        self.places = {path: place for place, path in enumerate(sorted(kept))}

    def as_list(self) -> list[dict[str, Any]]:
        """Return the lanes in their order."""
        return [_lane(path) for path in self.places]


def _lane(path: tuple[str, ...]) -> dict[str, Any]:
    type_, namespace, name = map(clean, parts_of(path[-1] if path else ""))
    return {"path": [clean(one) for one in path], "type": type_, "namespace": namespace, "name": name}


def _mark(lane: int, one: Mark) -> list[Any]:
    title = clean(one.title[:LONGEST_TITLE])
    return [lane, one.timestamp / _MILLISECOND, int(one.severity), clean(one.source), clean(one.type), clean(one.id), title]


def _count(lane: int, one: Bucket) -> list[Any]:
    return [lane, one.start_ns / _MILLISECOND, one.end_ns / _MILLISECOND, int(one.severity), one.count]


def _linked(store: Store, query: EventQuery, findings: Sequence[UnifiedEvent]) -> list[Mark]:
    """Return the marks of findings and of what they name."""
    ids = list(dict.fromkeys(id for one in findings for id in (one.id, *_ends(one))))[:MOST_LINKED]
    found = (mark_of(event) for event in store.events_by_id(ids).values())
    return [mark for mark in found if query.since_ns <= mark.timestamp <= query.until_ns]


def _ends(found: UnifiedEvent) -> list[str]:
    """Return the ids of a finding's root cause and impacts."""
    impacts = found.get("impacts")
    return member_ids(found)[: 1 + (len(impacts) if isinstance(impacts, list) else 0)]


def _links(found: UnifiedEvent) -> list[list[str]]:
    """Return the links from a finding's root cause to each impact."""
    root, *impacts = _ends(found) or [""]
    return [[root, impact, found.id] for impact in impacts]


def _range(query: EventQuery, marks: Sequence[Mark], buckets: Sequence[Bucket]) -> tuple[int, int]:
    """Return the time range: as asked for, or as far as there is anything."""
    first = min([*(one.timestamp for one in marks), *(one.start_ns for one in buckets)], default=time.time_ns())
    last = max([*(one.timestamp for one in marks), *(one.end_ns for one in buckets)], default=time.time_ns())
    return query.since_ns or first, last if query.until_ns == EVER else query.until_ns
