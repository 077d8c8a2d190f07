"""The error that a structured log body carries, under the names of OpenTelemetry's exception conventions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tapio_otel.classifiers import names
from tapio_otel.event import AttributeValue

_LONGEST_MESSAGE: Final = 4096
_LONGEST_STACK: Final = 16 * 1024
_LONGEST_TYPE: Final = 200
_NOTHING: Final = frozenset(("", "null", "nil", "<nil>", "none", "false", "-"))
_LONGEST_NOTHING: Final = 5
_CLASS: Final = re.compile(r"(?:[a-z]\w*\.){2,}[A-Z][\w$]*+").fullmatch
"""A class in a package, as Java writes it; Go's functions have one dot less, or a capital before it."""
_NAMES: Final = frozenset((*names.ERROR_TYPES, *names.ERROR_MESSAGES, *names.STACKS))


class ErrorFields:
    """Read type, message and stack trace of the error from the values of a body with known names."""

    __slots__ = ("_messages", "_stacks", "_types")

    def __init__(self, places: Mapping[str, int]) -> None:
        self._types = names.places_of(names.ERROR_TYPES, places)
        self._messages = names.places_of(names.ERROR_MESSAGES, places)
        self._stacks = names.places_of(names.STACKS, places)

    @classmethod
    def among(cls, places: Mapping[str, int]) -> ErrorFields | None:
        """Return what reads the error of a body with these names; None where they can tell none."""
        found = cls(places)
        return found if found._types or found._messages or found._stacks else None

    def add(self, values: Sequence[Any], attributes: dict[str, AttributeValue]) -> str:
        """Add the attributes of the error that the values tell, if they tell one; return its message."""
        stack = _first(values, self._stacks, several_lines=True)
        message = _first(values, self._messages, several_lines=False)
        type_name = _first(values, self._types, several_lines=False)
        if stack and not (message and type_name):
            stack_type, stack_message = _headline(stack)
            type_name, message = type_name or stack_type, message or stack_message
        if type_name and (message or stack):
            attributes["exception.type"] = type_name[:_LONGEST_TYPE]
        if stack:
            attributes["exception.stacktrace"] = stack[:_LONGEST_STACK]
        if message:
            attributes["exception.message"] = message = message[:_LONGEST_MESSAGE]
        return message


def error_attributes(fields: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return type, message and stack trace of the error that the fields tell; empty where they tell none."""
    found: dict[str, AttributeValue] = {}
    if not _NAMES.isdisjoint(fields):
        known = [name for name in fields if name in _NAMES]
        ErrorFields({name: place for place, name in enumerate(known)}).add([fields[name] for name in known], found)
    return found


def _first(values: Sequence[Any], places: Sequence[int], several_lines: bool) -> str:
    """Return the first of the texts at these places that says something and has several lines, or has one."""
    for place in places:
        value = values[place]
        if type(value) is str:
            value = value.strip()
            if ("\n" in value) is several_lines and (len(value) > _LONGEST_NOTHING or value.lower() not in _NOTHING):
                return value
    return ""


def _headline(stack: str) -> tuple[str, str]:
    """Return type and message from where a stack trace says them: Python at its end, Java, .NET and Node at its beginning."""
    at_end = stack.startswith("Traceback ")
    # Only the line in question is split by the other characters that end a line.
    part = stack[-_LONGEST_STACK:].rpartition("\n")[2] if at_end else stack[:_LONGEST_STACK].partition("\n")[0]
    line = part.splitlines()[-1 if at_end else 0].strip()
    name, colon, message = line.partition(": ")
    if len(name) > _LONGEST_TYPE or not name.replace(".", "").replace("$", "").replace("_", "").isalnum():
        return "", ""
    if not (at_end or _names_error(name, bool(colon))):
        return "", ""
    return name, message.strip() if colon else ""


def _names_error(name: str, has_message: bool) -> bool:
    """Return whether what a stack begins with is an error's type; Go's begin with a function, others with any words."""
    if name.endswith(("Error", "Exception")):
        return True
    return name.rpartition(".")[2][:1].isupper() if has_message else _CLASS(name) is not None
