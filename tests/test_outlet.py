"""An exporter with `required: false` never holds anybody up, and every event that it does not get is counted."""

from __future__ import annotations

import asyncio

import pytest

from tapio_otel import outlet
from tapio_otel.component import Batch, ComponentId
from tapio_otel.pipeline import Pipeline, ReceiverOutput
from tests.components import SCOPE, CollectingExporter, events, make


class Keeping(CollectingExporter):
    """Take a batch, wait for its result, and tell of it even when nobody waits any more."""

    type = "keeping"

    async def consume(self, batch: Batch) -> None:
        self.events += batch.events
        self.held.append(batch.delivery)
        batch.is_taken = True
        await asyncio.Event().wait()

    def answer(self) -> None:
        self.context.counters.add("sent", len(self.events))
        for delivery in self.held:
            delivery.done()


class Fan:
    """Be a pipeline to a required exporter and one that is not, with a receiver's output in front."""

    def __init__(self, optional: type[CollectingExporter] = CollectingExporter) -> None:
        self.required = make(CollectingExporter)
        self.optional = make(optional, required=False)
        self.pipeline = Pipeline(ComponentId("logs"), [], [self.required, self.optional], "0")
        self.saved: list[int] = []
        self.output = ReceiverOutput(SCOPE, [self.pipeline], None, self.saved.append, lambda _count: None)
        self.outlet = self.pipeline.outlets[1]

    @property
    def dropped(self) -> dict[str, int]:
        counts = self.optional.context.counters.counts
        return {name: amount for name, amount in counts.items() if name.startswith("dropped")}


@pytest.fixture
def _room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three events wait."""
    monkeypatch.setattr(outlet, "MOST_WAITING", 3)


async def test_checkpoints_move_and_the_others_go_on_while_it_is_stuck() -> None:
    """It gets everything, in order, as soon as it can."""
    fan = Fan()
    fan.optional.room.clear()
    async with asyncio.timeout(10):
        for number in range(5):
            await fan.output.emit(events(f"event {number}"), number + 1)
    assert fan.saved == [1, 2, 3, 4, 5]
    assert len(fan.required.events) == 5
    assert fan.optional.events == []
    assert fan.outlet.unsettled == 5
    fan.optional.room.set()
    await fan.pipeline.flush(final=True)
    assert fan.optional.titles == [f"event {number}" for number in range(5)]
    assert (fan.outlet.unsettled, fan.dropped) == (0, {})


async def test_checkpoints_wait_for_the_required_one() -> None:
    """What only the optional one has delivered is not delivered."""
    fan = Fan()
    fan.required.hold = True
    await fan.output.emit(events("a"), 1)
    await fan.pipeline.flush(final=True)
    assert fan.optional.titles == ["a"]
    assert (fan.saved, fan.output.undelivered) == ([], 1)
    fan.required.held.pop().done()
    assert (fan.saved, fan.output.undelivered) == ([1], 0)


@pytest.mark.usefixtures("_room_for_three")
async def test_what_no_longer_fits_is_dropped_and_counted() -> None:
    """A single batch is taken however large; of what comes behind it each event is counted."""
    fan = Fan()
    fan.optional.room.clear()
    await fan.output.emit(events("a", "b", "c", "d"), 1)
    await fan.output.emit(events("e", "f"), 2)
    assert fan.dropped == {"dropped": 2, "dropped:queue_full": 2}
    fan.optional.room.set()
    await fan.pipeline.flush(final=True)
    await fan.output.emit(events("g"), 3)
    await fan.pipeline.flush(final=True)
    assert fan.optional.titles == ["a", "b", "c", "d", "g"]
    assert len(fan.required.events) == 7
    assert fan.outlet.unsettled == 0


async def test_what_still_waits_at_the_end_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a moment to take it; the batch on its way in is counted like those behind it."""
    monkeypatch.setattr("tapio_otel.pipeline.LAST_SECONDS", 0.01)
    fan = Fan()
    fan.optional.room.clear()
    for number in range(3):
        await fan.output.emit(events(f"event {number}"), number + 1)
    await fan.pipeline.flush(final=True)
    assert fan.dropped == {"dropped": 3, "dropped:stopped": 3}
    assert fan.outlet.unsettled == 0
    fan.optional.room.set()
    await asyncio.sleep(0)
    assert fan.optional.events == []


async def test_a_batch_that_the_exporter_has_is_not_counted_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that waits for the server's answer tells itself what became of it: each event is counted once."""
    monkeypatch.setattr("tapio_otel.pipeline.LAST_SECONDS", 0.01)
    fan = Fan(Keeping)
    await fan.output.emit(events("a", "b"), 1)
    await fan.output.emit(events("c"), 2)
    await fan.pipeline.flush(final=True)
    assert fan.dropped == {"dropped": 1, "dropped:stopped": 1}
    assert fan.outlet.unsettled == 2
    fan.optional.answer()
    counts = fan.optional.context.counters.counts
    assert counts["sent"] + counts["dropped"] == fan.outlet.offered == 3
    assert fan.outlet.unsettled == 0
