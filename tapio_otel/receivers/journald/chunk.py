"""A piece of the journal as the reader hands it on, and its plain form for the way out of the reading process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tapio_otel.receivers.journald.cursor import Cursor
from tapio_otel.receivers.journald.gaps import Gap
from tapio_otel.receivers.journald.packing import Packer, Unpacker
from tapio_otel.receivers.journald.shape import Entry

CHUNK: Final = 64
"""Entries read before they are parsed: as many as stay in the processor's cache, which makes parsing a quarter cheaper."""


@dataclass(slots=True)
class Chunk:
    """Hold entries read at once; `gaps` says before which of them others were lost."""

    entries: list[Entry]
    gaps: list[tuple[int, Gap]] = field(default_factory=list)
    unreadable: int = 0
    """How many entries were passed over because their file is damaged there."""
    at_end: bool = False
    """Whether this is the end of what there is for now."""
    is_full: bool = False
    """Whether as many entries came as were asked for, so that more may come at once."""
    checkpoint: dict[str, Any] | None = None
    """Where reading resumes after these entries, or None when there is no such place yet."""

    @property
    def position(self) -> str | None:
        """Return the cursor up to which everything was read."""
        return None if self.checkpoint is None else self.checkpoint["cursor"]

    def dump(self, packer: Packer) -> tuple[Any, ...]:
        """Return a tuple of plain values."""
        gaps = [(index, gap.before, gap.after.text, gap.missing) for index, gap in self.gaps]
        return packer.pack(self.entries), gaps, self.unreadable, self.at_end, self.is_full, self.checkpoint

    @classmethod
    def load(cls, dumped: tuple[Any, ...], unpacker: Unpacker) -> Chunk:
        """Return what was dumped."""
        packed, gaps, *rest = dumped
        return cls(
            unpacker.unpack(packed),
            [(index, Gap(before, Cursor.parse(after), lost)) for index, before, after, lost in gaps],
            *rest,
        )


class Portions:
    """Divide batches of `size` entries into chunks: a batch ends with a full one or with the journal's end."""

    def __init__(self, size: int) -> None:
        self._size = self._room = size

    @property
    def limit(self) -> int:
        """Return how many entries the next chunk may have."""
        return min(CHUNK, self._room)

    def take(self, chunk: Chunk) -> None:
        """Take note of a chunk."""
        self._room -= len(chunk.entries)
        if not chunk.is_full or self._room <= 0:
            self._room = self._size
