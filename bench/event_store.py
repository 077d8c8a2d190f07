"""Measure the event store: how fast events are written, how large they are, how soon queries are answered.

The events are those of a node: journal entries of bench.journal, understood by `normalize`, spread over a week, those of type
`log` kept only where they say that they matter, with unit states, pod states, OOM kills, connections that fail and findings in
between. They are written through the exporter's own thread, in batches of 1,000. The store is left at its limit for the last
measurement, so that each event that comes makes one go. So that figures of a busy machine can be compared, the same rows are
put into a table without any index in the same run, by one bare `executemany` for 20,000 of them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import quantiles
from typing import Any

from bench.journal import entries
from tapio_otel.component import Batch, ComponentContext, ComponentId, Kind, Scope
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.event_store import EventQuery, EventStore
from tapio_otel.event_store.record import Encoder
from tapio_otel.exporters.sqlite import SqliteConfig, SqliteExporter
from tapio_otel.identity import event_id, sequence_id
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tapio_otel.receivers.journald.entry import EntryParser
from tapio_otel.registry import Registry
from tapio_otel.timeline import TimelineReconstructor

BATCH = 1000
SECOND = 1_000_000_000
POOL = 20_000
"""Different entries of the journal; each comes again with another number in it."""
WEEK = 7 * 86400 * SECOND
START = 1_790_000_000 * SECOND
NODE = EntityReference("node", "node-17.cluster.example", uid="m" * 32)
SCOPE = Scope("bench", "0")
FOCUSES = ("unit/orders-api.service", "unit/ssh.service", "pod/ns-3/pod-83", "unit/kubelet.service", "pod/ns-0/pod-0")


class Counters:
    """Count what the exporter counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Count."""
        self.counts["/".join((name, *attributes.values()))] += amount

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Ignore a gauge."""


def context(kind: Kind, type: str, provided: Callable[[str], Any] = lambda _point: {}) -> ComponentContext:
    """Return surroundings of a component."""
    return ComponentContext(ComponentId(type), kind, Counters(), Path(), logging.getLogger("bench"), provided)


def mix(count: int, seed: int = 17) -> Iterator[list[UnifiedEvent]]:
    """Yield batches of events: two thirds of the journal, one third of other sources."""
    told = list(islice(_journal(seed), min(count, POOL)))
    rng = random.Random(seed)
    step = WEEK // count
    for start in range(0, count, BATCH):
        batch = []
        for number in range(start, min(start + BATCH, count)):
            at = START + number * step + rng.randrange(1_000_000)
            event = _again(told[number % len(told)], number, at) if number % 3 else _other(number, at, rng)
            batch.append(event)
        yield batch


def _journal(seed: int) -> Iterator[UnifiedEvent]:
    """Yield events as the receiver and `normalize` make them, without the lines that are not kept by default."""
    registry = Registry.load()
    normalize = NormalizeProcessor(context(Kind.PROCESSOR, "normalize", registry.provided), NormalizeConfig())
    parser = EntryParser()
    while True:
        numbered = []
        for entry in entries(50_000, seed):
            fields = {name: value.encode() for name, value in entry.items() if not name.startswith("__")}
            number = len(numbered) + seed * 50_000
            stamp = int(entry["__REALTIME_TIMESTAMP"])
            numbered.append((fields, f"s={'c' * 32};i={number:x};b={entry['_BOOT_ID']};m=1;t={stamp:x};x=0"))
        for start in range(0, len(numbered), BATCH):
            events = normalize.process(parser.parse_batch(numbered[start : start + BATCH]))
            yield from (one for one in events if one.type != "log" or one.severity >= Severity.WARNING)
        seed += 1


def _again(told: UnifiedEvent, number: int, at: int) -> UnifiedEvent:
    """Return an event with an id, a time and a word of its own."""
    event = told.copy()
    event.id = sequence_id(told.id[:20], number)
    event.timestamp = event.observed = at
    event.description = f"{event.description} request={number:08x}"
    return event


