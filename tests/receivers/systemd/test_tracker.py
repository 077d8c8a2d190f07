"""The tracker, on signals of a real systemd and on made-up ones."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.systemd.tracker import Listed, Tracker
from tapio_otel.receivers.systemd.transition import Kind, Transition
from tests.receivers.systemd.recordings import NAMES, load, replay, told

RESTART = ["failed → activating/auto-restart service_restart", "activating → inactive/dead", "inactive → active/running"]
CLEAN_RESTART = ["inactive → activating/auto-restart service_restart", *RESTART[1:]]
STORIES = {
    "start_and_stop": ["inactive → active/running", "active → deactivating/stop-sigterm", "deactivating → inactive/dead"],
    "exit_code": ["inactive → active/running", "active → failed/failed service_crashed"],
    "oneshot": ["inactive → activating/start", "activating → inactive/dead"],
    "dependency": ["job dependency"],
    "watchdog": [
        "inactive → activating/start",
        "activating → active/running",
        "active → deactivating/stop-watchdog",
        "deactivating → failed/failed service_crashed",
    ],
    "reload_and_restart": [
        "inactive → active/running",
        "active → reloading/reload",
        "reloading → active/running",
        "active → deactivating/stop-sigterm",
        "deactivating → inactive/dead",
        "inactive → active/running",
    ],
    "killed_and_restarted": [
        "inactive → active/running",
        "active → failed/failed service_crashed",
        *RESTART,
        "active → deactivating/stop-sigterm",
        "deactivating → inactive/dead",
    ],
    "restart_limit": [
        "inactive → active/running",
        *(["active → failed/failed service_crashed", *RESTART] * 2),
        *["active → failed/failed service_crashed", *RESTART[:2], "inactive → failed/failed restart_limit_hit"],
        "failed → failed/failed restart_limit_hit",
    ],
    "clean_restart_limit": [
        "inactive → active/running",
        *(["active → inactive/dead", *CLEAN_RESTART] * 2),
        *["active → inactive/dead", *CLEAN_RESTART[:2], "inactive → failed/failed restart_limit_hit"],
    ],
    "socket": ["inactive → active/listening", "active → inactive/dead"],
}


def one(name: str) -> list[Transition]:
    """Return what a tracker finds in a recording."""
    return replay(*load(name))


def test_every_recording_has_its_story() -> None:
    """So that none lies about unused."""
    assert set(NAMES) == set(STORIES)


@pytest.mark.parametrize("name", STORIES)
def test_signals_of_a_real_systemd_give_each_transition_once(name: str) -> None:
    """Some ten signals for one change are one transition; each begins where the one before ended."""
    transitions = one(name)
    assert [told(transition) for transition in transitions] == STORIES[name]
    assert not any(transition.missed or transition.reconciled for transition in transitions)
    for before, after in itertools.pairwise(transitions):
        assert (after.previous_active, after.previous_sub) == (before.state.active, before.state.sub)


@pytest.mark.parametrize("name", STORIES)
def test_each_run_has_one_invocation_from_its_first_to_its_last_state(name: str) -> None:
    """Although a unit about to start shows its next invocation while it is inactive."""
    invocation = ""
    for transition in one(name):
        starts = transition.previous_active in {"inactive", "failed"} and transition.state.sub != "auto-restart"
        if starts and transition.state.active in {"active", "activating"}:
            assert transition.invocation not in {"", invocation}
            invocation = transition.invocation
        assert transition.invocation == invocation


def test_a_crash_carries_how_the_process_ended() -> None:
    """The result comes in a signal before, and the next start's reset of it does not reach back."""
    crash, waiting, ended = one("killed_and_restarted")[1:4]
    assert (crash.run.result, crash.run.code, crash.run.status) == ("core-dump", 3, 11) or crash.run.result == "signal"
    assert waiting.run.n_restarts == 0
    assert (ended.run.result, ended.run.n_restarts) == (crash.run.result, 1)


def test_restarts_are_counted_in_order() -> None:
    """NRestarts never goes back within one story."""
    counts = [transition.run.n_restarts or 0 for transition in one("restart_limit")]
    assert counts == sorted(counts) and counts[-1] == 3


