"""The systemd receiver on a systemd of the test's own, with both D-Bus libraries."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import ComponentError, SourceUnavailable
from tapio_otel.entities import EntityMapper
from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.systemd import SystemdConfig, SystemdReceiver
from tapio_otel.receivers.systemd.connection import MAX_IN_FLIGHT, CallFailed, Connection, load_library
from tapio_otel.receivers.systemd.properties import MANAGER, UNIT, path_of_unit
from tests.collect import CollectingOutput, context, running
from tests.lab import BootedSystemd, require_lab

LIBRARIES = ("dbus_fast", "dbus_next")
UNITS = {
    "web.service": "[Service]\nExecStart=sleep 600\n",
    "bad.service": "[Service]\nExecStart=sh -c 'exit 3'\n",
    "needy.service": "[Unit]\nRequires=never.service\nAfter=never.service\n[Service]\nExecStart=sleep 600\n",
    "never.service": "[Service]\nType=oneshot\nExecStart=false\n",
    "last.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n",
    "many@.service": "[Service]\nType=oneshot\nExecStart=true\n",
}
pytestmark = pytest.mark.parametrize("library", LIBRARIES)


@pytest.fixture(scope="module")
def booted() -> Iterator[BootedSystemd]:
    """Give the tests of this file one systemd."""
    require_lab()
    with BootedSystemd(UNITS) as lab:
        yield lab


@pytest.fixture
def lab(booted: BootedSystemd) -> Iterator[BootedSystemd]:
    """Give a test the systemd and stop all it started."""
    yield booted
    booted.systemctl("stop", *(name for name in UNITS if "@" not in name), check=False)
    booted.systemctl("reset-failed", check=False)


def receiver(bus: str, library: str, **options: Any) -> SystemdReceiver:
    """Return a receiver of a bus."""
    return SystemdReceiver(context("systemd"), SystemdConfig.model_validate({"bus": bus, "library": library, **options}))


def of(output: CollectingOutput, unit: str) -> list[UnifiedEvent]:
    """Return the events about a unit."""
    return [event for event in output.events if event.get("unit") == unit]


async def told_until(output: CollectingOutput, lab: BootedSystemd, *commands: tuple[str, ...]) -> None:
    """Run commands of systemctl once the receiver listens, then wait until a last unit's start has come."""
    await output.until(lambda: bool(of(output, "-.slice")))
    for command in (*commands, ("start", "last.service")):
        await asyncio.to_thread(lab.systemctl, *command, check=False)
    await output.until(lambda: "active" in [event.get("current_state") for event in of(output, "last.service")])


async def test_transitions_come_with_what_no_signal_tells(lab: BootedSystemd, library: str) -> None:
    """Cgroup, slice, file and the type of the job, for the first transition too."""
    output = CollectingOutput()
    async with running(receiver(f"unix:path={lab.bus}", library, initial_state="all"), output):
        await told_until(output, lab, ("start", "web.service"), ("start", "bad.service"))
        await output.until(lambda: len(of(output, "bad.service")) == 2)
    (started,) = of(output, "web.service")
    assert started.get("cgroup") == "/system.slice/web.service"
    assert (started.get("slice"), started.get("load_state"), started.get("job_type")) == ("system.slice", "loaded", "start")
    assert started.get("fragment_path") == "/run/lab/units/web.service"
    assert re.fullmatch("[0-9a-f]{32}", started.get("invocation_id"))
    assert [event.type for event in of(output, "bad.service")] == ["service_state", "service_crashed"]
    assert of(output, "-.slice")[0].get("initial") is True


async def test_a_failed_dependency_is_told_with_the_job_s_result(lab: BootedSystemd, library: str) -> None:
    """Its state does not change, and yet it was to be started and is not."""
    output = CollectingOutput()
    async with running(receiver(f"unix:path={lab.bus}", library, initial_state="all"), output):
        await told_until(output, lab, ("start", "needy.service"))
    (failed,) = of(output, "needy.service")
    assert (failed.get("job_result"), failed.get("job_type"), failed.get("current_state")) == (
        "dependency",
        "start",
        "inactive",
    )
    (cause,) = [event for event in of(output, "never.service") if event.get("current_state") == "failed"]
    assert cause.get("job_result") == "failed"


async def test_the_same_state_has_the_same_id_in_another_run(lab: BootedSystemd, library: str) -> None:
    """An agent that is restarted tells of a failed unit again, and a backend can drop it."""
    output, again = CollectingOutput(), CollectingOutput()
    async with running(receiver(f"unix:path={lab.bus}", library, initial_state="all"), output):
        await told_until(output, lab, ("start", "bad.service"))
        await output.until(lambda: "failed" in [event.get("current_state") for event in of(output, "bad.service")])
    async with running(receiver(f"unix:path={lab.bus}", library, initial_state="failed"), again):
        await again.until(lambda: bool(of(again, "bad.service")))
    assert of(again, "bad.service")[0].id == of(output, "bad.service")[-1].id
    assert {event.get("current_state") for event in again.events} == {"failed"}


