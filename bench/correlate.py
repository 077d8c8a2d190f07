"""Measure what correlating costs: an event that no rule asks for, events that rules ask for, and the memory that they take.

Ordinary events are journal entries of type `log`, of 200 units. The others come in storms: connections that fail, by many
pods to many targets, each with attributes of its own; and a mix of OOM kills, restarts and failures of 5,000 units and pods.
Their times are as dense as they are processed at 100,000 a second. CPU time of this process; the memory is what the storm
adds to the resident set. The work is done a part at a time, as the processor does it; the longest part is what everything else
has to wait for.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.library import load_rules
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.service.memory import settle

BATCH = 1000
STEPS = 2000
SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND
NODE = EntityReference("node", "node-1", uid="m" * 32)


class Counted:
    """Be counters that can be shown."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Count."""
        self.counts[" ".join((name, *attributes.values()))] += amount

    def gauge(self, name: str, read: object) -> None:
        """Ignore a gauge."""


def unit(number: int) -> EntityReference:
    """Return one of many units."""
    return EntityReference("systemd_unit", f"unit-{number}.service", parent=NODE)


def pod(number: int) -> EntityReference:
    """Return one of many pods."""
    owner = EntityReference("deployment", f"app-{number % 100}", f"ns-{number % 20}", parent=NODE)
    return EntityReference("pod", f"pod-{number}", f"ns-{number % 20}", f"uid-{number}", owner)


ORIGINS = [Origin(unit(number), {"comm": "app", "pid": 1000 + number}) for number in range(200)]
PODS = [Origin(pod(number), {"k8s.pod.uid": f"uid-{number}"}) for number in range(2000)]
UNITS = [Origin(unit(number), {"unit": f"unit-{number}.service"}) for number in range(3000)]


def ordinary(count: int) -> list[UnifiedEvent]:
    """Return entries that mean nothing to any rule."""
    return [
        _event(ORIGINS[n % 200], n, "journald", "log", "GET /healthz 200 in 3 ms from a client that is well", {"n": n})
        for n in range(count)
    ]


def storm(count: int) -> list[UnifiedEvent]:
    """Return connections that fail."""
    return [
        _event(
            PODS[n % 2000],
            n,
            "journald",
            "connection_failed",
            "dial tcp: connection refused",
            {"src_ip": f"10.0.{n % 200}.1", "dst_ip": f"10.1.{n % 250}.2", "dst_port": 5432},
        )
        for n in range(count)
    ]


def mixed(count: int) -> list[UnifiedEvent]:
    """Return kills, restarts and failures, mostly unrelated."""
    kinds: tuple[tuple[str, str, list[Origin], Callable[[int], dict[str, object]]], ...] = (
        ("ebpf", "oom_kill", UNITS, lambda n: {"pid": n}),
        (
            "systemd",
            "service_state",
            UNITS,
            lambda n: {"current_state": "failed", "result": "exit-code", "invocation_id": f"{n:032x}"},
        ),
        ("systemd", "service_restart", UNITS, lambda n: {"n_restarts": n}),
        ("journald", "service_crashed", UNITS, lambda _n: {"exit_code": 1}),
        ("kubernetes", "container_restart", PODS, lambda n: {"restart_count": n}),
        ("journald", "dns_resolution_failed", PODS, lambda _n: {"host": "db.prod.svc"}),
    )
    found = []
    for n in range(count):
        source, kind, origins, own = kinds[n * 7 % len(kinds)]
        found.append(_event(origins[n // len(kinds) * 31 % len(origins)], n, source, kind, kind, own(n)))
    return found


def _event(origin: Origin, n: int, source: str, kind: str, text: str, own: dict[str, object]) -> UnifiedEvent:
    at = START + n * 10_000
    return UnifiedEvent.of_origin(origin, event_id(n, kind), at, at, source, kind, Severity.ERROR, text, text, own)  # type: ignore[arg-type]


def cost(engine: Engine, events: Sequence[UnifiedEvent]) -> tuple[float, int, float]:
    """Return CPU microseconds an event until the last is processed, how many findings there were, the longest call in ms."""
    batches = [list(events[at : at + BATCH]) for at in range(0, len(events), BATCH)]
    settle()  # as the agent does once everything is loaded
    told, longest, began = 0, 0.0, time.process_time()
    for batch in batches:
        engine.add(batch)
        told += len(engine.advance(0, most=len(batch) + STEPS))
    is_behind, ended = True, time.process_time()
    while is_behind:
        told += len(engine.advance(0, final=True, most=STEPS))
        is_behind, before, ended = engine.is_behind, ended, time.process_time()
        longest = max(longest, ended - before)
    return (ended - began) / len(events) * 1e6, told, longest * 1e3


def resident() -> float:
    """Return the resident set in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / (1 << 20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="events of each kind (default 200000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts (default 3)")
    arguments = parser.parse_args()
    rules = load_rules()
    print(f"{len(rules)} rules")
    for name, make in (("ordinary", ordinary), ("storm", storm), ("mixed", mixed)):
        events = make(arguments.events)
        rounds = []
        for _ in range(arguments.rounds):
            counters, before = Counted(), resident()
            engine = Engine(rules, counters=counters)
            rounds.append((*cost(engine, events), resident() - before))
        best = min(rounds)
        print(
            f"{name:<10}{best[0]:8.3f} µs an event{1e6 / best[0]:12,.0f} events/s{best[1]:8} findings"
            f"{max(one[3] for one in rounds):8.1f} MiB{best[2]:8.1f} ms at most  {dict(counters.counts)}"
        )


if __name__ == "__main__":
    main()
