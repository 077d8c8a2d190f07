"""Pipelines deliver every event once to every exporter and move checkpoints only in order and after delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Batch, ComponentConfig, ComponentId, Delivery, Exporter, PermanentError, Scope
from tapio_otel.event import UnifiedEvent
from tapio_otel.pipeline import Pipeline, ReceiverOutput
from tests.components import SCOPE, CollectingExporter, UpperProcessor, events, make


def pipeline(*exporters: Exporter[ComponentConfig], processors: tuple[UpperProcessor, ...] = ()) -> Pipeline:
    """Return a pipeline of these parts."""
    return Pipeline(ComponentId("logs"), processors, exporters, "0")


class Saved(list[int]):
    """Collect saved checkpoints."""


def output(*pipelines: Pipeline, saved: list[int] | None = None, checkpoint: int | None = None) -> ReceiverOutput:
    """Return the output of a receiver that feeds these pipelines."""
    return ReceiverOutput(SCOPE, pipelines, checkpoint, (saved if saved is not None else Saved()).append, lambda _count: None)


async def test_a_batch_reaches_every_exporter_through_the_processors_in_order() -> None:
    """Two processors, two exporters: both see what both processors made of it."""
    first, second = make(CollectingExporter), make(CollectingExporter)
    await output(pipeline(first, second, processors=(make(UpperProcessor),))).emit(events("a", "b"))
    assert first.titles == second.titles == ["A", "B"]


async def test_pipelines_that_share_a_receiver_do_not_see_each_others_changes() -> None:
    """One pipeline changes its events; the other's stay as emitted."""
    changed, plain = make(CollectingExporter), make(CollectingExporter)
    await output(pipeline(changed, processors=(make(UpperProcessor),)), pipeline(plain)).emit(events("a"))
    assert (changed.titles, plain.titles) == (["A"], ["a"])


async def test_a_checkpoint_is_saved_when_the_last_exporter_has_delivered() -> None:
    """One exporter delivers at once, the other holds back: the checkpoint waits for it."""
    quick, slow, saved = make(CollectingExporter), make(CollectingExporter), Saved()
    slow.hold = True
    await output(pipeline(quick), pipeline(slow), saved=saved).emit(events("a"), 1)
    assert saved == []
    slow.held.pop().done()
    assert saved == [1]


async def test_checkpoints_are_saved_in_order_whatever_the_order_of_delivery() -> None:
    """The second batch is delivered first: nothing is saved until the first is, then the later checkpoint."""
    exporter, saved = make(CollectingExporter), Saved()
    exporter.hold = True
    out = output(pipeline(exporter), saved=saved)
    await out.emit(events("a"), 1)
    await out.emit(events("b"), 2)
    exporter.held[1].done()
    assert saved == []
    exporter.held[0].done()
    assert saved == [2]


@given(st.permutations(range(6)))
def test_saved_checkpoints_never_pass_an_undelivered_batch(order: list[int]) -> None:
    """For any order of delivery, what is saved is always the end of the delivered prefix."""

    async def scenario() -> None:
        exporter, saved = make(CollectingExporter), Saved()
        exporter.hold = True
        out = output(pipeline(exporter), saved=saved)
        for number in range(6):
            await out.emit(events(str(number)), number + 1)
        delivered: set[int] = set()
        for number in order:
            exporter.held[number].done()
            delivered.add(number)
            prefix = next(n for n in range(7) if n not in delivered)
            assert (saved[-1] if saved else 0) == prefix
        assert out.undelivered == 0

    asyncio.run(scenario())


async def test_a_batch_without_events_still_moves_the_checkpoint() -> None:
    """A receiver that filtered everything away has still come further."""
    saved = Saved()
    await output(pipeline(make(CollectingExporter)), saved=saved).emit([], 7)
    assert saved == [7]


