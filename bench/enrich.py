"""Measure what the enrich processor costs for each event: cached, of a pod that changes, by itself, and with addresses.

python -m bench.enrich [--events 200000] [--pods 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.processors.enrich import EnrichProcessor
from tests.processors.enrich_samples import endpoints, learn, machine, namespace, node, pod, processor, service

Make = Callable[[], list[UnifiedEvent]]


def container(index: int) -> EntityReference:
    """Return a container as the kernel's events name it: by its id."""
    return EntityReference("container", f"{index:012x}", uid=f"{index:064x}")


def uid(index: int) -> str:
    """Return the UID of a pod."""
    return f"{index:08x}-0000-4000-8000-000000000000"


def sharing(origins: list[Origin], own: dict[str, object]) -> Make:
    """Return what makes a batch of 1,000 events that share these origins in turn."""

    def make() -> list[UnifiedEvent]:
        return [
            UnifiedEvent.of_origin(
                origins[index % len(origins)], str(index), 1, 1, "journald", "log", Severity.INFO, "t", "text", dict(own)
            )
            for index in range(1000)
        ]

    return make


def alone(entities: list[EntityReference], attributes: dict[str, object]) -> Make:
    """Return what makes a batch of 1,000 events that share nothing."""

    def make() -> list[UnifiedEvent]:
        return [
            UnifiedEvent(
                str(index),
                1,
                "ebpf",
                "oom_kill",
                entity=entities[index % len(entities)],
                title="t",
                attributes=dict(attributes),
            )
            for index in range(1000)
        ]

    return make


def cost(subject: EnrichProcessor, make: Make, batches: int, between: Callable[[], None] = lambda: None) -> float:
    """Return the median nanoseconds for one event, without making it."""
    subject.process(make())
    taken = []
    for _ in range(batches):
        events = make()
        between()
        gc.disable()
        begun = time.perf_counter_ns()
        subject.process(events)
        taken.append((time.perf_counter_ns() - begun) / len(events))
        gc.enable()
    return median(taken)


async def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="events in each case (default 200000)")
    parser.add_argument("--pods", type=int, default=1000, help="pods that are known (default 1000)")
    arguments = parser.parse_args()
    batches = max(arguments.events // 1000, 5)
    with tempfile.TemporaryDirectory(prefix="tapio-bench-") as scratch:
        root = machine(Path(scratch))
        subject = processor(root)
        bare = processor(root)
        cache = subject._connection.cache
        pods = [
            pod(f"web-{at}", uid(at), ip=f"10.1.{at >> 8}.{at & 255}", containers={"app": f"{at:064x}"})
            for at in range(arguments.pods)
        ]
        await learn(cache, nodes=[node()], namespaces=[namespace()], services=[service()], pods=pods)
        await learn(cache, endpointslices=[endpoints("web", *[one["metadata"]["uid"] for one in pods])])
        feed = next(iter(cache.watches(["pods"])))
        restarts = [0]

        def restart() -> None:
            """Change a pod that no event is about."""
            restarts[0] += 1
            store = feed.consumer._store
            store.put(feed.trim(pod("other", uid(0xFFFFFFFF), ip="10.9.9.9", restarts=restarts[0])))

        attributes = {"_COMM": "nginx", "_PID": 4711, "_EXE": "/usr/sbin/nginx", "_UID": 33}
        own = {"cursor": "s=1", "code_line": 12, "MESSAGE_ID": "x"}
        busy = [Origin(container(index), attributes) for index in range(min(50, arguments.pods))]
        flow = {"src_ip": "10.1.0.1", "dst_ip": "10.96.0.7", "src_port": 1, "dst_port": 2}
        machine_node = EntityReference("node", "node-17", uid="0123456789abcdef0123456789abcdef")
        unit = [Origin(EntityReference("systemd_unit", "ssh.service", parent=machine_node), attributes)]
        cases = {
            "cached, of 50 containers": cost(subject, sharing(busy, own), batches),
            "cached, nothing of their own": cost(subject, sharing(busy, {}), batches),
            "another pod changes before each batch": cost(subject, sharing(busy, own), batches, restart),
            "with two addresses of their own": cost(subject, sharing(busy, flow), batches),
            "no cluster, a unit": cost(bare, sharing(unit, own), batches),
            "alone, of 50 containers": cost(subject, alone([one.entity for one in busy], {"pid": 1, "comm": "x"}), batches),
            "each origin for the first time": first_time(subject, attributes),
        }
    for name, nanoseconds in cases.items():
        print(f"{name:<40}{nanoseconds / 1000:8.2f} µs an event")


def first_time(subject: EnrichProcessor, attributes: dict[str, object]) -> float:
    """Return the nanoseconds for an event whose origin was never seen."""
    taken = []
    for _ in range(5):
        events = sharing([Origin(container(index % 900), attributes) for index in range(1000)], {})()
        begun = time.perf_counter_ns()
        subject.process(events)
        taken.append((time.perf_counter_ns() - begun) / len(events))
    return median(taken)


if __name__ == "__main__":
    asyncio.run(main())
