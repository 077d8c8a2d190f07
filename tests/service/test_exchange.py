"""A reload exchanges components while the rest goes on: no event is lost, none is repeated, and every one is accounted for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tapio_otel.component import Batch, ComponentConfig, ComponentError, Output, Receiver
from tapio_otel.config.loader import Configuration, load
from tapio_otel.event import UnifiedEvent
from tapio_otel.registry import Registry
from tapio_otel.service import reloader
from tapio_otel.service.runner import Service
from tests.components import CollectingExporter, UpperProcessor, events
from tests.test_registry import plugin, registry

ARRIVED: Counter[str] = Counter()
MADE: list[str] = []


@pytest.fixture(autouse=True)
def nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without anything arrived; try again at once what does not start."""
    ARRIVED.clear()
    MADE.clear()
    BrokenExporter.broken = True
    monkeypatch.setattr(reloader, "FIRST_PAUSE", 0.01)


class PaceConfig(ComponentConfig):
    """Tell one configuration from another."""

    pace: float = 0.0


class CountingReceiver(Receiver[PaceConfig]):
    """Emit numbers for ever, two a batch, and resume after the last one delivered."""

    type = "counting"
    Config = PaceConfig

    async def run(self, output: Output) -> None:
        number = output.checkpoint or 0
        while True:
            await output.emit(events(str(number), str(number + 1)), number + 2)
            number += 2
            MADE[:] = map(str, range(number))
            await asyncio.sleep(self.config.pace)


class ForgetfulReceiver(Receiver[ComponentConfig]):
    """Emit one event that cannot be had again, and wait."""

    type = "forgetful"
    emitted: ClassVar[int] = 0

    async def run(self, output: Output) -> None:
        if not ForgetfulReceiver.emitted:
            ForgetfulReceiver.emitted += 1
            await output.emit(events("once"))
        await asyncio.Event().wait()


class ArrivingExporter(CollectingExporter):
    """Count what arrives, and in the end say how often it was started."""

    type = "arriving"
    Config = PaceConfig

    async def consume(self, batch: Batch) -> None:
        await asyncio.sleep(0)
        ARRIVED.update(event.title for event in batch.events)
        self.context.counters.add("sent", len(batch.events))
        batch.delivery.done()


class DeadExporter(CollectingExporter):
    """Take a few batches of two into a queue in memory and deliver none, then take no more."""

    type = "dead"
    Config = PaceConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.context.counters.gauge("queue_items", lambda: 2 * len(self.held))

    async def consume(self, batch: Batch) -> None:
        if len(self.held) >= 3:
            await asyncio.Event().wait()
        self.held.append(batch.delivery)


class SwitchedExporter(ArrivingExporter):
    """Be dead at the pace 1."""

    type = "switched"

    async def consume(self, batch: Batch) -> None:
        await (DeadExporter if self.config.pace == 1 else ArrivingExporter).consume(self, batch)  # type: ignore[arg-type, attr-defined]


class BrokenExporter(ArrivingExporter):
    """Do not start at the pace 1; and not at all once it was stopped, until it is repaired."""

    type = "broken"
    broken: ClassVar[bool] = True
    starts: ClassVar[int] = 0

    async def start(self) -> None:
        BrokenExporter.starts += 1
        if self.config.pace == 1 or (self.broken and BrokenExporter.starts > 1):  # type: ignore[attr-defined]
            raise ComponentError("the port is taken")


class HoldingProcessor(UpperProcessor):
    """Hold back the last event of each batch until the next one comes."""

    type = "holding"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: list[tuple[int, UnifiedEvent]] = []

    @property
    def held_from(self) -> int | None:
        return self.held[0][0] if self.held else None

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        before, self.held = self.held, [(self.serial, events[-1])]
        return [event for _, event in before] + events[:-1]

    def flush(self, final: bool) -> list[UnifiedEvent]:
        before, self.held = (self.held, []) if final else ([], self.held)
        return [event for _, event in before]


def components() -> Registry:
    """Return a registry of the components of this module."""
    brought = plugin(
        tapio_receivers=[CountingReceiver, ForgetfulReceiver],
        tapio_processors=[UpperProcessor, HoldingProcessor],
        tapio_exporters=[ArrivingExporter, DeadExporter, BrokenExporter, SwitchedExporter],
    )
    return registry((brought, "test 0"))


