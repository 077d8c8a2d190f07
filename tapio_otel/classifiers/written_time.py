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
_UNITS: Final = ((10**17, 1), (10**14, 10**3), (10**11, 10**6), (10**8, 10**9))
_LATEST: Final = 10**19 // 2  # nanoseconds: the year 2128
_KEPT: Final = 256
_DATES: Final[Bounded[str, bool]] = Bounded(_KEPT)
"""Whether texts such as `2026-11-23` are dates."""
_MINUTES: Final[Bounded[int, str]] = Bounded(_KEPT)
"""Minutes since the epoch as text, such as `2026-11-23T08:00:`."""
_CLOCK: Final = re.compile(  # as RFC 3339 has it behind the date
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


def rfc3339_of(value: Any) -> str:
    """Return a body's time as RFC 3339 text; empty for what is no time, or none with a zone."""
    if isinstance(value, str):
        if len(value) > _LONGEST:
            return ""
        if len(value) >= 20 and _CLOCK.fullmatch(value, 10) and _is_date(value[:10]):
            return value
        return _of_text(value.strip()) or _of_digits(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _of_number(value, 0)
    if isinstance(value, float) and 0 < value < 1e19:
        return _of_digits(f"{value:.6f}")
    return ""


def _is_date(text: str) -> bool:
    known = _DATES.get(text)
    if known is None:
        try:
            known = text[4] == text[7] == "-" and datetime.fromisoformat(text) is not None
        except ValueError:
            known = False
        _DATES.keep(text, known)
    return known


def _of_digits(text: str) -> str:
    whole, _, rest = text.partition(".")
    if not whole or len(whole) > 19 or not _DIGITS.issuperset(whole) or not _DIGITS.issuperset(rest):
        return ""
    return _of_number(int(whole), int(rest[:9].ljust(9, "0")))


def _of_number(number: int, billionths: int) -> str:
    for least, unit in _UNITS:
        if number >= least:
            nanoseconds = number * unit + billionths * unit // 10**9
            return _formatted(nanoseconds) if nanoseconds < _LATEST else ""
    return ""


def _formatted(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    minute, second = divmod(seconds, 60)
    beginning = _MINUTES.get(minute) or _MINUTES.keep(minute, f"{_EPOCH + timedelta(minutes=minute):%Y-%m-%dT%H:%M:}")
    return f"{beginning}{second:02}.{rest:09}".rstrip("0") + "Z" if rest else f"{beginning}{second:02}Z"


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
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + fraction[:9] if fraction else ''}{zone}" if zone else ""


def _zone(text: str) -> str:
    if text in {"Z", "z", "UTC", "GMT"}:
        return "Z"
    digits = text[1:].replace(":", "")
    if text[:1] not in {"+", "-"} or len(digits) not in (2, 4) or not _DIGITS.issuperset(digits):
        return ""
    hours, minutes = digits[:2], digits[2:] or "00"
    return f"{text[0]}{hours}:{minutes}" if hours <= "23" and minutes <= "59" else ""
