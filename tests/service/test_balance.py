"""Every event is accounted for: at rest, at any moment of a run, and at the end of a bad one."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import Batch, ComponentConfig, Delivery, Exporter, Output, PermanentError, Receiver, Scope
from tapio_otel.config.loader import load
from tapio_otel.event import UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.processors.dedup import DedupProcessor
from tapio_otel.processors.filter import FilterProcessor
from tapio_otel.processors.recombine import RecombineProcessor
from tapio_otel.registry import Registry
from tapio_otel.service.balance import ExporterBalance, processor_balance
from tapio_otel.service.runner import Service
from tapio_otel.stage import Stage
from tests.components import CollectingExporter, UpperProcessor, events, make
from tests.processors.test_recombine_forms import STACKS, lines, origin_of
from tests.test_registry import plugin, registry

BATCHES = 60


class MixedReceiver(Receiver[ComponentConfig]):
    """Emit all sorts: repeats, stack traces in pieces, what the filter drops, and then end or wait."""

    type = "mixed"

    @property
    def finite(self) -> bool:
        return self.context.id.name != "follow"

    async def run(self, output: Output) -> None:
        for number in range(output.checkpoint or 0, BATCHES):
            await output.emit(_mixed(number), number + 1)
            await asyncio.sleep(0)
        if not self.finite:
            await asyncio.Event().wait()


def _mixed(number: int) -> list[UnifiedEvent]:
    """Return a line, one for the filter to drop, a stack trace that two times in three is whole, and two equal events."""
    found = events(f"single {number}", f"drop me {number}")
    found += lines(STACKS["python"][: None if number % 3 else 2], origin_of("shop"))
    found += events("again", "again", source="unit", type="service_state")
    for index, event in enumerate(found):
        event.id = event_id("mixed", f"{number} {index}")
        event.timestamp = 1_000_000_000 * number + index
    return found


class MoodyExporter(Exporter[ComponentConfig]):
    """Deliver, refuse for good, or drop, in turn."""

    type = "moody"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls = 0

    async def export(self, events: Any, scope: Scope) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.calls % 3 == 0:
            raise PermanentError("400 Bad Request")

    async def consume(self, batch: Batch) -> None:
        if self.calls % 5 == 4:
            self.calls += 1
            self.context.counters.add("dropped", len(batch.events), reason="queue_full")
            batch.delivery.done()
        else:
            await super().consume(batch)


class QueueExporter(CollectingExporter):
    """Keep a queue of three batches, and deliver one from time to time, or none at all."""

    type = "queue"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queue: deque[tuple[int, Delivery]] = deque()
        self.task: asyncio.Task[None] | None = None
        self.context.counters.gauge("queue_items", lambda: sum(count for count, _ in self.queue))

    async def start(self) -> None:
        if self.context.id.name != "dead":
            self.task = asyncio.create_task(self._deliver())

    async def _deliver(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            if self.queue:
                count, delivery = self.queue.popleft()
                self.context.counters.add("sent", count)
                delivery.done()

    async def consume(self, batch: Batch) -> None:
        while len(self.queue) >= 3:
            await asyncio.sleep(0.001)
        self.queue.append((len(batch.events), batch.delivery))

    async def shutdown(self) -> None:
        while self.task and self.queue:
            await asyncio.sleep(0.001)
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


class Swallowing(UpperProcessor):
    """Drop the first event of each batch without telling."""

    type = "swallowing"

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        return events[1:]

    def flush(self, final: bool) -> list[UnifiedEvent]:
        return []


class Losing(CollectingExporter):
    """Say that everything is done, and count nothing."""

    type = "losing"


def components() -> Registry:
    """Return a registry of the components of this module and the real processors."""
    processors = [RecombineProcessor, DedupProcessor, FilterProcessor, Swallowing, UpperProcessor]
    exporters = [MoodyExporter, QueueExporter, Losing]
    brought = plugin(tapio_receivers=[MixedReceiver], tapio_processors=processors, tapio_exporters=exporters)
    return registry((brought, "test 0"))


PIPELINE = """
receivers: {%s: }
processors:
  recombine:
  filter: {drop: ["title.startsWith('drop me')"]}
  dedup:
  swallowing:
exporters: {moody: , queue: , queue/dead: , losing: }
service:
  shutdown_timeout: 300ms
  pipelines:
    logs: {receivers: [%s], processors: [%s], exporters: [%s]}
    logs/b: {receivers: [%s], exporters: [moody]}
