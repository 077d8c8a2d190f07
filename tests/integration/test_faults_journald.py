"""A whole agent on a journal that is rotated and vacuumed: it lives on, and what was destroyed is reported to the entry."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.agent import Agent
from tests.integration.journal_clock import SteppedClock
from tests.integration.journal_load import Account, send
from tests.lab import BootedSystemd, require_lab

SMALL_JOURNAL = {"SystemMaxFileSize": "1M", "SystemMaxUse": "8M", "SystemMaxFiles": "6"}


@pytest.fixture
def lab() -> Iterator[BootedSystemd]:
    """Give a test a systemd whose journal consists of small files."""
    require_lab()
    with BootedSystemd(journald=SMALL_JOURNAL) as booted:
        yield booted


@pytest.fixture(params=["process", "none"])
def agent(lab: BootedSystemd, tmp_path: Path, request: pytest.FixtureRequest) -> Agent:
    """Return an agent that follows the lab's journal from its beginning, not yet started."""
    options = {
        "directory": str(lab.journal),
        "start_at": "beginning",
        "read_interval": "1ms",
        "isolation": request.param,
        "fields": ["NUMBER"],
    }
    return Agent(tmp_path, {"journald": options})


def account(agent: Agent, last: int) -> Account:
    """Return the account once the entry numbered `last` has arrived."""
    agent.wait_for(lambda record: record["journald.number"] == str(last), seconds=30)
    return Account.of(agent.records())


def destroy(lab: BootedSystemd, begin: int, rounds: int = 6, count: int = 500) -> int:
    """Write entries, rotate after each round, and delete all but the last file; returns the number after the last entry."""
    for turn in range(rounds):
        send(lab, begin + turn * count, count, 300)
        lab.run("journalctl", "--rotate")
    lab.run("journalctl", "--vacuum-files=1")
    lab.run("journalctl", "--sync")
    return begin + rounds * count


def reading_processes(agent: Agent) -> list[int]:
    """Return the ids of the agent's reading processes."""
    assert agent.process is not None
    pid = agent.process.pid
    with contextlib.suppress(FileNotFoundError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def test_a_vacuum_while_the_agent_is_stopped_is_reported_exactly(lab: BootedSystemd, agent: Agent) -> None:
    """Between two runs files come and go: the second run says what it cannot read any more, and reads the rest."""
    with agent:
        send(lab, 0, 100)
        account(agent, 99)
    end = destroy(lab, 100)
    send(lab, end, 10)
    with agent:
        found = account(agent, end + 9)
    found.check()
    assert found.lost >= 2000 and len(found.gaps) == 1
    assert found.sent[:100] == list(range(100))


@pytest.mark.parametrize("both", [False, True], ids=["agent", "agent and reader"])
def test_a_vacuum_while_the_agent_is_paused_is_reported_exactly(lab: BootedSystemd, agent: Agent, both: bool) -> None:
    """SIGSTOP, the files go, SIGCONT: what could still be read is delivered, the rest is reported."""
    with agent:
        send(lab, 0, 100)
        account(agent, 99)
        assert agent.process is not None
        paused = [agent.process.pid, *(reading_processes(agent) if both else [])]
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        end = destroy(lab, 100, rounds=12)
        for pid in paused:
            os.kill(pid, signal.SIGCONT)
        send(lab, end, 10)
        found = account(agent, end + 9)
    found.check()
    assert found.sent[:100] == list(range(100)) and found.sent[-1] == end + 9


def in_background(work: Callable[[], object], stop: threading.Event) -> threading.Thread:
    """Do something again and again until `stop`."""

    def repeat() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    return thread


def kill_one(agent: Agent) -> None:
    """End the agent's reading process at a random moment by a random signal."""
    time.sleep(random.uniform(0.05, 0.4))
    for pid in reading_processes(agent):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, random.choice([signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS]))


@pytest.mark.parametrize(
    ("agent", "killing"),
    [("process", False), ("process", True), ("none", False)],
    indirect=["agent"],
    ids=["process", "killed process", "none"],
)
def test_an_agent_under_load_outlives_rotation_and_vacuum(lab: BootedSystemd, agent: Agent, killing: bool) -> None:
    """30,000 entries while files are rotated and deleted without pause, and the reading process is killed as well."""
    stop = threading.Event()
    with agent:
        account_begins(lab, agent)
        work: list[Callable[[], object]] = [
            lambda: lab.run("journalctl", "--rotate"),
            lambda: lab.run("journalctl", "--vacuum-size=2M"),
        ]
        threads = [in_background(one, stop) for one in [*work, *([lambda: kill_one(agent)] if killing else [])]]
        try:
            for turn in range(30):
                send(lab, 1000 + turn * 1000, 1000, 300)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        send(lab, 40_000, 1)
        found = account(agent, 40_000)
        assert agent.process is not None and agent.process.poll() is None
    assert agent.process.returncode == 0
    found.check()
    assert found.sent[-1] == 40_000
    assert ("the journal reader ended by SIG" in agent.errors.read_text()) is killing


def crash(agent: Agent) -> None:
    """End the agent without a chance to do anything, and see that its reading process goes too."""
    assert agent.process is not None
    readers = reading_processes(agent)
    agent.process.kill()
    agent.process.wait()
    until = time.monotonic() + 10
    while readers and time.monotonic() < until:
        readers = [pid for pid in readers if Path(f"/proc/{pid}").exists()]
        time.sleep(0.01)
    assert readers == []


@pytest.mark.parametrize("agent", ["process"], indirect=True)
def test_an_agent_killed_again_and_again_under_vacuum_loses_nothing_unreported(lab: BootedSystemd, agent: Agent) -> None:
    """SIGKILL at random moments, files deleted meanwhile: all is delivered or reported, repeats have the same id."""
    stop = threading.Event()

    def load() -> None:
        send(lab, next(turns) * 500, 500, 300)
        lab.run("journalctl", "--rotate")
        lab.run("journalctl", "--vacuum-size=2M")

    turns = itertools.count()
    thread = in_background(load, stop)
    try:
        for _ in range(8):
            agent.__enter__()
            time.sleep(random.uniform(0.3, 1.5))
            crash(agent)
    finally:
        stop.set()
        thread.join()
    send(lab, 10**6, 1)
    with agent:
        found = account(agent, 10**6)
    found.check_after_crashes()


@pytest.mark.parametrize("step", [-3600, 3600], ids=["back", "forth"])
def test_a_stepped_clock_costs_no_entry(lab: BootedSystemd, agent: Agent, step: int) -> None:
    """journald's clock is an hour off for a while, also while the agent is stopped: each entry comes once, in order."""
    clock = SteppedClock(lab)
    with agent:
        for turn, seconds in enumerate((0, step, 0)):
            clock.step(seconds)
            send(lab, turn * 100, 100)
        account(agent, 299)
    for turn, seconds in enumerate((2 * step, 0, step, 0), 3):
        clock.step(seconds)
        send(lab, turn * 100, 100)
    with agent:
        found = account(agent, 699)
    found.check()
    assert found.sent == list(range(700)) and found.gaps == []
    hours = [round((time - found.times[0]) / 1e9 / step) for time in found.times[::100]]
    assert hours == [0, 1, 0, 2, 0, 1, 0]


def account_begins(lab: BootedSystemd, agent: Agent) -> None:
    """Wait until the agent reads what is written."""
    send(lab, 0, 1)
    account(agent, 0)