def _pod(number: int) -> EntityReference:
    owner = EntityReference("deployment", f"app-{number % 100}", f"ns-{number % 20}", parent=NODE)
    return EntityReference("pod", f"pod-{number}", f"ns-{number % 20}", f"uid-{number}", owner)


PODS = [Origin(_pod(number), {"k8s.pod.uid": f"uid-{number}"}, {"app": f"app-{number % 100}"}) for number in range(200)]
UNITS = [
    Origin(EntityReference("systemd_unit", f"{name}.service", parent=NODE), {"unit": f"{name}.service"})
    for name in ("nginx", "orders-api", "users-api", "kubelet", "containerd", "postgresql@15-main", "ssh", "dockerd")
]


def _other(number: int, at: int, rng: random.Random) -> UnifiedEvent:
    kind = number // 3 % 60
    source, type, severity, title, own = "systemd", "service_state", Severity.INFO, "", {}
    origin = UNITS[rng.randrange(len(UNITS))]
    if kind < 30:
        state = rng.choice(("activating", "active", "deactivating", "failed"))
        severity = Severity.ERROR if state == "failed" else Severity.INFO
        title = f"{origin.attributes['unit']} is {state}"
        own = {"current_state": state, "previous_state": "active", "invocation_id": f"{number % 5000:032x}", "n_restarts": 3}
    elif kind < 45:
        source, type, severity, origin = "kubernetes", "pod_state", Severity.WARNING, PODS[rng.randrange(200)]
        title = f"Back-off restarting failed container app in pod {origin.entity.name}"
        own = {"change": "waiting", "reason": "CrashLoopBackOff", "restart_count": number % 40, "phase": "Running"}
    elif kind < 57:
        source, type, severity, origin = "ebpf", "connection_failed", Severity.ERROR, PODS[rng.randrange(200)]
        target = f"10.1.{rng.randrange(4)}.{rng.randrange(20)}"
        title = f"connection to {target}:5432 refused"
        own = {"dst_ip": target, "dst_port": 5432, "src_ip": f"10.0.0.{rng.randrange(200)}", "protocol": "tcp", "errno": 111}
    elif kind < 59:
        source, type, severity, origin = "ebpf", "oom_kill", Severity.CRITICAL, PODS[rng.randrange(200)]
        title = "Memory ran out: java was killed"
        own = {"comm": "java", "pid": 1000 + number % 20_000, "limit_bytes": 1 << 30, "usage_bytes": 1 << 30}
    else:
        source, type, severity, origin = "correlation", "correlation", Severity.CRITICAL, PODS[rng.randrange(200)]
        title = f"Memory ran out in {origin.entity.name}: 2 consequences"
        ids = [event_id(number, one) for one in range(4)]
        own = {"rule": "oom_cascade", "confidence": 0.93, "root_cause": ids[0], "members": ids, "impacts": ids[1:]}
    event = UnifiedEvent.of_origin(origin, event_id(number, type), at, at, source, type, severity, title, title, own)  # type: ignore[arg-type]
    if kind == 50:
        event.trace_id = f"{rng.getrandbits(128) | 1:032x}"
    return event


async def write(directory: Path, batches: list[list[UnifiedEvent]], **options: Any) -> tuple[float, float, Counter[str]]:
    """Write batches, as fast as the exporter takes them; returns wall and CPU seconds until all is written, and the counts."""
    surroundings = context(Kind.EXPORTER, "sqlite")
    exporter = SqliteExporter(surroundings, SqliteConfig(directory=directory, max_age="100000h", **options))
    await exporter.start()
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        await exporter.consume(Batch(batch, SCOPE))
    await exporter.shutdown()
    counters = surroundings.counters
    assert isinstance(counters, Counters)
    return time.perf_counter() - wall, time.process_time() - cpu, counters.counts


