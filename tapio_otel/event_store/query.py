"""What can be asked of a store, and the forms in which it answers. Times are nanoseconds since the Unix epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.event_store.errors import EventQueryError

EVER: Final = (1 << 63) - 1
MOST_EVENTS: Final = 10_000
"""Most events that one page holds."""
MOST_IDS: Final = 10_000
MOST_TEXT: Final = 1_000
"""Longest text that is searched for, in characters."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Say which events are meant: those that meet all of the conditions given; raises `EventQueryError` where one is wrong.

    `since_ns` and `until_ns` are included. `severity` means that or worse. `entity` is `TYPE/[NAMESPACE/]NAME`, such as
    `pod/prod/web-0`: that entity and what is part of it; any other text means entities whose own name contains it, whatever
    the case. `text` searches titles and descriptions for words: all of them must occur, `"…"` keeps words together, `word*`
    finds what begins so, `-word` must not occur. `cursor` is the `next` of the page before, asked with the same conditions.
    """

    since_ns: int = 0
    until_ns: int = EVER
    types: Sequence[str] = ()
    severity: Severity | None = None
    entity: str = ""
    trace_id: str = ""
    source: str = ""
    text: str = ""
    ids: Sequence[str] = ()
    order: Literal["desc", "asc"] = "desc"
    limit: int = 200
    cursor: str = ""

    def __post_init__(self) -> None:
        if self.order not in {"desc", "asc"}:
            raise EventQueryError("order", f"found {self.order!r}: write desc (newest first) or asc")
        if not 1 <= self.limit <= MOST_EVENTS:
            raise EventQueryError("limit", f"found {self.limit!r}: write a number from 1 to {MOST_EVENTS}")
        if len(self.ids) > MOST_IDS:
            raise EventQueryError("ids", f"found {len(self.ids)} ids: ask for {MOST_IDS} at most")
        if len(self.text) > MOST_TEXT:
            raise EventQueryError("text", f"found {len(self.text)} characters: write {MOST_TEXT} at most")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Hold an event with the name of its entity, such as `pod/prod/web-0`, and those of its lineage, the outermost first."""

    event: UnifiedEvent
    entity: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Hold a part of what was asked for; `next` is the cursor of the rest, empty where this is all."""

    items: list[T]
    next: str = ""


@dataclass(frozen=True, slots=True)
class StoredEntity:
    """Describe an entity that events are about. `path` leads from the outermost (`node/n1`) to the entity itself."""

    type: str
    namespace: str
    name: str
    uid: str
    path: tuple[str, ...]
    first_ns: int
    last_ns: int
    events: int
    worst: Severity


class Mark(NamedTuple):
    """Be as much of an event as a point on a timeline needs."""

    id: str
    timestamp: int
    path: tuple[str, ...]
    severity: Severity
    source: str
    type: str
    title: str


@dataclass(slots=True)
class Bucket:
    """Count the events of one entity and severity that happened from `start_ns` on, until the next bucket begins."""

    start_ns: int
    end_ns: int
    path: tuple[str, ...]
    severity: Severity
    count: int


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Say what a store holds: `bytes` on disk in use, times of the oldest and newest event (0 without any)."""

    events: int
    findings: int
    entities: int
    bytes: int
    oldest_ns: int
    newest_ns: int
