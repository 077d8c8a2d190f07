"""Measure what propagating traces costs: an ordinary line, a line with a trace, and an event that may inherit one.

python -m bench.propagation [--events 200000] [--services 200]

The processor `correlate` runs without rules, so that nothing but propagation is measured; lines and events are of many
services, each with a process, a run and a unit, or a container and a pod. CPU time of this process, the best of some rounds.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.correlate import NODE, Counted, resident
from tapio_otel.component import ComponentContext, ComponentId, Kind
from tapio_otel.event import AttributeValue, EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.processors.correlate import CorrelateConfig, CorrelateProcessor
from tapio_otel.service.memory import settle

BATCH = 1000
START = 1_767_225_600_000_000_000
STEP = 10_000
"""Nanoseconds between two events: 100,000 a second."""
Make = Callable[[int], UnifiedEvent]


def processor(enabled: bool = True) -> CorrelateProcessor:
    """Return the processor without rules."""
    context = ComponentContext(
        ComponentId("correlate"), Kind.PROCESSOR, Counted(), Path("/nonexistent"), logging.getLogger("bench")
    )
    return CorrelateProcessor(context, CorrelateConfig.model_validate({"rules": [], "propagation": {"enabled": enabled}}))


def unit(number: int) -> Origin:
    """Return what the lines of a service share."""
    run = {"invocation_id": f"{number:032x}", "cgroup": f"/system.slice/unit-{number}.service"}
    entity = EntityReference("systemd_unit", f"unit-{number}.service", parent=NODE, attributes=run)
    return Origin(entity, {"comm": "app", "pid": 1000 + number})


def container(number: int) -> Origin:
    """Return what the lines of a container share."""
    pod = EntityReference("pod", f"pod-{number}", "prod", f"{number:08x}-0000-4000-8000-000000000000", NODE)
    return Origin(EntityReference("container", "app", uid=f"{number:064x}", parent=pod), {"comm": "app", "pid": 1000 + number})


def line(origins: Sequence[Origin], trace: Callable[[int], str]) -> Make:
    """Return what makes lines of these in turn."""

    def make(n: int) -> UnifiedEvent:
        at = START + n * STEP
        origin = origins[n % len(origins)]
        event = UnifiedEvent.of_origin(origin, event_id(n), at, at, "journald", "log", Severity.INFO, "t", "text", {"n": n})
        event.trace_id = trace(n)
        event.span_id = "1" * 16 if event.trace_id else ""
        return event

    return make


def kernel_event(services: int) -> Make:
    """Return what makes events of the kernel about the services' units, which share nothing."""
    units = [EntityReference("systemd_unit", f"unit-{number}.service", parent=NODE) for number in range(services)]

    def make(n: int) -> UnifiedEvent:
        number, at = n % services, START + n * STEP
        told: dict[str, AttributeValue] = {
            "cgroup": f"/system.slice/unit-{number}.service",
            "pid": 1000 + number,
            "comm": "app",
        }
        return UnifiedEvent(event_id(n, "k"), at, "ebpf", "tcp_retransmit", entity=units[number], attributes=told, observed=at)

    return make


def cost(subject: CorrelateProcessor, make: Make, count: int, first: int = 0) -> float:
    """Return CPU microseconds an event, without making it."""
    spent = 0.0
    for begin in range(first, first + count, BATCH):
        events = [make(n) for n in range(begin, begin + BATCH)]
        begun = time.process_time()
        subject.process(events)
        spent += time.process_time() - begun
    return spent / count * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="events of each kind (default 200000)")
    parser.add_argument("--services", type=int, default=200, help="services that log (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts (default 3)")
    arguments = parser.parse_args()
    units = [unit(number) for number in range(arguments.services)]
    containers = [container(number) for number in range(arguments.services)]
    own = line(units, lambda n: f"{n % arguments.services + 1:032x}")
    cases: dict[str, Make] = {
        "line without a trace": line(units, lambda _n: ""),
        "line of a unit, one trace each": own,
        "line of a container, one trace each": line(containers, lambda n: f"{n % arguments.services + 1:032x}"),
        "line of a unit, always another trace": line(units, lambda n: f"{n + 1:032x}"),
        "event of the kernel, nothing known": kernel_event(arguments.services),
    }
    settle()
    for name, make in cases.items():
        best = min(cost(processor(), make, arguments.events) for _ in range(arguments.rounds))
        print(f"{name:<40}{best:8.3f} µs an event")
    for name, teach in (("inherits", own), ("ambiguous", cases["line of a unit, always another trace"])):
        rounds = []
        for _ in range(arguments.rounds):
            subject = processor()
            cost(subject, teach, 10 * arguments.services)
            rounds.append(cost(subject, kernel_event(arguments.services), arguments.events))
        print(f"event of the kernel, {name:<19}{min(rounds):8.3f} µs an event")
    before = resident()
    full = processor()
    for number in range(0, 60_000, 200):
        cost(full, line([unit(one) for one in range(number, number + 200)], lambda n: f"{n + 1:032x}"), BATCH, number * 10)
    print(f"all {20_000} keys, eight traces each{resident() - before:18.1f} MiB")


if __name__ == "__main__":
    main()
