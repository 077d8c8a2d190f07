"""Read the balance that an agent prints when it ends."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

_RUN = re.compile(r"service: received ([\d,]+)(.*), undelivered ([\d,]+), in [\d.]+ s")
_COUNTED = re.compile(r"(\S+) (sent|failed|dropped) ([\d,]+)")
_PIPELINE = re.compile(r"pipeline logs: received ([\d,]+)")


@dataclass(frozen=True)
class Run:
    """Hold what one agent, from its start to its orderly end, says it did."""

    received: int
    undelivered: int
    gone: int = 0
    """What the receiver reports as deleted before it could be read: dropped, though never received."""
    counted: dict[str, int] = field(default_factory=dict)
    """By word: sent, failed, dropped."""


def runs(log: str) -> list[Run]:
    """Return the balance of each run that came to an orderly end."""
    found = []
    for match in _RUN.finditer(log):
        counted: Counter[str] = Counter()
        for component, word, amount in _COUNTED.findall(match[2]):
            counted["gone" if component == "journald" else word] += _number(amount)
        found.append(Run(_number(match[1]), _number(match[3]), counted.pop("gone", 0), dict(counted)))
    return found


def check(log: str, ends: int) -> list[Run]:
    """Assert that so many runs printed their balance and each is exact; returns them."""
    found = runs(log)
    assert len(found) == len(_PIPELINE.findall(log)) == ends, f"{len(found)} balances for {ends} orderly ends:\n{log[-4000:]}"
    assert "NOT ACCOUNTED FOR" not in log, [line for line in log.splitlines() if "NOT ACCOUNTED FOR" in line]
    return found


def check_whole(log: str, ends: int, written: int) -> None:
    """Assert besides that, over all runs, each entry written was received once and came to an end that was counted.

    For agents that always ended in order and left nothing in a queue.
    """
    found = check(log, ends)
    assert sum(one.received for one in found) == written, found
    settled = sum(sum(one.counted.values()) for one in found)
    assert settled == written, f"{settled} of {written} were sent, failed or dropped: {found}"


def _number(text: str) -> int:
    return int(text.replace(",", ""))
