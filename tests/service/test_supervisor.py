"""A receiver that fails is run again; what is wrong is told once; a finite run without a source ends."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest

from tapio_otel.component import ComponentConfig, ComponentId, Output, Receiver, SourceUnavailable
from tapio_otel.pipeline import Pipeline, ReceiverOutput
from tapio_otel.service import supervisor
from tapio_otel.service.supervisor import Supervisor
from tests.components import SCOPE, CollectingExporter, ListReceiver, events, make


class Stumbling(Receiver[ComponentConfig]):
    """Fail with each of the listed errors in turn, then emit one event and end."""

    type = "stumbling"
    errors: list[Exception]

    async def run(self, output: Output) -> None:
        if self.errors:
            raise self.errors.pop(0)
        await output.emit(events("done"))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once: how long the pauses are is not what is tested here."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.0)


def supervised(receiver: Receiver[ComponentConfig], counted: list[int]) -> Supervisor:
    """Return a supervisor whose receiver emits into a collecting exporter."""
    pipeline = Pipeline(ComponentId("logs"), [], [make(CollectingExporter)], "0")
    output = ReceiverOutput(SCOPE, [pipeline], None, lambda _value: None, counted.append)
    return Supervisor(receiver, output, logging.getLogger("tapio.test"))


async def test_a_failing_receiver_is_run_again_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Equal problems are told once, another one again, health is clear at the end."""
    receiver, counted = make(Stumbling), list[int]()
    receiver.errors = [OSError("gone"), OSError("gone"), SourceUnavailable("no source", "Make one"), OSError("gone")]
    reports: list[str | None] = []
    receiver.context.report = reports.append
    one = supervised(receiver, counted)
    await one.run()
    assert counted == [1]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "ERROR"]
    assert caplog.records[1].getMessage() == "no source. Make one. It is tried again, without further notice"
    assert reports[-1] is None
    assert not one.failed


class Forsaken(Receiver[ComponentConfig]):
    """Wait for a task that somebody else cancels; emit one event when that has happened."""

    type = "forsaken"
    runs = 0

    async def run(self, output: Output) -> None:
        self.runs += 1
        if self.runs == 1:
            task = asyncio.create_task(asyncio.Event().wait())
            task.cancel()
            await task
        await output.emit(events("done"))


async def test_a_receiver_whose_own_task_was_cancelled_is_run_again(caplog: pytest.LogCaptureFixture) -> None:
    """That nobody wanted: it is a failure like any other, and does not end the receiver, nor the agent with it."""
    receiver, counted = make(Forsaken), list[int]()
    await supervised(receiver, counted).run()
    assert (receiver.runs, counted) == (2, [1])
    assert "what it waited for was cancelled" in caplog.text
    assert receiver.context.counters.counts["restarts:failed"] == 1


async def test_a_finite_receiver_without_its_source_ends_as_failed() -> None:
    """A batch job does not wait for ever for a journal that is not there."""
    one = supervised(make(ListReceiver, fail="no journal"), [])
    await one.run()
    assert one.failed


async def test_a_finite_receiver_that_keeps_failing_ends_as_failed() -> None:
    """After five errors in a row the run counts as failed."""

    class Finite(Stumbling):
        @property
        def finite(self) -> bool:
            return True

    receiver = make(Finite)
    receiver.errors = [OSError(str(number)) for number in range(9)]
    one = supervised(receiver, [])
    await one.run()
    assert one.failed
    assert len(receiver.errors) == 9 - supervisor.FINITE_TRIES


