"""Play the incident that the tests play, for people to look at: what is started, what happens, what the agent makes of it."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.booted_systemd import memory_obstacle, obstacle
from tests.integration.agent import TAPIO, Record
from tests.integration.incident import CLIENTS, LIMIT, RECORDING, SERVER, Incident, last_revisions

WIDTH: Final = shutil.get_terminal_size(fallback=(120, 24)).columns
_LINE: Final = min(WIDTH, 110)
PATIENCE: Final = 25.0
"""Seconds in which the agent should have told of the incident."""


def main() -> int:
    """Play it; returns the exit status."""
    options = _options()
    reason = obstacle() or memory_obstacle()
    if reason is not None:
        return _fail(f"cannot be shown here: {reason}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is removed
    begun = time.monotonic()
    try:
        with _recording(options.keep) as recording:
            _play(recording, options.keep)
    except RuntimeError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    _print(f"\nThat took {time.monotonic() - begun:.0f} s.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description="Show what tapio-otel makes of an incident.")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the recorded events in FILE (JSON lines)")
    return parser.parse_args()


@contextmanager
def _recording(keep: Path | None) -> Iterator[Path]:
    """Give the path of a file for the events, which goes at the end unless it is to be kept."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="tapio-demo-") as directory:
        yield Path(directory) / "events.jsonl"


def _play(recording: Path, keep: Path | None) -> None:
    clients = ", ".join(CLIENTS)
    _say(
        f"A systemd in namespaces of its own: {SERVER} may have {LIMIT >> 20} MiB (MemoryMax=); {clients} ask it for something "
        "five times a second; tapio-otel reads the journal, listens to systemd by D-Bus and watches the kernel by eBPF. "
        "Nothing of this is made up, and nothing of this machine is touched."
    )
    with Incident(record=True, network=False) as incident:
        _step("a systemd has booted")
        incident.begin()
        _step(f"{SERVER} serves, {clients} are served, and the agent is {_watching(incident)}")
        incident.exhaust()
        _step(f"{SERVER} was asked for an export that does not fit into its memory")
        incident.wait_for(_is_finding, seconds=PATIENCE)
        _step("the agent tells what happened")
        incident.wait_for(_names_clients, seconds=PATIENCE)
        _step("the agent tells what came of it")
        incident.end()
        findings = list(last_revisions(incident.findings()))
        shutil.copy(incident.room / RECORDING, recording)
    _step("all of it is gone again")
    for finding in findings:
        _show(finding)
    _show_timeline(recording)
    if keep is not None:
        _print(f"\nThe events are kept; try:\n  tapio timeline --entity unit/{CLIENTS[0]} --events {keep}")


def _watching(incident: Incident) -> str:
    """Return how the agent watches the kernel, in the words of its own log."""
    lines = [line for line in incident.errors.splitlines() if "receivers/ebpf: watching" in line]
    return lines[-1].partition("receivers/ebpf: ")[2] if lines else "listening"


def _is_finding(record: Record) -> bool:
    return record.name == "tapio.correlation"


def _names_clients(record: Record) -> bool:
    return _is_finding(record) and all(f"systemd_unit/{one}" in record["tapio.correlation.entities"] for one in CLIENTS)


def _say(text: str, indent: str = "") -> None:
    _print(textwrap.fill(text, _LINE, initial_indent=indent, subsequent_indent=indent))


def _step(text: str) -> None:
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    _print(textwrap.fill(text, _LINE, initial_indent=f"  {now}  ", subsequent_indent=" " * 12))


def _heading(text: str) -> None:
    _print(f"\n{text}\n{'-' * len(text)}")


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _fail(reason: str) -> int:
    print(f"demo: {reason}", file=sys.stderr)  # noqa: T201
    return 1


def _show(finding: Record) -> None:
    _heading(f"The finding: {finding['tapio.correlation.rule']}, {finding.severity}")
    _say(finding.body)
    _say(finding["tapio.description"], "  ")
    _say(finding["tapio.correlation.hint"], "  ")
    confidence = round(100 * finding["tapio.correlation.confidence"])
    witnesses, sources = finding["tapio.correlation.witnesses"], ", ".join(finding["tapio.correlation.sources"])
    _say(f"confidence {confidence} %; {witnesses} events of {sources}", "  ")


def _show_timeline(recording: Path) -> None:
    _heading(f"How it went: tapio timeline --entity unit/{SERVER}")
    command = [*TAPIO, "timeline", "--entity", f"unit/{SERVER}", "--since", "30s", "--events", str(recording)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if shown.returncode != 0:
        raise RuntimeError(f"the timeline cannot be shown: {shown.stderr.strip()}")
    for line in shown.stdout.splitlines():
        _print(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…")


if __name__ == "__main__":
    sys.exit(main())
