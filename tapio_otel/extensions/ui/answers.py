"""The answers about events: from a store and a request's parameters to an object for JSON. All of it blocks, in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from tapio_otel.event import EventType, Severity, UnifiedEvent
from tapio_otel.event_json import EventFormatError, to_json
from tapio_otel.event_store.query import EVER, EventQuery
from tapio_otel.extensions.ui.errors import ApiError
from tapio_otel.extensions.ui.moments import format_moment
from tapio_otel.extensions.ui.naming import clean
from tapio_otel.extensions.ui.store_access import Store
from tapio_otel.timeline.focus import FocusError
from tapio_otel.timeline.reconstruct import TimelineReconstructor
from tapio_otel.timeline.text import as_dict

Values = Mapping[str, Any]
MOST_BYTES: Final = 16 * 1024**2
"""Bytes of events after which an answer ends, with a cursor to go on."""
FIRST_PART: Final = 50
LARGEST_PART: Final = 2000
MOST_MEMBERS: Final = 2000
"""Events that come with one finding; in a list of findings `MOST_LISTED_MEMBERS`."""
MOST_LISTED_MEMBERS: Final = 100


def encoded(event: UnifiedEvent) -> bytes | None:
    """Return an event's JSON; None for one that no JSON can hold."""
    try:
        return to_json(event)
    except EventFormatError:
        return None


def query_of(values: Values, **others: Any) -> EventQuery:
    """Return the query that parameters make."""
    severity = values.get("severity")
    return EventQuery(
        since_ns=values.get("since", 0),
        until_ns=values.get("until", EVER),
        types=values.get("type", ()),
        severity=Severity.from_keyword(severity) if severity else None,
        entity=values.get("entity", ""),
        trace_id=values.get("trace_id", ""),
        source=values.get("source", ""),
        text=values.get("text", ""),
        **others,
    )


def events(store: Store, values: Values) -> dict[str, Any]:
    """Return a page of events; it ends early where events are very long."""
    found: list[orjson.Fragment] = []
    limit, cursor, part, size = values["limit"], values["cursor"], FIRST_PART, 0
    while True:
        page = store.events(query_of(values, order=values["order"], limit=min(part, limit), cursor=cursor))
        for item in page.items:
            text = encoded(item.event)
            if text is not None:
                found.append(orjson.Fragment(text))
                size += len(text)
        cursor, limit = page.next, limit - len(page.items)
        if not cursor or limit <= 0 or size >= MOST_BYTES:
            return {"events": found, "next": cursor or None}
        part = min(part * 4, LARGEST_PART) if size < MOST_BYTES // 8 else FIRST_PART


def event(store: Store, id: str) -> orjson.Fragment:
    """Return one event; raises `ApiError`."""
    found = store.event(id)
    text = encoded(found) if found is not None else None
    if text is None:
        raise ApiError(404, "not_found", f"there is no event {id[:100]!r} (any more)", "id")
    return orjson.Fragment(text)


def entities(store: Store, values: Values) -> dict[str, Any]:
    """Return the entities that events are about."""
    return {
        "entities": [
            {
                "type": clean(one.type),
                "namespace": clean(one.namespace),
                "name": clean(one.name),
                "uid": clean(one.uid),
                "path": [clean(name) for name in one.path],
                "first": format_moment(one.first_ns),
                "last": format_moment(one.last_ns),
                "events": one.events,
                "worst": one.worst.keyword,
            }
            for one in store.entities(values["text"], values["limit"])
        ]
    }


def findings(store: Store, values: Values) -> dict[str, Any]:
    """Return findings, newest first, with the events of each where they are asked for."""
    found = store.findings(values["since"], values["until"], values["limit"], values["rule"])
    if not values["expand"]:
        return {"findings": [orjson.Fragment(text) for text in map(encoded, found) if text is not None]}
    answer, size = [], 0
    for one in found:
        known = store.events_by_id(member_ids(one)[:MOST_LISTED_MEMBERS]) if size < MOST_BYTES else {}
        content = expanded(one, known)
        if content is not None:
            answer.append(orjson.Fragment(content))
            size += len(content)
    return {"findings": answer}


def finding(store: Store, id: str) -> orjson.Fragment:
    """Return one finding with its events; raises `ApiError`."""
    found = store.event(id)
    if found is None or found.type != EventType.CORRELATION:
        raise ApiError(404, "not_found", f"there is no finding {id[:100]!r} (any more)", "id")
    content = expanded(found, store.events_by_id(member_ids(found)[:MOST_MEMBERS]))
    if content is None:
        raise ApiError(404, "not_found", f"the finding {id[:100]!r} cannot be told in JSON", "id")
    return orjson.Fragment(content)


def expanded(found: UnifiedEvent, known: Mapping[str, UnifiedEvent]) -> bytes | None:
    """Return a finding's JSON with events by id, as many as an answer holds."""
    text = encoded(found)
    if text is None:
        return None
    told, size = {}, 0
    for id in member_ids(found):
        member = encoded(known[id]) if id in known and size < MOST_BYTES else None
        if member is not None:
            told[id] = orjson.Fragment(member)
            size += len(member)
    return text[:-1] + b',"events":' + orjson.dumps(told) + b"}"


def member_ids(found: UnifiedEvent) -> list[str]:
    """Return the ids of a finding's events: the root cause, the impacts, then the others."""
    ids = [found.get("root_cause"), *_texts(found.get("impacts")), *_texts(found.get("members"))]
    return list(dict.fromkeys(id for id in ids if isinstance(id, str) and id))


def _texts(value: Any) -> Iterable[str]:
    return (one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


reconstruct: Final = TimelineReconstructor().reconstruct


def one_timeline(store: Store, values: Values) -> dict[str, Any]:
    """Return the timeline of the entity that `type`, `namespace` (`-` for none) and `name` give; raises `ApiError`."""
    namespace = "" if values["namespace"] == "-" else values["namespace"]
    focus = "/".join(filter(None, (values["type"], namespace, values["name"])))
    since, until, window = values["since"], values["until"], values["window"]
    if window and until != EVER:
        since = max(since, until - window)
    try:
        found = store.related(focus, since, until)
        timeline = reconstruct(found, focus, since or None, None if until == EVER else until)
        if window and until == EVER and timeline.entries:
            last = timeline.entries[-1].event.timestamp
            timeline = reconstruct(found, focus, max(since, last - window), last)
    except FocusError as error:
        raise ApiError(404, "no_entity", f"entity: {error}", "entity") from None
    return as_dict(timeline)