def test_a_job_that_failed_is_told_unless_the_state_told_so() -> None:
    """A failed dependency changes no state; a failed start does."""
    (failed,) = one("dependency")
    assert (failed.kind, failed.job_result, failed.state.active) == (Kind.JOB, "dependency", "inactive")
    assert not [
        transition for name in ("exit_code", "restart_limit") for transition in one(name) if transition.kind is Kind.JOB
    ]


@given(st.sampled_from(NAMES), st.data())
def test_repeated_and_late_signals_change_nothing(name: str, data: st.DataObject) -> None:
    """Any signal may come several times, and any earlier one of the same unit again."""
    unit, signals = load(name)
    disturbed: list[list[Any]] = []
    for signal in signals:
        repeats = data.draw(st.integers(0, 2))
        disturbed += [signal] * (1 + (repeats if signal[0] == "PropertiesChanged" and signal[1] == "Unit" else 0))
        earlier = [past for past in disturbed if past[0] == "PropertiesChanged" and past[1] == "Unit"]
        if earlier and data.draw(st.booleans()) and ["UnitRemoved"] not in disturbed:
            disturbed.append(data.draw(st.sampled_from(earlier)))
    assert [told(transition) for transition in replay(unit, disturbed)] == STORIES[name]


@given(st.lists(st.sampled_from(range(60)), max_size=80))
def test_whatever_comes_no_state_is_told_twice_and_none_out_of_order(chosen: list[int]) -> None:
    """Signals dropped, repeated and mixed up: a state by its time comes once at most, and time does not go back."""
    unit, signals = load("restart_limit")
    tracker = Tracker()
    tracker.unit_new(unit)
    properties = [signal for signal in signals if signal[0] == "PropertiesChanged"]
    transitions = replay(unit, [properties[index % len(properties)] for index in chosen], tracker)
    keys = [(one.state.active, one.state.sub, one.state.stamp) for one in transitions]
    assert len(set(keys)) == len(keys)
    stamps = [stamp for _, _, stamp in keys]
    assert stamps == sorted(stamps)


@given(st.sampled_from([name for name in NAMES if name not in {"dependency", "socket"}]), st.data())
def test_where_signals_are_missing_it_is_noticed(name: str, data: st.DataObject) -> None:
    """The last state is always told, and where changes between up and down were not seen, the next transition says so."""
    unit, signals = load(name)
    states = [signal for signal in signals if signal[0] == "PropertiesChanged"]
    kept = [signal for signal in states if data.draw(st.booleans())] + states[-2:]
    found, whole = replay(unit, kept), replay(unit, states)
    assert (found[-1].state.active, found[-1].state.sub) == (whole[-1].state.active, whole[-1].state.sub)
    active = [transition for transition in whole if transition.state.active == "active"]
    seen = [transition for transition in found if transition.state.active == "active"]
    if len(seen) < len(active) and len(found) > 1:
        starts = {transition.invocation for transition in active} - {transition.invocation for transition in found}
        assert not starts or any(transition.missed for transition in found) or found[0].state.stamp > active[0].state.stamp


def changed(active: str, sub: str, stamp: int, **more: Any) -> dict[str, Any]:
    """Return the properties of a change."""
    known = {"ActiveState": active, "SubState": sub, "StateChangeTimestampMonotonic": stamp, "StateChangeTimestamp": stamp}
    return {**known, **more}


def baselined(**states: str) -> Tracker:
    """Return a tracker that has seen a list of services in these states."""
    tracker = Tracker()
    tracker.baseline([Listed(f"{name}.service", *state.split("/")) for name, state in states.items()], now=1000)
    return tracker


def test_what_was_there_before_gives_no_transition() -> None:
    """The first signal about a listed unit repeats its state; the next one changes it."""
    tracker = baselined(web="active/running")
    assert tracker.unit_changed("web.service", changed("active", "running", 500, ActiveEnterTimestampMonotonic=500)) is None
    transition = tracker.unit_changed("web.service", changed("deactivating", "stop-sigterm", 2000))
    assert transition is not None and told(transition) == "active → deactivating/stop-sigterm"


