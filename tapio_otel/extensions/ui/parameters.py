"""The parameters of requests: one definition of each is what is checked and what the OpenAPI document says.

A parameter that is unknown, given twice or not of its form is refused with what was found and what to write, so that a misspelt
filter never looks like an empty answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Protocol

from tapio_otel.event import Severity
from tapio_otel.event_store.query import EVER, MOST_EVENTS
from tapio_otel.extensions.ui import moments
from tapio_otel.extensions.ui.errors import ApiError, invalid

LONGEST_TEXT: Final = 1000
MOST_MARKS: Final = 50_000
_SEVERITIES: Final = tuple(severity.keyword for severity in Severity)
_TRACE_ID: Final = r"^[0-9a-f]{32}$"


class Query(Protocol):
    """Hold a request's query, as a multidict does."""

    def keys(self) -> Any:
        """Return the names."""

    def getall(self, name: str) -> list[str]:
        """Return every value of a name."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Define one parameter of the query: `read` returns its value, and raises ValueError saying what to write."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]
    default: Any = None
    many: bool = False

    def of(self, query: Query) -> Any:
        """Return the value in a query; raises `ApiError`."""
        if self.name not in query.keys():  # noqa: SIM118 - of a multidict
            return self.default
        values = query.getall(self.name)
        if len(values) > 1 and not self.many:
            raise invalid(self.name, ", ".join(values), "give it once")
        try:
            return self.read(",".join(values))
        except ValueError as error:
            raise invalid(self.name, ",".join(values), str(error)) from None


def read_query(parameters: Sequence[Parameter], query: Query) -> dict[str, Any]:
    """Return the value of every parameter; raises `ApiError` for what is wrong, or unknown."""
    known = {one.name for one in parameters}
    for name in query.keys():  # noqa: SIM118
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise ApiError(400, "unknown_parameter", f"there is no parameter {name[:100]!r}: {hint}", name[:100])
    values = {one.name: one.of(query) for one in parameters}
    if "since" in values and "until" in values and values["since"] > values["until"]:
        since, until = (moments.format_moment(values[name]) for name in ("since", "until"))
        raise ApiError(400, "invalid_parameter", f"since: {since} is later than until, {until}: exchange them", "since")
    return values


def _moment(text: str) -> int:
    return moments.parse_moment(text, time.time_ns())


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return text

    return read


def _count(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
            raise ValueError(f"write a whole number from 1 to {most}")
        return int(text)

    return read


def _text(longest: int = LONGEST_TEXT) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > longest:
            raise ValueError(f"write at most {longest} characters")
        if "\0" in text:
            raise ValueError("leave out the character NUL")
        return text

    return read


def _list(text: str) -> tuple[str, ...]:
    found = tuple(one for one in text.split(",") if one)
    if len(found) > 100 or any(len(one) > 100 for one in found):
        raise ValueError("write at most 100 types of at most 100 characters")
    return found


def _trace_id(text: str) -> str:
    if not re.fullmatch(_TRACE_ID, text) or text.endswith("\n"):
        raise ValueError("write 32 hex digits in lower case")
    return text


def _window(text: str) -> int:
    if text == "now" or not re.fullmatch(moments.RELATIVE, f"-{text}") or text.endswith("\n"):
        raise ValueError("write a duration with its unit, such as 15m or 1h30m")
    return -moments.parse_moment(f"-{text}", 0)


_TEXT_SCHEMA: Final = {"type": "string", "maxLength": LONGEST_TEXT, "pattern": "^[^\\x00]*$"}
_MOMENT_SCHEMA: Final = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "pattern": moments.RELATIVE}],
    "examples": ["2026-01-31T12:00:00Z", "-15m", "now"],
}
_SWITCH: Final = {"0": False, "false": False, "1": True, "true": True}


def _switch(text: str) -> bool:
    return _SWITCH[_choice(*_SWITCH)(text)]


def _limit(most: int, default: int, what: str) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", f"At most so many {what}.", schema, _count(most), default)


SINCE: Final = Parameter("since", "Nothing before this time.", _MOMENT_SCHEMA, _moment, 0)
UNTIL: Final = Parameter("until", "Nothing after this time.", _MOMENT_SCHEMA, _moment, EVER)
TYPE: Final = Parameter(
    "type",
    "Only events of these types; several times, or separated by commas.",
    {"type": "array", "items": {"type": "string", "maxLength": 100}, "maxItems": 100},
    _list,
    (),
    many=True,
)
SEVERITY: Final = Parameter(
    "severity",
    "Only events of this severity or worse.",
    {"type": "string", "enum": list(_SEVERITIES)},
    _choice(*_SEVERITIES),
    "",
)
ENTITY: Final = Parameter(
    "entity", "Only events about this entity or a part of it: `pod/prod/web-0`, or a part of a name.", _TEXT_SCHEMA, _text(), ""
)
SOURCE: Final = Parameter("source", "Only events of this source, such as `journald`.", _TEXT_SCHEMA, _text(), "")
TRACE_ID: Final = Parameter("trace_id", "Only events of this trace.", {"type": "string", "pattern": _TRACE_ID}, _trace_id, "")
TEXT: Final = Parameter("text", "Only events with all these words in title or description.", _TEXT_SCHEMA, _text(), "")
CURSOR: Final = Parameter("cursor", "Go on where an answer ended: its `next`.", _TEXT_SCHEMA, _text(), "")
ORDER: Final = Parameter(
    "order", "Newest first, or oldest first.", {"type": "string", "enum": ["desc", "asc"], "default": "desc"},
    _choice("desc", "asc"), "desc",
)  # fmt: skip
RULE: Final = Parameter("rule", "Only findings of this rule.", _TEXT_SCHEMA, _text(), "")
EXPAND: Final = Parameter(
    "expand", "Give the root cause, impacts and members of each finding, too.",
    {"type": "string", "enum": list(_SWITCH), "default": "0"}, _switch, False,
)  # fmt: skip
NAME: Final = Parameter("text", "Only entities with this in type, namespace or name.", _TEXT_SCHEMA, _text(), "")
WINDOW: Final = Parameter(
    "window", "How long before the entity's last event, or `until`, it begins.",
    {"type": "string", "pattern": moments.RELATIVE.replace("now|-", ""), "examples": ["15m", "1h"]}, _window,
)  # fmt: skip

FILTERS: Final = (TYPE, SEVERITY, ENTITY, SOURCE, TRACE_ID, TEXT)
EVENTS: Final = (SINCE, UNTIL, *FILTERS, _limit(MOST_EVENTS, 200, "events; fewer where they are very long"), CURSOR, ORDER)
ENTITIES: Final = (NAME, _limit(MOST_EVENTS, 100, "entities"))
FINDINGS: Final = (SINCE, UNTIL, RULE, _limit(1000, 100, "findings"), EXPAND)
TIMELINE: Final = (SINCE, UNTIL, *FILTERS, _limit(MOST_MARKS, MOST_MARKS, "marks; more events than that are given as counts"))
ONE_TIMELINE: Final = (WINDOW, SINCE, UNTIL)
STREAM: Final = FILTERS
