"""Times as the Kubernetes API writes them: RFC 3339 in UTC, to the second (`Time`) or the microsecond (`MicroTime`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def nanoseconds(text: Any) -> int:
    """Return the nanoseconds since 1970 of a time; 0 for what is none."""
    if not isinstance(text, str) or not text:
        return 0
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return 0
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1000


def micro_time(when: int) -> str:
    """Return nanoseconds since 1970 as a `MicroTime`."""
    return (_EPOCH + timedelta(microseconds=when // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
