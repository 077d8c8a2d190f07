"""The sending queue on disk: requests wait in a file, a bounded number of them in memory as well.

A request's batches are settled once it is on disk. Requests are sent in the order in which they were put in, `num_consumers` at
a time, and removed from the disk after the server's answer; those without one are sent again, with the same bytes, after a
restart. Sending waits for the removing, so that these are never more than twice `num_consumers`.

While the backend keeps up, a request goes from memory to the server as soon as it is written; the disk is read only when more
waits than is kept in memory. Traces are sent beside the others; what of them has to wait for that stays on the disk alone, in a
part of it: beyond that the oldest are dropped, so that a backend that takes no traces never leaves logs without room.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tapio_otel.component import ComponentContext
from tapio_otel.exporting.options import QueueOptions, Sizer
from tapio_otel.exporting.queue import Dropped, Request, settle
from tapio_otel.exporting.reencode import reencode
from tapio_otel.exporting.side_lane import SideLane
from tapio_otel.exporting.signal import Signal, read_encoding, row_encoding
from tapio_otel.storage import RequestStore, Totals
from tapio_otel.storage.row import Damaged, Row, weigh
from tapio_otel.storage.writer import Found

AHEAD_BYTES: Final = 8 * 1024 * 1024
"""Requests kept in memory that are next to be sent."""
UNWRITTEN_BYTES: Final = 16 * 1024 * 1024
"""Requests that may wait for the disk before producers have to."""
SHARE: Final = 4
"""Traces that wait for a backend that takes logs get one part in so many of the queue's bytes."""


class _Aside(NamedTuple):
    """Be a trace that waits for its turn, without its body unless that is now, and what it weighs."""

    row: Row
    weight: Totals


