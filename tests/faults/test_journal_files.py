"""A live journal that is rotated and vacuumed, and whose clock is stepped: what was destroyed is reported to the entry.

tests/integration/test_faults_journald.py has more of these, without a collector.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import balances
from tests.faults.agent import BATCH, CONSUMERS, FaultAgent, Nursery, children, paused
from tests.faults.oracle import CollectorFile
from tests.faults.report import Figures
from tests.integration.agent import Record
from tests.integration.collector import Collector
from tests.integration.journal_clock import SteppedClock
from tests.integration.journal_load import Account, send
from tests.integration.test_faults_journald import SMALL_JOURNAL, destroy
from tests.lab import BootedSystemd, require_lab


@pytest.fixture
def lab() -> Iterator[BootedSystemd]:
    """Give a systemd whose journal consists of small files."""
    require_lab()
    with BootedSystemd(journald=SMALL_JOURNAL) as booted:
        yield booted


@pytest.fixture
def agent(lab: BootedSystemd, agents: Nursery, collector: Collector, tmp_path: Path) -> Iterator[FaultAgent]:
    """Give an agent that follows the lab's journal and sends to the collector, not yet started."""
    one = FaultAgent(tmp_path / "agent", agents, lab.journal)
    one.aim(collector.http_endpoint)
    yield one
    if one.process is not None:
        one.kill()


async def finish(agent: FaultAgent, lab: BootedSystemd, arrived: CollectorFile, number: int) -> int:
    """Write ten last entries, see the last one arrive, and end the agent; returns how many were written in all."""
    send(lab, number, 10)
    await agent.until(lambda: number + 9 in arrived.read().times)
    assert await agent.end() == 0
    return number + 10


def check(
    agent: FaultAgent, collector: Collector, arrived: CollectorFile, written: int, figures: Figures, repeats: int = 0
) -> Account:
    """Assert that what is missing is what was reported, with so many repeats at most, and fill in the figures."""
    account = Account.of(Record(one.record, one.resource) for one in collector.records())
    account.numbers = sorted(set(account.numbers))  # requests overtake each other; repeats are checked by the oracle
    reported = {one for first, last in account.gaps for one in range(first, last + 1)}
    gone = set(range(min(account.numbers), max(account.numbers) + 1)) - set(account.numbers)
    assert gone == reported, (
        f"{len(gone - reported)} gone without a report, {len(reported - gone)} reported wrongly: {account.gaps}"
    )
    account.check()
    missing = arrived.read().missing(written)
    arrived.arrivals.check(written, len(missing))
    assert arrived.arrivals.repeated <= repeats
    balances.check_whole(agent.log(), agent.ends, arrived.arrivals.different)
    assert sum(one.gone for one in balances.runs(agent.log())) == account.lost
    figures.take(written, arrived.arrivals, agent.peak)
    figures.more["reported as gone"] = account.lost
    return account


async def test_vacuum_while_stopped(lab: BootedSystemd, agent: FaultAgent, collector: Collector, figures: Figures) -> None:
    """Between two runs files come and go: the second run reports what is gone, and delivers the rest."""
    arrived = CollectorFile(collector.output)
    async with agent.running():
        number = await finish(agent, lab, arrived, 0)
    number = destroy(lab, number)
    async with agent.running():
        written = await finish(agent, lab, arrived, number)
    account = check(agent, collector, arrived, written, figures)
    assert account.lost >= figures.lost >= 2000


async def test_vacuum_while_paused(lab: BootedSystemd, agent: FaultAgent, collector: Collector, figures: Figures) -> None:
    """SIGSTOP for the agent and its reading process, the files go, SIGCONT: what can be read is delivered, the rest told.

    A request whose answer came meanwhile may have timed out, and is sent again.
    """
    arrived = CollectorFile(collector.output)
    async with agent.running():
        send(lab, 0, 100)
        await agent.until(lambda: 99 in arrived.read().times)
        assert agent.process is not None
        with paused([agent.process.pid, *children(agent.process.pid)]):
            number = destroy(lab, 100, rounds=12)
        written = await finish(agent, lab, arrived, number)
    account = check(agent, collector, arrived, written, figures, repeats=CONSUMERS * BATCH)
    assert account.lost >= figures.lost


async def test_vacuum_while_running(lab: BootedSystemd, agent: FaultAgent, collector: Collector, figures: Figures) -> None:
    """Files are rotated and deleted all the time, and the reading process is killed: what is missing was reported."""
    arrived = CollectorFile(collector.output)
    number = 1
    async with agent.running():
        send(lab, 0, 1)
        await agent.until(lambda: 0 in arrived.read().times)
        for turn in range(4):
            number = destroy(lab, number, rounds=2)
            assert agent.process is not None
            for pid in children(agent.process.pid) if turn % 2 else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        written = await finish(agent, lab, arrived, number)
    check(agent, collector, arrived, written, figures)


async def test_clock_stepped(lab: BootedSystemd, agent: FaultAgent, collector: Collector, figures: Figures) -> None:
    """journald's clock goes an hour back and forth, while the agent runs and while it does not: each entry comes once."""
    arrived = CollectorFile(collector.output)
    clock = SteppedClock(lab)
    number = 0
    async with agent.running():
        for seconds in (0, -3600, 3600, 0):
            clock.step(seconds)
            send(lab, number, 100)
            number += 100
        number = await finish(agent, lab, arrived, number)
    for seconds in (-7200, 7200, 0):
        clock.step(seconds)
        send(lab, number, 100)
        number += 100
    async with agent.running():
        written = await finish(agent, lab, arrived, number)
    check(agent, collector, arrived, written, figures)
    assert figures.delivered == written
