"""The last events that passed, numbered, for live streams: each stream reads on from its own number, and none is waited for.

A stream that falls behind what is kept has lost events, and is told how many. An event that passes several pipelines, or is
read again after an interruption, is kept once; of a finding each revision. Bounded by events and by an estimate of their bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.event_size import size_of


def identity_of(event: UnifiedEvent) -> str | tuple[str, object]:
    """Return what makes two events the same telling: the id, for findings with the revision."""
    return event.id if event.type != EventType.CORRELATION else (event.id, event.get("revision"))


class Ring:
    """Keep the last events. `start` is the number of the first that is kept, `end` that of the next to come."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.start = self.end = 0
        self._max_events, self._max_bytes = max_events, max_bytes
        self._events: deque[UnifiedEvent] = deque()
        self._known: set[str | tuple[str, object]] = set()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, events: Sequence[UnifiedEvent]) -> None:
        """Take events; those that are known already are passed over."""
        end = self.end
        for event in events:
            identity = identity_of(event)
            if identity not in self._known:
                self._known.add(identity)
                self._events.append(event)
                self._sizes.append(size_of(event))
                self._bytes += self._sizes[-1]
                self.end += 1
        while len(self._events) > self._max_events or (self._bytes > self._max_bytes and self._events):
            gone = self._events.popleft()
            self._known.discard(identity_of(gone))
            self._bytes -= self._sizes.popleft()
            self.start += 1
        if self.end != end:
            self.wake()

    def since(self, number: int, most: int) -> tuple[int, list[UnifiedEvent], int]:
        """Return how many events from `number` on are lost, the next ones, `most` at most, and the number to go on with."""
        begin = min(max(number, self.start), self.end)
        stop = min(begin + most, self.end)
        offset = begin - self.start
        events = [self._events[place] for place in range(offset, offset + stop - begin)]
        return max(begin - number, 0), events, stop

    def wake(self) -> None:
        """Let everyone who waits look."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def news(self) -> None:
        """Wait until events were added."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)
