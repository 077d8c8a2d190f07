"""Entries that were lost before they were read, found by the numbers that the journal gives its entries.

When the journal deletes files that a slow reader has not read, libsystemd says nothing: numbers that are left out are the only
witness. But numbers are also left out where this reader cannot see all files, and where old files were deleted before it ever
began; these are no losses and are not reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapio_otel.receivers.journald.cursor import MAX_SEQUENCES, Checkpoint, Cursor
from tapio_otel.receivers.journald.header import Inventory
from tapio_otel.receivers.journald.shape import Entry


@dataclass(frozen=True, slots=True)
class Gap:
    """Tell what is missing between two entries; `missing` is None where the numbers cannot tell."""

    before: str
    after: Cursor
    missing: int | None

    def describe(self) -> str:
        """Return one sentence about it."""
        if self.missing is None:
            return (
                "the journal no longer has the entry read last, and has been replaced: an unknown number of entries is missing"
            )
        first, last = self.after.number - self.missing, self.after.number - 1
        entries = "entry" if self.missing == 1 else "entries"
        return f"{self.missing} journal {entries} ({first} to {last}) were deleted before they could be read"


class GapWitness:
    """Follow the numbers of every number line that is read; see `FileHeader.line`.

    Left-out numbers count as a loss when the journal had all of them at the start (`complete`), or when they were written
    after reading began (beyond `horizon`) and every file can be seen (`sees_all`). `look` takes stock of the files again, when
    a sequence turns up that was not there.
    """

    def __init__(
        self,
        inventory: Inventory,
        sees_all: bool,
        checkpoint: Checkpoint | None = None,
        look: Callable[[], Inventory] | None = None,
    ) -> None:
        self._sees_all = sees_all
        self._complete = inventory.complete()
        self._look = look
        saved = checkpoint or Checkpoint("", horizon=inventory.horizon)
        self._known = {**saved.lines, **inventory.lines}
        self._lines: dict[str, str] = {}
        self._last: dict[str, tuple[int, str]] = {}
        self._begun: dict[str, int] = {}
        self._past_boots: list[str] = []
        self.horizon = dict(saved.horizon)
        self.numbers: dict[str, int] = {}
        for sequence, number in self.horizon.items():
            line = self.line(sequence)
            self._begun[line] = max(number, self._begun.get(line, 0))
        for sequence, number in saved.numbers.items():
            self.note(sequence, number, "")
        if checkpoint is not None:
            at = Cursor.parse(checkpoint.cursor)
            self._last[self.line(at.sequence)] = at.number, at.boot

    def shares(self, sequence: str) -> bool:
        """Tell whether other sequences may have numbers of the same line."""
        return self.line(sequence) != sequence

    @property
    def lines(self) -> dict[str, str]:
        """Return the number lines of the sequences read, where they are not their own."""
        return {sequence: line for sequence, line in self._lines.items() if sequence in self.numbers and line != sequence}

    def line(self, sequence: str) -> str:
        """Return the number line of a sequence."""
        line = self._lines.get(sequence)
        if line is None:
            if sequence not in self._known and self._look is not None:
                self._known |= self._look().lines
            line = self._lines[sequence] = self._known.get(sequence, sequence)
        return line

    def previous(self, sequence: str) -> int | None:
        """Return the number after which the next one of a sequence is expected, None where that cannot be told."""
        own = self.numbers.get(sequence)
        last = self._last.get(self.line(sequence))
        if own is None or last is None:
            return own if last is None else last[0]
        return max(own, last[0])

    def find(self, entries: Sequence[Entry], begin: int = 0) -> tuple[int, int] | None:
        """Return the index of the first entry that does not follow its predecessor though it should, and how many lack."""
        if begin >= len(entries) or self._is_run(entries, begin):
            return None
        for index in range(begin, len(entries)):
            cursor = entries[index][1]
            sequence, number = place(cursor)
            previous = self.previous(sequence)
            if previous is not None and number > previous + 1 and self._counts(self.line(sequence), previous, number):
                missing = number - previous - 1 - self._found_later(entries, index, previous)
                if missing:
                    return index, missing
            self.note(sequence, number, boot_of(cursor))
        return None

    def note(self, sequence: str, number: int, boot: str) -> None:
        """Take a number as read."""
        line = self.line(sequence)
        if sequence not in self.numbers and len(self.numbers) >= MAX_SEQUENCES:
            oldest = next(iter(self.numbers))
            del self.numbers[oldest]
            self._last.pop(self._lines.pop(oldest), None)
        self.numbers[sequence] = number
        last = self._last.get(line)
        if last is None or number > last[0]:
            self._last[line] = number, boot
        elif boot not in {last[1], *self._past_boots}:  # after a boot journald may count from a lower number
            self._last[line] = number, boot
            self._past_boots = [*self._past_boots[-MAX_SEQUENCES:], last[1]]

    def _found_later(self, entries: Sequence[Entry], index: int, previous: int) -> int:
        """Count the missing numbers among the next entries: those of one instant come in any order from different files."""
        sequence, number = place(entries[index][1])
        if not self.shares(sequence):
            return 0
        line, boot = self.line(sequence), boot_of(entries[index][1])
        places = (place(cursor) for _fields, cursor in entries[index + 1 :] if boot_of(cursor) == boot)
        return len({other for source, other in places if previous < other < number and self.line(source) == line})

    def _is_run(self, entries: Sequence[Entry], begin: int) -> bool:
        """Tell whether the entries are one uninterrupted run that follows what was read: the usual case, in constant time."""
        if len(self._last) > 1:
            return False
        sequence, first = place(entries[begin][1])
        other, last = place(entries[-1][1])
        previous = self.previous(sequence)
        if last - first != len(entries) - begin - 1 or (previous is not None and first != previous + 1):
            return False
        if sequence != other and self.line(sequence) != self.line(other):
            return False
        self.note(other, last, boot_of(entries[-1][1]))
        return True

    def _counts(self, line: str, previous: int, number: int) -> bool:
        if number <= self._complete.get(line, 0):
            return True
        return self._sees_all and previous >= self._begun.get(line, 0)


def place(cursor: str) -> tuple[str, int]:
    """Return sequence and number of an entry from its cursor, quicker than `Cursor.parse`."""
    sequence, number, _ = cursor.split(";", 2)
    return sequence[2:], int(number[2:], 16)


def boot_of(cursor: str) -> str:
    """Return the boot id of an entry from its cursor."""
    return cursor.partition(";b=")[2][:32]


def first_step_back(entries: Sequence[Entry], position: str | None) -> int:
    """Return the index of the first entry that comes before its predecessor in its own sequence; their number if none does.

    Numbers of one sequence and boot only grow. `position` is the cursor of the entry before the first.
    """
    first, last = place(entries[0][1]), place(entries[-1][1])
    before = ("", 0) if position is None else place(position)
    if last[1] - first[1] == len(entries) - 1 and first[0] == last[0] == before[0] and first[1] == before[1] + 1:
        return len(entries)  # the usual case
    latest = {} if position is None else {(before[0], boot_of(position)): before[1]}
    for index, (_fields, cursor) in enumerate(entries):
        sequence, number = place(cursor)
        key = sequence, boot_of(cursor)
        if number <= latest.get(key, -1):
            return index
        latest[key] = number
    return len(entries)
