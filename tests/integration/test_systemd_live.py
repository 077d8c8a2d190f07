"""The systemd receiver on a real systemd: each way in which a unit begins, ends and fails gives its transitions, once."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tapio_otel.event import Severity, UnifiedEvent
from tests.integration.transitions import (
    LIBRARIES,
    Watched,
    chained,
    reset,
    settled,
    show,
    state,
    systemctl,
    watching,
)
from tests.integration.units import UNITS
from tests.lab import BootedSystemd, require_lab

STARTED = "inactive → active/running"
STOPPED = ["active → deactivating/stop-sigterm", "deactivating → inactive/dead"]

pytestmark = pytest.mark.parametrize("library", LIBRARIES)


@pytest.fixture(scope="module")
def booted() -> Iterator[BootedSystemd]:
    """Give the tests of this file one systemd with every unit; each test leaves no unit active or failed."""
    require_lab()
    with BootedSystemd(UNITS) as lab:
        yield lab


@pytest.fixture
def lab(booted: BootedSystemd) -> Iterator[BootedSystemd]:
    """Give a test the systemd, and put it back as it was."""
    yield booted
    reset(booted)


def last(output: Watched, unit: str) -> UnifiedEvent:
    """Return the last event about a unit, after having looked at what must hold for all of them."""
    events = output.of(unit)
    assert len({event.id for event in events}) == len(events), "no two transitions have one id"
    assert chained(events)
    stamps = [event.timestamp for event in events]
    assert stamps == sorted(stamps)
    for event in events:
        assert event.source == "systemd" and event.entity.type == "systemd_unit"
        assert event.title == f"Service {unit}: {event.get('previous_state')} → {event.get('current_state')}"
    return events[-1]


async def test_a_service_that_is_started_and_stopped_gives_three_events(lab: BootedSystemd, library: str) -> None:
    """Active, deactivating, inactive: with what systemd knows about each, at systemd's own time."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "plain.service")
        shown = {name: await show(lab, "plain.service", name) for name in ("InvocationID", "MainPID", "ControlGroup")}
        stamp = await show(lab, "plain.service", "ActiveEnterTimestampMonotonic")
        await systemctl(lab, "stop", "plain.service")
        await settled(lab, output)
    assert output.story("plain.service") == [STARTED, *STOPPED]
    started, _, stopped = output.of("plain.service")
    assert last(output, "plain.service").severity == Severity.INFO
    assert {event.get("invocation_id") for event in output.of("plain.service")} == {shown["InvocationID"]}
    assert str(started.get("main_pid")) == shown["MainPID"]
    assert started.get("state_change_monotonic_us") == int(stamp)
    assert started.get("job_type") == "start" and stopped.get("job_type") == "stop"
    assert started.get("job_id") and started.get("job_id") != stopped.get("job_id")
    assert stopped.get("result") == "success"


async def test_a_service_that_exits_with_an_error_has_crashed(lab: BootedSystemd, library: str) -> None:
    """The event is critical and carries result and exit code."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "exit.service")
        await state(lab, "exit.service", "failed")
        await settled(lab, output)
    assert output.story("exit.service") == [STARTED, "active → failed/failed service_crashed"]
    crash = last(output, "exit.service")
    assert crash.severity == Severity.CRITICAL
    assert (crash.get("result"), crash.get("exit_code"), crash.get("signal")) == ("exit-code", 7, None)


@pytest.mark.parametrize(
    ("unit", "result", "signal"), [("signal.service", "signal", "SIGKILL"), ("core.service", "core-dump", "SIGSEGV")]
)
async def test_a_service_that_dies_by_a_signal_has_crashed(
    lab: BootedSystemd, library: str, unit: str, result: str, signal: str
) -> None:
    """The signal is named; an exit code there is none."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", unit)
        await state(lab, unit, "failed")
        await settled(lab, output)
    assert output.story(unit) == [STARTED, "active → failed/failed service_crashed"]
    crash = last(output, unit)
    assert crash.severity == Severity.CRITICAL
    assert (crash.get("result"), crash.get("exit_code"), crash.get("signal")) == (result, None, signal)


