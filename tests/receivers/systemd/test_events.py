"""Transitions turned into events: ids, times, attributes, entities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.systemd.events import EventMaker, run_attributes, signal_name
from tapio_otel.receivers.systemd.properties import Run, Statics, UnitState
from tapio_otel.receivers.systemd.transition import ControlExit, Kind, Transition
from tests.receivers.systemd.recordings import load, replay

STATICS = Statics("loaded", "/etc/systemd/system/web.service", "enabled", "system.slice", "/system.slice/web.service")
POD = "kubepods-burstable-pod0f3a5d1e_8c55_4c3c_9d3e_6a1f2b3c4d5e.slice"
CONTAINER = "ab" * 32


def maker(user: str = "", boot: str = "boot") -> EventMaker:
    """Return a maker for this machine."""
    return EventMaker(EntityMapper(Path("/nonexistent")), boot, user)


def crash() -> Transition:
    """Return the crash of a recording."""
    return replay(*load("exit_code"))[-1]


def test_an_event_has_what_systemd_knows() -> None:
    """Under the names that the documentation gives, and nothing that is empty."""
    transition = crash()
    transition.job_type, transition.job = "start", 13
    event = maker().make(transition, STATICS, observed=7)
    attributes = dict(event.attributes)
    assert len(attributes.pop("invocation_id")) == 32
    assert attributes.pop("state_change_realtime_us") * 1000 == event.timestamp
    assert attributes.pop("state_change_monotonic_us") == transition.state.stamp
    assert attributes == {
        "unit": "exit.service",
        "previous_state": "active",
        "current_state": "failed",
        "previous_sub_state": "running",
        "sub_state": "failed",
        "job_id": 13,
        "job_type": "start",
        "result": "exit-code",
        "exit_code": 7,
        "n_restarts": 0,
        "slice": "system.slice",
        "cgroup": "/system.slice/web.service",
        "load_state": "loaded",
        "unit_file_state": "enabled",
        "fragment_path": "/etc/systemd/system/web.service",
    }
    assert (event.source, event.type, event.observed) == ("systemd", "service_crashed", 7)


def test_the_entity_is_that_of_the_journal() -> None:
    """Same type, name and uid, and the same attributes besides the state."""
    event = maker().make(crash(), STATICS)
    assert (event.entity.type, event.entity.name, event.entity.uid) == ("systemd_unit", "exit.service", "exit.service")
    assert event.entity.attributes["invocation_id"] == event.get("invocation_id")
    assert event.entity.attributes["cgroup"] == "/system.slice/web.service"
    assert event.entity.attributes["active_state"] == "failed" and event.entity.attributes["sub_state"] == "failed"
    mine = maker("1000").make(crash(), Statics())
    assert mine.entity.uid == "user@1000.service/exit.service" and mine.get("user") == "1000"


def test_a_container_s_scope_has_container_and_pod_as_parents() -> None:
    """By its cgroup path."""
    scope = replace(crash(), unit=f"cri-containerd-{CONTAINER}.scope")
    path = f"/kubepods.slice/kubepods-burstable.slice/{POD}/cri-containerd-{CONTAINER}.scope"
    lineage = maker().make(scope, Statics(control_group=path)).entity.lineage()
    assert [entity.type for entity in lineage] == ["systemd_unit", "container", "pod", "node"]
    assert lineage[1].uid == CONTAINER


def test_the_id_is_that_of_the_occurrence() -> None:
    """Seen again in any way it is the same; another state, time, boot, unit or user is another occurrence."""
    transition = crash()
    ids = {
        maker().make(again, statics, observed).id
        for again, statics, observed in (
            (transition, STATICS, 1),
            (replace(transition, kind=Kind.INITIAL, previous_active="unknown", type="service_state"), Statics(), 2),
            (replace(transition, reconciled=True, missed=2, job=5), STATICS, 3),
        )
    }
    assert len(ids) == 1
    others = [
        maker().make(replace(transition, state=replace(transition.state, stamp=1)), STATICS),
        maker().make(replace(transition, state=replace(transition.state, sub="x")), STATICS),
        maker().make(replace(transition, unit="x.service"), STATICS),
        maker(boot="other").make(transition, STATICS),
        maker("1000").make(transition, STATICS),
    ]
    assert len(ids | {event.id for event in others}) == 6


def test_a_job_that_failed_is_one_occurrence_at_the_time_it_was_seen() -> None:
    """The state is older than that."""
    (failed,) = replay(*load("dependency"))
    event = maker().make(failed, STATICS, observed=9)
    assert (event.timestamp, event.get("job_result")) == (9, "dependency")
    assert event.id == maker().make(failed, STATICS, observed=10).id
    restarted = maker()
    restarted.manager = 17
    assert restarted.make(failed, STATICS).id != event.id, "jobs of another service manager have the same numbers"


@pytest.mark.parametrize(
    ("state", "run", "expected"),
    [
        ("active/running", Run(main_pid=7, n_restarts=0, started=5), {"main_pid": 7, "n_restarts": 0}),
        ("failed/failed", Run("exit-code", 0, 1, 1, 3, 5, 6), {"result": "exit-code", "n_restarts": 1, "exit_code": 3}),
        (
            "failed/failed",
            Run("core-dump", 0, 0, 3, 11, 5, 6),
            {"result": "core-dump", "n_restarts": 0, "signal": "SIGSEGV", "core_dump": True},
        ),
        (
            "activating/auto-restart",
            Run("signal", 0, 0, 2, 9, 5, 6),
            {"result": "signal", "n_restarts": 0, "signal": "SIGKILL", "core_dump": False},
        ),
        ("inactive/dead", Run("success", 0, 0, 1, 0, 5, 6), {"result": "success", "n_restarts": 0, "exit_code": 0}),
        ("activating/start", Run("success", 0, 0, 1, 3, 5, 6), {"result": "success", "n_restarts": 0}),
        ("deactivating/stop", Run("success", 0, 0, 1, 3, 7, 6), {"result": "success", "n_restarts": 0}),
        ("failed/failed", Run("exit-code", 0, 0, 2, 15, 5, 6), {"result": "exit-code", "n_restarts": 0}),
        ("failed/failed", Run("signal", 0, 0, 1, 0, 5, 6), {"result": "signal", "n_restarts": 0}),
        (
            "failed/failed",
            Run("timeout", 0, 0, 2, 15, 5, 6),
            {"result": "timeout", "n_restarts": 0, "signal": "SIGTERM", "core_dump": False},
        ),
        ("active/mounted", Run("success"), {"result": "success"}),
        ("active/active", Run(), {}),
    ],
)
def test_how_a_process_ended_is_told_once_it_has(state: str, run: Run, expected: dict[str, Any]) -> None:
    """Not while it runs, nor what is left of the run before."""
    assert run_attributes(UnitState(*state.split("/")), run) == expected


def test_a_control_process_that_is_the_cause_stands_for_the_main_process() -> None:
    """By the setting that names its command."""
    ended, state = Run("signal", 0, 0, 2, 15, 5, 6), UnitState("failed", "failed")
    assert run_attributes(state, ended, ControlExit("ExecStopPost", 2, 9)) == {
        "result": "signal",
        "n_restarts": 0,
        "control_process": "ExecStopPost",
        "control_signal": "SIGKILL",
    }
    exited = run_attributes(state, Run("exit-code"), ControlExit("ExecStartPre", 1, 9))
    assert exited == {"result": "exit-code", "control_process": "ExecStartPre", "control_exit_code": 9}


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (35, "SIGRTMIN+1"), (200, "SIG200")])
def test_signals_have_names(number: int, name: str) -> None:
    """Real-time ones too; what is none keeps its number."""
    assert signal_name(number) == name
