"""The error that a structured log body carries, under the names of OpenTelemetry's exception conventions."""

from __future__ import annotations

from typing import Final

from tapio_otel.classifiers.ranked_names import Fields, Ranks, present, ranked
from tapio_otel.event import AttributeValue

_TYPES: Final = ranked(
    *("exception.type", "error.type", "err.type", "err.name", "error.name", "thrown.name", "exception.class", "error.kind"),
    *("exception.exc_type", "exc_type", "exception_type", "error_type", "exception_class", "fields.error.type"),
)
_MESSAGES: Final = ranked(
    *("exception.message", "error.message", "err.message", "error.msg", "err.msg", "thrown.message"),
    *("thrown.localizedmessage", "exception.exc_value", "exc_value", "exception_message", "error_message", "error", "err"),
    *("fields.error", "fields.err", "attr.error", "attr.error.errmsg", "exception"),
)
_STACKS: Final = ranked(
    *("exception.stacktrace", "error.stack_trace", "error.stack", "err.stack", "error.stacktrace", "stack_trace"),
    *("stacktrace", "stack", "thrown.extendedstacktrace", "exc_info", "exception", "@x", "traceback", "errorverbose"),
)
_LONGEST_MESSAGE: Final = 4096
_LONGEST_STACK: Final = 16 * 1024
_LONGEST_TYPE: Final = 200
_NOTHING: Final = frozenset(("", "null", "nil", "<nil>", "none", "false", "-"))


def error_attributes(fields: Fields) -> dict[str, AttributeValue]:
    """Return type, message and stack trace of the error that the fields tell; empty where they tell none."""
    stack = _first(fields, _STACKS, several_lines=True)
    message, type_name = _first(fields, _MESSAGES, several_lines=False), _first(fields, _TYPES, several_lines=False)
    if stack and not (message and type_name):
        stack_type, stack_message = _headline(stack)
        type_name, message = type_name or stack_type, message or stack_message
    found = {
        "exception.type": type_name[:_LONGEST_TYPE] if message or stack else "",
        "exception.message": message[:_LONGEST_MESSAGE],
        "exception.stacktrace": stack[:_LONGEST_STACK],
    }
    return {key: value for key, value in found.items() if value}


def _first(fields: Fields, names: Ranks, several_lines: bool) -> str:
    """Return the first of the named texts that says something and has several lines, or has one."""
    for name in present(fields, names):
        value = fields[name]
        if isinstance(value, str) and ("\n" in value.strip()) is several_lines and value.strip().lower() not in _NOTHING:
            return value.strip()
    return ""


def _headline(stack: str) -> tuple[str, str]:
    """Return type and message from where a stack trace says them: Python at its end, Java, .NET and Node at its beginning."""
    lines = stack[-_LONGEST_STACK:].splitlines() if stack.startswith("Traceback ") else stack[:_LONGEST_STACK].splitlines()
    line = lines[-1 if stack.startswith("Traceback ") else 0].strip()
    name, colon, message = line.partition(": ")
    if len(name) > _LONGEST_TYPE or not name.replace(".", "").replace("$", "").replace("_", "").isalnum():
        return "", ""
    return name, message.strip() if colon else ""
