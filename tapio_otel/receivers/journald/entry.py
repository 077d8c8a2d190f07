"""Journal entries turned into events: pure, and the hot path of the receiver.

What a process writes differs from entry to entry in three or four of some twenty fields. So the parser keeps, for every pid, a
profile of its last entry: when all the fields of the origin are there with the same values, and the others are the same ones,
the origin and the way to the entry's own attributes are known. Anything else takes the slower, general way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from tapio_otel.event import AttributeValue, EntityReference, Origin, Severity, Source, UnifiedEvent
from tapio_otel.identity import sequence_prefix
from tapio_otel.receivers.journald.fields import NUMERIC, FieldSelection, attribute_key
from tapio_otel.receivers.journald.shape import Entry, Fields, Shape, Wanted

TITLE_LENGTH: Final = 200
MAX_ORIGINS: Final = 4096
MAX_SHAPES: Final = 1024
MAX_NAMES: Final = 64
"""How many fields an entry may have for its shape to be kept: programs with random field names must not fill the memory."""
PROCESS_START: Final = "process_start"
"""Key of an origin's record under which the start of the writing process is kept, in clock ticks since boot."""
TRUNCATED: Final = "truncated"
"""Attribute that names the fields which were cut off."""

_INFO = Severity.INFO
_JOURNALD = Source.JOURNALD


class _Profile:
    """Hold how the last entry of a pid looked: its shape, the `values` picked from it, and what came of them."""

    __slots__ = ("origin", "shape", "values")

    def __init__(self, shape: Shape, values: tuple[Any, ...], origin: Origin | None) -> None:
        self.shape = shape
        self.values = values
        self.origin = origin


_NO_PROFILE: Final = _Profile(Shape((), FieldSelection([])), (None,), None)  # which no entry looks like


