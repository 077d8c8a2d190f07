"""Measure what the kernel receiver costs and how quick it is: python -m bench.ebpf (needs root).

load     five probes opened through libbpf in a process of its own: seconds, resident memory added, what the kernel holds
oom      nanoseconds from the kernel's time stamp of an OOM kill to its observation in Python, and to its OTLP record in a sink,
         over processes killed one by one in a small cgroup
drops    datagrams a second, and CPU time a datagram, of a sender whose every datagram is dropped at a full socket in another
         network namespace, without and with the whole agent watching, in alternation; and the agent's share of a core meanwhile

Everything made (cgroup, network namespaces, processes, programs) is removed at the end. Where other work runs on the machine,
the least CPU time a datagram and the kernel's own count for the program are the figures to trust; without, datagrams a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.ebpf_agent import Agent, RecordingSink, measuring_programs
from tests.kernel import EAT_MEMORY, Cgroup, NetworkPair, run_in

SUBJECTS = "bench.ebpf_subjects"
OOM_LIMIT = 30 << 20  # bytes
OOM_TYPES = ("tapio.oom_kill", "tapio.container_oom")
PORT = 9  # discard
IDLE_SECONDS = 10.0
SETTLE = 1.0  # seconds for what is in the agent's queue to arrive, or to be worked off


def main() -> None:
    """Read the arguments, measure, print the table and write the JSON."""
    arguments = parse_arguments()
    if os.geteuid() != 0:
        raise SystemExit("bench: only root loads BPF programs and makes cgroups and network namespaces")
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"load": load, "oom": oom, "drops": drops}
    found: dict[str, Any] = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    for name in arguments.only or parts:
        print(f"{name}…", file=sys.stderr)
        found[name] = parts[name](arguments)
    print(table(found))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(found, indent=2) + "\n")
        print(f"written to {arguments.output}")


def parse_arguments() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.ebpf", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--loads", type=int, default=5, help="how often the probes are opened (default 5)")
    parser.add_argument("--ooms", type=int, default=100, help="processes that are killed (default 100)")
    parser.add_argument("--rounds", type=int, default=8, help="pairs of rounds of the sender (default 8)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a round of the sender (default 2)")
    parser.add_argument("--only", action="append", choices=["load", "oom", "drops"], help="measure this alone; repeatable")
    parser.add_argument("--output", type=Path, help="write the figures as JSON to this file")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def subject(*arguments: str) -> list[str]:
    """Return the command that runs a subject."""
    return [sys.executable, "-m", SUBJECTS, *arguments]


def load(arguments: argparse.Namespace) -> dict[str, Any]:
    """Open the probes in fresh processes; return medians."""
    runs = [json.loads(subprocess.check_output(subject("load"), text=True)) for _ in range(arguments.loads)]
    return {
        "seconds": statistics.median(run["seconds"] for run in runs),
        "resident_mb": statistics.median(run["resident_kb"] for run in runs) / 1024,
        "kernel_mb": statistics.median(run["kernel_kb"] for run in runs) / 1024,
        "runs": runs,
    }


def oom(arguments: argparse.Namespace) -> dict[str, Any]:
    """Kill processes by a cgroup's limit, first before a bare feed, then before the whole agent; return latencies."""
    with Cgroup("memory", memory_limit=OOM_LIMIT) as cgroup:
        return {
            "observation": latencies(observed(cgroup, arguments.ooms)),
            "otlp": latencies(exported(cgroup, arguments.ooms)),
        }


def observed(cgroup: Cgroup, count: int) -> list[int]:
    """Return the nanoseconds from kill to observation of each of `count` kills."""
    with running(subject("watch")) as watcher:
        assert watcher.stdout is not None
        if json.loads(watcher.stdout.readline()) != "ready":
            raise RuntimeError("the watcher did not become ready")
        killed = {kill(cgroup) for _ in range(count)}
        time.sleep(SETTLE)
        watcher.terminate()
        seen = [json.loads(line) for line in watcher.stdout]
    found = [one["latency_ns"] for one in seen if one["pid"] in killed]  # others' processes may be killed meanwhile
    if len(found) != count:
        raise RuntimeError(f"{count} kills gave {len(found)} observations: the figures would mean nothing")
    return found


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a subject, ended by its pid."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)
        assert process.stdout is not None
        process.stdout.close()