def test_a_unit_that_was_restarted_between_two_signals_has_missed_transitions() -> None:
    """The same state at another time, with times of crossing in between."""
    tracker = baselined(web="active/running")
    tracker.unit_changed("web.service", changed("active", "running", 500, InvocationID=b"\1" * 16))
    tracker.type_changed("web.service", {"NRestarts": 1})
    again = changed(
        *("active", "running", 900),
        ActiveExitTimestampMonotonic=700,
        InactiveEnterTimestampMonotonic=700,
        InactiveExitTimestampMonotonic=800,
        ActiveEnterTimestampMonotonic=900,
        InvocationID=b"\2" * 16,
    )
    transition = tracker.unit_changed("web.service", again)
    assert transition is not None and transition.missed == 2
    assert told(transition) == "active → active/running"


def test_a_jump_of_the_number_of_restarts_is_a_restart_with_missed_transitions() -> None:
    """Three restarts seen as one."""
    tracker = baselined(web="active/running")
    tracker.type_changed("web.service", {"NRestarts": 0, "Result": "success"})
    tracker.unit_changed("web.service", changed("active", "running", 500))
    tracker.type_changed("web.service", {"NRestarts": 3})
    marks = {"ActiveExitTimestampMonotonic": 880, "ActiveEnterTimestampMonotonic": 900}
    transition = tracker.unit_changed("web.service", changed("active", "running", 900, **marks))
    assert transition is not None and (transition.type, transition.missed) == ("service_restart", 2)


def test_a_stamp_that_moves_without_a_change_is_no_transition() -> None:
    """Sockets and mounts do so."""
    tracker = baselined(web="active/running")
    tracker.unit_changed("web.service", changed("active", "running", 500))
    assert tracker.unit_changed("web.service", changed("active", "running", 900)) is None


@pytest.mark.parametrize("waiting", ["auto-restart", "auto-restart-queued"])
def test_newer_ways_to_restart_are_told_once(waiting: str) -> None:
    """Since systemd 254 the states before the restart are of their own, and it may be queued."""
    tracker = baselined(web="active/running")
    tracker.unit_changed("web.service", changed("active", "running", 500))
    tracker.type_changed("web.service", {"Result": "exit-code", "NRestarts": 0, "ExecMainCode": 1, "ExecMainStatus": 3})
    story = []
    for active, sub, stamp, restarts in (
        ("failed", "failed-before-auto-restart", 600, 0),
        ("activating", "auto-restart", 601, 0),
        ("activating", waiting, 700, 1),
        ("active", "running", 800, 1),
    ):
        tracker.type_changed("web.service", {"NRestarts": restarts})
        transition = tracker.unit_changed("web.service", changed(active, sub, stamp))
        story += [transition.type] if transition else []
    assert story[:2] == ["service_crashed", "service_restart"]
    assert set(story[2:]) == {"service_state"}


def test_a_direct_restart_tells_the_crash_and_the_restart() -> None:
    """With RestartMode=direct there is no failed state in between."""
    tracker = baselined(web="active/running")
    tracker.type_changed("web.service", {"Result": "success", "NRestarts": 0})
    tracker.unit_changed("web.service", changed("active", "running", 500))
    tracker.type_changed("web.service", {"Result": "signal", "NRestarts": 0})
    crash = tracker.unit_changed("web.service", changed("activating", "auto-restart", 600))
    tracker.type_changed("web.service", {"Result": "signal", "NRestarts": 1})
    restart = tracker.unit_changed("web.service", changed("activating", "auto-restart-queued", 700))
    assert crash is not None and crash.type == "service_crashed"
    assert restart is not None and restart.type == "service_restart"


def test_after_an_interruption_what_changed_is_told_as_reconciled() -> None:
    """Of several changes the last one, with the times of crossing as witness; what did not change is not told."""
    tracker = baselined(web="active/running", db="active/running", old="active/running")
    for unit in ("web", "db", "old"):
        tracker.looked_at(f"{unit}.service", changed("active", "running", 500, InvocationID=b"\1" * 16), {})
    tracker.interrupted()
    listed = [Listed("web.service", "failed", "failed"), Listed("db.service", "active", "running")]
    suspects, gone = tracker.snapshot([*listed, Listed("new.service", "active", "running")])
    assert set(suspects) == {"web.service", "db.service", "new.service"}
    assert [(one.unit, told(one), one.reconciled) for one in gone] == [("old.service", "active → inactive/dead", True)]
    failed = tracker.looked_at("web.service", changed("failed", "failed", 900), {"Result": "exit-code"})
    assert failed is not None and failed.reconciled and failed.type == "service_crashed"
    assert tracker.looked_at("db.service", changed("active", "running", 500), {}) is None
    new = tracker.looked_at("new.service", changed("active", "running", 700), {})
    assert new is not None and new.reconciled and told(new) == "inactive → active/running"
    after = tracker.unit_changed("db.service", changed("deactivating", "stop", 950))
    assert after is not None and not after.reconciled


