"""Events as rows: made where the events are, so that the thread that writes them touches none.

What an origin says is prepared once for all of its events, and keeps the numbers of its rows in the store that writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from tapio_otel.correlation.lineage import Key, keys_of, targets_of
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType, Origin, Severity, UnifiedEvent
from tapio_otel.event_json import EventFormatError, from_dict, to_dict
from tapio_otel.event_store.lineage_keys import further_keys
from tapio_otel.event_values import pack_all
from tapio_otel.otlp.members import without_members

MOST_INDEXED: Final = 4096
"""Characters of a message whose words are found."""
_CACHED: Final = "event_store"
_KEPT: Final = 4096
_LATEST: Final = (1 << 63) - 1 - (1 << 32)
_new: Final = tuple.__new__
_SHARED_PARTS: Final = ("entity", "attributes", "labels", "annotations")
_AS_IT_IS: Final = frozenset((str, bool, int, type(None)))
"""Types of values that JSON can say as they are."""
Value = str | bytes | bytearray | int


class Shared:
    """Be what the events of one origin share: its content, its entity, and the lineage keys that all of them have."""

    __slots__ = ("content", "entity", "epoch", "keys", "lanes", "row", "subject")

    def __init__(self, entity: EntityReference, content: bytes, keys: tuple[Key, ...]) -> None:
        self.entity, self.content, self.keys = entity, content, keys
        self.epoch: object = None
        """Of which state of a store the numbers are."""
        self.row = self.subject = 0
        self.lanes: dict[tuple[str, str, int], int] = {}


class Record(NamedTuple):
    """Be an event as it is written, in values that Python's sqlite3 binds at once (see `rows`).

    Texts are bytes where SQLite cannot hold them as text; 0 stands for what is not there.
    """

    timestamp: int
    id: str | bytes
    shared: Shared
    keys: tuple[int, ...]
    """Under which the event is found besides those of its origin."""
    kind: tuple[str, str, int]
    lag: int
    title: Value
    description: str | bytes
    own: str
    trace: Value
    span: Value
    parent: Value
    words: str
    revision: int
    """Of a finding; -1 for other events, of which the first telling counts."""


def size_of(record: Record) -> int:
    """Return about how many bytes a record's own texts and attributes take."""
    return len(record.description) + len(record.own)


class Encoder:
    """Make records of events. For the thread that the events belong to."""

    def __init__(self) -> None:
        self._known: Bounded[bytes, Shared] = Bounded(_KEPT)

    def records(self, events: Iterable[UnifiedEvent]) -> tuple[list[Record], int]:
        """Return the records of events, and how many events cannot be stored: not even as JSON, or at no time on a calendar."""
        found: list[Record] = []
        refused = 0
        for event in events:
            try:
                found.append(self._record(without_members(event) if event.type == EventType.CORRELATION else event))
            except (ValueError, RecursionError):
                refused += 1
        return found, refused

    def _record(self, event: UnifiedEvent) -> Record:
        timestamp, observed = event.timestamp, event.observed
        if not (0 <= timestamp <= _LATEST and 0 <= observed <= _LATEST):
            raise EventFormatError(f"timestamp: {timestamp!r} is no time that can be stored")
        origin = event.shared
        if origin is None:
            shared, own = self._shared(_without_attributes(event)), event.attributes
        else:
            own = event.own
            shared = origin.cache.get(_CACHED) or origin.cache.setdefault(_CACHED, self._shared(origin))
        keys, targets = keys_of(event), targets_of(event)
        title, description = event.title, event.description
        begins = description.startswith(title)
        return _new(
            Record,
            (
                timestamp,
                packed_id(event.id),
                shared,
                further_keys(keys, shared.keys, targets) if targets or keys is not shared.keys else (),
                (event.source, event.type, int(event.severity)),
                observed - timestamp,
                len(title) if begins else _bound(title),
                description if description.isascii() else storable(description),
                _own(own) if own else "",
                bytearray.fromhex(event.trace_id) if event.trace_id else 0,
                bytearray.fromhex(event.span_id) if event.span_id else 0,
                _bound(event.parent_id) if event.parent_id else 0,
                (description if begins or title in description else f"{title} {description}")[:MOST_INDEXED],
                _revision(event) if event.type == EventType.CORRELATION else -1,
            ),
        )

    def _shared(self, origin: Origin) -> Shared:
        probe = UnifiedEvent.of_origin(origin, "x", 0, 0, "x", EventType.LOG, Severity.INFO, "", "", {})
        whole = to_dict(probe)
        content = _json({name: whole[name] for name in _SHARED_PARTS})
        known = self._known.get(content)
        if known is None:
            from_dict(whole)  # what cannot be read again is not written
            known = self._known.keep(content, Shared(origin.entity, content, keys_of(probe)))
        return known


def _without_attributes(event: UnifiedEvent) -> Origin:
    return Origin(event.entity, None, event.labels, event.annotations)


def _json(content: Any) -> bytes:
    try:
        return orjson.dumps(content)
    except (orjson.JSONEncodeError, TypeError):  # lone surrogates: only escapes can carry them
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def _own(attributes: Mapping[str, Any]) -> str:
    """Return attributes as JSON."""
    if _AS_IT_IS.issuperset(map(type, attributes.values())):
        try:
            return orjson.dumps(attributes).decode()
        except TypeError:  # a name that is no text, an integer beyond 64 bits, lone surrogates
            pass
    return _json(pack_all(attributes)).decode()


def _revision(event: UnifiedEvent) -> int:
    revision = event.get("revision", 0)
    return revision if isinstance(revision, int) else 0


def _bound(text: str) -> str | bytearray:
    found = storable(text)
    return found if isinstance(found, str) else bytearray(found)


def storable(text: str) -> str | bytes:
    """Return a text, or bytes where there is a lone surrogate in it, which no SQLite text can hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-8", "surrogatepass")
    return text


def restored(value: str | bytes) -> str:
    """Return the text that `storable` was given."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def packed_id(id: str) -> str | bytes:
    """Return 16 bytes for a UUID in its usual form, or else the text; raises EventFormatError for lone surrogates."""
    if len(id) == 36 and id[8] == id[13] == id[18] == id[23] == "-":
        digits = id.replace("-", "")
        try:
            packed = bytes.fromhex(digits)
        except ValueError:
            packed = b""
        if packed.hex() == digits and len(packed) == 16:
            return packed
    if isinstance(storable(id), bytes):
        raise EventFormatError(f"id: {id!r} is no text that can be stored")
    return id


def unpacked_id(value: str | bytes) -> str:
    """Return the id that `packed_id` was given."""
    if isinstance(value, str):
        return value
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
