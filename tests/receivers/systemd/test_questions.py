"""The systemd receiver's questions: what becomes of them where systemd does not answer, and which process caused a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tapio_otel.receivers.systemd.config import SystemdConfig
from tapio_otel.receivers.systemd.connection import CallFailed, Connection, ConnectionLost, tolerated
from tapio_otel.receivers.systemd.control import failed_command, is_unexplained
from tapio_otel.receivers.systemd.jobs import JobTypes
from tapio_otel.receivers.systemd.properties import UNIT, Run, UnitState
from tapio_otel.receivers.systemd.questions import UnitQuestions
from tapio_otel.receivers.systemd.selection import UnitSelection
from tapio_otel.receivers.systemd.session import ALREADY_SUBSCRIBED, Session
from tapio_otel.receivers.systemd.statics_cache import StaticsCache
from tapio_otel.receivers.systemd.tracker import Listed, Tracker
from tapio_otel.receivers.systemd.transition import ControlExit, Kind, Transition


class Scripted(Connection):
    """Be a connection whose calls get what the test says: `answer` is called with each member and its body."""

    def __init__(self, answer: Callable[[str, list[Any]], Any]) -> None:
        self._answer = answer
        self.calls: list[str] = []
        self.lost = asyncio.get_running_loop().create_future()

    async def call(self, member: str, signature: str = "", body: list[Any] | None = None, **_where: Any) -> list[Any]:
        """Return or raise what the script has."""
        self.calls.append(member)
        answer = self._answer(member, body or [])
        found = await answer if isinstance(answer, asyncio.Future) else answer
        if isinstance(found, Exception):
            raise found
        return [found]

    async def get(self, path: str, interface: str, name: str) -> Any:
        """Return or raise what the script has."""
        return (await self.call("Get", "ss", [interface, name]))[0]


def ignore(*_arguments: object) -> None:
    """Do nothing."""


def tracking(*units: str) -> Tracker:
    """Return a tracker of running units."""
    tracker = Tracker()
    tracker.baseline([Listed(unit, "active", "running") for unit in units], now=0)
    return tracker


@pytest.mark.parametrize("error", [TimeoutError, ConnectionLost])
async def test_a_question_that_fails_as_it_is_cancelled_does_not_swallow_that(error: type[Exception]) -> None:
    """One of several calls at once fails, and before anybody has noticed the task is cancelled: it ends."""
    pending: list[asyncio.Future[Any]] = []

    def answer(_member: str, _body: list[Any]) -> asyncio.Future[Any]:
        pending.append(asyncio.get_running_loop().create_future())
        return pending[-1]

    connection = Scripted(answer)
    questions = UnitQuestions(connection, tracking("web.service"), StaticsCache(), ignore, ignore, ignore)
    jobs = JobTypes(connection, ignore)
    for run, begin in ((questions.run, lambda: questions.ask("web.service")), (jobs.run, lambda: jobs.ask(1, "/job/1"))):
        pending.clear()
        task = asyncio.create_task(run())
        begin()
        while not pending:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        pending[0].set_exception(error("hung"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()


async def test_an_error_is_tolerated_only_where_nothing_was_cancelled() -> None:
    """Whichever comes first."""
    with tolerated(TimeoutError):
        raise TimeoutError

    async def cancelled() -> None:
        with tolerated(TimeoutError):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise TimeoutError from None

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_units_are_listed_until_that_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """That systemd knows of the subscription is no failure; that it did not answer is one."""
    monkeypatch.setattr("tapio_otel.receivers.systemd.session.LIST_PAUSE", 0.01)
    lists: list[Any] = [TimeoutError(), [("web.service", "", "", "failed", "failed")]]
    compared = asyncio.Event()

    def answer(member: str, _body: list[Any]) -> Any:
        if member == "Subscribe":
            return CallFailed(ALREADY_SUBSCRIBED, "Client is already subscribed.")
        if member == "ListUnits":
            return lists.pop(0)
        compared.set()
        return CallFailed("org.freedesktop.DBus.Error.UnknownObject", "gone")

    connection, tracker = Scripted(answer), tracking("web.service")
    session = Session(connection, tracker, UnitSelection(SystemdConfig()), StaticsCache(), lambda: None)
    following = asyncio.create_task(session.follow())
    session.check()
    async with asyncio.timeout(5):
        await compared.wait()
    assert tracker.is_suspect("web.service") and not lists
    connection.lost.set_result("over")
    await following
    assert connection.calls.count("ListUnits") == 2


async def test_a_unit_that_is_gone_is_asked_about_only_where_an_event_waits_for_it() -> None:
    """And where nothing else tells of it; what it says of a unit without a file is nothing."""
    asked: list[str] = []
    settled: list[str] = []
    told = {"LoadState": "loaded", "FragmentPath": "/etc/a.service", "UnitFileState": "static"}

    def answer(member: str, body: list[Any]) -> Any:
        asked.append(member if member == "GetAll" else body[1])
        return told if member == "GetAll" else "system.slice" if body[1] == "Slice" else ""

    cache = StaticsCache()
    questions = UnitQuestions(Scripted(answer), tracking(), cache, settled.append, ignore, ignore)
    for unit, wanted in (("b.service", False), ("c.scope", True), ("run-u7.service", True), ("a.service", True)):
        questions.ask(unit)
        questions.unit_removed(unit, wanted)
    assert settled == ["unit:b.service", "unit:c.scope", "unit:run-u7.service"]
    task = asyncio.create_task(questions.run())
    while "unit:a.service" not in settled:
        await asyncio.sleep(0)
    assert asked == ["GetAll", "Slice", "ControlGroup"]
    assert (cache.get("a.service").fragment_path, cache.get("a.service").slice) == ("/etc/a.service", "system.slice")
    told["LoadState"] = "not-found"
    questions.ask("d.service")
    questions.unit_removed("d.service", wanted=True)
    while "unit:d.service" not in settled:
        await asyncio.sleep(0)
    assert cache.get("d.service").load_state == ""
    task.cancel()
    await asyncio.wait([task])


async def test_a_scope_is_asked_for_its_slice_as_soon_as_it_has_a_job() -> None:
    """Its slice gives its cgroup, and that the pod, though the scope is gone before its first transition can be asked about."""
    path = "/org/freedesktop/systemd1/unit/a_2escope"

    def answer(member: str, body: list[Any]) -> Any:
        if member == "GetAll":
            return {"LoadState": "loaded"}
        return {"Slice": "kubepods-besteffort.slice", "ControlGroup": "", "JobType": "start"}[body[1]]

    connection, tracker, cache = Scripted(answer), tracking(), StaticsCache()
    session = Session(connection, tracker, UnitSelection(SystemdConfig()), cache, lambda: None)

    def signal(member: str, *body: Any) -> None:
        session.on_signal(SimpleNamespace(member=member, body=body, sender=None, path=path))

    following = asyncio.create_task(session.follow())
    signal("UnitNew", "a.scope", path)
    signal("JobNew", 7, "/org/freedesktop/systemd1/job/7", "a.scope")
    async with asyncio.timeout(5):
        while not cache.has_file("a.scope"):
            await asyncio.sleep(0)
    state = {"ActiveState": "active", "SubState": "running", "StateChangeTimestampMonotonic": 5, "Job": [7, "/"]}
    signal("PropertiesChanged", UNIT, state, [])
    signal("UnitRemoved", "a.scope", path)
    (transition,) = session.outbox.take_all()
    assert session.complete(transition).control_group == "/kubepods.slice/kubepods-besteffort.slice/a.scope"
    assert session.failure is None
    connection.lost.set_result("over")
    await following


def failure(run: Run, story: str = "failed/failed", unit: str = "web.service", stamp: int = 100) -> Transition:
    """Return a transition at the end of a run."""
    active, sub = story.split("/")
    return Transition(unit, Kind.STATE, "service_crashed", "active", "running", UnitState(active, sub, stamp), run, "")


@pytest.mark.parametrize(
    ("run", "story", "unexplained"),
    [
        (Run("exit-code", code=1, status=3), "failed/failed", False),
        (Run("exit-code", code=1, status=0), "failed/failed", True),
        (Run("exit-code", code=2, status=15), "deactivating/stop-post", True),
        (Run("exit-code"), "activating/start-pre", False),
        (Run("exit-code"), "activating/auto-restart", True),
        (Run("signal", code=2, status=9), "failed/failed", False),
        (Run("signal", code=2, status=15), "failed/failed", True),
        (Run("core-dump", code=3, status=11), "failed/failed", False),
        (Run("core-dump", code=2, status=15), "failed/failed", True),
        (Run("timeout", code=2, status=15), "failed/failed", True),
        (Run("watchdog", code=2, status=6), "failed/failed", False),
        (Run("success", code=2, status=15), "inactive/dead", False),
    ],
)
def test_a_failure_is_unexplained_where_the_main_process_does_not_fit_it(run: Run, story: str, unexplained: bool) -> None:
    """Only then are the commands asked about; a main process that systemd stopped fits no other's failure."""
    assert is_unexplained(failure(run, story)) is unexplained
    assert not is_unexplained(failure(run, story, unit="door.socket"))


