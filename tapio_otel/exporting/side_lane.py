"""What is sent beside a queue's consumers: traces, so that a backend that takes logs but no traces now never holds up logs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

AT_ONCE: Final = 4

T = TypeVar("T")


class SideLane(Generic[T]):
    """See things to their end, a few at a time; the others wait, the oldest first in turn."""

    def __init__(self, finish: Callable[[T], Awaitable[None]]) -> None:
        self._finish = finish
        self._waiting: deque[T] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        """Return how many have not come to their end."""
        return len(self._waiting) + len(self._tasks)

    @property
    def has_room(self) -> bool:
        """Tell whether the next one would not have to wait."""
        return len(self._tasks) < AT_ONCE

    def put(self, one: T) -> None:
        """Take one more; returns at once."""
        self._waiting.append(one)
        self._go_on()

    def take_oldest(self) -> T | None:
        """Remove the one that has waited longest, and is not on its way; None where none waits."""
        return self._waiting.popleft() if self._waiting else None

    async def close(self) -> None:
        """Stop; what has not come to its end is left."""
        self._waiting.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _go_on(self) -> None:
        while self._waiting and self.has_room:
            task = asyncio.create_task(self._run(self._waiting.popleft()), name="traces beside the sending queue")
            self._tasks.add(task)

    async def _run(self, one: T) -> None:
        try:
            await self._finish(one)
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            self._go_on()
