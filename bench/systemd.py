"""Measure what the systemd receiver costs: signals a CPU second from the socket to OTLP, for both D-Bus libraries.

    python -m bench.systemd [--units N] [--times N] [--rounds N] [--output FILE]

A peer in a process of its own replays what a real systemd sent while many units started at once (bench.signals). `decode` only
reads the messages with the library; `pipeline` makes events of them with the receiver, normalizes and encodes them. Subjects
run in alternation, each in a process of its own; CPU seconds are counted from the first signal to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from bench.signals import LAST, recording

LIBRARIES = ("dbus_fast", "dbus_next")
SUBJECTS = [f"{what}/{library}" for library in LIBRARIES for what in ("decode", "pipeline")]
SETTLE = 0.5  # seconds after which a subject has asked all it asks at its start


@dataclass(frozen=True)
class Outcome:
    """What one run took: CPU and wall seconds, signals sent, events and bytes that came out, peak memory in MB."""

    cpu: float
    wall: float
    signals: int
    events: int
    encoded: int
    rss: float


class Peer:
    """Run `bench.bus` on a socket of its own."""

    def __init__(self, directory: str, units: int, times: int) -> None:
        self.address = f"unix:path={directory}/bus"
        command = [sys.executable, "-m", "bench.bus", f"{directory}/bus", str(units), str(times)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None and self._process.stdin is not None
        self._input = self._process.stdin
        self.signals = int(self._process.stdout.readline())

    def begin(self) -> None:
        """Let it send."""
        self._input.write("\n")
        self._input.flush()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()


class Encoded:
    """Be the receiver's output: normalize, encode, and tell when the last unit has ended for the last time."""

    def __init__(self, times: int) -> None:
        from tapio_otel.component import Scope
        from tapio_otel.normalizers.systemd import normalize
        from tapio_otel.otlp.wire import RequestBuilder

        self.checkpoint = None
        self.left = times
        self.events = self.size = 0
        self.over = asyncio.Event()
        self._normalize, self._request, self._scope = normalize, RequestBuilder(), Scope("tapio_otel.receivers.systemd", "")

    async def emit(self, events: list[Any], _checkpoint: Any | None = None) -> None:
        """Take a batch."""
        self._normalize(events)
        self._request.add(events, self._scope)
        self.size += len(self._request.build())
        self.events += len(events)
        for event in events:
            if event.entity.name == LAST and event.get("current_state") == "inactive":
                self.left -= 1
                if not self.left:
                    self.over.set()

    def progress(self, done: int, total: int | None) -> None:
        """Do nothing: this does not end by itself."""


async def pipeline(library: str, peer: Peer, times: int) -> Outcome:
    """Run receiver, normalizer and encoder over the flood."""
    from tapio_otel.receivers.systemd import SystemdConfig, SystemdReceiver
    from tests.collect import context

    output = Encoded(times)
    config = SystemdConfig.model_validate({"bus": peer.address, "library": library, "initial_state": "none"})
    task = asyncio.create_task(SystemdReceiver(context("systemd"), config).run(output))
    try:
        return await measured(peer, output.over, lambda: (output.events, output.size))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def decode(library: str, peer: Peer, _times: int) -> Outcome:
    """Only read the flood."""
    message_bus = import_module(f"{library}.aio").MessageBus
    over, left = asyncio.Event(), peer.signals

    def count(message: Any) -> None:
        nonlocal left
        left -= message.message_type.name == "SIGNAL"
        if not left:
            over.set()

    bus = message_bus(bus_address=peer.address)
    bus.add_message_handler(count)
    await bus.connect()
    try:
        return await measured(peer, over, lambda: (0, 0))
    finally:
        bus.disconnect()