def exported(cgroup: Cgroup, count: int) -> list[int]:
    """Return the nanoseconds from kill to the arrival of its OTLP record at a sink."""
    with RecordingSink() as sink, agent(sink):
        killed, found = {kill(cgroup) for _ in range(count)}, list[int]()
        until = time.monotonic() + 10 + SETTLE
        while len(found) < count and time.monotonic() < until:
            time.sleep(0.1)
            ours = [one for one in sink.records() if one.record.event_name in OOM_TYPES and one.pids & killed]
            found = [one.time - one.record.time_unix_nano for one in ours]
    if len(found) != count:
        raise RuntimeError(f"{count} kills gave {len(found)} records: the figures would mean nothing")
    return found


def kill(cgroup: Cgroup) -> int:
    """Run a process into the cgroup's limit and return its pid."""
    pid, status = run_in([cgroup], EAT_MEMORY)
    if status != -9:
        raise RuntimeError(f"the process in {cgroup.path} was to be killed, but ended with {status}")
    return pid


def latencies(nanoseconds: list[int]) -> dict[str, Any]:
    """Return the quantiles in milliseconds."""
    ordered = sorted(each / 1e6 for each in nanoseconds)
    percentiles = statistics.quantiles(ordered, n=100, method="inclusive")
    return {"count": len(ordered), "p50_ms": percentiles[49], "p99_ms": percentiles[98], "max_ms": ordered[-1]}


@contextmanager
def agent(sink: RecordingSink) -> Iterator[Agent]:
    """Run the whole agent with the kernel receiver before a sink."""
    with tempfile.TemporaryDirectory(prefix="tapio-bench-") as scratch, Agent(Path(scratch), sink.endpoint) as started:
        yield started


def drops(arguments: argparse.Namespace) -> dict[str, Any]:
    """Send without and with the agent in alternation; return medians and the median of the ratios of paired rounds."""
    with NetworkPair() as pair, closing_socket(pair), RecordingSink() as sink:
        pairs = []
        for number in range(arguments.rounds):
            kinds = (False, True) if number % 2 == 0 else (True, False)
            both = {watched: sending_round(pair, sink, watched, arguments.seconds) for watched in kinds}
            pairs.append((both[False], both[True]))
            print(f"round {number + 1}: {both[False]['kpps']:.0f} kpps, watched {both[True]['kpps']:.0f}", file=sys.stderr)
        program = program_cost(pair, sink, arguments.seconds)
        idle = idle_share(sink)
        told = sum(one.record.event_name == "tapio.network_drop" for one in sink.records())
    if not told:
        raise RuntimeError("the agent told of no drop: the figures would mean nothing")
    return {**summary(pairs), "program_ns": program, "agent_idle": idle, "records": told, "rounds": pairs}


@contextmanager
def closing_socket(pair: NetworkPair) -> Iterator[None]:
    """Keep a socket on the right that nobody reads, with room for next to nothing: what is sent to it is dropped."""

    def bind() -> socket.socket:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        receiver.bind((pair.ipv4["right"], PORT))
        return receiver

    with pair.inside("right", bind):
        yield


def sending_round(pair: NetworkPair, sink: RecordingSink, watched: bool, seconds: float) -> dict[str, float]:
    """Let the sender run once."""
    if not watched:
        return sent(pair, seconds)
    with agent(sink) as started:
        before, begun = started.cpu_seconds(), time.monotonic()
        found = sent(pair, seconds)
        share = (started.cpu_seconds() - before) / (time.monotonic() - begun)
        time.sleep(SETTLE)
    return {**found, "agent_share": share}


