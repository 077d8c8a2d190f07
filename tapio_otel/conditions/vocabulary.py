"""What conditions may say: the event's variables, the severities by name, functions, macros.

Variables have the names of the event model; `message` is another name for `description`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from tapio_otel.conditions.regexp import compiled
from tapio_otel.event import EntityReference, Severity, UnifiedEvent

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEYWORDS: Final[Mapping[Any, str]] = {severity: severity.keyword for severity in Severity}
_NUMBERS: Final[Mapping[str, int]] = {severity.keyword: int(severity) for severity in Severity}
_MOST_PARENTS: Final = 16


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _timestamp(event: UnifiedEvent) -> datetime:
    return _moment(event.timestamp)


def _observed(event: UnifiedEvent) -> datetime:
    return _moment(event.observed)


def _severity(event: UnifiedEvent) -> str:
    severity: Any = event.severity
    return severity.lower() if isinstance(severity, str) else _KEYWORDS.get(severity, "")


def _severity_number(event: UnifiedEvent) -> int:
    severity: Any = event.severity
    return _NUMBERS.get(severity.lower(), 0) if isinstance(severity, str) else int(severity)


FIELDS: Final[Mapping[str, tuple[str, Callable[[UnifiedEvent], Any]]]] = {
    "id": ("id", attrgetter("id")),
    "timestamp": ("timestamp", _timestamp),
    "observed": ("observed", _observed),
    "source": ("source", attrgetter("source")),
    "type": ("type", attrgetter("type")),
    "severity": ("severity", _severity),
    "severity_number": ("severity", _severity_number),
    "title": ("title", attrgetter("title")),
    "description": ("description", attrgetter("description")),
    "message": ("description", attrgetter("description")),
    "trace_id": ("trace_id", attrgetter("trace_id")),
    "span_id": ("span_id", attrgetter("span_id")),
    "parent_id": ("parent_id", attrgetter("parent_id")),
}
"""Variables of one value: what of the event decides it, and how it is read."""

MAPS: Final = ("attributes", "labels", "annotations")
ENTITY: Final = "entity"
ENTITY_TEXTS: Final = ("type", "name", "namespace", "uid")
ENTITY_KEYS: Final = (*ENTITY_TEXTS, "attributes", "parent")
CONSTANTS: Final[Mapping[str, int]] = {severity.name: int(severity) for severity in Severity}
VARIABLES: Final = (*FIELDS, ENTITY, *MAPS)
TYPES: Final = ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint")
"""What `type(value)` is compared to."""

MACROS: Final[Mapping[str, tuple[int, ...]]] = {
    "all": (2,),
    "exists": (2,),
    "exists_one": (2,),
    "existsOne": (2,),
    "filter": (2,),
    "map": (2, 3),
}
"""Macros over lists and maps, with how many arguments they take; the first one names the element."""


def entity_map(entity: EntityReference, depth: int = 0) -> dict[str, Any]:
    """Return an entity as conditions see it; `parent` is left out where there is none."""
    content: dict[str, Any] = {name: getattr(entity, name) for name in ENTITY_TEXTS}
    content["attributes"] = dict(entity.attributes)
    if entity.parent is not None and depth < _MOST_PARENTS:
        content["parent"] = entity_map(entity.parent, depth + 1)
    return content


def _matches(text: str, pattern: str) -> bool:
    return compiled(pattern).search(text) is not None


def _in_ascii(shift: int, first: str) -> dict[int, int]:
    return {ord(first) + place: ord(first) + place + shift for place in range(26)}


_LOWER: Final = _in_ascii(32, "A")
_UPPER: Final = _in_ascii(-32, "a")

ADDED: Final[Mapping[str, Callable[..., Any]]] = {
    "matches": _matches,
    "lowerAscii": lambda text: text.translate(_LOWER),
    "upperAscii": lambda text: text.translate(_UPPER),
    "trim": lambda text: text.strip(),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, separator: text.split(separator),
    "indexOf": lambda text, part: text.find(part),
    "substring": lambda text, start, end=None: text[start:end],
}
"""Functions that the engine lacks, and `matches`, for which it would compile the pattern again for every event."""

FUNCTIONS: Final = (
    "bytes",
    "double",
    "duration",
    "dyn",
    "has",
    "int",
    "matches",
    "size",
    "string",
    "timestamp",
    "type",
    "uint",
)
"""What is called as `name(value)`."""

METHODS: Final = (
    *("contains", "endsWith", "startsWith", "size", *ADDED, *MACROS),
    *("getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"),
    *("getMinutes", "getMonth", "getSeconds"),
)
"""What is called as `value.name(...)`."""

READS_TEXT: Final = frozenset(("duration", "timestamp", "int", "uint", "double"))
"""Functions that fail on a text that is none of theirs, which for a literal is known beforehand."""
