"""Positions in the journal: the cursor that libsystemd gives, and the checkpoint that the receiver saves.

A cursor is `s=<sequence id>;i=<sequence number>;b=<boot id>;m=<monotonic us>;t=<realtime us>;x=<hash>`, numbers in
hexadecimal; see sd_journal_get_cursor(3). The sequence number counts the entries of all files that one journald writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = 1
MAX_SEQUENCES: Final = 256
_CURSOR = re.compile(
    r"s=([0-9a-f]{32});i=([0-9a-f]{1,16});b=([0-9a-f]{32});m=[0-9a-f]{1,16};t=([0-9a-f]{1,16});x=[0-9a-f]{1,16}"
)


class BadCheckpoint(ValueError):
    """Report a checkpoint that this receiver cannot have written."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Hold what a cursor says; `realtime` is in microseconds since the epoch."""

    text: str
    sequence: str
    number: int
    boot: str
    realtime: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Take a cursor apart; raises `BadCheckpoint` when it is none."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise BadCheckpoint(f"{text!r} is no journal cursor")
        return cls(text, match[1], int(match[2], 16), match[3], int(match[4], 16))


@dataclass(slots=True)
class Checkpoint:
    """Hold where reading resumes.

    `numbers` is the last number read of every sequence that is being read (one, except where the journals of several
    machines or users lie in one directory), `horizon` the last that existed when reading first began, `machine` who wrote it,
    `lines` the number lines that sequences share with others.
    """

    cursor: str
    machine: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    horizon: dict[str, int] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "version": VERSION,
            "cursor": self.cursor,
            "machine": self.machine,
            "seqnums": dict(self.numbers),
            "horizon": dict(self.horizon),
            "lines": dict(self.lines),
        }

    @classmethod
    def load(cls, saved: Any) -> Checkpoint:
        """Read the JSON form; raises `BadCheckpoint` saying what is wrong."""
        if not isinstance(saved, dict) or saved.get("version") != VERSION:
            raise BadCheckpoint(f"expected a checkpoint of version {VERSION}, found {saved!r:.200}")
        cursor, machine = saved.get("cursor"), saved.get("machine", "")
        if not isinstance(cursor, str) or not isinstance(machine, str):
            raise BadCheckpoint(f"expected a cursor, found {cursor!r:.200}")
        Cursor.parse(cursor)
        return cls(
            cursor, machine, _mapping(saved, "seqnums", int), _mapping(saved, "horizon", int), _mapping(saved, "lines", str)
        )


def _mapping(saved: dict[str, Any], key: str, kind: type) -> dict[str, Any]:
    found = saved.get(key, {})
    if not isinstance(found, dict) or not all(type(value) is kind for value in found.values()):
        raise BadCheckpoint(f"expected a mapping to {kind.__name__} under {key!r}, found {found!r:.200}")
    return dict(found)
