"""What systemd is told: ready, reloading with its time, stopping, and a sign of life from the loop."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from tapio_otel.service.notifier import Notifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """Return the socket on which a service manager listens."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    listening.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return listening


def heard(manager: socket.socket) -> list[dict[str, str]]:
    """Return the messages received, each as a mapping."""
    found = []
    while True:
        try:
            text = manager.recv(4096).decode()
        except BlockingIOError:
            return found
        found.append(dict(line.split("=", 1) for line in text.splitlines()))


def test_states_are_told_as_systemd_asks_for_them(manager: socket.socket) -> None:
    """A reload carries the monotonic time at which it began, what takes long asks for the time."""
    with manager:
        notifier = Notifier()
        notifier.ready("1 receiver\n1 pipeline")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading(30)
        notifier.stopping(45)
        ready, reloading, stopping = heard(manager)
    assert ready == {"READY": "1", "STATUS": "1 receiver 1 pipeline"}
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert reloading["EXTEND_TIMEOUT_USEC"] == "30000000"
    assert (stopping["STOPPING"], stopping["EXTEND_TIMEOUT_USEC"]) == ("1", "45000000")


async def test_the_sign_of_life_comes_often_enough_and_the_status_when_it_changes(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice within the time that systemd waits; an unchanged status is told once."""
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    status = "well"
    telling = asyncio.create_task(Notifier().keep_telling(lambda: status))
    found: list[dict[str, str]] = []
    with manager:
        while len(found) < 4:
            await asyncio.sleep(0.01)
            found += heard(manager)
        status = "receivers/journald: gone"
        while found[-1].get("STATUS") != status:
            await asyncio.sleep(0.01)
            found += heard(manager)
    telling.cancel()
    assert all(one["WATCHDOG"] == "1" for one in found)
    assert [one["STATUS"] for one in found if "STATUS" in one] == ["well", status]


async def test_without_systemd_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task ends by itself, and telling is harmless."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.ready("well")
    await notifier.keep_telling(lambda: "well")


@pytest.mark.parametrize("environment", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}])
def test_a_watchdog_of_another_process_or_of_no_time_is_none(environment: dict[str, str]) -> None:
    """What the environment says is for the process it names, and must be a number."""
    found = Notifier({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", **environment})
    assert found._watchdog is None


def test_a_service_manager_that_is_gone_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent goes on, and does not try again."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notifier = Notifier(os.environ)
    notifier.ready("well")
    notifier.ready("well")