def command(exited: int, code: int, status: int, ignored: bool = False) -> list[Any]:
    """Return a command as D-Bus has it."""
    return ["/bin/sh", ["sh"], ignored, 1, exited - 1, 1, exited, 7, code, status]


@pytest.mark.parametrize(
    ("result", "properties", "expected"),
    [
        ("exit-code", {"ExecStartPre": [command(50, 1, 0), command(60, 1, 9)]}, ControlExit("ExecStartPre", 1, 9)),
        ("exit-code", {"ExecStartPre": [command(50, 1, 9, ignored=True)]}, None),
        ("exit-code", {"ExecStop": [command(101, 1, 9)]}, None),
        ("exit-code", {"ExecStop": [command(0, 0, 0)]}, None),
        (
            "exit-code",
            {"ExecStop": [command(50, 2, 9)], "ExecStopPost": [command(60, 1, 2)]},
            ControlExit("ExecStopPost", 1, 2),
        ),
        ("signal", {"ExecStop": [command(60, 2, 9)], "ExecStartPost": [command(50, 2, 6)]}, ControlExit("ExecStartPost", 2, 6)),
        ("timeout", {"ExecStop": [command(60, 2, 15)]}, ControlExit("ExecStop", 2, 15)),
        ("exit-code", {"Type": "simple", "ExecStart": [command(50, 1, 4)]}, None),
        ("exit-code", {"Type": "forking", "ExecStart": [command(50, 1, 4)]}, ControlExit("ExecStart", 1, 4)),
    ],
)
def test_the_cause_is_the_first_command_that_ended_like_the_result(
    result: str, properties: dict[str, Any], expected: ControlExit | None
) -> None:
    """Not one whose failure is ignored, nor one of a later run; the start's command only of a service that forks."""
    assert failed_command(properties, failure(Run(result))) == expected
