"""Load for a live journal, and the account of what an agent made of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.integration.agent import Record
from tests.lab import BootedSystemd

SENDER = r"""
import socket, sys
begin, count, size = map(int, sys.argv[1:])
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
for number in range(begin, begin + count):
    journal.send(f"MESSAGE=sent {number} {'x' * size}\nNUMBER={number}\nPRIORITY=5\n".encode())
"""


def send(lab: BootedSystemd, begin: int, count: int, size: int = 10) -> None:
    """Write entries to the journal, with a field that numbers them."""
    lab.run(sys.executable, "-c", SENDER, str(begin), str(count), str(size))


@dataclass
class Account:
    """Hold what arrived of a journal: sequence numbers in the order of arrival, and what was reported as lost."""

    numbers: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    """The numbers that the entries of `send` carry."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """First and last sequence number of each reported gap."""
    bodies: list[tuple[str, str]] = field(default_factory=list)
    """Id and text of each entry."""
    times: list[int] = field(default_factory=list)
    """Time of each entry of `send`, in nanoseconds."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> Account:
        """Take the account of what an agent has exported."""
        account = cls()
        for record in records:
            if record.name == "tapio.journal_gap":
                account.gaps.append((record["tapio.from_sequence_number"], record["tapio.to_sequence_number"]))
                continue
            account.numbers.append(int(record["log.record.uid"].replace("-", "")[-15:], 16))
            account.bodies.append((record["log.record.uid"], record.body))
            if record["journald.number"] is not None:
                account.sent.append(int(record["journald.number"]))
                account.times.append(record.time)
        return account

    @property
    def lost(self) -> int:
        """Return how many entries were reported as lost."""
        return sum(last - first + 1 for first, last in self.gaps)

    def check(self) -> None:
        """Assert that each entry was delivered once, in order, or is part of exactly one reported gap."""
        assert self.numbers == sorted(set(self.numbers)), "repeated, or out of order"
        assert sorted(self._reported) == sorted(self._missing)

    def check_after_crashes(self) -> None:
        """Assert that each entry was delivered, or is part of a reported gap; entries and gaps may be repeated.

        What was delivered right before a crash, and vacuumed before it could be read again, may be reported besides.
        """
        assert self._missing <= set(self._reported), "lost without a report"
        uids: dict[str, str] = {}
        for uid, body in self.bodies:
            assert uids.setdefault(uid, body) == body, "the same id for different entries"
        assert len(uids) == len(set(self.numbers)), "repeated with another id"

    @property
    def _missing(self) -> set[int]:
        return set(range(min(self.numbers), max(self.numbers) + 1)) - set(self.numbers)

    @property
    def _reported(self) -> list[int]:
        return [number for first, last in self.gaps for number in range(first, last + 1)]
