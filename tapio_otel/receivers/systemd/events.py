"""Transitions turned into events: attributes, entity, and an id that is the same whenever a transition is seen again."""

from __future__ import annotations

import signal
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

from tapio_otel.entities import EntityMapper
from tapio_otel.event import AttributeValue, EntityReference, Severity, Source, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.receivers.systemd.control import main_fits
from tapio_otel.receivers.systemd.properties import CLD_DUMPED, CLD_EXITED, CLD_KILLED, Run, Statics, UnitState
from tapio_otel.receivers.systemd.transition import RESTARTING, ControlExit, Kind, Transition

_AFTER_RUN: Final = frozenset(("inactive", "failed", "deactivating"))


def boot_id() -> str:
    """Return the id of this boot of the machine, within which monotonic times are unique."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


class EventMaker:
    """Make events for the units of one service manager.

    `user` is the id of the user it belongs to, empty for the system's; `manager` is when it was started, in microseconds of the
    monotonic clock: one boot may see several, each with jobs of the same numbers.
    """

    def __init__(self, entities: EntityMapper, boot: str, user: str = "") -> None:
        self._entities = entities
        self._boot = boot
        self.user = user
        self.manager = 0

    def make(self, transition: Transition, statics: Statics, observed: int = 0) -> UnifiedEvent:
        """Return the event of a transition; `observed` in nanoseconds, default now."""
        state, observed = transition.state, observed or time.time_ns()
        happened = state.realtime * 1000 if state.realtime and transition.kind is not Kind.JOB else observed
        event = UnifiedEvent(
            id=self._id(transition, observed),
            timestamp=happened,
            observed=observed,
            source=Source.SYSTEMD,
            type=transition.type,
            severity=Severity.INFO,
            entity=self._entity(transition, statics),
            attributes=self._attributes(transition, statics),
        )
        event.raw = transition.kind.value
        return event

    def _id(self, transition: Transition, observed: int) -> str:
        """Return the id: a unit's state at a monotonic time of a boot is one occurrence, and so is a manager's failed job.

        The invocation is part of it while it is certain: an inactive unit may already show that of its next start.
        """
        occurrence = ("systemd", self._boot, self.user, transition.unit)
        if transition.kind is Kind.JOB:
            return event_id(*occurrence, "job", self.manager, transition.job, transition.job_result)
        state = transition.state
        invocation = "" if state.ended else state.invocation
        return event_id(*occurrence, invocation, state.active, state.sub, state.stamp or observed)

    def _entity(self, transition: Transition, statics: Statics) -> EntityReference:
        found = self._entities.of_unit(transition.unit, statics.control_group, self.user)
        told = {
            "active_state": transition.state.active,
            "sub_state": transition.state.sub,
            "invocation_id": transition.invocation,
            "slice": statics.slice,
            "cgroup": statics.control_group,
        }
        attributes = {**found.attributes, **{key: value for key, value in told.items() if value}}
        return EntityReference(found.type, found.name, found.namespace, found.uid, found.parent, attributes)

    def _attributes(self, transition: Transition, statics: Statics) -> dict[str, AttributeValue]:
        state = transition.state
        attributes: dict[str, AttributeValue] = {
            "unit": transition.unit,
            "previous_state": transition.previous_active,
            "current_state": state.active,
            "previous_sub_state": transition.previous_sub,
            "sub_state": state.sub,
        }
        optional: dict[str, AttributeValue] = {
            "user": self.user,
            "job_id": transition.job,
            "job_type": transition.job_type,
            "job_result": transition.job_result,
            "invocation_id": transition.invocation,
            "slice": statics.slice,
            "cgroup": statics.control_group,
            "load_state": statics.load_state,
            "unit_file_state": statics.unit_file_state,
            "fragment_path": statics.fragment_path,
            "state_change_realtime_us": state.realtime,
            "state_change_monotonic_us": state.stamp,
            "missed_transitions": transition.missed,
            "reconciled": transition.reconciled,
            "initial": transition.kind is Kind.INITIAL,
        }
        attributes.update({key: value for key, value in optional.items() if value})
        attributes.update(run_attributes(state, transition.run, transition.control))
        return attributes


def run_attributes(state: UnitState, run: Run, control: ControlExit | None = None) -> dict[str, AttributeValue]:
    """Return what is known of the run: result, main pid, restarts and, once it is over, how its processes ended.

    The main process's end is left out where it is not what the result is about, as when it was stopped for another's failure.
    """
    attributes: dict[str, AttributeValue] = {}
    if run.result:
        attributes["result"] = run.result
    if run.main_pid:
        attributes["main_pid"] = run.main_pid
    if run.n_restarts is not None:
        attributes["n_restarts"] = run.n_restarts
    over = state.active in _AFTER_RUN or state.sub in RESTARTING
    if control is not None:
        attributes["control_process"] = control.process
        attributes.update(_end("control_", control.code, control.status))
    blameless = control is not None and run.result != "timeout"
    if over and run.exited >= run.started and run.exited and main_fits(run) and not blameless:
        attributes.update(_end("", run.code, run.status))
        if run.code in {CLD_KILLED, CLD_DUMPED}:
            attributes["core_dump"] = run.code == CLD_DUMPED
    return attributes


def _end(prefix: str, code: int, status: int) -> dict[str, AttributeValue]:
    """Return the exit code or the signal of a process."""
    if code == CLD_EXITED:
        return {f"{prefix}exit_code": status}
    return {f"{prefix}signal": signal_name(status)} if code in {CLD_KILLED, CLD_DUMPED} else {}


@lru_cache(maxsize=128)
def signal_name(number: int) -> str:
    """Return a signal's name such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        first = int(signal.SIGRTMIN)
        return f"SIGRTMIN+{number - first}" if first < number <= int(signal.SIGRTMAX) else f"SIG{number}"
