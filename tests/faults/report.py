"""The table of the fault suite: a row for each scenario."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.oracle import Arrivals

MIB = 1 << 20


@dataclass
class Figures:
    """Hold the figures of one scenario."""

    scenario: str
    written: int = 0
    delivered: int = 0
    repeated: int = 0
    refused: int = 0
    """Refused by the backend for good: counted as failed and kept as dead letters."""
    lost: int = 0
    """Neither delivered nor refused; each of them reported by the agent."""
    peak_mib: float = 0.0
    seconds: float = 0.0
    more: dict[str, float | int | str] = field(default_factory=dict)

    def take(self, written: int, arrivals: Arrivals, peak: int, refused: int = 0) -> None:
        """Fill in what was written and what arrived."""
        self.written, self.delivered, self.repeated = written, arrivals.delivered, arrivals.repeated
        self.refused, self.lost = refused, written - arrivals.delivered - refused
        self.peak_mib = round(peak / MIB, 1)


def table(rows: Sequence[Figures]) -> list[str]:
    """Return the lines of the table, as Markdown."""
    head = ("scenario", "written", "delivered", "repeated", "refused", "lost", "peak MiB", "s", "")
    body = [
        (
            *(row.scenario, f"{row.written:,}", f"{row.delivered:,}", f"{row.repeated:,}", f"{row.refused:,}", f"{row.lost:,}"),
            *(f"{row.peak_mib:.0f}", f"{row.seconds:.1f}", ", ".join(f"{name} {value}" for name, value in row.more.items())),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [head, rule, *body]
    ]


def save(rows: Sequence[Figures], path: Path) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