async def measured(peer: Peer, over: asyncio.Event, made: Callable[[], tuple[int, int]]) -> Outcome:
    """Let the peer send and return what it took until `over`."""
    await asyncio.sleep(SETTLE)
    cpu, wall = time.process_time(), time.perf_counter()
    peer.begin()
    async with asyncio.timeout(600):
        await over.wait()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    events, encoded = made()
    return Outcome(cpu, wall, peer.signals, events, encoded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def run_subject(subject: str, units: int, times: int) -> None:
    """Run one subject in this process and print its outcome."""
    what, library = subject.split("/")
    with tempfile.TemporaryDirectory(prefix="tapio-bench-") as directory:
        peer = Peer(directory, units, times)
        outcome = asyncio.run({"decode": decode, "pipeline": pipeline}[what](library, peer, times))
        peer.stop()
    print(json.dumps(asdict(outcome)))


def spawn(subject: str, units: int, times: int) -> Outcome:
    """Run one subject in a process of its own."""
    command = [sys.executable, "-m", "bench.systemd", "--subject", subject, "--units", str(units), "--times", str(times)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def verify(rounds: dict[str, list[Outcome]], units: int, times: int) -> None:
    """Raise SystemExit unless every run made the same events, two for each unit at least."""
    made = {one.events for name, outcomes in rounds.items() if name.startswith("pipeline") for one in outcomes}
    if len(made) != 1 or min(made) < 2 * (units + 1) * times:
        raise SystemExit(f"bench: {units} units, {times} times, gave {sorted(made)} events: the figures would mean nothing")


def result(rounds: dict[str, list[Outcome]]) -> dict[str, Any]:
    """Return the figures: medians by subject, and ratios of the CPU seconds of paired runs."""
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "subjects": {name: summary(outcomes, rounds[SUBJECTS[0]]) for name, outcomes in rounds.items()},
    }


def summary(outcomes: list[Outcome], base: list[Outcome]) -> dict[str, Any]:
    """Return one subject's medians and its ratio to the cheapest decoding."""
    return {
        "signals": outcomes[0].signals,
        "events": outcomes[0].events,
        "cpu_s": median(one.cpu for one in outcomes),
        "wall_s": median(one.wall for one in outcomes),
        "signals_per_cpu_s": median(one.signals / one.cpu for one in outcomes),
        "events_per_cpu_s": median(one.events / one.cpu for one in outcomes),
        "ratio": median(one.cpu / other.cpu for one, other in zip(outcomes, base, strict=True)),
        "peak_rss_mb": median(one.rss for one in outcomes),
        "encoded_mb": median(one.encoded for one in outcomes) / 1e6,
        "runs": [asdict(one) for one in outcomes],
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as a table for the terminal."""
    heads = {
        "signals": "{:,}",
        "events": "{:,}",
        "cpu_s": "{:.2f}",
        "ratio": "{:.1f}",
        "signals_per_cpu_s": "{:,.0f}",
        "events_per_cpu_s": "{:,.0f}",
        "peak_rss_mb": "{:.0f}",
    }
    lines = [f"{'medians':<20}" + "".join(f"{head:>19}" for head in heads)]
    for name, one in found["subjects"].items():
        lines.append(f"{name:<20}" + "".join(f"{form.format(one[head]):>19}" for head, form in heads.items()))
    lines.append(f"ratio: CPU seconds against {SUBJECTS[0]} of the same round")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.systemd", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--units", type=int, default=300, help="units that start at once in the recording (default 300)")
    parser.add_argument("--times", type=int, default=4, help="how often the recording is replayed (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each subject runs (default 3)")
    parser.add_argument("--output", type=Path, default=Path("build/bench-systemd.json"), help="where the figures go")
    parser.add_argument("--subject", choices=SUBJECTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.subject:
        run_subject(arguments.subject, arguments.units, arguments.times)
        return
    recording(arguments.units)
    rounds: dict[str, list[Outcome]] = {subject: [] for subject in SUBJECTS}
    for number in range(arguments.rounds):
        for subject in SUBJECTS if number % 2 == 0 else reversed(SUBJECTS):
            outcome = spawn(subject, arguments.units, arguments.times)
            rounds[subject].append(outcome)
            print(f"round {number + 1}: {subject:<20}{outcome.cpu:8.2f} CPU s", file=sys.stderr)
    verify(rounds, arguments.units, arguments.times)
    found = result(rounds)
    print(table(found))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(found, indent=2) + "\n")
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
