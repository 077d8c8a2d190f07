"""Measure what understanding a log line costs: the whole library, and how the cost grows with the number of patterns.

Ordinary lines (tests/patterns/noise) become journal events; normalize runs over batches of them, with and without patterns and
classifiers in turn, so that a slow moment is slow for both. CPU time of this process, in microseconds a line; the ratio of two
columns measured in one run is what counts.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from tapio_otel.component import ComponentContext, ComponentId, Kind
from tapio_otel.event import UnifiedEvent
from tapio_otel.patterns import Matcher, load_library
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tapio_otel.receivers.journald.entry import EntryParser
from tapio_otel.registry import Registry
from tests.patterns import noise

BATCH = 1000


class NotCounted:
    """Be the counters that nobody reads."""

    def add(self, name: str, amount: int = 1, **attributes: str) -> None: ...

    def gauge(self, name: str, read: Callable[[], float]) -> None: ...


def processor(registry: Registry, **options: Any) -> NormalizeProcessor:
    """Return a normalize processor."""
    log = logging.getLogger("bench")
    context = ComponentContext(ComponentId("normalize"), Kind.PROCESSOR, NotCounted(), Path(), log, registry.provided)
    return NormalizeProcessor(context, NormalizeConfig(**options))


def journal_batches(lines: Iterable[tuple[str, str]]) -> list[list[UnifiedEvent]]:
    """Return events as the journald receiver makes them, a process for each identifier."""
    parser = EntryParser()
    entries = []
    for number, (identifier, text) in enumerate(lines):
        pid = str(1000 + hash(identifier) % 500).encode()
        fields = {
            "MESSAGE": text.encode(),
            "PRIORITY": b"6",
            "SYSLOG_IDENTIFIER": identifier.encode(),
            "_COMM": identifier.encode(),
            "_PID": pid,
            "_TRANSPORT": b"kernel" if identifier == "kernel" else b"syslog",
            "_SYSTEMD_UNIT": f"{identifier}.service".encode(),
            "_HOSTNAME": b"node1",
            "_BOOT_ID": b"a" * 32,
            "_MACHINE_ID": b"b" * 32,
        }
        cursor = f"s={'c' * 32};i={number + 1:x};b={'a' * 32};m=1;t={1_763_884_800_000_000 + number:x};x=0"
        entries.append((fields, cursor))
    return [parser.parse_batch(entries[at : at + BATCH]) for at in range(0, len(entries), BATCH)]


def cost(run: Callable[[list[UnifiedEvent]], Any], batches: list[list[UnifiedEvent]]) -> float:
    """Return CPU microseconds a line."""
    copies = [[event.copy() for event in batch] for batch in batches]
    gc.collect()
    gc.disable()
    begin = time.process_time()
    for batch in copies:
        run(batch)
    spent = time.process_time() - begin
    gc.enable()
    return spent * 1e6 / sum(map(len, batches))


def synthetic(count: int) -> list[str]:
    """Return expressions of the usual forms that no ordinary line matches."""
    values = random.Random(3)
    words = [
        "link",
        "device",
        "upstream",
        "quota",
        "replica",
        "lease",
        "tunnel",
        "volume",
        "shard",
        "broker",
        "cursor",
        "mailbox",
    ]
    forms = (r"{} {} failed: (?P<reason>\S+)", r"^{}: {} lost after (?P<elapsed>\d+)s", r"(?i){} \S+ {} (?P<code>\d+) rejected")
    return [values.choice(forms).format(values.choice(words), f"{values.choice(words)}{n}") for n in range(count)]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lines", type=int, default=40_000)
    arguments = parser.parse_args()
    registry = Registry.load()
    begin = time.process_time()
    library = load_library(["builtin"])
    print(f"{len(library.patterns)} patterns loaded in {(time.process_time() - begin) * 1e3:.0f} ms of CPU")
    lines = list(noise.lines(1 + arguments.lines // len(noise.templates())))[: arguments.lines]
    batches = journal_batches(lines)
    print(f"{len(lines)} lines, {sum(len(text) for _, text in lines) / len(lines):.0f} characters on average")
    bare = processor(registry, patterns=[], classifiers=[])
    whole = processor(registry)
    subjects = {"source's normalizer alone": bare.process, "with library and classifiers": whole.process}
    table: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(arguments.rounds):
        for name in subjects if number % 2 else reversed(subjects):
            table[name].append(cost(subjects[name], batches))
    for name, costs in table.items():
        print(f"{name:<32}{median(costs):8.2f} µs a line   ({min(costs):.2f} to {max(costs):.2f})")
    first, second = (median(costs) for costs in table.values())
    print(f"{'understanding a line':<32}{second - first:8.2f} µs")
    print("\nthe set alone, by number of patterns (median µs a line):")
    texts = [text for _, text in lines]
    matchers = {count: Matcher(_patterns(count)) for count in (10, 100, 300, 1000)}
    grown: dict[int, list[float]] = {count: [] for count in matchers}
    for _ in range(arguments.rounds):
        for count, matcher in matchers.items():
            grown[count].append(_scan(matcher, texts))
    for count, costs in grown.items():
        print(f"{count:>8}{median(costs):8.2f}   {median(costs) / median(grown[10]):.2f} times that of 10")


def _patterns(count: int) -> Any:
    from dataclasses import replace

    example = load_library(["builtin"]).patterns[0]
    return [replace(example, name=f"p{n}", expressions=(text,)) for n, text in enumerate(synthetic(count))]


def _scan(matcher: Matcher, texts: list[str]) -> float:
    begin = time.process_time()
    hits = matcher.hits
    for text in texts:
        hits(text)
    return (time.process_time() - begin) * 1e6 / len(texts)


if __name__ == "__main__":
    main()
