"""Measure what the default pipeline costs, as a ratio to the bare reading of the same journal.

The subjects run in alternation, each in a process of its own, so that a machine that is slower for a while is slower for all.
CPU seconds are user and system time of the whole process with its children, start included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.journal import journal
from bench.subjects import Outcome, Pipeline, ReaderLoop

Rounds = dict[str, list[Outcome]]


def main() -> None:
    """Read the arguments, measure, print the table and write the JSON."""
    arguments = parse_arguments()
    place = journal(arguments.entries)
    subjects = [ReaderLoop(), Pipeline()]
    if arguments.check:
        verify(Pipeline(), place, arguments.entries)
    rounds: Rounds = {subject.name: [] for subject in subjects}
    for number in range(arguments.rounds):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            outcome = subject.run(place)
            rounds[subject.name].append(outcome)
            print(f"round {number + 1}: {subject.name:<18}{outcome.cost.cpu:8.2f} CPU s", file=sys.stderr)
    found = result(rounds, arguments.entries)
    print(table(found))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(found, indent=2) + "\n")
    print(f"written to {arguments.output}")


def parse_arguments() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=…", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=200_000, help="entries in the journal (default 200000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each subject runs (default 3)")
    parser.add_argument(
        "--output", type=Path, default=Path("build/bench.json"), help="where the figures go (default build/bench.json)"
    )
    parser.add_argument(
        "--no-check", dest="check", action="store_false", help="leave out the first run, which checks completeness"
    )
    return parser.parse_args()


def verify(pipeline: Pipeline, place: Path, entries: int) -> None:
    """Run the pipeline once, unmeasured, and raise SystemExit unless every entry arrived once."""
    with tempfile.TemporaryDirectory(prefix="tapio-bench-") as scratch:
        kept = Path(scratch) / "kept"
        pipeline.run(place, kept)
        counted = subprocess.run(
            [sys.executable, "-m", "bench.check", str(kept)], stdout=subprocess.PIPE, text=True, check=True
        )
    told, records, distinct = map(int, counted.stdout.split())
    if told != entries or records != distinct:
        raise SystemExit(
            f"bench: {entries} entries gave {records} records with {distinct} distinct ids, which tell of {told} entries: "
            "the figures would mean nothing"
        )
    print(f"check: all {entries} entries arrived, each once, in {records} records", file=sys.stderr)


def result(rounds: Rounds, entries: int) -> dict[str, Any]:
    """Return the figures: medians by subject, and the median of the ratios of paired runs."""
    base = rounds[ReaderLoop.name]
    subjects = {name: summary(outcomes, base, entries) for name, outcomes in rounds.items()}
    machine = {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "entries": entries,
        "subjects": subjects,
    }


def summary(outcomes: list[Outcome], base: list[Outcome], entries: int) -> dict[str, Any]:
    """Return one subject's medians and its ratio to the yardstick."""
    cpu = median(outcome.cost.cpu for outcome in outcomes)
    return {
        "cpu_s": cpu,
        "wall_s": median(outcome.cost.wall for outcome in outcomes),
        "peak_rss_mb": median(outcome.cost.rss for outcome in outcomes),
        "own_memory_mb": median(outcome.cost.anonymous for outcome in outcomes),
        "entries_per_cpu_s": entries / cpu,
        "ratio": median(one.cost.cpu / other.cost.cpu for one, other in zip(outcomes, base, strict=True)),
        "sent_mb": median(outcome.sent_bytes for outcome in outcomes) / 1e6,
        "requests": median(outcome.requests for outcome in outcomes),
        "runs": [asdict(outcome) for outcome in outcomes],
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as a table for the terminal."""
    head = ("CPU s", "ratio", "entries/CPU s", "wall s", "RSS MB", "own MB", "sent MB")
    lines = [f"{found['entries']} entries, medians", f"{'':<18}" + "".join(f"{name:>14}" for name in head)]
    for name, one in found["subjects"].items():
        cells = (
            f"{one['cpu_s']:.2f}",
            f"{one['ratio']:.2f}",
            f"{one['entries_per_cpu_s']:,.0f}",
            f"{one['wall_s']:.2f}",
            f"{one['peak_rss_mb']:.0f}",
            f"{one['own_memory_mb']:.0f}",
            f"{one['sent_mb']:.1f}",
        )
        lines.append(f"{name:<18}" + "".join(f"{cell:>14}" for cell in cells))
    lines.append("RSS includes the mapped pages of the journal; own MB does not.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