class Changing:
    """Be a configuration that a test changes between reloads."""

    def __init__(self, state: Path) -> None:
        self.text = ""
        self._state = state
        self._registry = components()
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = False

    def load(self) -> Configuration:
        self.waiting = not self.gate.is_set()
        self.gate.wait()
        return load([("test.yaml", self.text)], [f"service.state_dir={self._state}"], self._registry)

    def service(self, text: str) -> Service:
        self.text = text
        return Service(self.load(), self._registry, load_again=self.load)


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    """Return a configuration to change."""
    return Changing(tmp_path)


@asynccontextmanager
async def serving(one: Service) -> AsyncIterator[asyncio.Task[int]]:
    """Run a service, and end it in any case."""
    running = asyncio.create_task(one.run())
    try:
        yield running
        one.stop()
        assert await running == 0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; the test's own timeout ends a wait in vain."""
    while not condition():
        await asyncio.sleep(0.005)


async def more(count: int = 20) -> None:
    """Wait until so many more events have arrived."""
    before = sum(ARRIVED.values())
    await until(lambda: sum(ARRIVED.values()) >= before + count)


def reloads(one: Service, result: str) -> int:
    """Return how many reloads came out so."""
    return sum(
        int(point.value)
        for resource in one.telemetry._reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "tapio_service_reloads"
        for point in metric.data.data_points
        if point.attributes["result"] == result
    )


async def reload(one: Service, result: str = "applied") -> None:
    """Reload, and wait for what comes of it."""
    before = reloads(one, result)
    one.reload()
    await until(lambda: reloads(one, result) > before)


ONE = """
receivers: {counting: {pace: %s}}
processors: {%s: }
exporters: {%s: {pace: %s}}
service: {shutdown_timeout: %s, pipelines: {logs: {receivers: [counting], processors: [%s], exporters: [%s]}}}
"""


def one_pipeline(
    exporter: str = "arriving", pace: float = 0, processor: str = "holding", reading: float = 0, timeout: str = "5s"
) -> str:
    """Return a configuration of one pipeline."""
    return ONE % (reading, processor, exporter, pace, timeout, processor, exporter)


def expect_each_once() -> None:
    """Fail unless what was emitted has arrived, each once."""
    arrived = Counter({title: amount for title, amount in ARRIVED.items() if title != "summary"})
    assert arrived == Counter(MADE)


