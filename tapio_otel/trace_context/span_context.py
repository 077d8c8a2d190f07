"""A span context, and its parts as fields of their own hold them: ids in hex or decimal, flags, whether it is sampled.

Sources: W3C Trace Context (levels 1 and 2); openzipkin's B3 propagation; Datadog's "Correlate logs and traces".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SAMPLED: Final = 0x01
_LOWER_HEX: Final = re.compile("[0-9a-f]*+")
_MOST_DECIMAL: Final = 20  # digits of 2**64 - 1


class SpanContext(NamedTuple):
    """Name a span: 32 and 16 lower-case hex digits. `span_id` is empty and `flags` None where they are not known."""

    trace_id: str
    span_id: str = ""
    flags: int | None = None


class InvalidSpanContext(ValueError):
    """Report a text that is no span context; `reason` is one of few words, fit for a counter's attribute."""

    def __init__(self, reason: str, text: object) -> None:
        super().__init__(f"{str(text)[:80]!r} is no span context: {reason}")
        self.reason = reason


def parse_trace_id(text: str) -> str:
    """Return a trace id of its own field as 32 lower-case hex digits.

    Upper case is lowered, since the rule of lower case is `traceparent`'s, and a 64-bit id (16 digits, as Zipkin and Jaeger
    write them) is padded on the left. Dashes are refused: a UUID in such a field is a request id, and no trace has it.
    Raises `InvalidSpanContext`.
    """
    if len(text) not in (16, 32):
        raise InvalidSpanContext("length", text)
    return identity(text.lower(), 32)


def parse_span_id(text: str) -> str:
    """Return a span id of its own field as 16 lower-case hex digits; raises `InvalidSpanContext`."""
    if len(text) != 16:
        raise InvalidSpanContext("length", text)
    return identity(text.lower(), 16)


def parse_trace_flags(value: str | int) -> int:
    """Return trace flags, 0 to 255, from a number or from one or two hex digits; raises `InvalidSpanContext`."""
    if isinstance(value, int):
        if not 0 <= value <= 0xFF:
            raise InvalidSpanContext("range", value)
        return int(value)
    if len(value) not in (1, 2):
        raise InvalidSpanContext("length", value)
    return int(digits(value.lower()), 16)


def parse_b3_trace_id(text: str) -> str:
    """Return B3's trace id, 32 or 16 lower-case hex digits, as 32; raises `InvalidSpanContext`."""
    if len(text) not in (16, 32):
        raise InvalidSpanContext("length", text)
    return identity(text, 32)


def parse_b3_span_id(text: str) -> str:
    """Return B3's span id, 16 lower-case hex digits; raises `InvalidSpanContext`."""
    if len(text) != 16:
        raise InvalidSpanContext("length", text)
    return identity(text, 16)


def parse_datadog_trace_id(value: str | int) -> str:
    """Return Datadog's trace id as 32 hex digits: a decimal number of 64 bits, or 128 bits as 32 hex digits.

    Raises `InvalidSpanContext`, also for the 0 that its libraries write outside of a trace.
    """
    if isinstance(value, str) and len(value) == 32:
        return identity(value.lower(), 32)
    return _of_number(decimal64(value), 32)


def parse_datadog_span_id(value: str | int) -> str:
    """Return Datadog's span id, a decimal number of 64 bits, as 16 hex digits; raises `InvalidSpanContext`."""
    return _of_number(decimal64(value), 16)


def parse_sampled(value: str | int) -> int:
    """Return the flags of a sampling decision: true, false, 1, 0, or B3's d for debug; raises `InvalidSpanContext`."""
    text = str(value).lower()
    if text in {"1", "true", "d"}:
        return SAMPLED
    if text in {"0", "false"}:
        return 0
    raise InvalidSpanContext("characters", value)


def decimal64(value: str | int) -> int:
    """Return a decimal number of 64 bits without sign; raises `InvalidSpanContext`."""
    if isinstance(value, str):
        if not 0 < len(value) <= _MOST_DECIMAL:
            raise InvalidSpanContext("length", value)
        if not (value.isascii() and value.isdigit()):
            raise InvalidSpanContext("characters", value)
    number = int(value)
    if not 0 <= number < 1 << 64:
        raise InvalidSpanContext("range", value)
    return number


def _of_number(number: int, width: int) -> str:
    if number == 0:
        raise InvalidSpanContext("zero", number)
    return f"{number:0{width}x}"


def digits(text: str) -> str:
    """Return a text of lower-case hex digits unchanged; raises `InvalidSpanContext` for another."""
    if _LOWER_HEX.fullmatch(text) is None:
        raise InvalidSpanContext("characters", text)
    return text


def identity(text: str, width: int) -> str:
    """Return lower-case hex digits padded to their full width; raises `InvalidSpanContext` for zero and for other letters."""
    if not digits(text).strip("0"):
        raise InvalidSpanContext("zero", text)
    return text if len(text) == width else text.rjust(width, "0")