async def test_a_service_that_never_pings_its_watchdog_has_crashed_once(lab: BootedSystemd, library: str) -> None:
    """systemd aborts it: two transitions, of which one is the crash."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "watchdog.service")
        await state(lab, "watchdog.service", "failed")
        await settled(lab, output)
    states = [line.removesuffix(" service_crashed") for line in output.story("watchdog.service")]
    assert states == [
        "inactive → activating/start",
        "activating → active/running",
        "active → deactivating/stop-watchdog",
        "deactivating → failed/failed",
    ]
    assert [event.type for event in output.of("watchdog.service")].count("service_crashed") == 1
    assert last(output, "watchdog.service").get("result") == "watchdog"
    assert last(output, "watchdog.service").severity == Severity.CRITICAL


async def test_a_service_killed_for_want_of_memory_says_so(lab: BootedSystemd, library: str) -> None:
    """The result is `oom-kill`, by the mark that systemd-oomd leaves on the cgroup of what it kills."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "hungry.service")
        cgroup = lab.cgroup("hungry.service")
        os.setxattr(cgroup, "user.oomd_ooms", b"1")
        os.setxattr(cgroup, "user.oomd_kill", b"1")
        (cgroup / "cgroup.kill").write_text("1")
        await state(lab, "hungry.service", "failed")
        await settled(lab, output)
    crashes = [event for event in output.of("hungry.service") if event.type == "service_crashed"]
    assert len(crashes) == 1
    assert last(output, "hungry.service").get("result") == "oom-kill"
    assert last(output, "hungry.service").severity == Severity.CRITICAL


@pytest.mark.parametrize(
    ("unit", "result", "process", "ended"),
    [
        ("pre.service", "exit-code", "ExecStartPre", 9),
        ("presignal.service", "signal", "ExecStartPre", "SIGKILL"),
        ("post.service", "exit-code", "ExecStartPost", 11),
        ("stop.service", "exit-code", "ExecStop", 13),
        ("stoppost.service", "exit-code", "ExecStopPost", 12),
        ("stopsignal.service", "signal", "ExecStopPost", "SIGKILL"),
        ("slowstop.service", "timeout", "ExecStop", "SIGTERM"),
        ("forking.service", "exit-code", "ExecStart", 4),
        ("condition.service", "exit-code", "ExecCondition", 255),
        ("prerestart.service", "exit-code", "ExecStartPre", 9),
    ],
)
async def test_a_control_process_that_fails_is_named_as_the_cause(
    lab: BootedSystemd, library: str, unit: str, result: str, process: str, ended: int | str
) -> None:
    """With its exit code or signal; the main process, which systemd then stopped, is not held to be it."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", unit)
        await settled(lab, output)
        await systemctl(lab, "stop", unit)
        await settled(lab, output)
    failed = [event for event in output.of(unit) if event.get("current_state") == "failed"]
    key = "control_exit_code" if isinstance(ended, int) else "control_signal"
    for event in failed:
        assert (event.get("result"), event.get("control_process"), event.get(key)) == (result, process, ended)
        assert event.get("exit_code") is None
        assert event.get("signal") is None or result == "timeout"
        assert process in event.description
    assert failed


async def test_a_start_that_fails_on_the_way_is_a_start_to_its_end(lab: BootedSystemd, library: str) -> None:
    """Although the unit is stopped for it; a stop of what is still starting is a stop."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "post.service")
        await systemctl(lab, "start", "--no-block", "waiting.service")
        await state(lab, "waiting.service", "activating")
        await systemctl(lab, "stop", "waiting.service")
        await settled(lab, output)
    assert {event.get("job_type") for event in output.of("post.service")} == {"start"}
    begun, *stopped = output.of("waiting.service")
    assert begun.get("job_type") == "start" and stopped
    assert {event.get("job_type") for event in stopped} == {"stop"}


