"""A running agent ends when it is told to, and tells systemd what it does."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.integration.test_reload import Reloadable, running
from tests.journal import require_journal_remote

DEAD = {"otlphttp": {"endpoint": "http://127.0.0.1:9", "retry_on_failure": {"max_elapsed_time": 0}}}


@pytest.fixture
def agent(tmp_path: Path) -> Reloadable:
    """Return an agent with a journal of a hundred entries, not yet started."""
    require_journal_remote()
    one = Reloadable(tmp_path)
    one.write(100)
    return one


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_drain_that_nobody_answers(agent: Reloadable, second: int) -> None:
    """The backend is away and the timeout long: the first signal drains in vain, the second ends it, with its status."""
    agent.configure(exporters=DEAD, service={"shutdown_timeout": "100s"})
    with running(agent):
        agent.wait(lambda: "cannot send to" in agent.log())
        assert agent.process is not None
        agent.process.terminate()
        time.sleep(0.5)
        assert agent.process.poll() is None
        agent.process.send_signal(second)
        assert agent.process.wait(5) == 128 + second
    with running(agent):
        agent.configure()
        agent.reload()
        agent.wait_for_all("out.json")
        assert agent.stop() == 0
    agent.expect_each_once("out.json")


def test_what_could_not_be_delivered_before_a_reload_is_read_again(agent: Reloadable) -> None:
    """The backend's address was wrong: with the right exporter of that name everything since the begin arrives there."""
    agent.configure(exporters=DEAD, service={"shutdown_timeout": "1s"})
    second = {"otlphttp": {**DEAD["otlphttp"], "timeout": "3s"}, "file": {"path": str(agent.room / "out.json")}}
    with running(agent):
        agent.wait(lambda: "cannot send to" in agent.log())
        agent.configure(exporters=second, service={"shutdown_timeout": "1s"})
        agent.reload()
        agent.wait_for_all("out.json")
        assert agent.stop() == 0
    assert "100 events undelivered: receivers that can resume read them again" in agent.log()
    agent.expect_each_once("out.json")
    assert "NOT ACCOUNTED FOR" not in agent.log()


def test_systemd_is_told_of_every_state(agent: Reloadable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready, alive, reloading and ready again, stopping: in this order, as a unit of Type=notify-reload must."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(agent.room / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(agent.room / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        told: list[str] = []

        def wait_for(*states: str) -> None:
            for state in states:
                while state not in told:
                    told.extend(manager.recv(4096).decode().split("\n"))
                told.clear()

        with running(agent):
            wait_for("READY=1", "WATCHDOG=1", "WATCHDOG=1")
            agent.hang_up()
            wait_for("RELOADING=1", "READY=1", "WATCHDOG=1")
            agent.path.write_text("receivers: [")
            agent.hang_up()
            wait_for("RELOADING=1", "READY=1")
            assert agent.process is not None
            agent.process.terminate()
            wait_for("STOPPING=1")
            assert agent.process.wait(20) == 0
