"""Stored events: JSON lines in the event JSON form, read one after another; `.gz` is read as such, `-` is standard input."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from tapio_otel.event import UnifiedEvent
from tapio_otel.event_json import EventFormatError, from_json


class StoredEventError(ValueError):
    """Report what cannot be read: file, line, what was found, what to do."""


def read_events(path: str) -> Iterator[UnifiedEvent]:
    """Yield the events of a file in its order; empty lines are skipped. Raises `StoredEventError` with the line."""
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _event(line, f"{path}:{number}")
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoredEventError(f"{path}: cannot be read: {reason}; check the path") from None


def _opened(path: str) -> IO[bytes] | gzip.GzipFile | nullcontext[IO[bytes]]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    return gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb")


def _event(line: bytes, where: str) -> UnifiedEvent:
    try:
        return from_json(line)
    except EventFormatError as error:
        raise StoredEventError(f"{where}: {error}") from None
