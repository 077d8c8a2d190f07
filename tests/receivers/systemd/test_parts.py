"""The systemd receiver's smaller parts: names, properties, selection, caches, the outbox, the types of jobs, options."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.receivers.systemd import SystemdConfig
from tapio_otel.receivers.systemd.availability import address_of, explain
from tapio_otel.receivers.systemd.cgroup import cgroup_of
from tapio_otel.receivers.systemd.clock import CallClock
from tapio_otel.receivers.systemd.connection import CallFailed
from tapio_otel.receivers.systemd.jobs import JobTypes
from tapio_otel.receivers.systemd.outbox import JOB_END_PATIENCE, LIMIT, PATIENCE, Outbox
from tapio_otel.receivers.systemd.properties import (
    UNIT_PATH,
    Run,
    Statics,
    UnitState,
    invocation_id,
    path_of_unit,
    run_state,
    unit_of_path,
    unit_state,
)
from tapio_otel.receivers.systemd.selection import UnitSelection
from tapio_otel.receivers.systemd.statics_cache import StaticsCache
from tapio_otel.receivers.systemd.transition import Kind, Transition


def transition(unit: str = "web.service", job: int = 0, story: str = "inactive/dead → active/running") -> Transition:
    """Return a transition as told."""
    (before, before_sub), (after, after_sub) = (state.split("/") for state in story.split(" → "))
    return Transition(unit, Kind.STATE, "service_state", before, before_sub, UnitState(after, after_sub), Run(), "", job=job)


@pytest.mark.parametrize(
    ("unit", "label"),
    [
        ("web.service", "web_2eservice"),
        ("-.slice", "_2d_2eslice"),
        ("getty@tty1.service", "getty_40tty1_2eservice"),
        ("9p.mount", "_39p_2emount"),
        ("cri-containerd-a1.scope", "cri_2dcontainerd_2da1_2escope"),
    ],
)
def test_object_paths_are_those_of_systemd(unit: str, label: str) -> None:
    """Everything but letters and digits is escaped, and a digit at the beginning."""
    assert path_of_unit(unit) == UNIT_PATH + label
    assert unit_of_path(UNIT_PATH + label) == unit


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_object_paths_lead_back_to_their_units(unit: str) -> None:
    """Whatever the name, and D-Bus allows the path."""
    path = path_of_unit(unit)
    assert unit_of_path(path) == unit
    assert all(letter.isascii() and (letter.isalnum() or letter in "/_") for letter in path)


def test_a_path_of_anything_else_is_no_unit() -> None:
    """Jobs have properties too."""
    assert unit_of_path("/org/freedesktop/systemd1/job/13") == ""


def test_properties_are_taken_from_variants_of_either_library() -> None:
    """What a signal lacks stays as it was."""
    state = unit_state({"ActiveState": SimpleNamespace(value="failed"), "Job": SimpleNamespace(value=[13, "/"])})
    assert (state.active, state.sub, state.job) == ("failed", "", 13)
    later = unit_state({"SubState": "failed", "InvocationID": SimpleNamespace(value=b"\x0b" * 16)}, state)
    assert (later.active, later.sub, later.job, later.invocation) == ("failed", "failed", 13, "0b" * 16)
    run = run_state({"Result": "signal", "NRestarts": 2}, Run(main_pid=7))
    assert (run.result, run.n_restarts, run.main_pid) == ("signal", 2, 7)


@pytest.mark.parametrize(("value", "expected"), [(b"", ""), (bytes(16), ""), ([1] * 16, "01" * 16), (b"\xff" * 16, "ff" * 16)])
def test_an_invocation_id_is_hex_or_empty(value: Any, expected: str) -> None:
    """No bytes and zero bytes both mean that there was no run."""
    assert invocation_id(value) == expected


@pytest.mark.parametrize(
    ("options", "selected"),
    [
        ({}, {"web.service", "web@1.service", "tick.timer", "a.scope"}),
        ({"units": ["web*"]}, {"web.service", "web@1.service"}),
        ({"units": ["web*", "tick.timer"], "exclude_units": ["*@*"]}, {"web.service", "tick.timer"}),
        ({"unit_types": ["timer", "scope"]}, {"tick.timer", "a.scope"}),
        ({"exclude_units": ["*"]}, set()),
    ],
)
def test_units_are_selected_by_pattern_and_type(options: dict[str, Any], selected: set[str]) -> None:
    """All that are not excluded, where nothing is said."""
    selection = UnitSelection(SystemdConfig.model_validate(options))
    names = {"web.service", "web@1.service", "tick.timer", "a.scope"}
    assert {name for name in names if selection.selects(name)} == selected


def test_the_outbox_keeps_the_order_and_waits_for_the_first() -> None:
    """What is complete waits behind what is not."""
    outbox = Outbox()
    outbox.put(transition("a.service"), ["unit:a.service", "job:1"], now=0)
    outbox.put(transition("b.service"), [], now=0)
    outbox.settle("unit:a.service")
    assert outbox.take(1) == []
    assert outbox.settle("job:1") and not outbox.settle("job:1")
    assert [one.unit for one in outbox.take(1)] == ["a.service", "b.service"]
    assert len(outbox) == 0 and outbox.next_deadline() is None


def test_nothing_waits_in_the_outbox_for_ever() -> None:
    """After a while it goes as it is, and so it does where too many wait."""
    outbox = Outbox()
    outbox.put(transition(), ["unit:web.service", "end:13"], now=0)
    assert outbox.next_deadline() == PATIENCE
    outbox.postpone(2)
    assert outbox.take(PATIENCE + 1) == [] and len(outbox.take(PATIENCE + 2)) == 1
    assert not outbox.waits_for("unit:web.service")
    outbox.put(transition(), ["unit:web.service", "end:13"], now=0)
    outbox.settle("unit:web.service")
    assert outbox.next_deadline() == JOB_END_PATIENCE, "where only the job's result is to come"
    assert len(outbox.take(JOB_END_PATIENCE)) == 1
    for _ in range(LIMIT + 3):
        outbox.put(transition(), ["unit:web.service"], now=0)
    assert len(outbox.take(0)) == 3
    assert len(outbox.take_all()) == LIMIT and not outbox.settle("unit:web.service")


def test_a_cgroup_that_is_gone_is_still_known() -> None:
    """systemd tells none of a unit that has ended, but it was the same."""
    cache = StaticsCache()
    cache.put("web.service", Statics("loaded", "/etc/web", "enabled", "system.slice", "/system.slice/web.service"))
    cache.put("web.service", Statics("loaded", "/etc/web", "enabled", "system.slice", ""))
    assert cache.get("web.service").control_group == "/system.slice/web.service"
    cache.put("web.service", Statics("loaded", "/etc/web", "enabled", "other.slice", ""))
    assert cache.get("web.service").control_group == ""


def test_a_unit_is_asked_again_when_it_starts_and_after_a_reload() -> None:
    """It had no cgroup before, or may have another; until the answer what was known holds."""
    cache, up, down = StaticsCache(), UnitState("active", "running"), UnitState("inactive", "dead")
    assert not cache.knows("web.socket", down)
    cache.put("web.socket", Statics("loaded", slice="system.slice"))
    assert cache.knows("web.socket", down) and not cache.knows("web.socket", up)
    cache.put("tick.timer", Statics("loaded"))
    assert cache.knows("tick.timer", up)
    cache.invalidate()
    assert not cache.knows("tick.timer", up) and cache.get("tick.timer").load_state == "loaded"


MANY = Statics("loaded", "/etc/systemd/system/many@.service", "static", "system-many.slice", "")


def test_what_all_instances_of_a_template_share_is_known_of_one_that_was_never_asked() -> None:
    """Its file, and what follows from that; the state of the file only where it is the same for all."""
    cache = StaticsCache()
    cache.put("many@1.service", MANY)
    assert cache.get("many@2.service") == MANY
    assert not cache.knows("many@2.service", UnitState("active", "running")), "it is asked all the same"
    assert cache.get("many.service") == cache.get("many@2.timer") == Statics()
    cache.put("many@3.service", replace(MANY, unit_file_state="enabled", slice="for-3.slice"))
    assert cache.get("many@4.service") == replace(MANY, unit_file_state="", slice="")
    own = StaticsCache()
    own.put("many@1.service", replace(MANY, fragment_path="/etc/systemd/system/many@1.service"))
    assert own.get("many@2.service") == Statics()


@pytest.mark.parametrize(
    ("unit", "slice_name", "root", "expected"),
    [
        ("web.service", "system.slice", "", "/system.slice/web.service"),
        ("web.service", "system.slice", "/", "/system.slice/web.service"),
        ("web@1.service", "system-web.slice", "", "/system.slice/system-web.slice/web@1.service"),
        ("a.scope", "-.slice", "", "/a.scope"),
        ("a-b.slice", "a.slice", "", "/a.slice/a-b.slice"),
        ("web.service", "app.slice", "/user.slice/user@7.service", "/user.slice/user@7.service/app.slice/web.service"),
        ("web.service", "", "", ""),
        ("web.socket", "system.slice", "", ""),
        ("cpu.service", "system.slice", "", ""),
        ("_odd.service", "system.slice", "", ""),
    ],
)
def test_a_cgroup_follows_from_the_slice_where_that_is_certain(unit: str, slice_name: str, root: str, expected: str) -> None:
    """Not for units that may have none, nor for names that systemd escapes."""
    assert cgroup_of(unit, slice_name, root) == expected


async def test_the_clock_of_calls_stands_still_while_nothing_is_read() -> None:
    """A call that began before or during the pause has its time afterwards, and no more than that."""
    clock = CallClock(asyncio.get_running_loop())

    async def call() -> None:
        async with clock.limit(0.2):
            await asyncio.Event().wait()

    before = asyncio.create_task(call())
    await asyncio.sleep(0)
    clock.pause()
    clock.pause()
    during = asyncio.create_task(call())
    done, _ = await asyncio.wait([before, during], timeout=0.5)
    assert not done
    clock.resume()
    clock.resume()
    assert [type(one) for one in await asyncio.gather(before, during, return_exceptions=True)] == [TimeoutError] * 2


@pytest.mark.parametrize(
    ("stories", "types"),
    [
        (["inactive/dead → active/running"], ["start"]),
        (["active/running → deactivating/stop-sigterm", "deactivating/stop-sigterm → inactive/dead"], ["stop", "stop"]),
        (["active/running → deactivating/stop-sigterm", "inactive/dead → active/running"], ["restart", "restart"]),
        (["active/running → reloading/reload", "reloading/reload → active/running"], ["reload", "reload"]),
        (["activating/auto-restart → inactive/dead"], ["restart"]),
        (["activating/start → failed/failed"], ["start"]),
        (
            [
                "inactive/dead → activating/start",
                "activating/start → deactivating/stop-sigterm",
                "deactivating/stop-sigterm → failed/failed",
            ],
            ["start"] * 3,
        ),
        (["activating/start → deactivating/stop-sigterm", "deactivating/stop-sigterm → inactive/dead"], ["stop"] * 2),
        (
            ["active/running → deactivating/stop", "deactivating/stop → inactive/dead", "inactive/dead → failed/failed"],
            ["restart"] * 3,
        ),
    ],
)
def test_the_type_of_a_job_that_was_too_short_to_ask_shows_in_what_it_did(stories: list[str], types: list[str]) -> None:
    """All that it did is known by the time the first of its transitions goes out."""
    jobs = JobTypes(None, lambda _name: None)  # type: ignore[arg-type]  # nothing is asked
    transitions = [transition(job=13, story=story) for story in stories]
    for one in transitions:
        jobs.take_part(one)
    assert [jobs.type_of(one) for one in transitions] == types


def test_addresses_of_the_two_buses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment decides, else the usual places, below the host's root."""
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert address_of("system") == "unix:path=/run/dbus/system_bus_socket"
    assert address_of("system", tmp_path) == f"unix:path={tmp_path}/run/dbus/system_bus_socket"
    assert address_of("user") == "unix:path=/run/user/7/bus"
    assert address_of("tcp:host=localhost,port=7") == "tcp:host=localhost,port=7"
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/x")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/y")
    assert (address_of("system"), address_of("user")) == ("unix:path=/x", "unix:path=/y")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("no module named dbus_fast"), "no D-Bus library"),
        (FileNotFoundError(2, "No such file"), "no bus listens there"),
        (PermissionError(13, "Permission denied"), "permission denied"),
        (ConnectionResetError("closed"), "hung up"),
        (CallFailed("org.freedesktop.DBus.Error.AccessDenied", "no"), "permission denied"),
        (CallFailed("org.freedesktop.DBus.Error.NameHasNoOwner", "no"), "systemd does not answer"),
        (TimeoutError(), "no answer in time"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_every_way_to_fail_is_explained_with_a_remedy(error: Exception, words: str) -> None:
    """Where, what was found, what to do."""
    found = explain(SystemdConfig(), "unix:path=/x", error)
    assert words in found.message and found.remedy
    assert isinstance(error, ImportError) or "unix:path=/x" in found.message


def test_without_a_user_s_bus_the_system_s_is_no_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own service manager has a socket too."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    for error in (FileNotFoundError(2, "No such file"), ValueError("odd")):
        remedy = explain(SystemdConfig(bus="user"), "unix:path=/run/user/7/bus", error).remedy
        assert "unix:path=/run/user/7/systemd/private" in remedy
        assert "=/run/systemd/private" not in remedy and "system_bus_socket" not in remedy


@pytest.mark.parametrize(
    "options",
    [
        {"bus": "session"},
        {"bus": "unix:"},
        {"bus": ""},
        {"bus": "tcp:host=127.0.0.1"},
        {"bus": "tcp:host=127.0.0.1,port=dbus"},
        {"bus": "unix:path=/a;tcp:port=7"},
        {"units": ["a/b"]},
        {"units": [""]},
        {"unit_types": ["services"]},
        {"library": "dbus"},
        {"initial_state": "some"},
        {"retry_on_failure": {"initial_interval": "0s"}},
        {"retry_on_failure": {"multiplier": 0.5}},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    """Before anything is started."""
    with pytest.raises(ValidationError):
        SystemdConfig.model_validate(options)


@pytest.mark.parametrize(
    "bus",
    [
        "system",
        "user",
        "unix:path=/run/systemd/private",
        "unix:abstract=/tmp/x,guid=ab",
        "tcp:host=localhost,port=4000",
        "tcp:port=4000,family=ipv4,host=localhost",
        "unix:path=/a;unix:path=/b",
    ],
)
def test_buses_are_named_or_addressed(bus: str) -> None:
    """The forms that both libraries know."""
    assert SystemdConfig(bus=bus).bus == bus
