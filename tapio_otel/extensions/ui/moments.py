"""Times in requests: RFC 3339, or relative to now such as `-15m`. All are nanoseconds since the Unix epoch inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from tapio_otel.config.types import SECONDS

EARLIEST: Final = -(1 << 63)
LATEST: Final = (1 << 63) - 1
"""What SQLite's integers hold; times beyond count as these."""
RELATIVE: Final = r"^(now|-(\d{1,9}(\.\d{1,9})?(ns|us|ms|s|m|h|d))+)$"
HELP: Final = "write a time in RFC 3339 such as 2026-01-31T12:00:00Z, a duration before now such as -15m, or now"
_SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RELATIVE = re.compile(r"now|-((?:\d{1,9}(?:\.\d{1,9})?(?:ns|us|ms|s|m|h|d))+)", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)", re.ASCII)
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_moment(text: str, now_ns: int) -> int:
    """Return the time a text names; raises ValueError saying what to write. A leap second counts as the next second."""
    relative = _RELATIVE.fullmatch(text) if len(text) <= 200 else None
    if relative is not None:
        return _within(now_ns - _duration(relative[1] or ""))
    match = _MOMENT.fullmatch(text) if len(text) <= 200 else None
    if match is None:
        raise ValueError(HELP)
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if year == 0:
        return EARLIEST
    leap = second == 60
    try:
        moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{error}: {HELP}") from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1) + leap - _offset(match[8])
    return _within(seconds * _SECOND + int((match[7] or "")[:9].ljust(9, "0")))


def _duration(text: str) -> int:
    return round(sum(float(number) * SECONDS[unit] * _SECOND for number, unit in _PART.findall(text)))


def _offset(zone: str) -> int:
    if zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"there is no zone {zone}: {HELP}")
    return (hours * 60 + minutes) * (-60 if zone[0] == "-" else 60)


def _within(nanoseconds: int) -> int:
    return min(max(nanoseconds, EARLIEST), LATEST)


def format_moment(nanoseconds: int) -> str:
    """Return a time in RFC 3339, in UTC, with nanoseconds."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    try:
        return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S').rjust(19, '0')}.{rest:09d}Z"
    except OverflowError:
        return f"{'0001-01-01T00:00:00' if seconds < 0 else '9999-12-31T23:59:59'}.000000000Z"
