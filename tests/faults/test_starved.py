"""An agent that gets next to no processor, or so little memory that the kernel kills it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.faults import balances
from tests.faults.agent import FaultAgent, Nursery
from tests.faults.live_journal import LiveJournal
from tests.faults.oracle import CollectorFile
from tests.faults.report import Figures
from tests.integration.collector import Collector
from tests.kernel import Cgroup

MIB = 1 << 20


def put_into(cgroup: Cgroup, agent: FaultAgent) -> None:
    """Move the agent into a cgroup; what it starts from now on is there too, and so is the memory it takes."""
    assert agent.process is not None
    (cgroup.directory / "cgroup.procs").write_text(str(agent.process.pid))


async def test_starved_of_processor(
    live: LiveJournal, agents: Nursery, collector: Collector, tmp_path: Path, figures: Figures
) -> None:
    """It has a twentieth of a processor while 2,000 entries a second are written, then more: each entry arrives once."""
    agent = FaultAgent(tmp_path / "agent", agents, live.lab.journal)
    agent.aim(collector.http_endpoint)
    arrived = CollectorFile(collector.output)
    with Cgroup("cpu", quota=(5_000, 100_000)) as cgroup:
        async with agent.running():
            put_into(cgroup, agent)
            live.write(2000)
            await asyncio.sleep(4)
            written = live.stop()
            behind = written - arrived.read().delivered
            (cgroup.directory / ("cpu.max" if cgroup.is_v2 else "cpu.cfs_quota_us")).write_text(
                "-1" if not cgroup.is_v2 else "max"
            )
            await agent.until(lambda: arrived.read().delivered >= written)
            assert await agent.end() == 0
            throttled = cgroup.numbers("cpu.stat")["nr_throttled"]
    arrived.read().check(written)
    assert arrived.arrivals.repeated == 0 and throttled > 0
    assert "stuck" not in agent.log()
    balances.check_whole(agent.log(), agent.ends, arrived.arrivals.different)
    figures.take(written, arrived.arrivals, agent.peak)
    figures.more |= {"behind": behind, "times throttled": throttled}


async def test_starved_of_memory(agent: FaultAgent, collector: Collector, figures: Figures) -> None:
    """The kernel kills it for want of memory, each time with a little more of it, until it has enough: nothing is missing."""
    agent.write(20_000)
    agent.aim(collector.http_endpoint)
    arrived = CollectorFile(collector.output)
    kills = 0
    for limit in range(2, 200, 8):
        with Cgroup("memory", memory_limit=limit * MIB) as cgroup:
            agent.start()
            put_into(cgroup, agent)
            assert agent.process is not None
            while agent.process.poll() is None and arrived.read().delivered < agent.written:
                agent.see_memory()
                await asyncio.sleep(0.03)
            if agent.process.poll() is None:
                assert await agent.end() == 0
                break
            kills += 1
    arrived.read().check(agent.written)
    assert kills > 0
    balances.check(agent.log(), agent.ends)
    figures.take(agent.written, arrived.arrivals, agent.peak)
    figures.more |= {"killed by the kernel": kills}
