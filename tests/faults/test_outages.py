"""A real collector that goes away and comes back, and a network to it that fails.

TAPIO_FAULT_OUTAGE is for how many seconds it is away (1 by default).
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.exporting.certificates import Authority
from tests.faults import balances
from tests.faults.agent import FaultAgent, Nursery
from tests.faults.live_journal import LiveJournal
from tests.faults.network import FailingNetwork, Failure
from tests.faults.oracle import CollectorFile
from tests.faults.report import Figures
from tests.integration.collector import Collector

OUTAGE = float(os.environ.get("TAPIO_FAULT_OUTAGE", "1"))

pytestmark = pytest.mark.timeout(120 + 3 * OUTAGE)


@pytest.mark.parametrize("durable", [True, False], ids=["queue on disk", "queue in memory"])
async def test_backend_down(
    live: LiveJournal, agents: Nursery, collector: Collector, tmp_path: Path, figures: Figures, durable: bool
) -> None:
    """The collector ends and is started again, twice, while the journal grows: each entry arrives once."""
    agent = FaultAgent(tmp_path / "agent", agents, live.lab.journal)
    agent.aim(collector.http_endpoint, durable)
    arrived = CollectorFile(collector.output)
    live.write(1000)
    async with agent.running():
        for _ in range(2):
            before = arrived.read().delivered
            await agent.until(lambda: arrived.read().delivered > before + 100)  # noqa: B023 - awaited here
            collector.stop()
            await agent.until(lambda: "cannot send to" in agent.log())
            await asyncio.sleep(OUTAGE / 2)
            collector.start()
        written = live.stop()
        await agent.until(lambda: arrived.read().delivered >= written)
        assert await agent.end() == 0
    arrived.read().check(written)
    balances.check_whole(agent.log(), agent.ends, arrived.arrivals.different)
    figures.take(written, arrived.arrivals, agent.peak)


BAD = [
    (Failure.SWALLOW_REQUESTS, False),
    (Failure.SWALLOW_ANSWERS, True),
    (Failure.SLOW_ANSWERS, False),
    (Failure.RESET_ANSWERS, True),
    (Failure.RESET_REQUESTS, False),
]


@pytest.mark.parametrize(("failure", "repeats"), BAD, ids=[failure.name.lower() for failure, _ in BAD])
async def test_network(agent: FaultAgent, collector: Collector, figures: Figures, failure: Failure, repeats: bool) -> None:
    """The network strikes six times, then is well again: all arrives; twice only what had arrived without its answer."""
    arrived = CollectorFile(collector.output)
    async with FailingNetwork(collector.http_port) as network:
        network.failure = failure
        agent.aim(network.url, timeout="5s" if failure is Failure.SLOW_ANSWERS else "700ms")
        async with agent.running():
            await agent.until(lambda: network.failed >= 6)
            network.failure = Failure.NONE
            await agent.until(lambda: arrived.read().delivered >= agent.written)
            assert await agent.end() == 0
    arrived.read().check(agent.written)
    assert (arrived.arrivals.repeated > 0) is repeats
    balances.check_whole(agent.log(), agent.ends, agent.written)
    figures.take(agent.written, arrived.arrivals, agent.peak)
    figures.more["strikes"] = network.failed


async def test_certificate_replaced(agent: FaultAgent, collector_binary: Path, tmp_path: Path, figures: Figures) -> None:
    """The collector's certificate is replaced by one that nobody trusts, then by a good one of another authority.

    The authority's file is what the agent is given anew; it reads it by itself.
    """
    room = tmp_path / "collector"
    first, stranger, second = (Authority(tmp_path / name, name) for name in ("first", "stranger", "second"))
    files = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    trusted = tmp_path / "trusted.pem"

    def install(authority: Authority) -> None:
        identity = authority.issue("server")
        shutil.copyfile(identity.cert_file, files["cert_file"])
        shutil.copyfile(identity.key_file, files["key_file"])

    install(first)
    shutil.copyfile(first.file, trusted)
    room.mkdir()
    collector = Collector(collector_binary, room, tls=files)
    arrived = CollectorFile(collector.output)
    agent.aim(collector.http_endpoint, tls={"ca_file": str(trusted), "reload_interval": "100ms"})
    with collector:
        async with agent.running():
            await agent.until(lambda: arrived.read().delivered >= agent.written)
            for authority in (stranger, second):
                collector.stop()
                install(authority)
                collector.start()
                agent.write(500)
                if authority is stranger:
                    await agent.until(lambda: "certificate" in agent.log())
            shutil.copyfile(second.file, trusted)
            await agent.until(lambda: arrived.read().delivered >= agent.written)
            assert await agent.end() == 0
    arrived.read().check(agent.written)
    assert arrived.arrivals.repeated == 0
    balances.check_whole(agent.log(), agent.ends, agent.written)
    figures.take(agent.written, arrived.arrivals, agent.peak)
