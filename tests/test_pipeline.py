"""Pipelines deliver every event once to every exporter and move checkpoints only in order and after delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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


# --- events held back over several batches ---


class Holder(UpperProcessor):
    """Hold back the events whose title begins with `mark`; let go of the `due` oldest of them with the next call."""

    type = "holder"
    flush_interval = 0.01
    mark = "h"
    due = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: list[tuple[int, UnifiedEvent]] = []

    @property
    def held_from(self) -> int | None:
        return self.held[0][0] if self.held else None

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        passed: list[UnifiedEvent] = []
        for event in events:
            if event.title == self.config.poison:
                raise ValueError(f"cannot take {event.title!r}")
            if event.title.startswith(self.mark):
                self.held.append((self.serial, event))
            else:
                passed.append(event)
        return self._let_go() + passed

    def flush(self, final: bool) -> list[UnifiedEvent]:
        self.due = len(self.held) if final else self.due
        return self._let_go()

    def _let_go(self) -> list[UnifiedEvent]:
        gone, self.held = self.held[: self.due], self.held[self.due :]
        self.due = 0
        return [event for _, event in gone]


class Dropper(UpperProcessor):
    """Drop everything."""

    type = "dropper"

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        return []


def holding(exporter: CollectingExporter, *others: UpperProcessor, **options: Any) -> tuple[Holder, ReceiverOutput, list[int]]:
    """Return a holder before `others` and `exporter`, the way into that pipeline, and what it saves."""
    holder, saved = make(Holder, **options), Saved()
    return holder, output(pipeline(exporter, processors=(holder, *others)), saved=saved), saved


async def flush(out: ReceiverOutput, due: Holder | None = None, final: bool = False) -> None:
    """Flush the pipelines that the output feeds; `due` lets go of everything."""
    if due is not None:
        due.due = len(due.held)
    for one in out.pipelines:
        await one.flush(final)


async def test_a_checkpoint_does_not_pass_an_event_that_is_held_back() -> None:
    """The batch's other events are delivered, and so are later batches; only with the held one the checkpoint moves."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter)
    await out.emit(events("a"), 1)
    await out.emit(events("h1", "b"), 2)
    await out.emit(events("c"), 3)
    assert (exporter.titles, saved, out.undelivered) == (["a", "b", "c"], [1], 3)
    await flush(out)
    assert saved == [1]
    await flush(out, due=holder)
    assert (exporter.titles, saved, out.undelivered) == (["a", "b", "c", "h1"], [1, 2, 3], 0)


async def test_what_is_let_go_of_with_a_later_batch_is_delivered_with_that() -> None:
    """Both batches wait for the delivery of the output that holds events of both."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter)
    exporter.hold = True
    await out.emit(events("h1"), 1)
    holder.due = 1
    await out.emit(events("b"), 2)
    assert (exporter.titles, saved) == (["h1", "b"], [])
    exporter.held.pop().done()
    assert saved == [1, 2]


async def test_an_earlier_output_delivered_last_keeps_the_checkpoint_back() -> None:
    """The batch that was held is safe only with all that went out while it was."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter)
    exporter.hold = True
    await out.emit(events("h1", "a"), 1)
    await out.emit(events("b"), 2)
    await flush(out, due=holder)
    first, second, third = exporter.held
    third.done()
    second.done()
    assert saved == []
    first.done()
    assert saved == [1, 2]


