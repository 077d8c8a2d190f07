"""The outlet: the place where a pipeline hands batches to one exporter, and keeps account of what became of them.

It follows every batch that the exporter was offered until its delivery settles. An exporter that leaves at a reload is thereby
known by what it owes, and the balance by what is still on its way.
"""

from __future__ import annotations

from typing import Any

from tapio_otel.component import Batch, Delivery, Exporter, Scope
from tapio_otel.event import UnifiedEvent


class Parcel(Batch):
    """Be a batch as one exporter gets it, with the number by which its outlet follows it."""

    __slots__ = ("number", "taken")

    def __init__(self, events: list[UnifiedEvent], scope: Scope, delivery: Delivery, number: int) -> None:
        super().__init__(events, scope, delivery)
        self.number = number
        self.taken = False
        """Whether the exporter has taken it."""


class Outlet:
    """Hand batches of one pipeline to one exporter. Counts are in events."""

    __slots__ = ("_open", "_serial", "closed", "exporter", "interrupted", "offered")

    def __init__(self, exporter: Exporter[Any]) -> None:
        self.exporter = exporter
        self.offered = 0
        self.interrupted = 0
        """Events in batches that were interrupted on their way in: the exporter may have them or not."""
        self.closed = False
        """Set once the exporter is shut down: what is handed over stays undelivered."""
        self._serial = 0
        self._open: dict[int, tuple[int, Delivery]] = {}

    @property
    def unsettled(self) -> int:
        """Return how many events are in batches that the exporter was offered and has not settled."""
        return sum(count for count, _ in self._open.values())

    def parcel(self, events: list[UnifiedEvent], scope: Scope, delivery: Delivery) -> Parcel:
        """Return the batch to hand over; it releases one hold of `delivery` when the exporter is done with it."""
        self._serial = number = self._serial + 1
        self.offered += len(events)
        self._open[number] = (len(events), delivery)
        return Parcel(events, scope, Delivery(lambda: self._settle(number)), number)

    async def hand_over(self, parcel: Parcel) -> None:
        """Give a batch to the exporter; one that raises loses it, which is counted, and spoils nothing for the others."""
        if self.closed:
            return
        count = len(parcel.events)
        try:
            await self.exporter.consume(parcel)
        except (Exception, SystemExit) as error:
            self.exporter.context.counters.add("failed", count, reason="exporter_error")
            self.exporter.context.warn(f"{count} events failed: {type(error).__name__}: {error}")
            if not parcel.delivery.is_settled:
                parcel.delivery.done()
        parcel.taken = True

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
        self.interrupted += self.unsettled if read_again else 0
        for number in list(self._open):
            self._settle(number)

    def _settle(self, number: int) -> None:
        waiting = self._open.pop(number, None)
        if waiting is not None:
            waiting[1].done()