async def test_many_transitions_come_in_few_batches(lab: BootedSystemd, library: str) -> None:
    """What was read in one turn goes in one."""
    output = CollectingOutput()
    async with running(receiver(f"unix:path={lab.bus}", library, initial_state="all", units=["many@*", "-.slice"]), output):
        await output.until(lambda: bool(of(output, "-.slice")))
        await asyncio.to_thread(lab.systemctl, "start", *(f"many@{number}.service" for number in range(60)))
        await output.until(lambda: sum(event.get("current_state") == "inactive" for event in output.events) == 60)
    assert len([event for event in output.events if event.get("unit", "").startswith("many@")]) == 120
    assert len({event.id for event in output.events}) == len(output.events)


async def test_a_unit_that_is_gone_is_not_loaded_again_by_asking(lab: BootedSystemd, library: str) -> None:
    """Else it would come and go for ever."""
    output = CollectingOutput()
    async with running(receiver(f"unix:path={lab.bus}", library, initial_state="all"), output):
        await told_until(output, lab, ("start", "many@gone.service"))
        listed = await asyncio.to_thread(lab.systemctl, "list-units", "--all", "many@gone.service")
    assert "0 loaded units listed" in listed


async def test_calls_beyond_the_cap_wait_their_turn(lab: BootedSystemd, library: str) -> None:
    """Thousands of questions at once do not end the connection."""
    connection = Connection(load_library(library), f"unix:path={lab.bus}", lambda _message: None)
    await connection.open()
    try:
        path = path_of_unit("-.slice")
        asked = await asyncio.gather(*(connection.get(path, UNIT, "ActiveState") for _ in range(20 * MAX_IN_FLIGHT)))
        assert set(asked) == {"active"}
        with pytest.raises(CallFailed) as raised:
            await connection.get(path, UNIT, "Nonsense")
        assert raised.value.name == "org.freedesktop.DBus.Error.UnknownProperty"
    finally:
        connection.close()
        connection.close()


async def test_a_paused_connection_reads_nothing_and_loses_nothing(lab: BootedSystemd, library: str) -> None:
    """An answer waits in the socket until reading goes on."""
    connection = Connection(load_library(library), f"unix:path={lab.bus}", lambda _message: None)
    await connection.open()
    try:
        connection.pause()
        asking = asyncio.create_task(connection.call("ListUnits", interface=MANAGER))
        done, _ = await asyncio.wait([asking], timeout=0.2)
        assert not done
        connection.resume()
        assert len((await asking)[0]) > 10
    finally:
        connection.close()


async def test_an_answer_that_waits_in_the_socket_is_not_late(
    lab: BootedSystemd, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call may be older than its time limit if nothing was read; one that is late ends itself and not the connection."""
    monkeypatch.setattr("tapio_otel.receivers.systemd.connection.CALL_TIMEOUT", 0.3)
    connection = Connection(load_library(library), f"unix:path={lab.bus}", lambda _message: None)
    await connection.open()
    try:
        connection.pause()
        asking = asyncio.create_task(connection.call("ListUnits", interface=MANAGER))
        done, _ = await asyncio.wait([asking], timeout=0.8)
        assert not done
        connection.resume()
        assert len((await asking)[0]) > 10
        monkeypatch.setattr("tapio_otel.receivers.systemd.connection.CALL_TIMEOUT", 0)
        with pytest.raises(TimeoutError):
            await connection.call("ListUnits", interface=MANAGER)
        assert not connection.lost.done()
        monkeypatch.undo()
        assert len((await connection.call("ListUnits", interface=MANAGER))[0]) > 10
    finally:
        connection.close()


async def test_required_makes_a_missing_systemd_an_error_at_the_start(library: str, tmp_path: Path) -> None:
    """Without it the receiver starts, and says so once it runs."""
    bus = f"unix:path={tmp_path}/none"
    with pytest.raises(ComponentError, match="required: true"):
        await receiver(bus, library, required=True).start()
    tolerant = receiver(bus, library)
    await tolerant.start()
    with pytest.raises(SourceUnavailable, match="no bus listens there"):
        await tolerant.run(CollectingOutput())
    await tolerant.shutdown()


async def test_required_is_content_with_a_systemd(lab: BootedSystemd, library: str) -> None:
    """It is asked for its version."""
    await receiver(f"unix:path={lab.bus}", library, required=True).start()


async def test_the_system_bus_is_looked_for_below_the_host_s_root(
    lab: BootedSystemd, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the host's root is mounted somewhere else."""
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    one = receiver("system", library, initial_state="all")
    one.context.entities = EntityMapper(Path(f"/proc/{lab.pid}/root"))
    output = CollectingOutput()
    async with running(one, output):
        await output.until(lambda: bool(of(output, "-.slice")))


async def test_a_server_that_hangs_up_at_once_is_no_endless_wait(library: str, tmp_path: Path) -> None:
    """As systemd does with those that may not use its private socket."""
    server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), tmp_path / "bus")
    async with server:
        with pytest.raises(SourceUnavailable):
            await receiver(f"unix:path={tmp_path}/bus", library).run(CollectingOutput())
