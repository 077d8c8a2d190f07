"""An agent that shows events: real services and real HTTP, as the tests of the extension run them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tapio_otel.event import UnifiedEvent
from tests.extensions.ui_agent import Agent, running


@contextlib.asynccontextmanager
async def showing(state: Path, events: Sequence[UnifiedEvent] = (), options: str = "") -> AsyncIterator[Agent]:
    """Run an agent that has these events; what is plain is given a type, as without a store plain log lines are not kept."""
    for event in events:
        event.type = "request" if event.type == "log" else event.type
    limits = f"memory_events: {max(1000, 2 * len(events))}, max_queries: 8"
    async with running(state, "memory", f"{limits}, {options}" if options else limits) as agent:
        ordered = sorted(events, key=lambda one: (one.timestamp, one.id))
        for start in range(0, len(ordered), 2000):
            await agent.feed(*ordered[start : start + 2000])
            await asyncio.sleep(0)
        yield agent


@contextlib.asynccontextmanager
async def storing(state: Path, events: Sequence[UnifiedEvent]) -> AsyncIterator[Agent]:
    """Run an agent that has these events, many, in a store on disk."""
    async with running(state, "sqlite") as agent:
        ordered = sorted(events, key=lambda one: (one.timestamp, one.id))
        for start in range(0, len(ordered), 5000):
            part = ordered[start : start + 5000]
            await agent.feed(*part)
            async with asyncio.timeout(30):  # not faster than the store keeps them: it would drop some
                await agent.kept(start + len(part))
        yield agent