async def test_a_full_exporter_makes_the_receiver_wait_and_an_interrupted_batch_is_not_checkpointed() -> None:
    """Cancelling a waiting emit leaves the resume point before that batch, and later batches still settle."""
    exporter, saved = make(CollectingExporter), Saved()
    out = output(pipeline(exporter), saved=saved)
    await out.emit(events("a"), 1)
    exporter.room.clear()
    waiting = asyncio.create_task(out.emit(events("b"), 2))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (out.checkpoint, saved, out.undelivered) == (1, [1], 1)
    exporter.room.set()
    await out.emit(events("b"), 2)
    assert (out.checkpoint, saved, exporter.titles) == (2, [1, 2], ["a", "b"])


async def test_an_event_that_a_processor_cannot_take_is_counted_and_the_others_go_on() -> None:
    """The poisonous event is dropped with its reason; its neighbours arrive, and the batch settles."""
    exporter, processor = make(CollectingExporter), make(UpperProcessor, poison="b")
    problems: list[str | None] = []
    processor.context.report = problems.append
    delivery = Delivery()
    await pipeline(exporter, processors=(processor,)).consume(Batch(events("a", "b", "c"), SCOPE, delivery))
    assert exporter.titles == ["A", "C"]
    assert processor.context.counters.counts["dropped:processor_error"] == 1
    assert set(problems) == {"ValueError: cannot take 'b'; what it cannot take or give is dropped"}
    assert delivery.is_settled


async def test_what_a_processor_holds_back_passes_the_processors_after_it_at_the_end() -> None:
    """The first processor's own event is changed by the second, and carries the first one's scope."""
    exporter = make(CollectingExporter)
    await pipeline(exporter, processors=(make(UpperProcessor), make(UpperProcessor))).flush(final=True)
    assert exporter.titles == ["SUMMARY", "summary"]
    assert exporter.scopes[0].name == "tapio_otel.processors.upper"


class Careless(UpperProcessor):
    """Return nothing, as a plugin whose author forgot to."""

    type = "careless"

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        return None  # type: ignore[return-value]


async def test_a_processor_that_returns_no_list_is_named_and_its_events_are_counted() -> None:
    """The events are not lost in silence."""
    exporter, processor = make(CollectingExporter), make(Careless)
    problems: list[str | None] = []
    processor.context.report = problems.append
    await pipeline(exporter, processors=(processor,)).consume(Batch(events("a", "b"), SCOPE))
    assert processor.context.counters.counts["dropped:processor_error"] == 2
    assert set(problems) == {
        "TypeError: expected a list of events from the processor, found None; what it cannot take or give is dropped"
    }


class Broken(CollectingExporter):
    """Raise where it should take a batch."""

    type = "broken"

    async def consume(self, batch: Batch) -> None:
        raise RuntimeError("no")


async def test_an_exporter_that_raises_spoils_nothing_for_the_others() -> None:
    """The other exporter has its events, the failed ones are counted, and the checkpoint moves on."""
    well, broken, saved = make(CollectingExporter), make(Broken), Saved()
    await output(pipeline(broken, well), saved=saved).emit(events("a", "b"), 1)
    assert well.titles == ["a", "b"]
    assert broken.context.counters.counts["failed:exporter_error"] == 2
    assert saved == [1]


class Simple(Exporter[ComponentConfig]):
    """Fail twice, then deliver; refuse what is titled `bad` for good."""

    type = "simple"
    tries = 0

    async def export(self, events: Sequence[UnifiedEvent], scope: Scope) -> None:
        self.tries += 1
        if events[0].title == "bad":
            raise PermanentError("never")
        if self.tries < 3:
            raise OSError("later")


async def test_a_plain_exporter_is_tried_until_it_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an author's `export` raises is tried again, a permanent error is counted; both settle the batch."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    exporter, saved = make(Simple), Saved()
    out = output(pipeline(exporter), saved=saved)
    await out.emit(events("good"), 1)
    await out.emit(events("bad"), 2)
    assert (exporter.tries, pauses, saved) == (4, [1.0, 2.0], [1, 2])
    assert exporter.context.counters.counts["sent"] == exporter.context.counters.counts["failed:permanent"] == 1