def test_a_first_state_that_could_not_be_asked_is_asked_again() -> None:
    """Until there is an answer, or the unit is gone."""
    tracker = Tracker()
    listed = [Listed("web.service", "failed", "failed"), Listed("db.service", "failed", "failed")]
    tracker.baseline([*listed, Listed("ok.service", "active", "running")], now=1000, initial=lambda active: active == "failed")
    assert set(tracker.snapshot([*listed, Listed("ok.service", "active", "running")])[0]) == {"web.service", "db.service"}
    assert tracker.looked_at("web.service", changed("failed", "failed", 500), {"Result": "exit-code"}) is not None
    assert tracker.snapshot(listed)[0] == ["db.service"]
    tracker.snapshot(listed[:1])
    assert not tracker.is_suspect("db.service")


def test_a_list_that_is_older_than_what_signals_have_told_changes_nothing() -> None:
    """What came while it was asked for is ahead of it: units that are new, gone, or in another state."""
    tracker = baselined(web="active/running", old="active/running")
    tracker.unit_new("new.service")
    assert tracker.unit_changed("new.service", changed("active", "running", 400)) is not None
    assert tracker.unit_changed("web.service", changed("failed", "failed", 500)) is not None
    tracker.unit_removed("old.service")
    listed = [Listed("web.service", "active", "running"), Listed("old.service", "active", "running")]
    assert tracker.snapshot(listed, {"new.service", "web.service", "old.service"}) == ([], [])
    assert sorted(tracker.units()) == ["new.service", "web.service"]
    after = tracker.unit_changed("web.service", changed("inactive", "dead", 600))
    assert after is not None and not after.reconciled


def test_a_reload_takes_no_unit_away() -> None:
    """systemd removes and adds every unit meanwhile."""
    tracker = baselined(web="active/running")
    tracker.reloading = True
    assert not tracker.unit_removed("web.service")
    tracker.unit_new("web.service")
    tracker.reloading = False
    assert tracker.snapshot([Listed("web.service", "active", "running")]) == ([], [])
    assert tracker.unit_removed("web.service")
    assert "web.service" not in tracker


def test_the_first_state_is_told_once_and_not_after_a_transition() -> None:
    """Asked for, with its cause; a unit that changed before it could be asked has told its state already."""
    tracker = Tracker()
    listed = [
        Listed("web.service", "failed", "failed"),
        Listed("db.service", "failed", "failed"),
        Listed("ok.service", "active", "running"),
    ]
    tracker.baseline(listed, now=1000, initial=lambda active: active == "failed")
    first = tracker.looked_at("web.service", changed("failed", "failed", 500), {"Result": "exit-code"})
    assert first is not None and (first.kind, first.type, first.previous_active) == (Kind.INITIAL, "service_crashed", "unknown")
    assert tracker.looked_at("web.service", changed("failed", "failed", 500), {"Result": "exit-code"}) is None
    assert tracker.looked_at("ok.service", changed("active", "running", 400), {}) is None
    assert tracker.unit_changed("db.service", changed("activating", "start", 1500)) is not None
    assert tracker.looked_at("db.service", changed("activating", "start", 1500), {}) is None


def test_a_listed_unit_whose_time_alone_moved_has_not_changed():
    """A reload sets the time of a target's state anew before its first signal; a crossing since the list is a change."""
    for marks, happened in (({}, False), ({"ActiveExitTimestampMonotonic": 600, "InactiveEnterTimestampMonotonic": 700}, True)):
        tracker = Tracker()
        tracker.baseline([Listed("umount.target", "inactive", "dead")], now=10_500)
        moved = {"ActiveState": "inactive", "SubState": "dead"}
        moved |= {"StateChangeTimestampMonotonic": 800, "StateChangeTimestamp": 10_800}
        assert (tracker.unit_changed("umount.target", {**moved, **marks}) is not None) is happened
