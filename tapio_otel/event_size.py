"""How much memory an event takes, roughly: for whoever keeps events and must not grow without bounds."""

from __future__ import annotations

from typing import Any, Final

from tapio_otel.event import UnifiedEvent

EVENT_BYTES: Final = 1500
"""What an event takes without its texts and attributes."""
_VALUE_BYTES: Final = 64


def size_of(event: UnifiedEvent) -> int:
    """Estimate an event's bytes: its texts and its own attributes; what it shares with others is not counted."""
    own = event.attributes if event.shared is None else event.own
    size = EVENT_BYTES + len(event.title) + len(event.description)
    for value in own.values():
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, list | dict):
            size += _of_nested(value)
    return size


def _of_nested(value: Any) -> int:
    size, left = 0, [value]
    while left:
        one = left.pop()
        size += _VALUE_BYTES
        if isinstance(one, str | bytes):
            size += len(one)
        elif isinstance(one, dict):
            size += sum(map(len, map(str, one)))
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
    return size