async def test_a_plain_batch_after_everything_was_let_go_settles_by_itself() -> None:
    """An earlier output that hangs keeps nothing but its own batches back; checkpoints stay in order."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter)
    exporter.hold = True
    await out.emit(events("h1"), 1)
    await flush(out, due=holder)
    delivery = Delivery()
    await out.pipelines[0].consume(Batch(events("x"), SCOPE, delivery))
    exporter.held[1].done()
    assert (delivery.is_settled, saved) == (True, [])
    exporter.held[0].done()
    assert saved == [1]


async def test_a_second_processor_may_hold_back_what_the_first_let_go() -> None:
    """Until the last one lets go, the batch it came in is not delivered."""
    exporter, second = make(CollectingExporter), make(Holder)
    first, out, saved = holding(exporter, second)
    second.mark = ""
    await out.emit(events("h1"), 1)
    await flush(out, due=first)
    await out.emit(events("b"), 2)
    assert (exporter.titles, saved) == ([], [])
    second.due = 1
    await out.emit(events("c"), 3)
    assert (exporter.titles, saved) == (["h1"], [1])
    await flush(out, final=True)
    assert (exporter.titles, saved) == (["h1", "b", "c"], [1, 2, 3])


async def test_a_processor_that_drops_what_was_held_settles_it() -> None:
    """What nobody shall have is delivered as soon as it is let go of."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter, make(Dropper))
    await out.emit(events("h1", "a"), 1)
    await flush(out, due=holder)
    assert (exporter.titles, saved, out.undelivered) == ([], [1], 0)


async def test_events_that_cannot_be_taken_do_not_free_what_is_held() -> None:
    """The poisonous event makes the batch go one by one, under the same serial."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter, poison="bad")
    await out.emit(events("bad", "h1", "a"), 1)
    assert (exporter.titles, saved, [serial for serial, _ in holder.held]) == (["a"], [], [1])
    await flush(out, final=True)
    assert (exporter.titles, saved) == (["a", "h1"], [1])


async def test_each_pipeline_holds_for_itself() -> None:
    """The batch is delivered when the last of them has let go."""
    one, two, saved = make(CollectingExporter), make(CollectingExporter), Saved()
    first, second = make(Holder), make(Holder)
    out = output(pipeline(one, processors=(first,)), pipeline(two, processors=(second,)), saved=saved)
    await out.emit(events("h1"), 1)
    await flush(out, due=first)
    assert (one.titles, two.titles, saved) == (["h1"], [], [])
    await flush(out, due=second)
    assert (two.titles, saved) == (["h1"], [1])


async def test_an_exporter_that_raises_counts_what_was_held_as_failed() -> None:
    """It is lost and told, and keeps no checkpoint back for ever."""
    broken = make(Broken)
    holder, out, saved = holding(broken)
    await out.emit(events("h1"), 1)
    await flush(out, due=holder)
    assert (broken.context.counters.counts["failed:exporter_error"], saved) == (1, [1])


async def test_what_was_held_survives_an_interrupted_batch() -> None:
    """The receiver reads only the interrupted batch again: what came out with it of earlier ones goes with the next flush."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter)
    await out.emit(events("h1"), 1)
    exporter.room.clear()
    holder.due = 1
    waiting = asyncio.create_task(out.emit(events("b"), 2))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (exporter.titles, out.checkpoint, saved) == ([], 1, [])
    exporter.room.set()
    await flush(out)
    assert (exporter.titles, saved) == (["h1", "b"], [1])
    await out.emit(events("b"), 2)
    assert (exporter.titles, saved) == (["h1", "b", "b"], [1, 2])


async def test_only_exporters_that_missed_an_interrupted_batch_get_it_again() -> None:
    """One took it and delivers later, the other had no room; a flush that is interrupted as well changes nothing."""
    quick, slow, saved = make(CollectingExporter), make(CollectingExporter), Saved()
    holder = make(Holder)
    out = output(pipeline(quick, slow, processors=(holder,)), saved=saved)
    await out.emit(events("h1"), 1)
    quick.hold, holder.due = True, 1
    slow.room.clear()
    for attempt in (out.emit(events("b"), 2), flush(out)):
        waiting = asyncio.create_task(attempt)
        for _ in range(4):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    slow.room.set()
    await flush(out)
    assert (quick.titles, slow.titles, saved) == (["h1", "b"], ["h1", "b"], [])
    quick.held.pop().done()
    assert saved == [1]


