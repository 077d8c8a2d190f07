"""Types that component options are made of: durations, sizes, secrets."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, SecretStr, WithJsonSchema

UNIT: Final = "x-unit"
"""The keyword that tells in a JSON schema what a number counts."""

SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")

BYTES: Final = {"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3}
BYTES_BINARY: Final = {"ki": 1024, "kib": 1024, "mi": 1024**2, "mib": 1024**2, "gi": 1024**3, "gib": 1024**3}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


class BareNumber(float):
    """Be a number with a fraction as the configuration file has it, so that no duration is read from it without a unit."""

    __slots__ = ()


def parse_duration(value: Any) -> float:
    """Return seconds for the collector's duration form (`200ms`, `1h30m`, `0`); raises ValueError saying what to write."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, float) and not isinstance(value, BareNumber):  # a default in the code, already in seconds
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError("expected a duration with its unit, such as 200ms, 5s, 1m30s or 1h")
    return sum(float(number) * SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit that divides it, such as `5m`, `90s` or `200ms`; exact to a nanosecond."""
    count = round(seconds * 1e9)
    for unit in ("h", "m", "s", "ms", "us"):
        size = round(SECONDS[unit] * 1e9)
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}ns" if count else "0s"


def parse_size(value: Any) -> int:
    """Return bytes for a number or a text such as `16MiB`; raises ValueError saying what to write."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = ({**BYTES, **BYTES_BINARY}).get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError("expected a number of bytes, or one with a unit, such as 1048576, 64KiB or 16MiB")
    return int(float(match[1]) * factor)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": rf"^(0|{_DURATION.pattern})$"}, {"const": 0}],
            "examples": ["200ms", "5s", "1m30s"],
            UNIT: "duration",
        }
    ),
]
"""Seconds, written as the collector writes durations."""

ByteSize = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKmMgG]?[bB]?|[kKmMgG][iI][bB]?)$"},
            ],
            "examples": [1048576, "16MiB"],
            UNIT: "bytes",
        }
    ),
]
"""Bytes, as a number or with a unit."""

Secret = SecretStr
"""A value that is never shown: not in logs, errors or `tapio print-config`."""
