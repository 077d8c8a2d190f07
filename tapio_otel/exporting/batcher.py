"""Gather events into requests: cut by count, by bytes and by time. The request builder itself keeps to the largest sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tapio_otel.component import Batch, Delivery, Scope
from tapio_otel.event import UnifiedEvent
from tapio_otel.exporting.options import BatchOptions, Sizer
from tapio_otel.exporting.queue import Request

# The collector's default for a batch.
MINIMUM_ITEMS: Final = 8192
MINIMUM_BYTES: Final = 1024 * 1024
UNLIMITED: Final = 1 << 62


class Builder(Protocol):
    """Encode events into one export request after the other."""

    count: int
    size: int

    def add(self, events: Sequence[UnifiedEvent], scope: Scope, start: int = 0) -> int:
        """Encode events from index `start` on; returns the index of the first that no longer fits."""

    def build(self) -> bytes:
        """Return the request and be empty again."""


NewBuilder = Callable[[int, int], Builder]
"""Make a builder that takes at most so many records and so many bytes; 0 sets no limit."""


class Batcher:
    """Fill one request after the other and put each where finished ones go."""

    def __init__(
        self,
        options: BatchOptions,
        new_builder: NewBuilder,
        put: Callable[[Request], None],
        queue_sizer: Sizer = Sizer.REQUESTS,
    ) -> None:
        sizer = options.sizer or (queue_sizer if queue_sizer is not Sizer.REQUESTS else Sizer.ITEMS)
        by_bytes = sizer is Sizer.BYTES
        default = MINIMUM_BYTES if by_bytes else MINIMUM_ITEMS
        enough = default if options.min_size is None else max(options.min_size, 1)
        most_bytes = min(options.max_size or UNLIMITED, options.max_bytes) if by_bytes else options.max_bytes
        self._enough_items = UNLIMITED if by_bytes else min(enough, options.max_size or UNLIMITED)
        self._enough_bytes = min(enough, most_bytes) if by_bytes else UNLIMITED
        self._builder = new_builder(0 if by_bytes else options.max_size, most_bytes)
        self._flush_timeout = options.flush_timeout
        self._put = put
        self._timer: asyncio.TimerHandle | None = None
        self._deliveries: list[Delivery] = []

    def add(self, batch: Batch, delivery: Delivery) -> None:
        """Encode a batch; `delivery` is held until every request with events of it is settled."""
        builder, events, scope = self._builder, batch.events, batch.scope
        start, total = 0, len(events)
        while start < total:
            taken = builder.add(events, scope, start)
            if taken > start:
                delivery.hold()
                self._deliveries.append(delivery)
            if taken < total or builder.count >= self._enough_items or builder.size >= self._enough_bytes:
                self.flush()
            start = taken
        if self._deliveries and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_timeout, self.flush)

    def flush(self) -> None:
        """Cut what there is into a request, if there is anything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        count = self._builder.count
        if count:
            deliveries, self._deliveries = self._deliveries, []
            self._put(Request(self._builder.build(), count, deliveries))

    @property
    def pending(self) -> int:
        """Return the number of events not yet cut into a request."""
        return self._builder.count