def bare(directory: Path, batches: list[list[UnifiedEvent]]) -> tuple[float, float]:
    """Return the CPU seconds that making records of events takes, and those of a bare `executemany` of them."""
    encoder, taken, plain = Encoder(), 0.0, 0.0
    database = sqlite3.connect(directory / "bare.db", isolation_level=None)
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-32768", "wal_autocheckpoint=8192"):
        database.execute(f"PRAGMA {setting}")
    database.execute("CREATE TABLE event (place INTEGER PRIMARY KEY, id, lag, title, text, own, trace, span, parent)")
    for start in range(0, len(batches), 20):
        began = time.thread_time()
        records = [one for batch in batches[start : start + 20] for one in encoder.records(batch)[0]]
        taken += time.thread_time() - began
        rows = [(one.timestamp, bytearray(one.id), one.lag, one.title, one.description, *one[8:12]) for one in records]  # type: ignore[arg-type]
        began = time.thread_time()
        database.execute("BEGIN")
        database.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        database.execute("COMMIT")
        plain += time.thread_time() - began
    database.close()
    return taken, plain


def timed(name: str, run: Callable[[int], Any], rounds: int) -> None:
    """Measure a query several times, each with another argument, and print."""
    taken, sizes = [], []
    for number in range(rounds):
        began = time.perf_counter()
        found = run(number)
        taken.append((time.perf_counter() - began) * 1000)
        sizes.append(found if isinstance(found, int) else len(found))
    cuts = quantiles(taken, n=100, method="inclusive")
    print(f"{name:<52}{cuts[49]:9.1f}{cuts[98]:9.1f}{max(taken):9.1f}   {sum(sizes) // len(sizes):>8}")


