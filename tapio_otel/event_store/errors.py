"""What can go wrong with a store, in words for whoever asked."""

from __future__ import annotations

import sqlite3

from tapio_otel.storage.errors import is_damage


class EventStoreError(Exception):
    """Report a store that cannot be read or written: which file, what was found, what to do."""


class EventQueryError(ValueError):
    """Report a query that cannot be understood: `field` names the part that is wrong, the message what to write."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


def is_damaged(error: Exception) -> bool:
    """Tell whether a file is at fault, and not the disk or a statement of ours."""
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:
        return "no such " in str(error)
    return is_damage(error)
