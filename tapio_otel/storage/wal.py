"""The write-ahead log beside a queue's file: tells when SQLite would pass over what was written, and makes that readable.

SQLite reads a log up to the first frame whose checksum is wrong and takes the rest for the torn end of an unfinished write.
When a bit has flipped in the middle, transactions that were reported as written follow: they would be gone without a word.
Layout: the SQLite file format, section 4, "The Write-Ahead Log".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

_HEADER: Final = struct.Struct(">8I")
"""Magic number, version, page size, checkpoint number, two salts, two checksums."""
_FRAME: Final = struct.Struct(">6I")
"""Page number, pages of the file after a commit (else 0), two salts, two checksums."""
_LITTLE_ENDIAN: Final = 0x377F0682
_BIG_ENDIAN: Final = 0x377F0683
_CHECKED_OF_FRAME: Final = 8
_WORD: Final = 0xFFFFFFFF

Sums = tuple[int, int]


class _Frame(NamedTuple):
    offset: int
    is_commit: bool
    said: Sums
    head: bytes
    page: bytes


class Log(NamedTuple):
    """Say where in a log the first wrong frame is, and how many transactions follow that are whole."""

    path: Path
    wrong_at: int
    transactions_behind: int


def log_of(path: Path) -> Path:
    """Return the path of a file's log."""
    return Path(f"{path}-wal")


def damaged_log(path: Path) -> Log | None:
    """Look through the log of a file that nobody has open; None when there is nothing behind what SQLite reads."""
    try:
        with log_of(path).open("rb") as file:
            return _look_through(log_of(path), file)
    except FileNotFoundError:
        return None


def mend(log: Log) -> bytes:
    """Return the log with right checksums from the first wrong frame on: the checksum of each row tells what is spoilt."""
    content = bytearray(log.path.read_bytes())
    with log.path.open("rb") as file:
        order, sums = _begin(file)
        for frame in _frames(file):
            sums = _sums(order, frame.head[:_CHECKED_OF_FRAME] + frame.page, sums)
            struct.pack_into(">2I", content, frame.offset + _FRAME.size - 8, *sums)
    return bytes(content)


def _look_through(path: Path, file: BinaryIO) -> Log | None:
    order, sums = _begin(file)
    wrong_at = behind = 0
    for frame in _frames(file):
        # One that is wrong breaks the chain for SQLite only: the next one is right by what this one says of itself.
        if _sums(order, frame.head[:_CHECKED_OF_FRAME] + frame.page, sums) != frame.said:
            wrong_at = wrong_at or frame.offset
        elif wrong_at:
            behind += frame.is_commit
        sums = frame.said
    return Log(path, wrong_at, behind) if behind else None


def _begin(file: BinaryIO) -> tuple[str, Sums]:
    """Read the header; returns the byte order of checksums and the first of them."""
    fields = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))
    return ">" if fields[0] == _BIG_ENDIAN else "<", (fields[6], fields[7])


def _frames(file: BinaryIO) -> Iterator[_Frame]:
    """Yield the frames of the log's present round, whole ones only; those of an earlier one have other salts."""
    file.seek(0)
    magic, _, page_bytes, _, *salts, _, _ = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))
    if magic not in (_LITTLE_ENDIAN, _BIG_ENDIAN) or not 512 <= page_bytes <= 65536:
        return
    step = _FRAME.size + page_bytes
    for offset in range(_HEADER.size, os.fstat(file.fileno()).st_size - step + 1, step):
        head, page = file.read(_FRAME.size), file.read(page_bytes)
        _, pages, first_salt, second_salt, *said = _FRAME.unpack(head)
        if [first_salt, second_salt] == salts:
            yield _Frame(offset, bool(pages), (said[0], said[1]), head, page)


def _sums(order: str, content: bytes, sums: Sums) -> Sums:
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