async def test_a_flush_that_drops_what_was_held_settles_it() -> None:
    """A batch of which nothing is held any more is delivered, though nothing came out."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter)
    await out.emit(events("h1"), 1)
    holder.held.clear()
    await flush(out)
    assert (exporter.titles, saved, out.undelivered) == ([], [1], 0)


async def test_interrupted_batches_are_handed_over_in_their_order() -> None:
    """Also when handing them over is interrupted in its turn."""
    exporter = make(CollectingExporter)
    _, out, _ = holding(exporter)
    await out.emit(events("h1"), 1)
    exporter.room.clear()
    for attempt in (out.emit(events("a"), 2), out.emit(events("b"), 2), flush(out)):
        waiting = asyncio.create_task(attempt)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    exporter.room.set()
    await flush(out)
    assert exporter.titles == ["a", "b"]


async def test_ticks_let_go_of_what_is_due_but_not_while_exporters_are_full() -> None:
    """Where nothing is taken for all of an interval it is not the source that fell silent."""
    exporter = make(CollectingExporter)
    holder, out, saved = holding(exporter)
    ticking = asyncio.create_task(out.pipelines[0].tick())
    await out.emit(events("h1"), 1)
    exporter.room.clear()
    stuck = asyncio.create_task(out.emit(events("a"), 2))
    await asyncio.sleep(0)
    holder.due = 1
    await asyncio.sleep(5 * Holder.flush_interval)
    assert (len(holder.held), saved) == (1, [])
    exporter.room.set()
    async with asyncio.timeout(10):
        await stuck
        while saved != [1, 2]:
            await asyncio.sleep(Holder.flush_interval)
    ticking.cancel()
    assert sorted(exporter.titles) == ["a", "h1"]


async def test_a_pipeline_is_not_flushed_while_its_receiver_waits_for_another_one() -> None:
    """The stack's next lines are not late: nobody reads them."""
    free, full, saved = make(CollectingExporter), make(CollectingExporter), Saved()
    holder = make(Holder)
    out = output(pipeline(free, processors=(holder,)), pipeline(full), saved=saved)
    ticking = asyncio.create_task(out.pipelines[0].tick())
    full.room.clear()
    stuck = asyncio.create_task(out.emit(events("h1"), 1))
    await asyncio.sleep(3 * Holder.flush_interval)
    holder.due = 1
    await asyncio.sleep(5 * Holder.flush_interval)
    assert len(holder.held) == 1
    full.room.set()
    async with asyncio.timeout(10):
        await stuck
        while saved != [1]:
            await asyncio.sleep(Holder.flush_interval)
    ticking.cancel()
    assert free.titles == ["h1"]


class Choosy(CollectingExporter):
    """Have no room for one batch, and room for all others."""

    type = "choosy"

    async def consume(self, batch: Batch) -> None:
        if batch.events[0].title == "slow":
            await asyncio.Event().wait()
        await super().consume(batch)


class FlushCounter(Holder):
    """Count the flushes."""

    type = "flush_counter"
    flushed = 0

    def flush(self, final: bool) -> list[UnifiedEvent]:
        self.flushed += 1
        return super().flush(final)


async def test_ticks_go_on_while_one_receiver_waits_and_another_is_served() -> None:
    """As long as anything is taken, what is due is let go of."""
    one, counter = make(Choosy), make(FlushCounter)
    flow = pipeline(one, processors=(counter,))
    stuck = asyncio.create_task(output(flow).emit(events("slow"), 1))
    await asyncio.sleep(0)
    ticking, served = asyncio.create_task(flow.tick()), output(flow)
    async with asyncio.timeout(10):
        while not counter.flushed:
            await served.emit(events("a"), 1)
            await asyncio.sleep(Holder.flush_interval / 10)
    for task in (ticking, stuck):
        task.cancel()
    await asyncio.gather(ticking, stuck, return_exceptions=True)


