"""Opening the journal with libsystemd, and finding a place in it again, also where it is damaged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from tapio_otel.receivers.journald.cursor import Cursor
from tapio_otel.receivers.journald.files import expand
from tapio_otel.receivers.journald.gaps import place
from tapio_otel.receivers.journald.options import ReaderOptions
from tapio_otel.receivers.journald.process import boot_id

Journal: TypeAlias = Any
"""systemd-python's low-level reader; it has no types."""


def open_reader(options: ReaderOptions, also: Iterable[Path] = ()) -> Journal:
    """Open the journal that is configured, and `also` other files beside its `files`; raises OSError."""
    from systemd import _reader

    arguments: dict[str, Any] = {"flags": 0}
    if options.directory is not None:
        arguments["path"] = os.fspath(options.directory)
    elif options.files:
        arguments["files"] = [os.fspath(file) for file in (*expand(options.files), *filter(Path.exists, also))]
    else:
        arguments["flags"] = _reader.LOCAL_ONLY
        if options.namespace:
            arguments["namespace"] = options.namespace
    return _reader._Reader(**arguments)


def stand_on(journal: Journal, cursor: str) -> bool:
    """Go to where the next entry read is the one after `cursor`; tells whether that entry itself is still there."""
    journal.seek_cursor(cursor)
    if journal._next() and is_at(journal, cursor):
        return True
    journal.seek_cursor(cursor)  # the next one read is the first that is left
    return False


def is_at(journal: Journal, cursor: str) -> bool:
    """Tell whether the current entry is the cursor's: journald renumbers entries when it moves them from /run to /var."""
    here: str = journal._get_cursor()
    return here == cursor or here.partition(";b=")[2] == cursor.partition(";b=")[2]


def read_forward(journal: Journal, cursor: str) -> bool:
    """Go to the same place entry by entry, where seeking finds nothing though there is more: so it is in a damaged file.

    Tells whether the entry was found. Where it is not, the next one read is the first of the sequence with a higher number.
    """
    wanted_sequence, wanted = place(cursor)
    journal.seek_head()
    passed = 0
    while journal._next():
        if is_at(journal, cursor):
            return True
        sequence, number = place(journal._get_cursor())
        if sequence == wanted_sequence and number > wanted:
            break
        passed += 1
    else:
        return False
    journal.seek_head()
    for _ in range(passed):
        journal._next()
    return False


def next_readable(options: ReaderOptions, before: str) -> str | None:
    """Return the cursor of the entry that comes after another one when the journal is opened anew, None where that fails."""
    try:
        with contextlib.closing(open_reader(options)) as journal:
            if not stand_on(journal, before) or not journal._next():
                return None
            journal._get_all()
            cursor: str = journal._get_cursor()
            return cursor
    except (OSError, ValueError):
        return None


def last_cursor(options: ReaderOptions) -> str | None:
    """Return the cursor of the journal's last entry, None where there is none; raises OSError."""
    with contextlib.closing(open_reader(options)) as journal:
        journal.seek_tail()
        return journal._get_cursor() if journal._previous() else None


def current_boot(journal: Journal, options: ReaderOptions) -> str | None:
    """Return the boot that is current: this machine's, or for other journals the one of their last entry."""
    if options.directory is None and not options.files:
        return boot_id()
    journal.seek_tail()
    return Cursor.parse(journal._get_cursor()).boot if journal._previous() else None
