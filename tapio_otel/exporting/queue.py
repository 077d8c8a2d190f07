"""The sending queue: requests that wait for the backend, bounded, with a fixed number on their way at a time.

Putting a request in never waits, so that no event is lost between a batch and the queue when a task is cancelled; who
produces waits for room *before* it adds more. The queue can therefore exceed its size by one batch for each producer.

Traces leave it for a lane of their own as soon as it is their turn: they never keep logs waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from tapio_otel.component import Delivery
from tapio_otel.exporting.options import QueueOptions, Sizer
from tapio_otel.exporting.side_lane import SideLane
from tapio_otel.exporting.signal import Signal

LANE_BYTES: Final = 8 * 1024 * 1024
"""Most memory that traces take which wait for a backend that takes logs; beyond it the oldest are dropped and counted."""
LONGEST_HOLD: Final = 60.0
"""Seconds for which a trace that left the queue keeps its batch undelivered: a backend that takes no traces must not keep the
checkpoints of logs, which it has taken, where they were hours ago."""


class Request:
    """Hold one encoded export request and the deliveries of the batches in it, each as often as it is held for this.

    `count` are the events in it; those of a trace are sent as logs besides, and count there.
    """

    __slots__ = ("body", "count", "deliveries", "signal")

    def __init__(self, body: bytes, count: int, deliveries: list[Delivery], signal: Signal = Signal.LOGS) -> None:
        self.body = body
        self.count = count
        self.deliveries = deliveries
        self.signal = signal

    def settle(self) -> None:
        """Tell every batch that its part in this request is done."""
        for delivery in self.deliveries:
            delivery.done()


Dropped = Callable[[Request], None]
"""Take a request that will not be sent, to count what is in it."""


class Queue(Protocol):
    """Be a sending queue, in memory or on disk. Counts include what is on its way."""

    @property
    def requests(self) -> int:
        """Return the number of requests."""

    @property
    def items(self) -> int:
        """Return the number of events in them."""

    @property
    def traces(self) -> int:
        """Return how many traces would be lost with the process."""

    @property
    def bytes(self) -> int:
        """Return their size."""

    @property
    def size(self) -> int:
        """Return what the queue holds, in the unit of the configured sizer."""

    @property
    def is_full(self) -> bool:
        """Tell whether a limit is reached."""

    async def open(self) -> None:
        """Get hold of where requests are kept; raises ComponentError."""

    def start(self) -> None:
        """Start the tasks that send."""

    def put(self, request: Request) -> None:
        """Add a request."""

    async def room(self) -> None:
        """Wait until the queue is not full and what was put in is well on its way to where it is kept."""

    async def kept(self) -> None:
        """Wait until what was put in is well on its way to where it is kept, full or not."""

    async def make_room(self, dropped: Dropped) -> None:
        """Remove the oldest requests, but not those on their way, until the queue is not full; tells each."""

    async def drain(self, hopeless: asyncio.Event, traces_hopeless: asyncio.Event) -> None:
        """Wait until every request has been answered for, or is safe and there is no hope for an answer now."""

    async def close(self) -> None:
        """Stop sending; what is left stays where it is kept."""


class SendingQueue:
    """Keep requests in order and hand them to `num_consumers` tasks; a request counts until its sending has ended."""

    def __init__(
        self,
        options: QueueOptions,
        send: Callable[[Request], Awaitable[None]],
        log: logging.Logger,
        dropped: Dropped = lambda _request: None,
    ) -> None:
        self._dropped = dropped
        self._lane = SideLane(self._finish)
        self._aside = self._aside_bytes = 0
        self._holding: dict[Request, asyncio.TimerHandle] = {}
        """Traces beside the queue for which batches wait, each with what ends that."""
        self._options = options
        self._log = log
        self._send = send
        self._waiting: deque[Request] = deque()
        self._arrived = asyncio.Semaphore(0)
        self._consumers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self.requests = self.items = self.bytes = 0

    async def open(self) -> None:
        """Do nothing: there is memory."""

    def start(self) -> None:
        """Start the tasks that send."""
        self._consumers = [
            asyncio.create_task(self._consume(), name="sending queue") for _ in range(self._options.num_consumers)
        ]

    @property
    def traces(self) -> int:
        """Return how many traces would be lost with the process."""
        return self._aside + sum(request.signal is Signal.TRACES for request in self._waiting)

    @property
    def size(self) -> int:
        """Return what the queue holds, in the unit of the configured sizer."""
        return {Sizer.REQUESTS: self.requests, Sizer.ITEMS: self.items, Sizer.BYTES: self.bytes}[self._options.sizer]

    @property
    def is_full(self) -> bool:
        """Tell whether producers have to wait."""
        return self.size >= self._options.queue_size or self.bytes >= self._options.max_bytes

    def put(self, request: Request) -> None:
        """Add a request."""
        self._count(request, 1)
        self._waiting.append(request)
        self._arrived.release()

    async def room(self) -> None:
        """Wait until the queue is not full."""
        while self.is_full:
            await self._change()

    async def kept(self) -> None:
        """Return: a request is kept at once."""

    async def make_room(self, dropped: Dropped) -> None:
        """Remove the oldest requests, but not those on their way, until the queue is not full; tells each."""
        while self.is_full and not self._arrived.locked():
            await self._arrived.acquire()
            request = self._waiting.popleft()
            dropped(request)
            self._forget(request)

    async def drain(
        self,
        hopeless: asyncio.Event | None = None,  # noqa: ARG002 - memory keeps nothing safe
        traces_hopeless: asyncio.Event | None = None,  # noqa: ARG002
    ) -> None:
        """Wait until every request has been answered for."""
        while self.requests or self._aside:
            await self._change()

    async def close(self) -> None:
        """Stop sending; what is left stays undelivered."""
        for task in self._consumers:
            task.cancel()
        await asyncio.gather(*self._consumers, return_exceptions=True)
        self._consumers.clear()
        for holding in self._holding.values():
            holding.cancel()
        self._holding.clear()
        await self._lane.close()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _consume(self) -> None:
        while True:
            await self._arrived.acquire()
            request = self._waiting.popleft()
            if request.signal is Signal.TRACES:
                self._set_aside(request)
                continue
            await self._send(request)
            self._forget(request)

    def _set_aside(self, request: Request) -> None:
        """Let a trace wait where it holds up nothing."""
        self._count(request, -1)
        self._aside += 1
        self._aside_bytes += len(request.body)
        self._holding[request] = asyncio.get_running_loop().call_later(LONGEST_HOLD, self._release, request)
        self._lane.put(request)
        while self._aside_bytes > LANE_BYTES and (oldest := self._lane.take_oldest()) is not None:
            self._dropped(oldest)
            self._end(oldest)
        self._changed.set()

    async def _finish(self, request: Request) -> None:
        await self._send(request)
        self._end(request)

    def _end(self, request: Request) -> None:
        self._aside -= 1
        self._aside_bytes -= len(request.body)
        self._changed.set()
        self._release(request)

    def _release(self, request: Request) -> None:
        """Settle a trace's batch, once."""
        holding = self._holding.pop(request, None)
        if holding is not None:
            holding.cancel()
            settle(request, self._log)

    def _forget(self, request: Request) -> None:
        """Count and keep a request no longer: it was answered for, or dropped."""
        self._count(request, -1)
        self._changed.set()
        settle(request, self._log)

    def _count(self, request: Request, sign: int) -> None:
        self.requests += sign
        self.items += sign * request.count
        self.bytes += sign * len(request.body)


def settle(request: Request, log: logging.Logger) -> None:
    """Settle a request; a checkpoint that cannot be written must not stop the sending."""
    try:
        request.settle()
    except Exception:
        log.exception("noting the delivery of %d events failed", request.count)
