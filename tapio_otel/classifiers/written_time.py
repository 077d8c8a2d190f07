"""Times as log bodies write them, turned into RFC 3339 text.

ISO 8601 with a zone, and numbers since the Unix epoch in seconds, milliseconds, microseconds or nanoseconds, told apart by
their size. A time without a zone names no instant and is left out. Most bodies write RFC 3339 already: of that the date is
checked, once for each day, and the form of the rest, and the text stays as it is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tapio_otel.entities.bounded import Bounded

_LONGEST: Final = 40
_DIGITS: Final = frozenset("0123456789")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# From 1973 in each unit, which no time of another unit reaches before the year 5138.
_UNITS: Final = ((10**17, 10**9, 9), (10**14, 10**6, 6), (10**11, 10**3, 3), (10**8, 1, 0))
"""From which number on it is one of the unit, how many of them a second has, and how many digits that takes."""
_LATEST: Final = 5 * 10**9  # seconds: the year 2128
_EARLIEST: Final = 10**8
_KEPT: Final = 256
DATES: Final[Bounded[str, bool]] = Bounded(_KEPT)
"""Whether texts such as `2026-11-23` are dates."""
MINUTES: Final[Bounded[int, str]] = Bounded(_KEPT)
"""Minutes since the epoch as text, such as `2026-11-23T08:00:`."""
_CLOCK: Final = re.compile(  # as RFC 3339 has it behind the date, or with a blank instead of its T
    r"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
).fullmatch


def rfc3339_of(value: Any) -> str:
    """Return a body's time as RFC 3339 text; empty for what is no time, or none with a zone."""
    kind = type(value)
    if kind is str:
        if len(value) > _LONGEST:
            return ""
        if _CLOCK(value, 10) is not None and _is_date(value[:10]):
            return value if value[10] == "T" else f"{value[:10]}T{value[11:]}"
        return _of_text(value.strip()) or _of_digits(value)
    if kind is float and 0 < value < 1e19:
        seconds, _, fraction = f"{value:.6f}".partition(".")
        return _written(int(seconds), fraction) if _EARLIEST <= value < _LATEST - 1 else _of_digits(f"{seconds}.{fraction}")
    return _of_number(value, 0) if kind is int else ""


def _is_date(text: str) -> bool:
    known = DATES.get(text)
    if known is None:
        try:
            known = text[4] == text[7] == "-" and datetime.fromisoformat(text) is not None
        except ValueError:
            known = False
        DATES.keep(text, known)
    return known


def _of_digits(text: str) -> str:
    whole, _, rest = text.partition(".")
    if not whole or len(whole) > 19 or not _DIGITS.issuperset(whole) or not _DIGITS.issuperset(rest):
        return ""
    return _of_number(int(whole), int(rest[:9].ljust(9, "0")))


def _of_number(number: int, billionths: int) -> str:
    for least, per_second, digits in _UNITS:
        if number >= least:
            seconds, rest = divmod(number, per_second)
            if seconds >= _LATEST:
                return ""
            if billionths:
                unit = 10**9 // per_second  # in nanoseconds
                return _written(seconds, f"{rest * unit + billionths * unit // 10**9:09}")
            return _written(seconds, f"{rest:0{digits}}" if rest else "")
    return ""


def _written(seconds: int, fraction: str) -> str:
    minute, second = divmod(seconds, 60)
    beginning = MINUTES.get(minute) or MINUTES.keep(minute, f"{_EPOCH + timedelta(minutes=minute):%Y-%m-%dT%H:%M:}")
    fraction = fraction.rstrip("0")
    return f"{beginning}{second:02}.{fraction}Z" if fraction else f"{beginning}{second:02}Z"


def _of_text(text: str) -> str:
    if len(text) < 20 or text[10] not in "Tt ":
        return ""
    try:
        moment = datetime.fromisoformat(text[:19])
    except ValueError:
        return ""
    rest = text[19:].replace(",", ".", 1)
    fraction = ""
    if rest[:1] == ".":
        end = next((place for place in range(1, len(rest)) if rest[place] not in _DIGITS), len(rest))
        fraction, rest = rest[1:end], rest[end:]
    zone = _zone(rest.strip())
    return f"{moment.isoformat()}{'.' + fraction[:9] if fraction else ''}{zone}" if zone else ""


def _zone(text: str) -> str:
    if text in {"Z", "z", "UTC", "GMT"}:
        return "Z"
    digits = text[1:].replace(":", "")
    if text[:1] not in {"+", "-"} or len(digits) not in (2, 4) or not _DIGITS.issuperset(digits):
        return ""
    hours, minutes = digits[:2], digits[2:] or "00"
    return f"{text[0]}{hours}:{minutes}" if hours <= "23" and minutes <= "59" else ""
