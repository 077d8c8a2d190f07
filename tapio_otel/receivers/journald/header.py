"""What the header of a journal file tells: which sequence of entries it holds, and which part of that.

The layout is systemd's JOURNAL_FILE_FORMAT document: little-endian, a fixed start that never changed.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tapio_otel.receivers.journald.cursor import Cursor

_SIGNATURE: Final = b"LPKSHHRH"
_LENGTH: Final = 208
_IDS = struct.Struct("<24x16x16s16s16s")  # after the flags: file id (skipped), machine id, boot id, sequence id
_SIZES = struct.Struct("<88xQQ")  # of the header, and of all that follows it
_COUNTS = struct.Struct("<152xQQQ8xQQ")  # entries, tail number, head number, (entry array), head and tail realtime
_OF_JOURNALD = re.compile(r"(?:system|user-\d+)(?:@.*)?\.journal~?")
_MACHINE_DIRECTORY = re.compile(r"[0-9a-f]{32}(?:\.[A-Za-z0-9_.-]+)?")


@dataclass(frozen=True, slots=True)
class FileHeader:
    """Hold what one journal file holds: `entries` of `sequence`, numbered from `head` to `tail`."""

    path: Path
    machine: str
    sequence: str
    entries: int
    head: int
    tail: int
    head_realtime: int
    tail_realtime: int

    @property
    def line(self) -> str:
        """Name the number line to which the file's numbers belong.

        One journald counts the entries of the system and of all users together, but gives the files of each a sequence id of
        their own. Files that others wrote have other names, and every sequence its own numbers.
        """
        return f"{self.path.parent}:{self.machine}" if _OF_JOURNALD.fullmatch(self.path.name) else self.sequence

    def holds(self, sequence: str, number: int) -> bool:
        """Tell whether an entry is among those of the file."""
        return self.sequence == sequence and self.head <= number <= self.tail

    def surrounds(self, sequence: str, first: int, after: int) -> bool:
        """Tell whether entries from `first` on, and the one `after` them, are among those of the file, but not its first."""
        return self.sequence == sequence and self.head < first and after <= self.tail

    @classmethod
    def read(cls, path: Path) -> FileHeader | None:
        """Return the header, or None when the file is unreadable, no journal, or without an entry."""
        try:
            with path.open("rb") as file:
                start = file.read(_LENGTH)
        except OSError:
            return None
        if len(start) < _LENGTH or not start.startswith(_SIGNATURE):
            return None
        machine, _boot, sequence = _IDS.unpack_from(start)
        entries, tail, head, first, last = _COUNTS.unpack_from(start)
        return cls(path, machine.hex(), sequence.hex(), entries, head, tail, first, last) if entries else None


def is_held(headers: Iterable[FileHeader], cursor: str) -> bool:
    """Tell whether one of the files has the entry with that cursor."""
    found = Cursor.parse(cursor)
    return any(header.holds(found.sequence, found.number) for header in headers)


def obstacle(path: Path) -> str | None:
    """Return why libsystemd passes over a file without a word, or None when it does not."""
    try:
        with path.open("rb") as file:
            start, size = file.read(_LENGTH), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    if not start.startswith(_SIGNATURE):
        return "it is empty" if not start else "it is no journal file, or its header is damaged"
    return "it is cut off" if len(start) < _LENGTH or sum(_SIZES.unpack_from(start)) > size else None


def journal_files(directory: Path) -> list[Path]:
    """Return the journal files of a directory, as libsystemd finds them: its own, and those of machine directories in it."""
    found: list[Path] = []
    try:
        for path in sorted(directory.iterdir()):
            if path.suffix in {".journal", ".journal~"}:
                found.append(path)
            elif _MACHINE_DIRECTORY.fullmatch(path.name) and path.is_dir():
                found += (file for file in sorted(path.iterdir()) if file.suffix in {".journal", ".journal~"})
    except OSError:
        pass
    return found


class Inventory:
    """Sum up what the files of a journal hold."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.headers = [header for header in map(FileHeader.read, files) if header is not None]

    @property
    def machines(self) -> set[str]:
        """Return the ids of the machines that wrote the files."""
        return {header.machine for header in self.headers}

    @property
    def entries(self) -> int:
        """Return how many entries there are."""
        return sum(header.entries for header in self.headers)

    @property
    def lines(self) -> dict[str, str]:
        """Return the number line of every sequence, where it is not its own."""
        return {header.sequence: header.line for header in self.headers if header.line != header.sequence}

    @property
    def horizon(self) -> dict[str, int]:
        """Return the last number of every sequence."""
        tails: dict[str, int] = {}
        for header in self.headers:
            tails[header.sequence] = max(header.tail, tails.get(header.sequence, 0))
        return tails

    def complete(self) -> dict[str, int]:
        """Return the number lines of which no entry is missing between the first and the last one, with their last number."""
        spans: dict[str, tuple[int, int, int]] = {}
        for header in self.headers:
            head, tail, count = spans.get(header.line, (header.head, header.tail, 0))
            spans[header.line] = min(head, header.head), max(tail, header.tail), count + header.entries
        return {line: tail for line, (head, tail, count) in spans.items() if count == tail - head + 1}

    def after(self, cursor: Cursor | None) -> int:
        """Estimate how many entries come after a position; exact where it lies in a file without gaps."""
        return self.entries if cursor is None else sum(_after(header, cursor) for header in self.headers)


def _after(header: FileHeader, cursor: Cursor) -> int:
    if header.sequence == cursor.sequence:
        begin, end, here = header.head - 1, header.tail, cursor.number
    else:
        begin, end, here = header.head_realtime - 1, header.tail_realtime, cursor.realtime
    if here >= end:
        return 0
    return header.entries if here <= begin else round(header.entries * (end - here) / (end - begin))
