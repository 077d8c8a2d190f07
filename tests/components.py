"""Small components of every kind for tests of the frame: they collect, count and fail on request."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tapio_otel.component import (
    Batch,
    Component,
    ComponentConfig,
    ComponentContext,
    ComponentId,
    Delivery,
    Exporter,
    Kind,
    Output,
    Processor,
    Receiver,
    Scope,
    SourceUnavailable,
)
from tapio_otel.event import UnifiedEvent
from tapio_otel.identity import event_id

SCOPE = Scope("tapio_otel.receivers.test", "0")


class CountingSink:
    """Count in a plain mapping from name (and reason) to amount."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        self.counts[name] += amount
        for value in attributes.values():
            self.counts[f"{name}:{value}"] += amount

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        pass


def context(
    kind: Kind,
    id: str = "test",
    provided: Mapping[str, Mapping[str, Any]] | None = None,
    state_dir: Path = Path("/nonexistent"),
) -> ComponentContext:
    """Return surroundings for a component under test; its counts are in `.counters.counts`."""
    return ComponentContext(
        ComponentId.parse(id),
        kind,
        CountingSink(),
        state_dir,
        logging.getLogger(f"tapio.{kind.value}/{id}"),
        lambda point: (provided or {}).get(point, {}),
    )


def make(component: type[Component[Any]], **options: Any) -> Any:
    """Create a component with the given options."""
    return component(context(component.kind, component.type), component.Config(**options))


def events(*titles: str, source: str = "test", type: str = "log") -> list[UnifiedEvent]:
    """Return one event a title, with deterministic ids and timestamps."""
    return [UnifiedEvent(event_id(source, title), index + 1, source, type, title=title) for index, title in enumerate(titles)]


class CollectingExporter(Exporter[ComponentConfig]):
    """Keep every event; deliver at once, or only when `release` is called."""

    type = "collecting"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.events: list[UnifiedEvent] = []
        self.scopes: list[Scope] = []
        self.held: list[Delivery] = []
        self.hold = False
        self.room = asyncio.Event()
        self.room.set()
        self.history: list[str] = []

    @property
    def titles(self) -> list[str]:
        return [event.title for event in self.events]

    async def start(self) -> None:
        self.history.append("start")

    async def shutdown(self) -> None:
        self.history.append("shutdown")

    async def consume(self, batch: Batch) -> None:
        await self.room.wait()
        self.events += batch.events
        self.scopes.append(batch.scope)
        if self.hold:
            self.held.append(batch.delivery)
        else:
            batch.delivery.done()


class ListConfig(ComponentConfig):
    """Give a receiver what to emit."""

    batches: tuple[tuple[str, ...], ...] = ()
    fail: str = ""
    follow: bool = False


class ListReceiver(Receiver[ListConfig]):
    """Emit the configured batches, the index of the next one as checkpoint."""

    type = "list"
    Config = ListConfig

    @property
    def finite(self) -> bool:
        return not self.config.follow

    async def run(self, output: Output) -> None:
        if self.config.fail:
            raise SourceUnavailable(self.config.fail, "Do something about it")
        for index, titles in enumerate(self.config.batches):
            if index >= (output.checkpoint or 0):
                await output.emit(events(*titles), index + 1)
                output.progress(index + 1, len(self.config.batches))
        if self.config.follow:
            await asyncio.Event().wait()


class UpperConfig(ComponentConfig):
    """Choose which title cannot be processed."""

    poison: str = ""


class UpperProcessor(Processor[UpperConfig]):
    """Write titles in capitals; raise on the poisonous one; emit one event of its own at the end."""

    type = "upper"
    Config = UpperConfig

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        for event in events:
            if event.title == self.config.poison:
                raise ValueError(f"cannot take {event.title!r}")
            event.title = event.title.upper()
        return events

    def flush(self, final: bool) -> list[UnifiedEvent]:
        return events("summary", source="upper") if final else []
