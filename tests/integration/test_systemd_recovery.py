"""The systemd receiver when its bus, systemd or itself goes away and comes back, and where there is none at all."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tapio_otel.component import ComponentError, SourceUnavailable
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.receivers.systemd import SystemdConfig, SystemdReceiver
from tests.collect import CollectingOutput, context, running
from tests.integration.transitions import (
    LIBRARIES,
    Watched,
    chained,
    receiver,
    settled,
    show,
    state,
    systemctl,
    watching,
)
from tests.integration.units import UNITS
from tests.lab import BootedSystemd, require_lab

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.parametrize("library", LIBRARIES)


@pytest.fixture
def lab() -> Iterator[BootedSystemd]:
    """Give a test a systemd of its own, which it may break."""
    require_lab()
    with BootedSystemd(UNITS) as lab:
        yield lab


@pytest.fixture
def bus_without_systemd(tmp_path: Path) -> Iterator[str]:
    """Give the address of a bus that nobody but its daemon is on."""
    require_lab()
    address = f"unix:path={tmp_path}/bus"
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}", "--print-address"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        yield address
        daemon.kill()


def reconciled(events: list[UnifiedEvent]) -> list[bool]:
    """Return for each event whether it tells of what was found afterwards."""
    return [bool(event.get("reconciled")) for event in events]


@pytest.mark.parametrize("outage", ["crash", "stop"])
async def test_what_changed_while_the_bus_was_away_is_told_when_it_is_back(
    lab: BootedSystemd, library: str, outage: str
) -> None:
    """Started, stopped and failed units are told once each, as reconciled; what did not change is not told."""
    await systemctl(lab, "start", "plain.service", "remain.service")
    async with watching(lab, library) as output:
        before = len(output.events)
        if outage == "crash":
            lab.end_bus()
        await systemctl(lab, "stop", "dbus.socket", "dbus.service")
        await systemctl(lab, "stop", "plain.service")
        await systemctl(lab, "start", "member.service", "exit.service", "once.service")
        await state(lab, "exit.service", "failed", "SubState")
        failed_at = await show(lab, "exit.service", "StateChangeTimestampMonotonic")
        invocation = await show(lab, "exit.service", "InvocationID")
        await systemctl(lab, "start", "dbus.socket", "dbus.service")
        await settled(lab, output)
        await systemctl(lab, "stop", "member.service")
        await settled(lab, output)
    assert "remain.service" not in {event.entity.name for event in output.events[before:]}
    assert [event.get("current_state") for event in output.of("plain.service")] == ["inactive"]
    assert reconciled(output.of("plain.service")) == [True]
    (failed,) = output.of("exit.service")
    assert (failed.get("current_state"), failed.type, failed.severity) == ("failed", "service_crashed", Severity.CRITICAL)
    assert failed.get("result") == "exit-code" and failed.get("exit_code") == 7 and failed.get("reconciled")
    assert failed.get("invocation_id") == invocation
    assert failed.get("state_change_monotonic_us") == int(failed_at)
    member = output.of("member.service")
    assert [event.get("current_state") for event in member] == ["active", "deactivating", "inactive"]
    assert reconciled(member) == [True, False, False]
    assert chained(member)
    ids = [event.id for event in output.events]
    assert len(set(ids)) == len(ids)


async def test_an_outage_in_which_nothing_changed_gives_nothing(lab: BootedSystemd, library: str) -> None:
    """The bus itself was restarted, and that is all there is to tell; afterwards everything is told as before."""
    await systemctl(lab, "start", "plain.service", "exit.service")
    await state(lab, "exit.service", "failed", "SubState")
    async with watching(lab, library) as output:
        for _ in range(2):
            lab.end_bus()
            await systemctl(lab, "start", "dbus.service")
            await settled(lab, output)
        assert output.units() <= {"dbus.service", "dbus.socket"}
        await systemctl(lab, "stop", "plain.service")
        await settled(lab, output)
    assert [event.get("current_state") for event in output.of("plain.service")] == ["deactivating", "inactive"]
    assert not any(reconciled(output.of("plain.service")))


async def test_a_unit_that_was_restarted_meanwhile_is_told_by_its_new_invocation(lab: BootedSystemd, library: str) -> None:
    """Active before, active after, but another run: something happened."""
    await systemctl(lab, "start", "plain.service")
    async with watching(lab, library) as output:
        await systemctl(lab, "stop", "dbus.socket", "dbus.service")
        await systemctl(lab, "restart", "plain.service")
        invocation = await show(lab, "plain.service", "InvocationID")
        await systemctl(lab, "start", "dbus.socket", "dbus.service")
        await settled(lab, output)
    events = output.of("plain.service")
    assert [(event.get("current_state"), event.get("invocation_id")) for event in events] == [("active", invocation)]
    assert reconciled(events) == [True]


async def test_systemd_that_executes_itself_anew_tells_nothing_and_goes_on(lab: BootedSystemd, library: str) -> None:
    """The name on the bus changes its owner; no unit has changed, and later ones are told."""
    await systemctl(lab, "start", "plain.service", "exit.service", "again.service")
    await state(lab, "exit.service", "failed", "SubState")
    async with watching(lab, library) as output:
        for _ in range(2):
            await systemctl(lab, "daemon-reexec")
            await settled(lab, output)
        assert output.units() == set()
        await systemctl(lab, "stop", "plain.service")
        await systemctl(lab, "kill", "--signal=KILL", "again.service")
        await state(lab, "again.service", "1", "NRestarts")
        await settled(lab, output)
    assert [event.get("current_state") for event in output.of("plain.service")] == ["deactivating", "inactive"]
    assert [event.type for event in output.of("again.service")].count("service_crashed") == 1
    assert chained(output.of("again.service"))


@pytest.mark.parametrize(
    ("initial_state", "expected"),
    [("none", set()), ("failed", {"exit.service"}), ("all", {"exit.service", "plain.service", "door.socket"})],
)
async def test_what_was_so_before_is_told_as_asked(
    lab: BootedSystemd, library: str, initial_state: str, expected: set[str]
) -> None:
    """Nothing, the failed units, or every unit: with their properties, once, also when the bus went and came."""
    await systemctl(lab, "start", "plain.service", "door.socket", "exit.service")
    await state(lab, "exit.service", "failed", "SubState")
    async with watching(lab, library, initial_state=initial_state) as output:
        lab.end_bus()
        await settled(lab, output)
    names = ("exit.service", "plain.service", "door.socket", "unmet.service")
    assert {name for name in names if output.of(name)} == expected
    assert all(len(output.of(name)) == 1 for name in expected)
    if expected:
        (failed,) = output.of("exit.service")
        assert (failed.get("result"), failed.get("exit_code"), failed.severity) == ("exit-code", 7, Severity.CRITICAL)
    if initial_state == "all":
        (plain,) = output.of("plain.service")
        assert plain.get("invocation_id") == await show(lab, "plain.service", "InvocationID")
        assert plain.get("cgroup") == "/system.slice/plain.service"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"units": ["p*.service", "mark@*"]}, {"plain.service"}),
        ({"exclude_units": ["p*.service", "*.slice"]}, {"remain.service", "door.socket", "tick.timer", "ticked.service"}),
        ({"units": ["*.service"], "exclude_units": ["remain.*"]}, {"plain.service", "ticked.service"}),
        ({"unit_types": ["service"]}, {"plain.service", "remain.service", "ticked.service"}),
        (
            {"unit_types": ["service", "timer", "socket"], "units": ["tick*", "mark@*", "door*"]},
            {"tick.timer", "ticked.service", "door.socket"},
        ),
    ],
)
async def test_units_are_chosen_by_name_and_kind(
    lab: BootedSystemd, library: str, options: dict[str, Any], expected: set[str]
) -> None:
    """What is not chosen gives no event, neither at the start nor later."""
    async with watching(lab, library, initial_state="all", **options) as output:
        await systemctl(lab, "start", "plain.service", "remain.service", "door.socket", "tick.timer")
        await state(lab, "tick.timer", "elapsed", "SubState")
        await settled(lab, output)
    ours = {"plain.service", "remain.service", "door.socket", "tick.timer", "ticked.service", "-.slice", "system.slice"}
    assert output.units() & ours == expected


async def test_a_receiver_may_be_stopped_at_any_moment(lab: BootedSystemd, library: str) -> None:
    """Whatever calls are in flight: it ends with CancelledError, and leaves no task and no descriptor."""
    await systemctl(lab, "start", *(f"many@{number}.service" for number in range(50)), "plain.service", "exit.service")
    pauses = random.Random(4)
    await _cancelled_after(receiver(lab, library, initial_state="all"), 0.2)
    tasks, before = asyncio.all_tasks(), descriptors()
    for _ in range(30):
        await _cancelled_after(receiver(lab, library, initial_state="all"), pauses.uniform(0, 0.05))
    assert asyncio.all_tasks() == tasks
    assert descriptors() == before


def descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _cancelled_after(watcher: SystemdReceiver, seconds: float) -> None:
    task = asyncio.create_task(watcher.run(Watched()))
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class FullOutput(Watched):
    """Take nothing until told, as a full queue does."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.blocked = asyncio.Event()

    async def emit(self, events: list[UnifiedEvent], checkpoint: object | None = None) -> None:
        """Wait for the gate, then keep the events."""
        self.blocked.set()
        await self.gate.wait()
        await super().emit(events, checkpoint)


