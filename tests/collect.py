"""An output for receivers under test: keeps what is emitted, and can stop the receiver at a chosen point."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tapio_otel.component import ComponentContext, ComponentId, Kind, Receiver
from tapio_otel.event import UnifiedEvent


class CollectingOutput:
    """Keep events and checkpoints. `stop_after` makes `emit` cancel the receiver once that many events have come."""

    def __init__(self, checkpoint: Any | None = None, stop_after: int | None = None) -> None:
        self.checkpoint = checkpoint
        self.stop_after = stop_after
        self.events: list[UnifiedEvent] = []
        self.batches: list[tuple[int, Any]] = []
        self.progressed: list[tuple[int, int | None]] = []
        self._changed = asyncio.Event()

    @property
    def delivered(self) -> Any | None:
        """Return the checkpoint: what is kept is delivered."""
        return self.checkpoint

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Keep the events and the checkpoint."""
        if self.stop_after is not None and len(self.events) >= self.stop_after:
            raise asyncio.CancelledError
        self.events += events
        if checkpoint is not None:
            self.checkpoint = copy.deepcopy(checkpoint)
        self.batches.append((len(events), self.checkpoint))
        self._changed.set()

    def progress(self, done: int, total: int | None) -> None:
        """Keep the progress."""
        self.progressed.append((done, total))

    def alive(self) -> None:
        """Take a sign of life."""

    @property
    def messages(self) -> list[str]:
        """Return the descriptions."""
        return [event.description for event in self.events]

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until a condition on what was collected holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.5)


class Counters:
    """Add up what a component counts."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Add to the counter `name` or, with a reason, `name/reason`."""
        key = "/".join([name, *attributes.values()])
        self.values[key] = self.values.get(key, 0) + amount

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Do nothing with gauges."""


def context(type: str, kind: Kind = Kind.RECEIVER, state_dir: Path = Path("/nonexistent")) -> ComponentContext:
    """Return the surroundings of a component under test."""
    return ComponentContext(ComponentId(type), kind, Counters(), state_dir, logging.getLogger(f"test.{type}"))


@contextlib.asynccontextmanager
async def running(receiver: Receiver[Any], output: CollectingOutput) -> AsyncIterator[asyncio.Task[None]]:
    """Run a receiver meanwhile; it is cancelled at the end, and its failure raised."""
    task = asyncio.create_task(receiver.run(output))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