async def test_cancelling_ends_the_supervision() -> None:
    """Shutdown does not wait for a receiver that would run for ever."""
    running = asyncio.create_task(supervised(make(ListReceiver, follow=True), []).run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class Silent(Receiver[ComponentConfig]):
    """Show nothing at the first run, and end at the second one."""

    type = "silent"
    heartbeat = 0.001
    runs = 0
    sign = ""

    async def run(self, output: Output) -> None:
        self.runs += 1
        if self.runs > 1:
            await output.emit(events("second"))
            return
        for _ in range(400 if self.sign else 1_000_000):
            if self.sign == "alive":
                output.alive()
            elif self.sign == "progress":
                output.progress(1, None)
            await asyncio.sleep(0.001)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a run for stuck after a tenth of a second."""
    monkeypatch.setattr(supervisor, "STUCK_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "ENDING_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
async def test_a_stuck_receiver_is_cancelled_counted_and_run_again(caplog: pytest.LogCaptureFixture) -> None:
    """It promised a heartbeat and shows nothing: the second run goes to its end."""
    receiver, counted = make(Silent), list[int]()
    await supervised(receiver, counted).run()
    assert (receiver.runs, counted) == (2, [1])
    assert receiver.context.counters.counts["restarts:stuck"] == 1
    assert "stuck: no sign of life for 0.1 s; it is cancelled" in caplog.text


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sign", ["alive", "progress"])
async def test_any_sign_of_life_keeps_a_run(sign: str) -> None:
    """Idle but alive for four times as long as one may be silent: there is one run, to its end."""
    receiver = make(Silent)
    receiver.sign = sign
    await supervised(receiver, []).run()
    assert receiver.runs == 1


@pytest.mark.usefixtures("impatient")
async def test_waiting_for_a_full_exporter_is_not_being_stuck() -> None:
    """Backpressure lasts as long as it lasts: the batch is taken in the end, by the first run."""

    class Waiting(Silent):
        async def run(self, output: Output) -> None:
            self.runs += 1
            await output.emit(events("a"))

    exporter, receiver = make(CollectingExporter), make(Waiting)
    exporter.room.clear()
    pipeline = Pipeline(ComponentId("logs"), [], [exporter], "0")
    output = ReceiverOutput(SCOPE, [pipeline], None, lambda _value: None, lambda _count: None)
    running = asyncio.create_task(Supervisor(receiver, output, logging.getLogger("tapio.test")).run())
    await asyncio.sleep(0.4)
    exporter.room.set()
    await running
    assert (receiver.runs, exporter.titles) == (1, ["a"])


@pytest.mark.usefixtures("impatient")
async def test_a_receiver_that_promises_nothing_may_be_silent() -> None:
    """Without a heartbeat nobody looks at the age of its last sign."""
    receiver = make(Silent)
    receiver.heartbeat = None
    running = asyncio.create_task(supervised(receiver, []).run())
    await asyncio.sleep(0.4)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert receiver.runs == 1


class Deaf(Silent):
    """Ignore being cancelled at the first run, and emit when it is let go."""

    type = "deaf"
    release: asyncio.Event

    async def run(self, output: Output) -> None:
        self.runs += 1
        if self.runs > 1:
            await output.emit(events("second"))
            return
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue
        await output.emit(events("first"))


@pytest.mark.usefixtures("impatient")
async def test_a_run_that_ignores_being_cancelled_is_left_behind_and_cannot_emit(caplog: pytest.LogCaptureFixture) -> None:
    """It is named with its line; what it emits when it wakes up goes nowhere, and the second run's event arrives once."""
    receiver, counted = make(Deaf), list[int]()
    receiver.release = asyncio.Event()
    one = supervised(receiver, counted)
    await one.run()
    (left,) = one.left_behind
    assert "the run of deaf (at " in caplog.text
    assert "did not end within 0.1 s though it was cancelled; it is left behind" in caplog.text
    receiver.release.set()
    await asyncio.sleep(0.05)
    assert counted == [1]
    assert not left.done()
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)


async def test_a_receiver_that_calls_exit_does_not_end_the_process() -> None:
    """A plugin written as a script: the error is reported, and the run is tried again."""

    class Exiting(Stumbling):
        async def run(self, output: Output) -> None:
            if self.errors:
                self.errors.pop()
                sys.exit(3)

    receiver = make(Exiting)
    receiver.errors = [ValueError()]
    reports: list[str | None] = []
    receiver.context.report = reports.append
    await supervised(receiver, []).run()
    assert reports == ["ComponentError: it called sys.exit(3)", None]
