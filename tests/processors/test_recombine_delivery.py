"""A crash at any point, followed by a restart from the saved checkpoint, tells every line at least once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Batch, ComponentConfig, ComponentId, Delivery, Exporter, Kind
from tapio_otel.event import UnifiedEvent
from tapio_otel.pipeline import Pipeline, ReceiverOutput
from tapio_otel.processors.recombine import RecombineConfig, RecombineProcessor
from tests.components import SCOPE, context, make
from tests.processors.test_recombine import interleaved, lines, origin_of
from tests.processors.test_recombine_forms import STACKS


class Waiting(Exporter[ComponentConfig]):
    """Keep each batch until the test delivers it."""

    type = "waiting"

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.waiting: list[tuple[list[UnifiedEvent], Delivery]] = []

    async def consume(self, batch: Batch) -> None:
        self.waiting.append((batch.events, batch.delivery))


class Agent:
    """Be one run of an agent that reads numbered lines; `told` are those that reached the other side."""

    def __init__(self, checkpoint: int) -> None:
        self.saved: list[int] = [checkpoint]
        self.exporter = make(Waiting)
        self.told: Counter[tuple[str, str]] = Counter()
        surroundings, hurried = context(Kind.PROCESSOR, "recombine"), count(0.0, 0.4)  # some stacks are not waited for
        processor = RecombineProcessor(surroundings, RecombineConfig(), lambda: next(hurried))
        self.pipeline = Pipeline(ComponentId("logs"), [processor], [self.exporter], "0")
        self.output = ReceiverOutput(SCOPE, [self.pipeline], checkpoint, self.saved.append, lambda _count: None)

    async def read(self, events: list[UnifiedEvent], choose: random.Random, until: int) -> None:
        """Read on from the checkpoint, deliver now and then in any order, and crash after `until` steps."""
        position = self.output.checkpoint
        for _ in range(until):
            action = choose.random()
            if action < 0.5 and position < len(events):
                end = min(position + choose.randint(1, 8), len(events))
                await self.output.emit([event.copy() for event in events[position:end]], end)
                position = end
            elif action < 0.6:
                await self.pipeline.flush()
            elif self.exporter.waiting:
                self.deliver(choose.randrange(len(self.exporter.waiting)))

    async def finish(self, events: list[UnifiedEvent]) -> None:
        """Read the rest and end as told to."""
        await self.output.emit([event.copy() for event in events[self.output.checkpoint :]], len(events))
        await self.pipeline.flush(final=True)
        while self.exporter.waiting:
            self.deliver(0)

    def deliver(self, index: int) -> None:
        """Let one batch reach the other side."""
        batch, delivery = self.exporter.waiting.pop(index)
        for event in batch:
            self.told.update((event.get("SYSLOG_IDENTIFIER"), line) for line in event.description.split("\n"))
        delivery.done()


@given(interleaved(), st.integers(0, 1 << 16), st.integers(0, 40))
def test_every_line_is_told_at_least_once(events, seed, steps):
    """What the first run did not tell, the second one reads again; a run without a crash tells each line once."""

    async def scenario() -> None:
        choose = random.Random(seed)
        crashed = Agent(0)
        await crashed.read(events, choose, steps)
        resumed = Agent(crashed.saved[-1])
        await resumed.finish(events)
        expected = Counter((event.get("SYSLOG_IDENTIFIER"), event.description) for event in events)
        assert crashed.told + resumed.told >= expected
        assert resumed.saved[-1] == max(len(events), crashed.saved[-1])
        if not crashed.saved[-1]:
            assert resumed.told == expected

    asyncio.run(scenario())


async def test_an_unfinished_stack_keeps_the_checkpoint_before_its_first_line():
    """All else of the batches is told at once; with the stack's end the checkpoint follows."""
    agent, stack, shop = Agent(0), STACKS["python"], origin_of("shop")
    await agent.output.emit(lines(["up", *stack[:2]], shop), 3)
    await agent.output.emit(lines(["other"], origin_of("other")), 4)
    agent.deliver(0)
    agent.deliver(0)
    assert (sorted(line for _, line in agent.told), agent.saved) == (["other", "up"], [0])
    await agent.output.emit(lines([*stack[2:], "down it goes"], shop, start=4), 9)
    agent.deliver(0)
    assert agent.saved[-1] == 9
    assert agent.told["shop", stack[-1]] == 1