def sent(pair: NetworkPair, seconds: float) -> dict[str, float]:
    """Run the sender; return its thousands of datagrams a second, all but some dropped, and CPU nanoseconds a datagram."""
    before = dropped(pair)
    said = json.loads(pair.run("left", *subject("send", pair.ipv4["right"], str(PORT), str(seconds))))
    gone = dropped(pair) - before
    if gone < 0.99 * said["sent"]:
        raise RuntimeError(f"of {said['sent']} datagrams only {gone} were dropped: the figures would mean nothing")
    return {"kpps": said["sent"] / said["seconds"] / 1000, "cpu_ns": said["cpu"] / said["sent"] * 1e9}


def dropped(pair: NetworkPair) -> int:
    """Return how many datagrams the right side has dropped at a full socket, by its own count."""
    names, values = (line.split() for line in pair.run("right", "cat", "/proc/net/snmp").splitlines() if line[:4] == "Udp:")
    return int(dict(zip(names, values, strict=True))["RcvbufErrors"])


def program_cost(pair: NetworkPair, sink: RecordingSink, seconds: float) -> float:
    """Return the nanoseconds that the kernel itself counts for the probe's program, of each datagram's cost."""
    with agent(sink) as started, measuring_programs():
        sent(pair, seconds)
        return started.busiest_program()


def idle_share(sink: RecordingSink) -> float:
    """Return the agent's share of a core while nothing happens."""
    with agent(sink) as started:
        time.sleep(SETTLE)
        before = started.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        return (started.cpu_seconds() - before) / IDLE_SECONDS


def summary(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    """Return the medians of rounds, and of the ratios watched to unwatched of pairs."""
    middle = statistics.median
    return {
        "kpps": middle(bare["kpps"] for bare, _ in pairs),
        "kpps_watched": middle(watched["kpps"] for _, watched in pairs),
        "kpps_ratio": middle(watched["kpps"] / bare["kpps"] for bare, watched in pairs),
        "cpu_ns": middle(bare["cpu_ns"] for bare, _ in pairs),
        "cpu_ns_watched": middle(watched["cpu_ns"] for _, watched in pairs),
        "cpu_ratio": middle(watched["cpu_ns"] / bare["cpu_ns"] for bare, watched in pairs),
        "least_cpu_ratio": min(watched["cpu_ns"] for _, watched in pairs) / min(bare["cpu_ns"] for bare, _ in pairs),
        "agent_share": middle(watched["agent_share"] for _, watched in pairs),
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as a table for the terminal."""
    rows: list[tuple[str, str]] = []
    if one := found.get("load"):
        rows += [
            ("five probes opened", f"{one['seconds'] * 1000:.0f} ms"),
            ("resident memory added", f"{one['resident_mb']:.1f} MB"),
            ("held by the kernel", f"{one['kernel_mb']:.1f} MB"),
        ]
    for name, one in found.get("oom", {}).items():
        text = f"p50 {one['p50_ms']:.2f} ms, p99 {one['p99_ms']:.2f} ms, max {one['max_ms']:.2f} ms ({one['count']})"
        rows.append((f"OOM kill to {name}", text))
    if one := found.get("drops"):
        rows += [
            ("datagrams dropped", f"{one['kpps']:.0f} → {one['kpps_watched']:.0f} kpps, ratio {one['kpps_ratio']:.3f}"),
            ("CPU time a datagram", f"{one['cpu_ns']:.0f} → {one['cpu_ns_watched']:.0f} ns, ratio {one['cpu_ratio']:.3f}"),
            ("… least of the rounds", f"ratio {one['least_cpu_ratio']:.3f}"),
            ("… in the program", f"{one['program_ns']:.0f} ns by the kernel's count"),
            ("agent meanwhile", f"{one['agent_share']:.1%} of a core"),
            ("agent idle", f"{one['agent_idle']:.2%} of a core"),
        ]
    rows.append(("load average before", f"{found['machine']['load_average']:.1f} on {found['machine']['cpus']} CPUs"))
    return "\n".join(f"{name:<26}{text}" for name, text in rows)


if __name__ == "__main__":
    main()