class Manual(CollectingExporter):
    """Deliver nothing but what the test says, or fail."""

    type = "manual"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.taken: list[tuple[list[str], Delivery]] = []
        self.answered: set[str] = set()
        self.fails = False

    async def consume(self, batch: Batch) -> None:
        await self.room.wait()
        titles = [event.title for event in batch.events]
        if self.fails:
            self.answered.update(titles)
            raise RuntimeError("no")
        self.taken.append((titles, batch.delivery))

    def deliver(self, index: int) -> None:
        titles, delivery = self.taken.pop(index % len(self.taken))
        self.answered.update(titles)
        delivery.done()


class AnyOrder(RuleBasedStateMachine):
    """Emit, interrupt, let go, deliver and fail in any order, through two processors that hold back, to two exporters."""

    exporters: tuple[Manual, Manual]
    holders: tuple[Holder, Holder]

    @initialize(mark=st.sampled_from(["", "h", "hh", "none"]))
    def begin(self, mark: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.exporters, self.holders = (make(Manual), make(Manual)), (make(Holder), make(Holder))
        self.holders[1].mark = mark
        self.saved = Saved()
        self.out = output(pipeline(*self.exporters, processors=self.holders), saved=self.saved)
        self.batches: list[list[str]] = []

    def teardown(self) -> None:
        self.finish()
        self.loop.close()

    def finish(self) -> None:
        """Stop as the service does: let everything go, deliver everything."""
        for exporter in self.exporters:
            exporter.fails = False
        self.loop.run_until_complete(flush(self.out, final=True))
        for exporter in self.exporters:
            while exporter.taken:
                exporter.deliver(-1)
        self.nothing_saved_is_missing()
        assert (self.saved[-1] if self.saved else 0) == len(self.batches)

    @rule(
        names=st.lists(st.sampled_from(["a", "h", "hh"]), max_size=4),
        due=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        full=st.sampled_from([None, None, None, 0, 1]),
    )
    def emit(self, names: list[str], due: tuple[int, int], full: int | None) -> None:
        number = len(self.batches) + 1
        titles = [f"{name} {number}.{index}" for index, name in enumerate(names)]
        for holder, count in zip(self.holders, due, strict=True):
            holder.due = count
        if full is not None:
            self.exporters[full].room.clear()
        task = self.loop.create_task(self.out.emit(events(*titles), number))
        self.loop.run_until_complete(asyncio.wait([task], timeout=0 if full is not None else None))
        task.cancel()
        self.loop.run_until_complete(asyncio.wait([task]))
        if not task.cancelled():
            task.result()
            self.batches.append(titles)
        if full is not None:
            self.exporters[full].room.set()

    @rule(due=st.tuples(st.integers(0, 3), st.integers(0, 3)))
    def flush(self, due: tuple[int, int]) -> None:
        for holder, count in zip(self.holders, due, strict=True):
            holder.due = count
        self.loop.run_until_complete(flush(self.out))

    @rule(which=st.integers(0, 1), index=st.integers(0, 5))
    def deliver(self, which: int, index: int) -> None:
        if self.exporters[which].taken:
            self.exporters[which].deliver(index)

    @rule(which=st.integers(0, 1))
    def break_or_mend(self, which: int) -> None:
        self.exporters[which].fails = not self.exporters[which].fails

    @invariant()
    def nothing_saved_is_missing(self) -> None:
        """A restart from what is saved reads everything again that an exporter has not answered for."""
        needed = {title for titles in self.batches[: self.saved[-1] if self.saved else 0] for title in titles}
        assert all(needed <= exporter.answered for exporter in self.exporters)
        assert self.saved == sorted(self.saved)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_no_checkpoint_passes_what_is_held_or_undelivered = AnyOrder.TestCase


@pytest.mark.parametrize("checkpoint", [0, "", [], False])
async def test_every_checkpoint_but_none_is_saved(checkpoint: object) -> None:
    """The first place of a source may be a zero."""
    pipeline = Pipeline(ComponentId("logs"), [], [make(CollectingExporter)], "0")
    saved: list[object] = []
    output = ReceiverOutput(SCOPE, [pipeline], None, saved.append, lambda _count: None)
    await output.emit(events("a"), checkpoint)
    await output.emit(events("b"))
    assert saved == [checkpoint]
