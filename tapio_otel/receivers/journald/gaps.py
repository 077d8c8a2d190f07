"""Entries that were lost before they were read, found by the numbers that the journal gives its entries.

When the journal deletes files that a slow reader has not read, libsystemd says nothing: numbers that are left out are the only
witness. But numbers are also left out where this reader cannot see all files, and where old files were deleted before it ever
began; these are no losses and are not reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapio_otel.event import EntityReference, Origin, Severity, Source, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.receivers.journald.cursor import MAX_SEQUENCES, Checkpoint, Cursor
from tapio_otel.receivers.journald.entry import Entry
from tapio_otel.receivers.journald.header import Inventory
from tapio_otel.receivers.journald.shape import Fields

GAP_TYPE = "journal_gap"


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

    def event(self, fields: Fields, observed: int) -> UnifiedEvent:
        """Return the event that tells of the gap; `fields` are those of the entry after it."""
        host, machine = (_text(fields.get(name)) for name in ("_HOSTNAME", "_MACHINE_ID"))
        origin = Origin(
            EntityReference("node", host or machine or "unknown", uid=machine),
            {"_HOSTNAME": host, "_MACHINE_ID": machine},
            {"hostname": host} if host else {},
        )
        own: dict[str, str | int | None] = {"sequence": self.after.sequence, "to_sequence_number": self.after.number - 1}
        if self.missing is not None:
            own |= {"from_sequence_number": self.after.number - self.missing, "missing": self.missing}
        return UnifiedEvent.of_origin(
            origin,
            event_id(GAP_TYPE, self.before, self.after.text),
            self.after.realtime * 1000,
            observed,
            Source.JOURNALD,
            GAP_TYPE,
            Severity.WARNING,
            "Journal entries lost" if self.missing is None else f"Journal entries lost: {self.missing}",
            self.describe(),
            dict(own),
        )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


class GapWitness:
    """Follow the numbers of every sequence that is read.

    Left-out numbers count as a loss when the journal had all of them at the start (`complete`), or when they were written
    after reading began (beyond `horizon`) and every file can be seen (`sees_all`).
    """

    def __init__(self, inventory: Inventory, sees_all: bool, checkpoint: Checkpoint | None = None) -> None:
        self._sees_all = sees_all
        self._complete = inventory.complete()
        self._tails = inventory.horizon
        self.horizon = dict(checkpoint.horizon) if checkpoint else inventory.horizon
        self.numbers = dict(checkpoint.numbers) if checkpoint else {}

    def find(self, entries: Sequence[Entry], begin: int = 0) -> int | None:
        """Return the index of the first entry that does not follow its predecessor though it should, else None."""
        if begin >= len(entries) or self._is_run(entries, begin):
            return None
        for index in range(begin, len(entries)):
            sequence, number = place(entries[index][1])
            previous = self.numbers.get(sequence)
            if previous is not None and number > previous + 1 and self._counts(sequence, previous, number):
                return index
            self.note(sequence, number)
        return None

    def note(self, sequence: str, number: int) -> None:
        """Take a number as read."""
        if sequence not in self.numbers and len(self.numbers) >= MAX_SEQUENCES:
            self.numbers.pop(next(iter(self.numbers)))
        self.numbers[sequence] = number

    def _is_run(self, entries: Sequence[Entry], begin: int) -> bool:
        """Tell whether the entries are one uninterrupted run that follows what was read: the usual case, in constant time."""
        sequence, first = place(entries[begin][1])
        other, last = place(entries[-1][1])
        previous = self.numbers.get(sequence, first - 1)
        if sequence != other or first != previous + 1 or last - first != len(entries) - begin - 1:
            return False
        self.note(sequence, last)
        return True

    def _counts(self, sequence: str, previous: int, number: int) -> bool:
        if sequence in self._complete and number <= self._tails[sequence]:
            return True
        return self._sees_all and previous >= self.horizon.get(sequence, 0)


def place(cursor: str) -> tuple[str, int]:
    """Return sequence and number of an entry from its cursor, quicker than `Cursor.parse`."""
    sequence, number, _ = cursor.split(";", 2)
    return sequence[2:], int(number[2:], 16)
