"""One request as the file holds it, with a checksum over all of it: SQLite does not notice a flipped bit in a value."""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple


class Row(NamedTuple):
    """Be one request: how many events (`items`) it holds, since when (ns since 1970), and its encoding (`proto`, `json`)."""

    id: int
    items: int
    created_ns: int
    encoding: str
    body: bytes


class Damaged(NamedTuple):
    """Name a row whose content is not what was written; `items` and `size` are what the row says, 0 where it is nonsense."""

    id: int
    items: int
    size: int


class Totals(NamedTuple):
    """Count requests, the events in them and their bytes."""

    requests: int = 0
    items: int = 0
    bytes: int = 0

    def plus(self, other: Totals) -> Totals:
        """Return the sum of both."""
        return Totals(self.requests + other.requests, self.items + other.items, self.bytes + other.bytes)

    def minus(self, other: Totals) -> Totals:
        """Return what is left of these without the others."""
        return Totals(self.requests - other.requests, self.items - other.items, self.bytes - other.bytes)


def weigh(row: Row | Damaged) -> Totals:
    """Return one row's part in the totals."""
    return Totals(1, row.items, len(row.body) if isinstance(row, Row) else row.size)


def checksum(row: Row) -> int:
    """Return the CRC-32 of everything in a row."""
    head = struct.pack("<qqq", row.id, row.items, row.created_ns) + row.encoding.encode()
    return zlib.crc32(row.body, zlib.crc32(head))


def values(row: Row) -> tuple[Any, ...]:
    """Return a row as the table's columns."""
    return (row.id, row.items, row.created_ns, row.encoding, len(row.body), checksum(row), row.body)


def whole(columns: tuple[Any, ...]) -> Row | Damaged:
    """Return the row of these columns, or what is known of it if it is damaged."""
    id, items, created_ns, encoding, size, expected, body = columns
    try:
        row = Row(id, items, created_ns, encoding, body)
        if isinstance(body, bytes) and checksum(row) == expected:
            return row
    except (AttributeError, TypeError, struct.error):
        pass
    return Damaged(id, _amount(items, 1 << 20), _amount(size, 1 << 30))


def _amount(value: Any, most: int) -> int:
    return value if isinstance(value, int) and 0 <= value <= most else 0