def queries(store: EventStore, rounds: int) -> None:
    """Measure queries."""
    rng = random.Random(1)
    timeline = TimelineReconstructor()

    def within(length: int) -> dict[str, int]:
        start = START + rng.randrange(WEEK - length)
        return {"since_ns": start, "until_ns": start + length}

    day = 86400 * SECOND
    ids = [one.event.id for one in store.events(EventQuery(limit=1000)).items]
    traces = [one.event.trace_id for one in store.events(EventQuery(types=("connection_failed",), limit=10_000)).items]
    traces = [one for one in traces if one]
    print(f"{'query, of all events unless said':<52}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}   {'results':>8}")
    timed("related(one entity)", lambda n: store.related(FOCUSES[n % 5]), rounds)
    timed("related(one entity), a day", lambda n: store.related(FOCUSES[n % 5], **within(day)), rounds)
    timed("related(node)", lambda _n: store.related("node/node-17.cluster.example"), rounds)
    timed("timeline(one entity), an hour", lambda n: _timeline(store, timeline, FOCUSES[n % 5], within(3600 * SECOND)), rounds)
    timed("events(), the last 200", lambda _n: store.events(EventQuery()).items, rounds)
    timed("events(severity=critical), 200", lambda _n: store.events(EventQuery(severity=Severity.CRITICAL)).items, rounds)
    timed("events(type), 200", lambda _n: store.events(EventQuery(types=("service_state",))).items, rounds)
    timed("events(type that there is none of)", lambda _n: store.events(EventQuery(types=("none",))).items, rounds)
    timed("events(entity), 200", lambda n: store.events(EventQuery(entity=f"pod-{n % 200}")).items, rounds)
    timed(
        "events(entity, source, severity), an hour",
        lambda _n: (
            store.events(EventQuery(entity="orders", source="journald", severity=Severity.ERROR, **within(3600 * SECOND))).items
        ),
        rounds,
    )
    timed("events(trace_id)", lambda n: store.events(EventQuery(trace_id=traces[n % len(traces)])).items, rounds)
    timed("events(), 10,000", lambda _n: store.events(EventQuery(limit=10_000, **within(day))).items, max(rounds // 5, 2))
    timed("event(id)", lambda n: int(store.event(ids[n % 1000]) is not None), rounds)
    words = ("refused", '"duplicate key"', "Back-off restarting", "admin -invalid", "orders_pk*", "nowhere")
    timed("events(text), 200", lambda n: store.events(EventQuery(text=words[n % len(words)])).items, rounds)
    timed(
        "events(text, entity, severity), 200",
        lambda n: store.events(EventQuery(text=words[n % len(words)], entity="pod", severity=Severity.ERROR)).items,
        rounds,
    )
    timed("findings(), 100", lambda _n: store.findings(), rounds)
    timed("entities()", lambda _n: store.entities(), rounds)
    timed("density(), 240 parts, as the page asks", lambda _n: store.density(EventQuery(), 240), rounds)
    timed("density(), 200 parts", lambda _n: store.density(EventQuery(), 200), rounds)
    timed("density(), a day, 200 parts", lambda _n: store.density(EventQuery(**within(day)), 200), rounds)
    timed("density(severity=error), 200 parts", lambda _n: store.density(EventQuery(severity=Severity.ERROR), 200), rounds)
    timed("marks(), 50,000", lambda _n: store.marks(EventQuery()), max(rounds // 5, 2))
    timed("count()", lambda _n: store.count(EventQuery()), rounds)
    timed("statistics()", lambda _n: store.statistics().events, rounds)


def _timeline(store: EventStore, reconstructor: TimelineReconstructor, focus: str, window: dict[str, int]) -> int:
    events = store.related(focus, **window)
    return len(reconstructor.reconstruct(events, focus, window["since_ns"], window["until_ns"]).entries)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the store (default 1000000)")
    parser.add_argument("--rounds", type=int, default=50, help="how often each query is asked (default 50)")
    parser.add_argument("--keep", type=Path, help="directory to leave the store in, or to find it in")
    arguments = parser.parse_args()
    print(f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.keep or Path(temporary)
        if not (directory / "events.db").exists():
            fill(directory, arguments.events)
        store = EventStore(directory)
        size = store.path.stat().st_size
        statistics = store.statistics()
        print(f"{statistics}\n{size / 1e6:.0f} MB on disk, {size / max(statistics.events, 1):.0f} bytes an event")
        queries(store, arguments.rounds)
        store.close()


def fill(directory: Path, count: int) -> None:
    """Write the events, in portions that fit into memory, and then some more at the limit."""
    walls, cpus, encoding, plain, portion = 0.0, 0.0, 0.0, 0.0, 100_000
    total: Counter[str] = Counter()
    gathered: list[list[UnifiedEvent]] = []
    costs: list[float] = []
    made = 0
    for batch in mix(count + portion):
        gathered.append(batch)
        made += len(batch)
        if made % portion == 0:
            gc.collect()
            gc.freeze()  # the events of the agent are fewer than these
            wall, cpu, counts = asyncio.run(write(directory, gathered, max_events=count))
            if made <= count:
                walls, cpus, total = walls + wall, cpus + cpu, total + counts
                costs.append(cpu / portion * 1e6)
                with tempfile.TemporaryDirectory(dir=directory) as beside:
                    taken = bare(Path(beside), gathered)
                encoding, plain = encoding + taken[0], plain + taken[1]
            gathered.clear()
            gc.unfreeze()
            if made <= count:
                continue
            _told("at the limit", portion, wall, cpu, counts)
    _told("written", count, walls, cpus, total)
    each, least = count / 1e6, min(costs)
    print(f"of these {encoding / each:.1f} µs for making records")
    print(f"the least of {len(costs)} portions {least:.1f} µs: {1e6 / least:,.0f}/s")
    print(f"a bare executemany of the same rows {plain / each:.1f} µs: the store takes {cpus / plain:.1f} times that")


def _told(name: str, count: int, wall: float, cpu: float, counts: Counter[str]) -> None:
    print(f"{name:<16}{count / wall:12,.0f} events/s, {cpu / count * 1e6:6.1f} µs of CPU an event  {dict(counts)}")


if __name__ == "__main__":
    main()