"""


def service(
    state: Path, receiver: str = "mixed", processors: str = "recombine, filter, dedup", exporters: str = "moody, queue"
) -> Service:
    """Return a service of two pipelines that share an exporter."""
    text = PIPELINE % (receiver, receiver, processors, exporters, receiver)
    return Service(load([("test.yaml", text)], [f"service.state_dir={state}"], components()), components())


async def test_a_run_with_everything_in_it_balances_to_the_event(tmp_path: Path) -> None:
    """Dedup, filter, recombine, an exporter that fails and drops, a queue that is full: no difference, and the figures fit."""
    one = service(tmp_path)
    await one.run()
    found = one.balance()
    assert found.difference == 0, found.lines()
    logs = next(one for one in found.pipelines if one.id == "logs")
    reasons = {reason for processor in logs.processors for (_, reason), amount in processor.removed.items() if amount}
    assert {"filter", "duplicate"} <= reasons
    words = {word for processor in logs.processors for word, _ in processor.removed}
    assert words == {"dropped", "recombined"}
    assert logs.received == sum(len(_mixed(number)) for number in range(BATCHES))
    moody = next(one for one in found.exporters if one.id == "moody")
    assert all(moody.counted[word] for word in ("sent", "failed", "dropped"))
    assert moody.in_flight == 0
    assert moody.offered == logs.passed_on + logs.received
    line = next(line for line in found.lines() if line.startswith("exporter moody: "))
    terms = " + ".join(f"{word} {moody.counted[word]:,}" for word in ("dropped", "failed", "sent"))
    assert line == f"exporter moody: offered {moody.offered:,} = {terms}"


async def test_at_every_moment_of_a_run_the_balance_is_even(tmp_path: Path) -> None:
    """Looked at between any two steps: what is on its way, in a queue or held back makes up the rest."""
    one = service(tmp_path)
    running = asyncio.create_task(one.run())
    seen = 0
    while not running.done():
        found = one.balance()
        assert found.difference == 0, found.lines()
        seen += any(outlet.unsettled for pipeline in found.pipelines for outlet in pipeline.outlets)
        await asyncio.sleep(0)
    assert seen > 50


async def test_a_shutdown_with_undelivered_events_balances(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The queue is full and nothing goes out: what is left is in flight or interrupted, and the summary says how much."""
    caplog.set_level("INFO", "tapio")
    one = service(tmp_path, "mixed/follow", exporters="moody, queue/dead")
    running = asyncio.create_task(one.run())
    queue: Any = next(one for one in one.graph.exporters if isinstance(one, QueueExporter))
    while len(queue.queue) < 3:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    one.stop()
    await running
    found = one.balance()
    assert found.difference == 0, found.lines()
    (dead,) = (outlet for outlet in found.pipelines[0].outlets if outlet.id == "queue/dead")
    assert dead.offered == dead.unsettled + dead.interrupted > 0
    line = next(message for message in caplog.messages if message.startswith("pipeline logs: "))
    assert f"queue/dead settled 0, in flight {dead.unsettled}" in line
    assert "NOT ACCOUNTED FOR" not in caplog.text
    (line,) = (message for message in caplog.messages if message.startswith("exporter queue/dead: "))
    assert line == f"exporter queue/dead: offered {dead.offered:,} = queued or in flight {dead.offered:,}"


async def test_a_processor_that_drops_in_silence_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It counts nothing, but the pipeline counts what goes in and what comes out."""
    caplog.set_level("INFO", "tapio")
    one = service(tmp_path, processors="swallowing")
    await one.run()
    assert one.balance().difference == one.balance().pipelines[0].difference == BATCHES
    assert f"NOT ACCOUNTED FOR {BATCHES}" in caplog.text


async def test_an_exporter_that_loses_in_silence_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It says done and counts nothing sent."""
    caplog.set_level("INFO", "tapio")
    one = service(tmp_path, processors="recombine", exporters="losing")
    await one.run()
    (losing,) = (found for found in one.balance().exporters if found.id == "losing")
    assert losing.difference == losing.offered > 0
    assert "exporter losing: offered " in caplog.text


@pytest.mark.parametrize(
    ("offered", "sent", "waiting", "difference"),
    [(10, 10, (0, 0), 0), (10, 7, (0, 3), 0), (10, 6, (0, 3), 1), (10, 7, (4, 9), -1), (10, 12, (0, 0), -2)],
)
def test_what_can_be_waiting_bounds_the_difference(offered: int, sent: int, waiting: tuple[int, int], difference: int) -> None:
    """Too much gone, too little, or counted twice."""
    assert ExporterBalance("x", offered, {"sent": sent}, waiting).difference == difference


def test_a_processor_that_makes_events_shows_them_as_made() -> None:
    """More came out than went in."""
    stage = Stage(make(UpperProcessor))
    stage.entered, stage.left = 5, 7
    found = processor_balance(stage)
    assert (found.made, found.held, found.unexplained) == (2, 0, 0)