async def test_nothing_is_lost_or_repeated_whatever_is_exchanged(changing: Changing) -> None:
    """The receiver, a processor that holds events back, the exporter, each in turn and all at once, many times."""
    one = changing.service(one_pipeline())
    async with serving(one):
        for number in range(1, 13):
            await more()
            changing.text = one_pipeline(
                pace=number // 3 / 100,
                processor=("holding", "upper")[number // 2 % 2],
                reading=number % 2 / 1000,
            )
            await reload(one)
    expect_each_once()
    assert one.balance().difference == 0
    assert one.balance().pipelines[0].received == len(MADE)


async def test_what_does_not_change_is_the_very_same_component(changing: Changing) -> None:
    """Instances, what they hold back, and the runs of receivers stay; only what changed is another one."""
    one = changing.service(one_pipeline())
    async with serving(one):
        await more()
        before = one.graph
        changing.text = one_pipeline(exporter="arriving/new")
        await reload(one)
        after = one.graph
        assert after.pipelines[0].processors[0] is before.pipelines[0].processors[0]
        assert list(after.receivers.values()) == list(before.receivers.values())
        assert after.exporters[0] is not before.exporters[0]
        await more()
    expect_each_once()


async def test_an_exporter_that_cannot_deliver_hands_over_to_its_successor(
    changing: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    """The backend's address was wrong: with the right one, everything from the first event on arrives there."""
    one = changing.service(one_pipeline("switched", 1, timeout="100ms"))
    async with serving(one):
        await until(lambda: len(one.graph.exporters[0].held) >= 3)  # type: ignore[attr-defined]
        changing.text = one_pipeline("switched", 2, timeout="1s")
        await reload(one)
        await more()
    assert set(ARRIVED) == set(MADE)
    assert one.balance().difference == 0


async def test_what_a_removed_exporter_owes_is_dropped_and_counted(
    changing: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody wants it any more: the checkpoint moves on, and the log says how many events it was."""
    both = """
receivers: {counting: {pace: 0.001}}
exporters: {arriving: , dead: }
service: {shutdown_timeout: 100ms, pipelines: {logs: {receivers: [counting], exporters: [arriving, dead]}}}
"""
    one = changing.service(both)
    async with serving(one):
        await until(lambda: len(ARRIVED) >= 8)
        changing.text = both.replace("[arriving, dead]", "[arriving]").replace(", dead: ", "").replace("100ms", "1s")
        await reload(one)
        await more()
    assert "exporters/dead is no more: 6 events that it had not delivered are dropped" in caplog.text
    assert set(ARRIVED) == set(MADE)
    assert one.balance().difference == 0


@pytest.mark.parametrize(
    ("successor", "reason"), [("dead: {pace: 2, required: false}", "is not required and"), ("", "is no more")]
)
async def test_what_an_exporter_that_is_not_required_owes_is_dropped_and_counted(
    changing: Changing, caplog: pytest.LogCaptureFixture, successor: str, reason: str
) -> None:
    """Nobody reads it again, whether another one takes its place or not; what waited in front of it counts, too."""
    text = """
receivers: {counting: {pace: 0.001}}
exporters: {arriving: , %s}
service: {shutdown_timeout: 100ms, pipelines: {logs: {receivers: [counting], exporters: [arriving, %s]}}}
"""
    one = changing.service(text % ("dead: {pace: 1, required: false}", "dead"))
    async with serving(one):
        await until(lambda: len(ARRIVED) >= 20)
        changing.text = text % (successor, "dead" if successor else "")
        await reload(one)
        await more()
        (dead,) = (found for found in one.balance().exporters if found.id == "dead")
        assert dead.counted["dropped"] >= 20
        (outlet,) = (found for found in one.balance().pipelines[0].outlets if found.id == "dead" and found.offered >= 20)
        assert outlet.interrupted == 0  # that is what is read again
        assert one.balance().difference == 0
    assert f"exporters/dead {reason}" in caplog.text
    assert one.balance().difference == 0
    assert Counter(MADE) == ARRIVED


async def test_an_event_that_cannot_be_read_again_is_counted_as_dropped(
    changing: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver without checkpoints, and an exporter that cannot deliver: the loss is told, and the balance has it."""
    ForgetfulReceiver.emitted = 0
    text = """
receivers: {forgetful: }
exporters: {switched: {pace: %d}}
service: {shutdown_timeout: 100ms, pipelines: {logs: {receivers: [forgetful], exporters: [switched]}}}
"""
    one = changing.service(text % 1)
    async with serving(one):
        await until(lambda: one.graph.exporters[0].held)  # type: ignore[attr-defined]
        changing.text = text % 2
        await reload(one)
    assert "1 events could not be delivered before the reload and cannot be read again" in caplog.text
    assert one.telemetry.totals()["otelcol_receiver_dropped_log_records", "forgetful"] == 1


async def test_what_does_not_start_leaves_the_old_running(changing: Changing, caplog: pytest.LogCaptureFixture) -> None:
    """The new exporter fails: the one before is started again, and not an event is lost."""
    BrokenExporter.broken, BrokenExporter.starts = False, 0
    one = changing.service(one_pipeline("broken"))
    async with serving(one):
        await more()
        changing.text = one_pipeline("broken", 1)
        await reload(one, "brought_back")
        assert one.health.problems["service/reload"] == "not reloaded: exporters.broken: the port is taken"
        await more()
        changing.text = one_pipeline("broken", 2)
        await reload(one)
        assert one.health.well
        await more()
    expect_each_once()
    assert one.balance().difference == 0


async def test_a_corrected_configuration_helps_where_the_old_one_does_not_start_again(
    changing: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither new nor old start: the receiver is held, other attempts follow, and a reload with another exporter ends it."""
    BrokenExporter.starts = 0
    one = changing.service(one_pipeline("broken"))
    async with serving(one):
        await more()
        changing.text = one_pipeline("broken", 1)
        one.reload()
        await until(lambda: caplog.text.count("what ran before the reload does not start again") >= 2)
        changing.text = one_pipeline("arriving")
        await reload(one)
        await more()
    expect_each_once()
    assert one.balance().difference == 0


async def test_stopping_while_nothing_starts_again_ends_the_service(
    changing: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    """The drain leaves undelivered what has no exporter: the checkpoint stays before it, and the next run has it."""
    BrokenExporter.starts = 0
    one = changing.service(one_pipeline("broken"))
    async with serving(one):
        await more()
        changing.text = one_pipeline("broken", 1)
        one.reload()
        await until(lambda: "what ran before the reload does not start again" in caplog.text)
    again = changing.service(one_pipeline())
    async with serving(again):
        await more()
    assert set(ARRIVED) == set(MADE)


async def test_a_bad_configuration_is_refused_and_told(changing: Changing, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the place of the error, health has it, the counter counts it, and everything goes on."""
    one = changing.service(one_pipeline())
    async with serving(one):
        await more()
        exporter = one.graph.exporters[0]
        changing.text = one_pipeline().replace("pace: 0}", "pase: 0}")
        await reload(one, "refused")
        assert "test.yaml:2: receivers.counting.pase: " in caplog.text
        assert "the configuration was not reloaded for 2 errors; the one in use stays" in caplog.text
        assert one.health.problems["service/reload"].startswith("not reloaded: test.yaml:2: receivers.counting.pase: ")
        assert one.graph.exporters[0] is exporter
        await more()
    expect_each_once()


async def test_many_requests_while_one_is_carried_out_are_one_more(changing: Changing) -> None:
    """Ten requests at once, before and after one has begun, come to two reloads."""
    one = changing.service(one_pipeline())
    async with serving(one):
        await more()
        changing.gate.clear()
        for _ in range(10):
            one.reload()
        await until(lambda: changing.waiting)
        for _ in range(10):
            one.reload()
        changing.gate.set()
        await until(lambda: reloads(one, "applied") == 2)
        await more(100)
        assert reloads(one, "applied") == 2


async def test_pipelines_come_and_go(changing: Changing) -> None:
    """A second pipeline gets what is emitted from then on; when it goes the first one has noticed nothing."""
    caplog_level = logging.getLogger("tapio").level
    text = """
receivers: {counting: {pace: 0.001}}
processors: {upper: }
exporters: {arriving: , arriving/b: }
service:
  pipelines:
    logs: {receivers: [counting], exporters: [arriving]}
"""
    second = "    logs/b: {receivers: [counting], processors: [upper], exporters: [arriving/b]}\n"
    one = changing.service(text)
    async with serving(one):
        await more()
        changing.text = text + second
        await reload(one)
        await more()
        changing.text = text
        await reload(one)
        await more()
    first, gone = one.balance().pipelines
    assert (first.id, gone.id) == ("logs", "logs/b")
    assert first.received == len(MADE)
    assert 0 < gone.received < first.received
    assert sum(ARRIVED.values()) == first.received + gone.passed_on
    assert one.balance().difference == 0
    assert logging.getLogger("tapio").level == caplog_level


async def test_a_finite_receiver_that_ended_is_not_run_again(tmp_path: Path, changing: Changing) -> None:
    """Only the receiver that is new runs; and the service ends when the last one has."""
    changing._registry = registry(
        (plugin(tapio_receivers=[CountingReceiver, *_list_receiver()], tapio_exporters=[ArrivingExporter]), "test 0")
    )
    text = """
receivers: {list: {batches: [[a], [b]]}, counting: }
exporters: {arriving: }
service: {pipelines: {logs: {receivers: [%s], exporters: [arriving]}}}
"""
    one = changing.service(text % "list, counting")
    running = asyncio.create_task(one.run())
    await more()
    changing.text = text % "list"
    one.reload()
    assert await running == 0
    assert (ARRIVED["a"], ARRIVED["b"]) == (1, 1)


def _list_receiver() -> list[type[Receiver[Any]]]:
    from tests.components import ListReceiver

    return [ListReceiver]
