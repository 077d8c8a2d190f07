"""A receiver that fails is run again; what is wrong is told once; a finite run without a source ends."""

from __future__ import annotations

import asyncio
import logging

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