async def test_a_full_queue_loses_nothing_that_happens_meanwhile(lab: BootedSystemd, library: str) -> None:
    """While nothing can be handed over, transitions wait; then they come, all and in order."""
    output = FullOutput()
    output.gate.set()
    async with watching(lab, library, output=output):
        output.gate.clear()
        for _ in range(20):
            await systemctl(lab, "restart", "flap.service")
        output.gate.set()
        await settled(lab, output)
    events = output.of("flap.service")
    assert chained(events)
    assert len({event.get("invocation_id") for event in events}) == 20
    assert [event.get("current_state") for event in events].count("active") == 20


@pytest.mark.parametrize("initial_state", ["none", "all"])
async def test_a_queue_that_is_full_for_longer_than_calls_may_take_loses_nothing(
    lab: BootedSystemd, library: str, initial_state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither transitions nor first states, though questions were under way; the connection is as good as before."""
    monkeypatch.setattr("tapio_otel.receivers.systemd.connection.CALL_TIMEOUT", 1.0)
    await systemctl(lab, "start", "plain.service", "exit.service")
    await state(lab, "exit.service", "failed", "SubState")
    output = FullOutput()
    if initial_state == "none":
        output.gate.set()
    output.receiver = receiver(lab, library, initial_state=initial_state)
    async with running(output.receiver, output):
        if initial_state == "none":
            await settled(lab, output)
            output.gate.clear()
        await output.blocked.wait()
        for _ in range(10):
            await systemctl(lab, "restart", "flap.service")
        await systemctl(lab, "start", *(f"many@{number}.service" for number in range(30)))
        await asyncio.sleep(2)
        output.gate.set()
        monkeypatch.undo()
        await settled(lab, output)
    events = output.of("flap.service")
    assert chained(events) and not any(reconciled(events))
    assert [event.get("current_state") for event in events].count("active") == 10
    assert [len(output.of(f"many@{number}.service")) for number in range(30)] == [2] * 30
    first = {event.entity.name for event in output.events if event.get("initial")}
    assert {"plain.service", "exit.service", "-.slice"} <= first or initial_state == "none"
    assert [event.entity.name for event in output.events if not event.get("load_state")] == []


async def test_units_are_compared_after_a_reexecution_and_after_a_long_wait(
    lab: BootedSystemd, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd still knows of the subscription, which must not keep the receiver from looking."""
    monkeypatch.setattr("tapio_otel.receivers.systemd.receiver.LONG_WAIT", 0.1)
    output = FullOutput()
    output.gate.set()
    async with watching(lab, library, output=output):
        compared = asyncio.Event()
        snapshot = output.receiver._tracker.snapshot

        def noted(*arguments: Any) -> Any:
            compared.set()
            return snapshot(*arguments)

        monkeypatch.setattr(output.receiver._tracker, "snapshot", noted)
        async with asyncio.timeout(20):
            await systemctl(lab, "daemon-reexec")
            await compared.wait()
            await settled(lab, output)
            compared.clear()
            output.gate.clear()
            await systemctl(lab, "start", "plain.service")
            await asyncio.sleep(0.5)
            output.gate.set()
            await compared.wait()
        await settled(lab, output)
    assert len(output.of("plain.service")) == 1


async def test_where_there_is_no_bus_the_receiver_says_so(library: str, tmp_path: Path) -> None:
    """Neither a socket that is not there nor one that nobody listens to is silently waited for."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        for path in (tmp_path / "nowhere", tmp_path / "deaf"):
            config = SystemdConfig.model_validate({"bus": f"unix:path={path}", "library": library})
            with pytest.raises(SourceUnavailable) as raised:
                await SystemdReceiver(context("systemd"), config).run(CollectingOutput())
            assert str(path) in raised.value.message
            assert raised.value.remedy


async def test_what_is_required_must_be_there_when_the_agent_starts(library: str, tmp_path: Path, lab: BootedSystemd) -> None:
    """With `required` the start fails where systemd cannot be reached, and only there."""
    for bus, there in ((f"unix:path={tmp_path}/nowhere", False), (lab.address, True)):
        config = SystemdConfig.model_validate({"bus": bus, "library": library, "required": True})
        starting = SystemdReceiver(context("systemd"), config).start()
        if there:
            await starting
        else:
            with pytest.raises(ComponentError, match=r"nowhere.*required"):
                await starting


async def test_where_the_bus_has_no_systemd_the_receiver_says_so(library: str, bus_without_systemd: str) -> None:
    """A bus alone is not enough."""
    config = SystemdConfig.model_validate({"bus": bus_without_systemd, "library": library})
    with pytest.raises(SourceUnavailable) as raised:
        await SystemdReceiver(context("systemd"), config).run(CollectingOutput())
    assert "systemd" in raised.value.message
    assert raised.value.remedy


def test_an_address_that_is_none_is_an_error_of_the_configuration(library: str) -> None:
    """The message shows what was found and what to write."""
    with pytest.raises(ValidationError) as raised:
        SystemdConfig.model_validate({"bus": "no address", "library": library})
    assert "no address" in str(raised.value) and "unix:path=" in str(raised.value)


REFUSED = r"""
import asyncio, sys
from tapio_otel.component import ComponentError, SourceUnavailable
from tapio_otel.receivers.systemd import SystemdConfig, SystemdReceiver
from tests.collect import CollectingOutput, context

config = SystemdConfig(bus=sys.argv[1], library=sys.argv[2])
try:
    asyncio.run(SystemdReceiver(context("systemd"), config).run(CollectingOutput()))
except SourceUnavailable as error:
    print(error)
"""


def test_where_the_socket_may_not_be_used_the_receiver_says_so(lab: BootedSystemd, library: str) -> None:
    """Without root's capabilities a socket in another user's directory is refused: that is no missing bus."""
    (lab.share / "dbus").chmod(0o700)
    os.chown(lab.share / "dbus", 65534, 65534)
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", REFUSED, lab.address, library]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert "ermission" in said.stdout and str(lab.bus) in said.stdout, said.stdout + said.stderr
