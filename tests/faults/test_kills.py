"""SIGKILL at random moments while a live journald is written to: nothing is missing, and repeats are few and recognisable.

TAPIO_FAULT_KILLS is how often the agent with a queue on disk is killed (20 by default, 1,000 for the long form); the one with a
queue in memory alone is killed a quarter as often.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.faults import balances
from tests.faults.agent import FaultAgent, Nursery
from tests.faults.in_flight import in_flight
from tests.faults.live_journal import LiveJournal
from tests.faults.oracle import CollectorFile
from tests.faults.report import Figures
from tests.integration.collector import Collector

KILLS = int(os.environ.get("TAPIO_FAULT_KILLS", "20"))
"""How often the agent with a queue on disk is killed."""
RATE = 500
"""Entries written each second."""
SEEN_WITHIN = 0.1
"""Seconds within which the collector's file has what it has received: twice its flush_interval."""

pytestmark = pytest.mark.timeout(300 + 10 * KILLS)


@pytest.mark.parametrize("durable", [True, False], ids=["queue on disk", "queue in memory"])
async def test_killed_at_random_moments(
    live: LiveJournal, agents: Nursery, collector: Collector, tmp_path: Path, figures: Figures, durable: bool
) -> None:
    """At the start, while catching up, at rest: after every kill the next agent goes on, and in the end all has arrived.

    No run repeats more than what the files of the one before show as in flight.
    """
    kills = KILLS if durable else -(-KILLS // 4)
    agent = FaultAgent(tmp_path / "agent", agents, live.lab.journal)
    agent.aim(collector.http_endpoint, durable)
    arrived = CollectorFile(collector.output)
    repeats, allowed = await killed(agent, arrived, live, kills)
    written = live.stop()
    async with agent.running():
        await agent.until(lambda: arrived.read().delivered >= written, 60 + KILLS)
        assert await agent.end() == 0
    repeats.append(arrived.read().repeated - sum(repeats))
    arrived.arrivals.check(written)
    balances.check(agent.log(), ends=1)
    assert "is damaged" not in agent.log() and "unreadable" not in agent.log()
    figures.take(written, arrived.arrivals, agent.peak)
    figures.more |= {"kills": kills, "kills that repeated": sum(map(bool, repeats)), "most repeated by one": max(repeats)}
    figures.more["most in flight at one"] = max(map(sum, allowed))
    for kill, (left, repeated) in enumerate(zip(allowed, repeats[1:], strict=True), 1):
        assert repeated <= sum(left), (
            f"kill {kill}: {repeated} repeated, {left[0]} queued twice, {left[1]} behind the checkpoint"
        )


async def killed(
    agent: FaultAgent, arrived: CollectorFile, live: LiveJournal, kills: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """Run and kill the agent again and again; returns for each run the repeats in it, and what was in flight at its end."""
    draw = random.Random()
    repeats: list[int] = []
    left: list[tuple[int, int]] = []
    live.write(RATE)
    for _ in range(kills):
        agent.start()
        if draw.random() < 0.8:
            await agent.until(agent.is_up)
        await asyncio.sleep(draw.uniform(0, 0.5))
        agent.kill()
        await asyncio.sleep(SEEN_WITHIN)
        repeats.append(arrived.read().repeated - sum(repeats))
        left.append(in_flight(agent, arrived.arrivals))
    return repeats, left
