"""One agent for a directory."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from tapio_otel.component import ComponentError
from tapio_otel.storage.lock import FILE, DirectoryLock
from tests.storage.files import fill, small_disk

HOLDER = """
import asyncio, sys
from pathlib import Path
from tapio_otel.storage.lock import DirectoryLock

async def main():
    lock = DirectoryLock(Path(sys.argv[1]))
    await lock.acquire(0)
    print("locked", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def holder(directory):
    """Start another process that has the lock."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, str(directory), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"locked\n"
    return process


async def test_the_second_agent_is_refused_and_told_who_has_it(tmp_path):
    """With the process id, and what to do; a killed agent has it no more."""
    process = await holder(tmp_path)
    lock = DirectoryLock(tmp_path)
    expected = (
        rf"directory: another agent \(pid {process.pid}\) uses '{tmp_path}'\. Stop it, or give this extension a directory"
    )
    with pytest.raises(ComponentError, match=expected):
        await lock.acquire(0.2)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await lock.acquire(0)
    lock.release()
    lock.release()


async def test_an_agent_that_lets_go_in_time_is_waited_for(tmp_path):
    """As when one agent is started while another one stops."""
    process = await holder(tmp_path)
    lock = DirectoryLock(tmp_path)
    waiting = asyncio.create_task(lock.acquire(60))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    process.terminate()
    await process.wait()
    await waiting
    assert (tmp_path / FILE).read_text() == f"{os.getpid()}\n"
    lock.release()


async def test_two_extensions_of_one_agent_are_told_apart(tmp_path):
    """The message does not blame another agent."""
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    await first.acquire(0)
    with pytest.raises(ComponentError, match="another file_storage extension of this agent uses"):
        await second.acquire(0)
    first.release()
    await second.acquire(0)
    second.release()


async def test_a_full_disk_does_not_hinder_the_lock(tmp_path):
    """The process id in it only serves a message."""
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        lock = DirectoryLock(disk)
        await lock.acquire(0)
        other = os.open(disk / FILE, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        lock.release()


async def test_releasing_without_acquiring_is_safe(tmp_path):
    """Nothing happens."""
    DirectoryLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []
