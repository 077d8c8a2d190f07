"""The clock of calls, which stands still while nothing is read: an answer that waits in the socket is not late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CallClock:
    """Limit how long calls take, without the time that reading was paused."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left: dict[asyncio.Timeout, float] = {}
        """For each call under way the seconds left: when the clock was stopped last, or when the call began."""
        self._paused = False

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Raise TimeoutError where the body takes longer than `seconds` of running clock."""
        async with asyncio.timeout(None if self._paused else seconds) as timeout:
            self._left[timeout] = seconds
            try:
                yield
            finally:
                del self._left[timeout]

    def pause(self) -> None:
        """Stop the clock."""
        if self._paused:
            return
        self._paused = True
        now = self._loop.time()
        for timeout in self._left:
            if not timeout.expired():
                self._left[timeout] = max(0.0, (timeout.when() or now) - now)
                timeout.reschedule(None)

    def resume(self) -> None:
        """Let the clock run on."""
        if not self._paused:
            return
        self._paused = False
        now = self._loop.time()
        for timeout, left in self._left.items():
            if not timeout.expired():
                timeout.reschedule(now + left)
