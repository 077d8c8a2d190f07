"""The outlet: the place where a pipeline hands batches to one exporter, and keeps account of what became of them.

It follows every batch that the exporter was offered until its delivery settles. An exporter that leaves at a reload is thereby
known by what it owes, and the balance by what is still on its way.

For an exporter with `required: false` a batch counts as delivered when it is offered. What such an exporter does not take at
once waits here, in order; what no longer fits is dropped and counted, so that it never makes others wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from tapio_otel.component import Batch, Delivery, Exporter, Scope
from tapio_otel.event import UnifiedEvent
from tapio_otel.event_size import size_of

MOST_WAITING: Final = 16_384
"""Events that wait for an exporter that is not required; one batch is taken however large."""
MOST_WAITING_BYTES: Final = 64 * 1024**2
"""Bytes of memory that the events behind that batch take, roughly, whichever is reached first."""


class Parcel(Batch):
    """Be a batch as one exporter gets it, with the number by which its outlet follows it."""

    __slots__ = ("number", "size", "taken")

    def __init__(self, events: list[UnifiedEvent], scope: Scope, delivery: Delivery, number: int) -> None:
        super().__init__(events, scope, delivery)
        self.number = number
        self.size = 0
        """Bytes of its events, where it waits behind another."""
        self.taken = False
        """Whether the exporter has taken it."""


class Outlet:
    """Hand batches of one pipeline to one exporter. Counts are in events."""

    __slots__ = (
        "_backlog",
        "_open",
        "_serial",
        "_task",
        "_waiting",
        "_waiting_bytes",
        "closed",
        "exporter",
        "interrupted",
        "offered",
    )

    def __init__(self, exporter: Exporter[Any]) -> None:
        self.exporter = exporter
        self.offered = 0
        self.interrupted = 0
        """Events in batches that were interrupted on their way in: the exporter may have them or not."""
        self.closed = False
        """Set once the exporter is shut down: what is handed over stays undelivered."""
        self._serial = 0
        self._open: dict[int, tuple[int, Delivery]] = {}
        self._backlog: deque[Parcel] = deque()
        self._waiting = self._waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def unsettled(self) -> int:
        """Return how many events are in batches that the exporter was offered and has not settled."""
        return sum(count for count, _ in self._open.values())

    @property
    def has_unsettled(self) -> bool:
        """Tell whether the exporter has any of them; one look, however many."""
        return bool(self._open)

    def parcel(self, events: list[UnifiedEvent], scope: Scope, delivery: Delivery) -> Parcel:
        """Return the batch to hand over; it releases one hold of `delivery` when the exporter is done with it."""
        self._serial = number = self._serial + 1
        self.offered += len(events)
        if not self.exporter.is_required:
            delivery.done()
            delivery = Delivery()
        self._open[number] = (len(events), delivery)
        return Parcel(events, scope, Delivery(lambda: self._settle(number)), number)

    async def hand_over(self, parcel: Parcel) -> None:
        """Give a batch to the exporter; one that raises loses it, which is counted, and spoils nothing for the others."""
        if self.closed:
            return
        if self.exporter.is_required:
            await self._give(parcel)
        else:
            self._put_by(parcel)

    async def drain(self, seconds: float, final: bool) -> None:
        """Wait until what waits for an exporter that is not required is handed over; when `final`, drop what is not by then."""
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=seconds)
        if final:
            self.drop_waiting()

    async def _give(self, parcel: Parcel) -> None:
        count = len(parcel.events)
        try:
            await self.exporter.consume(parcel)
        except (Exception, SystemExit) as error:
            self.exporter.context.counters.add("failed", count, reason="exporter_error")
            self.exporter.context.warn(f"{count} events failed: {type(error).__name__}: {error}")
            if not parcel.delivery.is_settled:
                parcel.delivery.done()
        parcel.taken = True

    def _put_by(self, parcel: Parcel) -> None:
        """Keep a batch until the exporter takes it, or drop it if too many wait."""
        parcel.taken = True
        count = len(parcel.events)
        if self._backlog:
            parcel.size = sum(map(size_of, parcel.events))
        if self._backlog and (self._waiting + count > MOST_WAITING or self._waiting_bytes + parcel.size > MOST_WAITING_BYTES):
            self._drop(parcel, "queue_full")
            self.exporter.context.notices.warn(
                "behind", "the exporter does not keep up and is not required: events are dropped"
            )
            return
        self._backlog.append(parcel)
        self._waiting += count
        self._waiting_bytes += parcel.size
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=f"hand over to {self.exporter.context.id}")

    async def _work(self) -> None:
        try:
            while self._backlog:
                await self._give(self._backlog[0])
                parcel = self._backlog.popleft()
                self._waiting -= len(parcel.events)
                self._waiting_bytes -= parcel.size
        finally:
            self._task = None

    def drop_waiting(self) -> None:
        """Drop what waits, and the batch that is on its way in unless the exporter has it and tells what becomes of it."""
        if self._task is not None:
            self._task.cancel()
            if self._backlog and self._backlog[0].is_taken:
                self._backlog.popleft()
        while self._backlog:
            self._drop(self._backlog.popleft(), "stopped")
        self._waiting = self._waiting_bytes = 0

    def _drop(self, parcel: Parcel, reason: str) -> None:
        self.exporter.context.counters.add("dropped", len(parcel.events), reason=reason)
        parcel.delivery.done()

    def interrupt(self, parcel: Parcel) -> None:
        """Forget a batch that was interrupted before the exporter had taken it: its receiver reads it again."""
        if not parcel.taken and self._open.pop(parcel.number, None) is not None:
            self.interrupted += len(parcel.events)

    def inherit(self, parcel: Parcel, other: Outlet) -> Parcel:
        """Return a batch that another outlet was to hand over as one of this."""
        _, delivery = other._open.pop(parcel.number)
        other.offered -= len(parcel.events)
        return self.parcel(parcel.events, parcel.scope, delivery)

    def give_up(self, read_again: bool) -> None:
        """Settle what the exporter has not: nobody waits for it any more, be it that receivers read it again."""
        self.drop_waiting()
        self.interrupted += self.unsettled if read_again else 0
        for number in list(self._open):
            self._settle(number)

    def _settle(self, number: int) -> None:
        waiting = self._open.pop(number, None)
        if waiting is not None:
            waiting[1].done()