async def test_units_that_are_gone_at_once_have_file_slice_and_cgroup(lab: BootedSystemd, library: str) -> None:
    """Oneshots and instances that end and are unloaded before they can be asked."""
    single, many = [f"short{number}.service" for number in range(20)], [f"many@{number}.service" for number in range(100)]
    async with watching(lab, library) as output:
        for unit in single:
            await systemctl(lab, "start", unit)
        await systemctl(lab, "start", *many)
        await settled(lab, output)
    wanted = ("slice", "cgroup", "fragment_path", "load_state", "unit_file_state")
    events = [event for unit in (*single, *many) for event in output.of(unit)]
    assert len(events) == 240
    lacking = [event.get("unit") for event in events if not all(event.get(key) for key in wanted)]
    assert not lacking
    first = output.of("many@7.service")[0]
    assert first.get("cgroup") == "/system.slice/system-many.slice/many@7.service"
    assert first.get("fragment_path") == "/run/lab/units/many@.service"
    assert output.of("short0.service")[0].get("cgroup") == "/system.slice/short0.service"


async def test_a_service_that_does_not_start_in_time_fails(lab: BootedSystemd, library: str) -> None:
    """The result is `timeout`."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "slow.service")
        await state(lab, "slow.service", "failed")
        await settled(lab, output)
    states = [line.split()[2] for line in output.story("slow.service")]
    assert states == ["activating/start", "deactivating/stop-sigterm", "failed/failed"]
    assert last(output, "slow.service").get("result") == "timeout"
    assert last(output, "slow.service").severity == Severity.CRITICAL


async def test_a_service_that_does_not_stop_is_killed(lab: BootedSystemd, library: str) -> None:
    """From one way of stopping to the next the active state stays, yet each is a transition."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "stubborn.service")
        while not (lab.share / "trapped").exists():
            await state(lab, "stubborn.service", "active")
        await systemctl(lab, "stop", "stubborn.service")
        await settled(lab, output)
    states = [line.split()[2] for line in output.story("stubborn.service")]
    final = [one for one in states if one.startswith("deactivating/final-")]  # where processes are left after the main one
    assert [one for one in states if one not in final] == [
        *("active/running", "deactivating/stop-sigterm", "deactivating/stop-sigkill", "failed/failed")
    ]
    assert last(output, "stubborn.service").get("result") == "timeout"


async def test_a_program_that_is_not_there_gives_a_crash_with_systemds_own_exit_code(lab: BootedSystemd, library: str) -> None:
    """203 is what systemd exits with where it cannot execute."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "nowhere.service")
        await state(lab, "nowhere.service", "failed")
        await settled(lab, output)
    assert output.story("nowhere.service")[-1] == "active → failed/failed service_crashed"
    assert last(output, "nowhere.service").get("exit_code") == 203


async def test_a_restart_is_told_as_such_with_the_number_of_restarts(lab: BootedSystemd, library: str) -> None:
    """The process dies, systemd restarts it: the crash, one event for the restart, and the next invocation."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "again.service")
        first = await show(lab, "again.service", "InvocationID")
        await systemctl(lab, "kill", "--signal=KILL", "again.service")
        await state(lab, "again.service", "1", "NRestarts")
        await state(lab, "again.service", "active")
        second = await show(lab, "again.service", "InvocationID")
        await settled(lab, output)
    events = output.of("again.service")
    types = [event.type for event in events]
    assert [line.removesuffix(" service_restart") for line in output.story("again.service")] == [
        STARTED,
        "active → failed/failed service_crashed",
        "failed → activating/auto-restart",
        "activating → inactive/dead",
        STARTED,
    ]
    assert types.count("service_restart") == 1
    assert events[2].severity == Severity.ERROR
    assert last(output, "again.service").get("n_restarts") == 1
    assert events[0].get("invocation_id") == first and events[-1].get("invocation_id") == second != first


