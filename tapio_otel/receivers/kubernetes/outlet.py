"""The way out: every event goes to the pipeline together with the position after it, one batch at a time.

Several resources are watched at once and share one checkpoint. A position is therefore made, and its batch handed over, while
no other resource does the same: the checkpoint that is saved last is the one that is furthest for all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from tapio_otel.component import Output
from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.kubernetes.position import BadPosition, Position, Reached
from tapio_otel.receivers.kubernetes.throttle import Trimmed

BATCH: Final = 1000
"""Most events handed on at once."""
SAVE_INTERVAL: Final = 1.0
"""Seconds between two checkpoints of changes that are all of no interest."""


class Outlet:
    """Hand on events and keep the position."""

    def __init__(self, output: Output, position: Position) -> None:
        self._output = output
        self._lock = asyncio.Lock()
        self._saved = time.monotonic() - SAVE_INTERVAL
        self.position = position
        self.held: Callable[[], tuple[Trimmed, ...]] = lambda: self.position.held
        """Return the events that are held back at present."""

    def move(self, position: Position) -> None:
        """Go on from another position, before anything is sent."""
        self.position = position

    @property
    def delivered(self) -> Position:
        """Return the position up to which everything is delivered."""
        try:
            return Position.load(self._output.delivered)
        except BadPosition:
            return Position()

    async def send(
        self, make: Callable[[], list[UnifiedEvent]], resource: str = "", namespace: str = "", version: str = ""
    ) -> None:
        """Make events and hand them on; with them everything of the resource up to `version` has been told.

        They are made when it is their turn, so that what is held back then is part of no earlier checkpoint.
        """
        async with self._lock:
            events = make()
            for begin in range(0, len(events) - BATCH, BATCH):
                await self._output.emit(events[begin : begin + BATCH])
            rest = events[(len(events) - 1) // BATCH * BATCH :] if events else []
            position = Position(self.position.reached, self.held())
            first = bool(version) and position.of(resource, namespace) is None  # else a restart begins later than this run
            if version:
                position = position.at(resource, namespace, Reached(version, time.time_ns()))
            if rest or first or time.monotonic() - self._saved >= SAVE_INTERVAL:
                await self._output.emit(rest, position.dump())
                self._saved = time.monotonic()
            self.position = position
