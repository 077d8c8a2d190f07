"""The tracker: one small state machine for each unit, fed with what systemd says; gives transitions, each once. No I/O.

systemd repeats itself: one start and stop is seven or eight signals. A state is what (ActiveState, SubState,
StateChangeTimestampMonotonic) name, and is told once. The type-specific properties of a change (how the process ended) come in
a signal before that of the Unit interface, so they are kept until that one comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any, NamedTuple

from tapio_otel.receivers.systemd.properties import Run, UnitState, plain, run_state, type_of, unit_state
from tapio_otel.receivers.systemd.transition import FAILED_JOBS, RESTARTING, Kind, Transition, event_type, limit_was_hit


class Listed(NamedTuple):
    """Hold what ListUnits says of a unit."""

    unit: str
    active: str
    sub: str


class _Tracked:
    """Hold what is known of one unit.

    `run` is how its last run stood at `state`, `pending` what has been said of it since. `stamped` tells whether the time of
    `state` is known (else it is from a list made at `listed`, in microseconds since the epoch), `confirmed` whether it has been
    seen on the present connection.
    """

    __slots__ = (
        "announced",
        "at_stamp",
        "confirmed",
        "invocation",
        "listed",
        "pending",
        "run",
        "service",
        "stamped",
        "state",
        "told_job",
        "unit",
    )

    def __init__(self, unit: str, state: UnitState, stamped: bool, confirmed: bool) -> None:
        self.unit = unit
        self.service = type_of(unit) == "service"
        self.state = state
        self.run = self.pending = Run()
        self.stamped = stamped
        self.confirmed = confirmed
        self.listed = 0
        self.invocation = ""
        self.announced = False
        self.at_stamp = {(state.active, state.sub)}
        self.told_job = 0


_UNLOADED = UnitState("inactive", "dead")


class Tracker:
    """Follow every selected unit that is loaded; forgets the others."""

    def __init__(self) -> None:
        self._units: dict[str, _Tracked] = {}
        self._initial: set[str] = set()
        self.has_baseline = False
        """Whether it is known which units there were at first."""
        self.reloading = False
        """Whether systemd reloads: meanwhile it takes all units back and tells of them again, which means nothing."""

    def __contains__(self, unit: str) -> bool:
        return unit in self._units

    def units(self) -> list[str]:
        """Return the names of all units that are followed."""
        return list(self._units)

    def is_suspect(self, unit: str) -> bool:
        """Tell whether a unit's state is to be told once it has been looked at: it may have changed unseen, or is the first."""
        tracked = self._units.get(unit)
        return tracked is not None and (not tracked.confirmed or unit in self._initial)

    def type_changed(self, unit: str, changed: Mapping[str, Any]) -> None:
        """Take a change of the type-specific properties; it is evaluated with the next one of the Unit interface."""
        tracked = self._units.get(unit) or self._add(unit)
        tracked.pending = run_state(changed, tracked.pending)

    def unit_changed(self, unit: str, changed: Mapping[str, Any]) -> Transition | None:
        """Take a change of the Unit interface's properties; returns the transition if it is one that was not told."""
        tracked = self._units.get(unit) or self._add(unit)
        before = tracked.state
        if (
            plain(changed.get("StateChangeTimestampMonotonic")) == before.stamp
            and plain(changed.get("SubState")) == before.sub
            and plain(changed.get("ActiveState")) == before.active
        ):
            tracked.stamped = tracked.stamped or before.stamp > 0
            return None
        return self._observe(tracked, unit_state(changed, before))

    def unit_new(self, unit: str) -> None:
        """Take note of a unit that was loaded: it is inactive, whatever it becomes right away."""
        if unit not in self._units and not self.reloading:
            self._add(unit)

    def unit_removed(self, unit: str) -> bool:
        """Forget a unit that was unloaded; returns whether it really was."""
        if self.reloading:
            return False
        self._units.pop(unit, None)
        self._initial.discard(unit)
        return True

    def job_removed(self, job: int, unit: str, result: str) -> Transition | None:
        """Take the end of a job; returns a transition if it failed and no change of state has told so."""
        tracked = self._units.get(unit)
        if tracked is None or result not in FAILED_JOBS or tracked.told_job == job:
            return None
        state = tracked.state
        return Transition(
            *(unit, Kind.JOB, "service_state", state.active, state.sub, state, tracked.run, tracked.invocation),
            job=job,
            job_result=result,
        )

    def interrupted(self) -> None:
        """Take note that signals may have been missed: what is seen next of each unit may have happened meanwhile."""
        self.reloading = False
        for tracked in self._units.values():
            tracked.confirmed = False

    def baseline(self, listed: Iterable[Listed], now: int, initial: Callable[[str], bool] = lambda _active: False) -> None:
        """Take the first list of units: nothing has happened yet.

        `now` is the time before it was asked for, in microseconds since the epoch; `initial` tells by the active state of which
        units to tell.
        """
        self.has_baseline = True
        listed = list(listed)
        self._initial = {unit for unit, active, _sub in listed if initial(active)}
        for unit, active, sub in listed:
            tracked = self._units[unit] = _Tracked(unit, UnitState(active, sub), stamped=False, confirmed=True)
            tracked.listed = now

    def snapshot(self, listed: Iterable[Listed], since: Set[str] = frozenset()) -> tuple[list[str], list[Transition]]:
        """Compare a list of all units with what is known.

        `since` are the units that signals have told of since the list was asked for: they may be ahead of it. Returns the units
        that must be looked at, as they changed or may have changed unseen, and transitions of units that were unloaded
        meanwhile.
        """
        suspects: list[str] = []
        seen: set[str] = set()
        for unit, active, sub in listed:
            seen.add(unit)
            if unit not in self._units and unit in since:
                continue  # unloaded since
            tracked = self._units.get(unit) or self._add(unit, confirmed=False)
            if unit not in since and (tracked.state.active, tracked.state.sub) != (active, sub):
                tracked.confirmed = False
            if not tracked.confirmed or unit in self._initial:
                suspects.append(unit)
        gone = [self._units.pop(unit) for unit in set(self._units) - seen - since]
        self._initial -= {one.unit for one in gone}
        return suspects, [self._ended_unseen(one) for one in gone if not one.state.ended]

    def looked_at(self, unit: str, properties: Mapping[str, Any], run: Mapping[str, Any]) -> Transition | None:
        """Take all properties of a unit, asked for; gives a transition only for a suspect, as signals tell the rest."""
        tracked = self._units.get(unit)
        if tracked is None:
            return None
        state = unit_state(properties)
        transition = None
        if tracked.confirmed:
            self._complete(tracked, state, run)
        else:
            tracked.pending = run_state(run, tracked.pending)
            transition = self._observe(tracked, state)
            tracked.confirmed = True
        return self._first(tracked) if unit in self._initial else transition

    def _first(self, tracked: _Tracked) -> Transition:
        """Return the state a unit is in as its first transition."""
        self._initial.discard(tracked.unit)
        state, run = tracked.state, tracked.run
        kind = event_type(tracked.service, _UNLOADED, state, run, announced=True, restarted=False)
        invocation = tracked.invocation or state.invocation
        return Transition(
            *(tracked.unit, Kind.INITIAL, kind, "unknown", "unknown", state, run, invocation),
            job=state.job,
        )

    def _add(self, unit: str, confirmed: bool = True) -> _Tracked:
        tracked = self._units[unit] = _Tracked(unit, _UNLOADED, stamped=True, confirmed=confirmed)
        return tracked

    def _complete(self, tracked: _Tracked, state: UnitState, run: Mapping[str, Any]) -> None:
        """Add what the list of units did not say, if the unit is still in the state of then."""
        before = tracked.state
        if not tracked.stamped and (before.active, before.sub) == (state.active, state.sub):
            tracked.state, tracked.stamped = state, True
            tracked.run = tracked.pending = run_state(run, tracked.pending)
            if not (state.ended and state.condition > state.stamp):
                tracked.invocation = state.invocation

    def _ended_unseen(self, tracked: _Tracked) -> Transition:
        before = tracked.state
        state = UnitState("inactive", "dead", invocation=tracked.invocation)
        return Transition(
            *(tracked.unit, Kind.STATE, "service_state", before.active, before.sub, state, Run(), tracked.invocation),
            reconciled=True,
        )

    def _observe(self, tracked: _Tracked, state: UnitState) -> Transition | None:
        before = tracked.state
        run = self._run(tracked, state)
        invocation = self._invocation(tracked, state)
        missed = self._missed(tracked, state, run, invocation)
        if missed is None:
            return None
        reconciled = not tracked.confirmed
        tracked.confirmed = tracked.stamped = True
        risen = _rise(tracked.run, run) > 0
        same = (before.active, before.sub) == (state.active, state.sub)
        if same and not missed and not _refused(before, state, run):
            tracked.state, tracked.run, tracked.invocation = state, run, invocation
            return None
        self._initial.discard(tracked.unit)
        kind = event_type(tracked.service, before, state, run, tracked.announced, risen)
        self._advance(tracked, state, run, invocation, kind)
        return Transition(
            *(tracked.unit, Kind.STATE, kind, before.active, before.sub, state, run, invocation, missed, reconciled),
            job=state.job,
        )

    @staticmethod
    def _run(tracked: _Tracked, state: UnitState) -> Run:
        """Return how the run stands at a state: properties may be ahead of it, as a start resets them first."""
        if state.ended and state.condition > state.stamp and tracked.confirmed and tracked.run.result:
            return replace(tracked.run, n_restarts=tracked.pending.n_restarts)
        return tracked.pending

    @staticmethod
    def _invocation(tracked: _Tracked, state: UnitState) -> str:
        """Return the invocation a state belongs to: a unit about to start shows the next one's id while it is inactive."""
        if state.ended and state.condition > state.stamp:
            return tracked.invocation
        return state.invocation or (tracked.invocation if state.ended else "")

    @staticmethod
    def _missed(tracked: _Tracked, state: UnitState, run: Run, invocation: str) -> int | None:
        """Return how many changes at least went unseen before a state; None where it was told before, or is older."""
        before = tracked.state
        if not tracked.stamped:  # a reload moves the time of a target's state, which is no change: only crossings are
            listed = state.stamp - (state.realtime - tracked.listed)
            return state.crossings(listed) if (state.active, state.sub) in tracked.at_stamp else 0
        if not state.stamp and before.stamp:  # unloaded and loaded again, so that it has no history
            return None if tracked.confirmed or before.ended else 0
        if state.stamp < before.stamp or (state.stamp == before.stamp and (state.active, state.sub) in tracked.at_stamp):
            return None
        missed = max(state.crossings(before.stamp), _rise(tracked.run, run) - 1)
        replaced = tracked.invocation and invocation and tracked.invocation != invocation
        fresh = before.ended or before.sub in RESTARTING or before.active == "activating"
        return max(missed, 1) if replaced and not fresh else missed

    @staticmethod
    def _advance(tracked: _Tracked, state: UnitState, run: Run, invocation: str, kind: str) -> None:
        if state.stamp > tracked.state.stamp:
            tracked.at_stamp = set()
        tracked.at_stamp.add((state.active, state.sub))
        if state.active == "failed" and state.job:
            tracked.told_job = state.job
        restarting = state.sub in RESTARTING
        tracked.announced = restarting and (tracked.announced or kind == "service_restart")
        tracked.state = state if state.stamp else replace(state, stamp=tracked.state.stamp)
        tracked.run, tracked.invocation = run, invocation


def _rise(before: Run, now: Run) -> int:
    """Return by how much NRestarts has risen, as far as is known."""
    if before.n_restarts is None or now.n_restarts is None:
        return 0
    return max(0, now.n_restarts - before.n_restarts)


def _refused(before: UnitState, state: UnitState, run: Run) -> bool:
    """Tell whether a start was refused since the state before, which leaves a failed unit as it was."""
    return before.stamp < state.condition and limit_was_hit(state, run)
