"""Disks that are full or read-only, and files of the agent's own that are damaged or gone.

TAPIO_FAULT_DAMAGES is how often a queue's file is damaged at random, in each way (3 by default).
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import balances
from tests.faults.agent import BATCH, DEAD, FaultAgent
from tests.faults.in_flight import queued_bodies
from tests.faults.oracle import Arrivals, CollectorFile
from tests.faults.report import MIB, Figures
from tests.integration.collector import Collector
from tests.storage.files import fill, small_disk

NEW = 10
"""Entries written after the damage."""
DAMAGES = int(os.environ.get("TAPIO_FAULT_DAMAGES", "3"))

pytestmark = pytest.mark.timeout(120 + 10 * DAMAGES)


async def test_disk_full(agent: FaultAgent, collector: Collector, tmp_path: Path, figures: Figures) -> None:
    """The backend is away and the queue's disk full: the journal waits; with room, and the backend, each entry comes once."""
    arrived = CollectorFile(collector.output)
    collector.stop()
    with small_disk(tmp_path / "disk") as disk:
        agent.queues = disk / "queues"
        ballast = fill(disk)
        with ballast.open("ab") as file:
            file.truncate(ballast.stat().st_size - 400_000)
        agent.aim(collector.http_endpoint)
        async with agent.running():
            await agent.until(lambda: "database or disk is full; waiting until it works" in agent.log())
            ballast.unlink()
            await agent.until(lambda: "is written again" in agent.log())
            collector.start()
            await agent.until(lambda: arrived.read().delivered >= agent.written)
            assert await agent.end() == 0
    arrived.read().check(agent.written)
    assert arrived.arrivals.repeated == 0
    balances.check_whole(agent.log(), agent.ends, agent.written)
    figures.take(agent.written, arrived.arrivals, agent.peak)


@pytest.mark.parametrize("place", ["queues", "state"])
async def test_read_only(agent: FaultAgent, collector: Collector, tmp_path: Path, figures: Figures, place: str) -> None:
    """The agent refuses to start where it could not keep its word, and says why; with a writable directory it goes on."""
    arrived = CollectorFile(collector.output)
    agent.aim(collector.http_endpoint)
    with small_disk(tmp_path / "disk", "64m") as disk:
        (disk / place).mkdir()
        (agent.room / place).symlink_to(disk / place)
        remount(disk, "ro")
        agent.start()
        assert agent.process is not None
        assert await asyncio.to_thread(agent.process.wait, 20) == 1
        assert f"cannot use '{agent.room / place}': Read-only file system" in agent.log()
        remount(disk, "rw")
        async with agent.running():
            await agent.until(lambda: arrived.read().delivered >= agent.written)
            assert await agent.end() == 0
    arrived.read().check(agent.written)
    assert arrived.arrivals.repeated == 0
    balances.check_whole(agent.log(), agent.ends, agent.written)
    figures.take(agent.written, arrived.arrivals, agent.peak)


def remount(disk: Path, mode: str) -> None:
    """Make a file system read-only (`ro`) or writable (`rw`); it is busy while a file on it is open for writing."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def delete(file: Path) -> None:
    """Remove a file and what belongs to it."""
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def spoil(file: Path) -> None:
    """Write nonsense over a file's begin."""
    with file.open("r+b") as opened:
        opened.write(b"nonsense" * 100)


@pytest.mark.parametrize("harm", [delete, spoil], ids=["deleted", "corrupt"])
async def test_checkpoint(agent: FaultAgent, collector: Collector, figures: Figures, harm: Callable[[Path], None]) -> None:
    """Where to resume is not known any more: reading starts as `start_at` says, so that all comes again, with equal ids."""
    arrived = CollectorFile(collector.output)
    agent.aim(collector.http_endpoint)
    async with agent.running():
        await agent.until(lambda: arrived.read().delivered >= agent.written)
        assert await agent.end() == 0
    harm(agent.checkpoints)
    before, _ = agent.written, agent.write(500)
    async with agent.running():
        await agent.until(lambda: arrived.read().total >= before + agent.written)
        assert await agent.end() == 0
    arrived.read().check(agent.written)
    assert arrived.arrivals.repeated == before
    assert ("set aside" in agent.log()) is (harm is spoil)
    balances.check_whole(agent.log(), agent.ends, before + agent.written)
    figures.take(agent.written, arrived.arrivals, agent.peak)


def truncate(file: Path, draw: random.Random) -> None:
    """Cut a file off at a random place."""
    with file.open("r+b") as opened:
        opened.truncate(draw.randrange(file.stat().st_size))


def flip(file: Path, draw: random.Random) -> None:
    """Flip one bit of a file."""
    place = draw.randrange(file.stat().st_size)
    with file.open("r+b") as opened:
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([byte ^ 1 << draw.randrange(8)]))


class FilledQueue:
    """Keep the files of an agent that has its whole journal in its queue, for one that begins with them again and again."""

    def __init__(self, agent: FaultAgent) -> None:
        self._agent = agent
        self._written = agent.written
        self._kept = agent.room / "kept"

    async def fill(self) -> None:
        """Run the agent with a dead backend until all is in the queue's file, and nothing in the write-ahead log."""
        self._agent.aim(DEAD)
        async with self._agent.running():
            await self._agent.until(lambda: len(queued_bodies(self._agent.file)) >= self._written / BATCH)
            assert await self._agent.end() == 0
        assert not self._agent.file.with_name(f"{self._agent.file.name}-wal").exists()
        for name in ("queues", "state", "journal"):
            shutil.copytree(self._agent.room / name, self._kept / name)

    def restore(self) -> None:
        """Put everything back as it was then."""
        for name in ("queues", "state", "journal"):
            shutil.rmtree(self._agent.room / name)
            shutil.copytree(self._kept / name, self._agent.room / name)
        self._agent.written = self._written
        self._agent.errors.unlink(missing_ok=True)


@pytest.mark.parametrize("harm", [truncate, flip], ids=["truncated", "bit-flipped"])
async def test_queue_file(
    agent: FaultAgent, collector: Collector, figures: Figures, harm: Callable[[Path, random.Random], None]
) -> None:
    """What is left of the file arrives, each entry once; what is not is told. The agent starts and goes on in any case."""
    queue = FilledQueue(agent)
    await queue.fill()
    agent.aim(collector.http_endpoint)
    lost: list[int] = []
    for _ in range(DAMAGES):
        queue.restore()
        harm(agent.file, random.Random())
        arrived = await deliver_the_rest(agent, CollectorFile(collector.output))
        figures.written += agent.written
        figures.delivered += arrived.delivered
        figures.repeated += arrived.repeated
        lost.append(len(arrived.missing(agent.written)))
    figures.lost, figures.peak_mib = sum(lost), round(agent.peak / MIB, 1)
    figures.more |= {"files": DAMAGES, "files that lost": sum(map(bool, lost)), "most lost of one": max(lost)}


async def deliver_the_rest(agent: FaultAgent, arrived: CollectorFile) -> Arrivals:
    """Run the agent with a damaged queue and ten new entries; returns what arrived, once it is shown that no more can be."""
    agent.write(NEW)
    async with agent.running():
        await agent.until(lambda: agent.written - 1 in arrived.read().times)
        assert await agent.end() == 0
    found = arrived.read()
    missing = found.missing(agent.written)
    found.check(agent.written, len(missing))
    assert found.repeated == 0
    assert not missing or "damaged" in agent.log(), agent.log()
    assert max(missing, default=0) < agent.written - NEW, "new entries are missing"
    balances.check(agent.log(), ends=1)
    return found
