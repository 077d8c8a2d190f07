"""What an error of SQLite means for the queue: the file is damaged, or the disk does not do what it should for now."""

from __future__ import annotations

import sqlite3
from typing import Final

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_AUTH,
    }
)
DISK_ERRORS: Final = (sqlite3.Error, OSError)
"""What any call on the file may raise."""


class ForeignFile(sqlite3.DatabaseError):
    """Report a file that is no queue, or one of a newer agent: `suffix` says how it is named when set aside."""

    def __init__(self, message: str, suffix: str) -> None:
        super().__init__(message)
        self.suffix = suffix


def is_damage(error: Exception) -> bool:
    """Tell whether the file itself is at fault, so that waiting does not help.

    A sector that cannot be read counts as damage; any other error of input or output may pass.
    """
    if not isinstance(error, sqlite3.Error) or isinstance(error, ForeignFile):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code == sqlite3.SQLITE_IOERR_READ or (code & 0xFF) not in _PASSING
