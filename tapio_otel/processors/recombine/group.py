"""A stack that is being put together, and the event that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tapio_otel.event import AttributeValue, UnifiedEvent
from tapio_otel.processors.recombine.forms import Course

COUNT_KEY: Final = "recombined"
_BYTES_KEY: Final = "MESSAGE"
"""Where a receiver keeps the bytes of a message that is no text."""
_PRIORITIES: Final = {b"%d" % number: number for number in range(8)}
_INFO: Final = 6


class Group:
    """Hold the lines of one stack with the serials of the batches they came in. `touched` is when the last one came."""

    __slots__ = ("course", "lines", "serials", "size", "touched")

    def __init__(self, course: Course, event: UnifiedEvent, serial: int, touched: float) -> None:
        self.course = course
        self.lines: list[UnifiedEvent] = []
        self.serials: list[int] = []
        self.size = 0
        self.append(event, serial, touched)

    def append(self, event: UnifiedEvent, serial: int, touched: float) -> None:
        """Add a line."""
        self.lines.append(event)
        self.serials.append(serial)
        self.size += size_of(event.description) + 1
        self.touched = touched


def size_of(text: str) -> int:
    """Return a text's size in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def is_line(event: UnifiedEvent) -> bool:
    """Tell whether an event is a plain line of a log; one whose message was repeated in its entry is several."""
    return event.type == "log" and "\n" not in event.description and not isinstance(event.get(_BYTES_KEY), list)


def join(lines: Sequence[UnifiedEvent]) -> UnifiedEvent:
    """Make the first of two or more lines the event that tells all of them, and return it.

    It keeps what the first one says, gets attributes that only later ones have, and the worst severity of all.
    """
    first = lines[0]
    raw_text = _raw_text(lines)
    for line in lines[1:]:
        for key, value in (line.own if line.shared is not None else line.attributes).items():
            if first.get(key) is None:
                first.set(key, value)
    if raw_text is not None:
        first.set(_BYTES_KEY, raw_text)
    first.raw = _worst(line.raw for line in lines)
    first.severity = max(line.severity for line in lines)
    first.description = "\n".join(line.description for line in lines)
    first.set(COUNT_KEY, len(lines))
    return first


def _raw_text(lines: Sequence[UnifiedEvent]) -> AttributeValue:
    """Return the bytes of all lines where those of some are no text."""
    if not any(isinstance(line.get(_BYTES_KEY), bytes) for line in lines):
        return None
    return b"\n".join(_bytes_of(line) for line in lines)


def _bytes_of(line: UnifiedEvent) -> bytes:
    raw = line.get(_BYTES_KEY)
    return raw if isinstance(raw, bytes) else line.description.encode("utf-8", "surrogatepass")


def _worst(raws: Any) -> Any:
    """Return the raw form, a journal's PRIORITY, that stands for the worst severity; None where no line has one."""
    return min((raw for raw in raws if raw is not None), key=_rank, default=None)


def _rank(raw: Any) -> int:
    if isinstance(raw, list):
        return min(map(_rank, raw), default=_INFO)
    return _PRIORITIES.get(raw, _INFO) if isinstance(raw, bytes) else _INFO