@pytest.mark.parametrize(("unit", "ended"), [("limit.service", "failed"), ("clean.service", "inactive")])
async def test_too_many_restarts_are_one_restart_limit_hit(lab: BootedSystemd, library: str, unit: str, ended: str) -> None:
    """Whatever the result systemd keeps (that of the last run, where it was none), the limit is told, once and last."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", unit)
        await state(lab, unit, "failed", "SubState")
        while (await show(lab, unit, "NRestarts")) != "3" or (await show(lab, unit, "SubState")) != "failed":
            pass
        await settled(lab, output)
    events = output.of(unit)
    types = [event.type for event in events]
    assert types.count("restart_limit_hit") == 1 and types[-1] == "restart_limit_hit"
    assert types.count("service_restart") == 3
    assert types.count("service_crashed") == (3 if ended == "failed" else 0)
    assert last(output, unit).severity == Severity.CRITICAL
    assert last(output, unit).get("n_restarts") == 3
    runs = {event.get("invocation_id") for event in events if event.get("current_state") == "active"}
    assert len(runs) == 3


async def test_a_start_refused_by_the_limit_is_told_again(lab: BootedSystemd, library: str) -> None:
    """The unit was failed and stays failed, and yet something happened."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "limit.service")
        while (await show(lab, "limit.service", "NRestarts")) != "3" or (
            await show(lab, "limit.service", "SubState")
        ) != "failed":
            pass
        await settled(lab, output)
        before = len(output.of("limit.service"))
        await systemctl(lab, "start", "limit.service")
        await settled(lab, output)
    more = output.of("limit.service")[before:]
    assert [event.type for event in more] == ["restart_limit_hit"]
    assert [event.get("current_state") for event in more] == ["failed"]


async def test_a_oneshot_goes_through_activating(lab: BootedSystemd, library: str) -> None:
    """A run that ends well gives two events, one that fails ends with a crash; to be reset is a transition too."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "once.service")
        await systemctl(lab, "start", "unsuccessful.service")
        await systemctl(lab, "reset-failed", "unsuccessful.service")
        await settled(lab, output)
    assert output.story("once.service") == ["inactive → activating/start", "activating → inactive/dead"]
    assert output.story("unsuccessful.service") == [
        "inactive → activating/start",
        "activating → failed/failed service_crashed",
        "failed → inactive/dead",
    ]
    assert last(output, "unsuccessful.service").severity == Severity.INFO
    assert output.of("unsuccessful.service")[1].get("exit_code") == 1


async def test_a_oneshot_that_remains_is_active_until_it_is_stopped(lab: BootedSystemd, library: str) -> None:
    """Active without a process."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "remain.service")
        await systemctl(lab, "stop", "remain.service")
        await settled(lab, output)
    assert output.story("remain.service") == [
        "inactive → activating/start",
        "activating → active/exited",
        "active → inactive/dead",
    ]


async def test_reload_and_restart_are_transitions_of_one_job_each(lab: BootedSystemd, library: str) -> None:
    """The job and its type are with every transition that it brought about."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "reload.service")
        await systemctl(lab, "reload", "reload.service")
        await systemctl(lab, "restart", "reload.service")
        await settled(lab, output)
    assert output.story("reload.service") == [
        STARTED,
        "active → reloading/reload",
        "reloading → active/running",
        *STOPPED,
        STARTED,
    ]
    events = output.of("reload.service")
    assert [event.get("job_type") for event in events] == ["start", "reload", "reload", "restart", "restart", "restart"]
    assert len({event.get("job_id") for event in events}) == 3
    assert len({event.get("invocation_id") for event in events}) == 2


async def test_a_timer_and_what_it_starts_are_both_told(lab: BootedSystemd, library: str) -> None:
    """A timer's transitions are in its sub state; each is told once."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "tick.timer")
        await state(lab, "tick.timer", "elapsed", "SubState")
        await settled(lab, output)
    assert [line.split()[2] for line in output.story("tick.timer")] == ["active/waiting", "active/running", "active/elapsed"]
    assert output.story("ticked.service") == ["inactive → activating/start", "activating → inactive/dead"]