class EntryParser:
    """Turn entries into events; keeps bounded caches, so use one parser for one journal.

    An event's `raw` is its PRIORITY as bytes, empty without one: all that normalizing needs besides the origin's record. The
    entry itself is let go at once, because thousands of them kept would make parsing a half slower.

    `excluded` decides from an origin's record whether its entries are left out; `process_start` finds the start of a process
    that belongs to no unit, from the record and the entry's time in microseconds.
    """

    def __init__(
        self,
        selection: FieldSelection | None = None,
        max_message_size: int = 1 << 20,
        excluded: Callable[[Mapping[str, Any]], bool] = lambda _record: False,
        process_start: Callable[[Mapping[str, Any], int], bytes] = lambda _record, _realtime: b"",
    ) -> None:
        self._selection = selection or FieldSelection()
        self._limit = max_message_size
        self._excluded = excluded
        self._process_start = process_start
        self._profiles: dict[Any, _Profile] = {}
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._origins: dict[Any, Origin | None] = {}
        self._prefixes: dict[str, str] = {}
        self.truncated = 0
        """How many fields were cut off so far."""

    def parse(self, fields: Fields, cursor: str, observed: int = 0) -> UnifiedEvent | None:
        """Return one entry's event, or None when it is left out."""
        events = self.parse_batch([(fields, cursor)], observed)
        return events[0] if events else None

    def parse_batch(self, entries: Iterable[Entry], observed: int = 0) -> list[UnifiedEvent]:
        """Return the entries' events in order, without those left out; `observed` in nanoseconds, default now."""
        observed = observed or time.time_ns()
        events: list[UnifiedEvent] = []
        append, create, known, limit = events.append, UnifiedEvent.of_origin, self._profiles.get, self._limit
        prefix = sequence = ""
        for fields, cursor in entries:
            source, number, _boot, _monotonic, realtime, _hash = cursor.split(";")
            microseconds = int(realtime[2:], 16)
            try:
                profile = known(fields.get("_PID"), _NO_PROFILE)
                shape = profile.shape
                if len(fields) != shape.count or shape.pick(fields) != profile.values:
                    profile = self._profile(fields, microseconds)
                    shape = profile.shape
                found = shape.rest(fields)
            except (KeyError, TypeError):  # other fields than the last entry of this pid, or a repeated one
                profile = self._profile(fields, microseconds)
                shape = profile.shape
                found = shape.rest(fields)
            origin = profile.origin
            if origin is None:
                continue
            own: dict[str, AttributeValue] = {}
            message = found[0]
            try:
                description = message.decode() if len(message) <= limit else self._awkward(message, own)
            except (UnicodeDecodeError, AttributeError):
                description = self._awkward(message, own)
            if shape.own:
                self._add_own(own, shape.own, found)
            if source != sequence:
                sequence, prefix = source, self._prefix(source)
            digits = number[2:].zfill(15)
            append(
                create(
                    origin,
                    f"{prefix}{digits[:3]}-{digits[3:]}",
                    microseconds * 1000,
                    observed,
                    _JOURNALD,
                    "log",
                    _INFO,
                    description[:TITLE_LENGTH],
                    description,
                    own,
                    found[1],
                )
            )
        return events

    def _prefix(self, source: str) -> str:
        if len(self._prefixes) > MAX_ORIGINS:
            self._prefixes.clear()
        prefix = self._prefixes.get(source)
        if prefix is None:
            prefix = self._prefixes[source] = sequence_prefix(source[2:])
        return prefix

    def _profile(self, fields: Fields, realtime: int) -> _Profile:
        """Find the profile of an entry that does not look like the last one of its pid, and remember it."""
        names = tuple(fields)
        shape = self._shapes.get(names)
        if shape is None:
            shape = Shape(names, self._selection)
            if len(names) <= MAX_NAMES:
                _bound(self._shapes, MAX_SHAPES)
                self._shapes[names] = shape
        values = shape.pick(fields)
        profile = _Profile(shape, values, self._origin(shape, values, realtime))
        pid = fields.get("_PID")
        if not isinstance(pid, list) and len(names) <= MAX_NAMES:
            _bound(self._profiles)
            self._profiles[pid] = profile
        return profile

    def _origin(self, shape: Shape, values: tuple[Any, ...], realtime: int) -> Origin | None:
        key = (shape.names, values)
        try:
            return self._origins[key]
        except KeyError:
            pass
        except TypeError:  # a repeated field
            key = (shape.names, _hashable(values))
            if key in self._origins:
                return self._origins[key]
        _bound(self._origins)
        origin = self._origins[key] = self._create_origin(shape, values, realtime)
        return origin

    def _create_origin(self, shape: Shape, values: tuple[Any, ...], realtime: int) -> Origin | None:
        record: dict[str, Any] = dict(zip(shape.names, values, strict=True))
        if list in map(type, values):
            record = {name: _first(value) for name, value in record.items()}
        if self._excluded(record):
            return None
        if "_SYSTEMD_UNIT" not in record and "_PID" in record:
            record[PROCESS_START] = self._process_start(record, realtime)
        node = _node(record.get("_HOSTNAME", b""), record.get("_MACHINE_ID", b""))
        return Origin(node, self._attributes(shape, values), record=record)

    def _attributes(self, shape: Shape, values: tuple[Any, ...]) -> dict[str, AttributeValue]:
        chosen = shape.chosen(values)
        try:
            texts = [value.decode() for value in chosen]
        except (UnicodeDecodeError, AttributeError):  # no text, or a repeated field
            texts = []
        if not texts or max(map(len, chosen)) > self._limit:
            attributes: dict[str, AttributeValue] = {}
            for name, value in zip(shape.names, values, strict=True):
                if self._selection.selects(name):
                    attributes[attribute_key(name)] = self._value(name, value, attributes)
            return attributes
        attributes = dict(zip(shape.keys, texts, strict=True))
        for key, index in shape.numeric:
            digits = values[index]
            if digits.isdigit() and len(digits) <= 18:
                attributes[key] = int(digits)
        return attributes

    def _add_own(self, own: dict[str, AttributeValue], wanted: Wanted, found: tuple[Any, ...]) -> None:
        for index, name, key in wanted:
            own[key] = self._value(name, found[index], own)

    def _value(self, name: str, value: Any, own: dict[str, AttributeValue]) -> AttributeValue:
        """Return a field's value as an attribute: text, an integer, bytes where it is no text, a list where it is repeated."""
        if isinstance(value, list):
            return [self._value(name, one, own) for one in value]
        if len(value) > self._limit:
            value = self._shorten(name, value, own)
        if name in NUMERIC and value.isdigit() and len(value) <= 18:
            return int(value)
        try:
            text: str = value.decode()
        except UnicodeDecodeError:
            return bytes(value)
        return text

    def _shorten(self, name: str, value: bytes, own: dict[str, AttributeValue]) -> bytes:
        self.truncated += 1
        marks = own.setdefault(TRUNCATED, [])
        if isinstance(marks, list) and name not in marks:
            marks.append(name)
        return _cut_text(value, self._limit)

    def _awkward(self, message: Any, own: dict[str, AttributeValue]) -> str:
        """Return the text of a message that is too long, no UTF-8, or repeated; what it really was becomes an attribute."""
        if isinstance(message, list):
            own["MESSAGE"] = [self._value("MESSAGE", one, own) for one in message]
            message = message[0]
        short: bytes = self._shorten("MESSAGE", message, own) if len(message) > self._limit else message
        try:
            return short.decode()
        except UnicodeDecodeError:
            own.setdefault("MESSAGE", short)
            return short.decode("utf-8", "replace")


def _cut_text(value: bytes, limit: int) -> bytes:
    """Cut at the limit, and not within a character if the value is text."""
    short = value[:limit]
    for back in range(1, min(4, limit) + 1):
        lead = short[-back]
        if 0xC2 <= lead <= 0xF4:  # the last character begins here; a whole one stays
            width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return short[:-back] if back < width else short
        if not 0x80 <= lead < 0xC0:
            break
    return short


@lru_cache(maxsize=256)
def _node(host: bytes, machine: bytes) -> EntityReference:
    name, id = host.decode("utf-8", "replace"), machine.decode("utf-8", "replace")
    return EntityReference("node", name or id or "unknown", uid=id)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _hashable(values: Any) -> Any:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def _bound(cache: dict[Any, Any], most: int = MAX_ORIGINS) -> None:
    """Make room: the older half goes."""
    if len(cache) >= most:
        for key in list(cache)[: most // 2]:
            del cache[key]
