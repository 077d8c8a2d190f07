"""Typed values out of the text of a group. A text that is none of its type has no value: None, never an exception."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from math import isfinite
from typing import Final

_LONGEST: Final = 64
"""No value is longer; so conversion takes no time worth mentioning, whatever a text holds."""
_MOST: Final = (1 << 63) - 1
"""Attributes are 64-bit signed integers in OTLP."""
_INT = re.compile(r"[+-]?[0-9]{1,19}")
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,16})")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s?(?:([kKmMgGtTpPeE])i?[bB]?|(?i:b|bytes?))?")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Zµμ]*)[\s,]*")
_EXPONENT: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}

_UNITS: Final[Mapping[float, str]] = {
    1e-9: "ns nsec nsecs nanosecond nanoseconds",
    1e-6: "us µs μs usec usecs microsecond microseconds",
    1e-3: "ms msec msecs millis millisecond milliseconds",
    1.0: "s sec secs second seconds",
    60.0: "m min mins minute minutes",
    3600.0: "h hr hrs hour hours",
    86400.0: "d day days",
    604800.0: "w week weeks",
}
_SECONDS: Final = {unit: seconds for seconds, units in _UNITS.items() for unit in units.split()}


def _int(text: str) -> int | None:
    if not _INT.fullmatch(text):
        return None
    value = int(text)
    return value if -_MOST - 1 <= value <= _MOST else None


def _hex(text: str) -> int | None:
    found = _HEX.fullmatch(text)
    value = int(found[1], 16) if found else None
    return value if value is not None and value <= _MOST else None


def _float(text: str) -> float | None:
    value = float(text) if _FLOAT.fullmatch(text) else None
    return value if value is not None and isfinite(value) else None


def _bytes(text: str) -> int | None:
    """Return a size in bytes; k, M, G… are powers of 1024, as the kernel, systemd and Kubernetes' Ki, Mi mean them."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    factor = 1 << (10 * _EXPONENT[(found[2] or "").lower()])
    value = int(found[1]) * factor if found[1].isdigit() else round(float(found[1]) * factor)
    return value if value <= _MOST else None


def _duration(text: str) -> float | None:
    """Return seconds of `1.5s`, `120 seconds`, `3m2s` or `1h 2min`; a number alone is seconds."""
    if _FLOAT.fullmatch(text):
        return _float(text)
    at, total = 0, 0.0
    while at < len(text):
        part = _PART.match(text, at)
        seconds = _SECONDS.get(part[2]) or _SECONDS.get(part[2].lower()) if part else None
        if part is None or seconds is None:
            return None
        total, at = total + float(part[1]) * seconds, part.end()
    return round(total, 9) if text else None


def _ip(text: str) -> str | None:
    """Return an address in its canonical form; brackets go, a zone stays."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return str(ip_address(text))
    except ValueError:
        return None


TYPES: Final[Mapping[str, Callable[[str], int | float | str | None]]] = {
    "int": _int,
    "float": _float,
    "bytes": _bytes,
    "duration": _duration,
    "ip": _ip,
    "hex": _hex,
}
"""What reads a group's text, by the name of the type; `str` is the text itself."""


def convert(text: str, type: str) -> int | float | str | None:
    """Return the value of a text as `type` (a key of `TYPES`, anything else is the text itself); None when it is none."""
    read = TYPES.get(type)
    if read is None:
        return text
    stripped = text.strip()
    return read(stripped) if len(stripped) <= _LONGEST else None