class DurableQueue:
    """Keep requests in a store and hand them to `num_consumers` tasks; a request counts until its sending has ended."""

    def __init__(
        self,
        options: QueueOptions,
        store: RequestStore,
        send: Callable[[Request], Awaitable[None]],
        context: ComponentContext,
        encoding: str,
        dropped: Dropped = lambda _request: None,
    ) -> None:
        self._options = options
        self._dropped = dropped
        self._store = store
        self._send = send
        self._context = context
        self._encoding = encoding
        self._total = Totals()
        self._unread = Totals()
        """What is on disk and not in memory: all that follows the last request in `_ahead`."""
        self._ahead: deque[Row] = deque()
        self._ahead_bytes = 0
        self._last_read = -1
        self._is_reading = False
        self._turn = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._unwritten = 0
        self.traces = 0
        self._lane = SideLane(self._finish)
        self._aside = Totals()
        """The traces in the lane."""
        self._consumers: list[asyncio.Task[None]] = []
        store.found = self._found
        store.changed = self._changed.set

    @property
    def requests(self) -> int:
        """Return the number of requests."""
        return self._total.requests

    @property
    def items(self) -> int:
        """Return the number of events in them."""
        return self._total.items

    @property
    def bytes(self) -> int:
        """Return their size."""
        return self._total.bytes

    @property
    def size(self) -> int:
        """Return what the queue holds, in the unit of the configured sizer; without traces that wait beside it."""
        return _size(self._total.minus(self._aside), self._options.sizer)

    @property
    def is_full(self) -> bool:
        """Tell whether a limit is reached."""
        return self.size >= self._options.queue_size or self.bytes >= self._options.max_bytes

    async def open(self) -> None:
        """Open the store; raises ComponentError."""
        await self._store.open()

    def start(self) -> None:
        """Start the tasks that send."""
        self._consumers = [
            asyncio.create_task(self._consume(), name="sending queue") for _ in range(self._options.num_consumers)
        ]

    def put(self, request: Request) -> None:
        """Add a request; its batches are settled once it is on disk."""
        self._total = self._total.plus(Totals(1, request.count, len(request.body)))
        self._unwritten += 1
        encoding = row_encoding(self._encoding, request.signal)
        self._store.put(request.body, request.count, encoding, lambda row: self._written(row, request))

    async def room(self) -> None:
        """Wait until the queue is not full and the disk keeps up."""
        while self.is_full or self._store.pending_bytes >= UNWRITTEN_BYTES:
            await self._change()

    async def kept(self) -> None:
        """Wait until the disk keeps up."""
        while self._store.pending_bytes >= UNWRITTEN_BYTES:
            await self._change()

    async def make_room(self, dropped: Dropped) -> None:
        """Remove the oldest requests, but not those on their way, until the queue is not full; tells each."""
        while self.is_full and (self._ahead or self._unread.requests):
            async with self._turn:
                if not self._ahead and self._unread.requests:
                    await self._read()
            while self.is_full and self._ahead:
                row = self._pop()
                dropped(Request(row.body, row.items, [], read_encoding(row.encoding)[1]))
                self._forget(row)

    async def drain(self, hopeless: asyncio.Event, traces_hopeless: asyncio.Event) -> None:
        """Wait until everything is answered for, or everything is on disk and the server cannot be reached now.

        That it takes no traces now is no reason to leave logs behind.
        """
        giving_up = [asyncio.ensure_future(event.wait()) for event in (hopeless, traces_hopeless)]
        for waiting in giving_up:
            waiting.add_done_callback(lambda _: self._changed.set())
        try:
            while self.requests and (self._unwritten or not hopeless.is_set()):
                if traces_hopeless.is_set() and not self._unwritten and self._aside.requests == self.requests:
                    break
                await self._change()
        finally:
            for waiting in giving_up:
                waiting.cancel()

    async def close(self) -> None:
        """Stop sending and close the file; what is in it is sent after the next start."""
        for task in self._consumers:
            task.cancel()
        await asyncio.gather(*self._consumers, return_exceptions=True)
        self._consumers.clear()
        await self._lane.close()
        await self._store.close()

    def _found(self, found: Found) -> None:
        """Take over what was on disk before."""
        self._total = self._total.plus(found.totals)
        self._unread = self._unread.plus(found.totals)
        counters = self._context.counters
        if found.totals.items or found.damaged.items:
            counters.add("restored", found.totals.items + found.damaged.items)
        if found.damaged.items:
            counters.add("dropped", found.damaged.items, reason="damaged")
        if found.totals.requests:
            since = datetime.fromtimestamp(found.oldest_ns / 1e9, UTC).isoformat(timespec="seconds")
            self._context.log.info("goes on with %d events from before the start, the oldest of %s", found.totals.items, since)
        self._announce()

    def _written(self, row: Row, request: Request) -> None:
        self._unwritten -= 1
        if self._unread.requests or self._is_reading or self._ahead_bytes >= AHEAD_BYTES:
            self._unread = self._unread.plus(weigh(row))
        else:
            self._append(row)
        self._announce()
        settle(request, self._context.log)

    def _append(self, row: Row) -> None:
        self._ahead.append(row)
        self._ahead_bytes += len(row.body)
        self._last_read = row.id

    def _pop(self) -> Row:
        row = self._ahead.popleft()
        self._ahead_bytes -= len(row.body)
        return row

    def _announce(self) -> None:
        self._arrived.set()
        self._changed.set()

    async def _consume(self) -> None:
        while True:
            row = await self._next()
            if read_encoding(row.encoding)[1] is Signal.TRACES:
                await self._set_aside(row)
                continue
            await self._deliver(row)
            while self._store.unremoved > self._options.num_consumers:  # each would be sent again after a crash
                await self._change()

    async def _deliver(self, row: Row) -> None:
        encoding, kind = read_encoding(row.encoding)
        body = row.body
        if encoding != self._encoding:
            body = await asyncio.to_thread(reencode, row.body, encoding, self._encoding, kind)
        await self._send(Request(body, row.items, [], kind))
        self._forget(row)

    async def _set_aside(self, row: Row) -> None:
        """Let a trace wait where it holds up nothing; where too many do, drop those that have waited longest."""
        options, weight = self._options, weigh(row)
        self._aside = self._aside.plus(weight)
        self._lane.put(_Aside(row if self._lane.has_room else row._replace(body=b""), weight))
        while self._aside.bytes > options.max_bytes // SHARE or (
            options.sizer is Sizer.REQUESTS and self._aside.requests > options.queue_size
        ):
            oldest = self._lane.take_oldest()
            if oldest is None:
                break
            whole = await self._whole(oldest)
            if whole is not None:
                self._dropped(Request(whole.body, 0, [], Signal.TRACES))
                self._forget(whole)
            self._aside = self._aside.minus(oldest.weight)
        self._changed.set()

    async def _finish(self, aside: _Aside) -> None:
        """Send a trace."""
        row = await self._whole(aside)
        if row is not None:
            await self._deliver(row)
        self._aside = self._aside.minus(aside.weight)
        self._changed.set()

    async def _whole(self, aside: _Aside) -> Row | None:
        """Return a trace with its body, read again if it had to wait; None where the disk did not keep it."""
        if aside.row.body:
            return aside.row
        found = await self._store.read(aside.row.id - 1, 1)
        if not found.rows or found.rows[0].id != aside.row.id:
            self._lose(aside.weight)
            return None
        return found.rows[0]

    async def _next(self) -> Row:
        """Return the oldest request that nobody has taken yet."""
        async with self._turn:
            while not self._ahead:
                if self._unread.requests:
                    await self._read()
                else:
                    self._arrived.clear()
                    await self._arrived.wait()
            return self._pop()

    async def _read(self) -> None:
        """Fill the memory's part from the disk."""
        self._is_reading = True
        try:
            found = await self._store.read(self._last_read, AHEAD_BYTES)
        finally:
            self._is_reading = False
        for row in found.rows:
            self._append(row)
            self._unread = self._unread.minus(weigh(row))
        self._last_read = max([self._last_read, *(one.id for one in found.damaged)])
        lost = self._spoilt(found.damaged)
        if found.beyond is None and not found.rows and not found.damaged:
            lost, self._unread = lost.plus(self._unread), Totals()  # what was counted is not there
        elif found.beyond is not None:
            lost, self._unread = lost.plus(self._unread).minus(found.beyond), found.beyond
        if lost.requests:
            self._lose(lost)

    def _spoilt(self, damaged: list[Damaged]) -> Totals:
        lost = Totals()
        for one in damaged:
            lost = lost.plus(weigh(one))
        self._unread = self._unread.minus(lost)
        return lost

    def _lose(self, lost: Totals) -> None:
        """Count what the disk did not keep."""
        self._total = self._total.minus(lost)
        if lost.items > 0:
            self._context.counters.add("dropped", lost.items, reason="damaged")
        self._context.warn(f"{lost.items} events in {lost.requests} requests were damaged on disk and are lost")
        self._changed.set()

    def _forget(self, row: Row) -> None:
        """Remove a request that was answered for, or dropped."""
        self._total = self._total.minus(weigh(row))
        self._store.remove(row.id)
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _size(totals: Totals, sizer: Sizer) -> int:
    return {Sizer.REQUESTS: totals.requests, Sizer.ITEMS: totals.items, Sizer.BYTES: totals.bytes}[sizer]