async def test_a_socket_starts_its_service_at_the_first_connection(lab: BootedSystemd, library: str) -> None:
    """Listening, then running; the stamp that moves once more without any change is no transition."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "door.socket")
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(lab.share / "door"))
            await state(lab, "door.service", "active")
            await settled(lab, output)
    assert [line.split()[2] for line in output.story("door.socket")] == ["active/listening", "active/running"]
    assert output.story("door.service") == [STARTED]


async def test_mounts_slices_and_scopes_have_transitions_too(lab: BootedSystemd, library: str) -> None:
    """Every kind of unit is told of, by its own states."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "run-disk.mount", "member.service")
        cgroup = await show(lab, "member.service", "ControlGroup")
        lab.run("systemd-run", "--scope", "--unit=scoped", "true")
        await systemctl(lab, "stop", "run-disk.mount", "group.slice")
        await settled(lab, output)
    mount = [line.split()[2] for line in output.story("run-disk.mount")]
    assert [state for state, after in pairwise([*mount, ""]) if state != after] == mount
    assert mount[0] == "activating/mounting" and mount[-1] == "inactive/dead" and "active/mounted" in mount
    assert output.story("group.slice") == ["inactive → active/active", "active → inactive/dead"]
    assert output.story("scoped.scope") == [STARTED, "active → inactive/dead"]
    member = output.of("member.service")[0]
    assert member.get("slice") == "group.slice"
    assert member.get("cgroup") == cgroup == "/group.slice/member.service"
    assert member.get("fragment_path") == "/run/lab/units/member.service"


async def test_the_scope_of_a_container_has_container_and_pod_in_its_lineage(lab: BootedSystemd, library: str) -> None:
    """By its cgroup, as a container runtime with systemd's cgroup driver makes it."""
    pod, container = "7a1b2c3d-0000-4111-8222-333344445555", "c0ffee" + "0" * 58
    group = f"kubepods-besteffort-pod{pod.replace('-', '_')}.slice"
    name = f"cri-containerd-{container}"
    async with watching(lab, library) as output:
        await asyncio.to_thread(lab.run, "systemd-run", "--scope", f"--slice={group}", f"--unit={name}", "sleep", "0.1")
        await systemctl(lab, "stop", "kubepods.slice")
        await settled(lab, output)
    assert output.story(f"{name}.scope") == [STARTED, "active → inactive/dead"]
    for event in output.of(f"{name}.scope"):
        assert [one.uid for one in event.entity.lineage()[1:3]] == [container, pod]
    assert output.story(group) == ["inactive → active/active", "active → inactive/dead"]
    assert {event.entity.lineage()[1].uid for event in output.of(group)} == {pod}


async def test_what_never_began_gives_no_transition(lab: BootedSystemd, library: str) -> None:
    """Missing and masked units and a condition that is not met: nothing changed its state, and no job failed."""
    masked = lab.share / "units" / "masked.service"
    masked.unlink(missing_ok=True)
    masked.symlink_to("/dev/null")
    async with watching(lab, library) as output:
        for unit in ("masked.service", "missing.service", "lonely.service", "unmet.service"):
            await systemctl(lab, "start", unit)
        await settled(lab, output)
    assert output.units() == set()


async def test_a_unit_whose_dependency_failed_is_told_of_by_its_job(lab: BootedSystemd, library: str) -> None:
    """Its state stays what it was; that its job came to nothing is told all the same, once."""
    async with watching(lab, library) as output:
        await systemctl(lab, "start", "needy.service")
        await settled(lab, output)
    assert output.units() == {"unsuccessful.service", "needy.service"}
    assert output.story("unsuccessful.service")[-1] == "activating → failed/failed service_crashed"
    assert output.story("needy.service") == ["inactive → inactive/dead"]
    (refused,) = output.of("needy.service")
    assert refused.get("job_result") == "dependency" and refused.severity >= Severity.WARNING
    assert output.of("unsuccessful.service")[-1].get("job_result") == "failed"


async def test_reloading_systemd_tells_nothing_and_forgets_nothing(lab: BootedSystemd, library: str) -> None:
    """All units go and come on the bus, and none has changed."""
    await systemctl(lab, "start", "plain.service", "exit.service")
    await state(lab, "exit.service", "failed", "SubState")
    async with watching(lab, library) as output:
        for _ in range(3):
            await systemctl(lab, "daemon-reload")
        await settled(lab, output)
        assert output.units() == set()
        await systemctl(lab, "stop", "plain.service")
        await settled(lab, output)
    assert output.story("plain.service") == STOPPED
