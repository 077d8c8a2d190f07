"""Transitions: what happened to a unit, and which type of event that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from tapio_otel.event import EventType
from tapio_otel.receivers.systemd.properties import Run, UnitState

RESTARTING: Final = frozenset(("auto-restart", "auto-restart-queued"))
"""Sub states of a service that waits to be restarted; the second since systemd 254."""
LIMITS: Final = frozenset(("start-limit-hit", "trigger-limit-hit", "service-start-limit-hit", "unit-start-limit-hit"))
CRASHES: Final = frozenset(("exit-code", "signal", "core-dump", "watchdog", "oom-kill"))
FAILED_JOBS: Final = frozenset(("failed", "dependency", "timeout", "assert", "invalid", "unsupported"))
"""Results of jobs (JobRemoved) that did not do what they were for."""


class Kind(StrEnum):
    """Say what made a transition known: a change of state, a job that failed without one, or the state at the start."""

    STATE = "state"
    JOB = "job"
    INITIAL = "initial"


class ControlExit(NamedTuple):
    """Say how a control process ended: `process` is the setting (ExecStartPre), `code` CLD_EXITED, CLD_KILLED or CLD_DUMPED."""

    process: str
    code: int
    status: int


@dataclass(slots=True)
class Transition:
    """Say what happened to a unit.

    `missed` is how many changes at least were not seen before this one, `control` the control process that is its cause.
    """

    unit: str
    kind: Kind
    type: str
    previous_active: str
    previous_sub: str
    state: UnitState
    run: Run
    invocation: str
    missed: int = 0
    reconciled: bool = False
    job: int = 0
    job_type: str = ""
    job_result: str = ""
    control: ControlExit | None = None


def limit_was_hit(state: UnitState, run: Run) -> bool:
    """Tell whether a start was refused because there were too many.

    Where the last run failed, systemd keeps that run's result and not `start-limit-hit`. Then it shows by a start that was
    tried (its conditions were tested) after which neither the state left inactive nor anything was executed.
    """
    if state.active != "failed":
        return False
    if run.result in LIMITS:
        return True
    tried = state.inactive_exit < state.condition <= state.stamp and run.started < state.condition
    return run.n_restarts is not None and tried and run.result not in {"resources", "success"}


def event_type(service: bool, before: UnitState, state: UnitState, run: Run, announced: bool, restarted: bool) -> str:
    """Return the type of a change of state.

    A crash is told where the unit becomes failed, or where it goes straight to its restart (RestartMode=direct). A restart is
    told when it is announced by the state; where that was not seen (`announced` is false), when NRestarts has risen.
    """
    if limit_was_hit(state, run):
        return EventType.RESTART_LIMIT_HIT
    if not service:
        return EventType.SERVICE_STATE
    restarting = state.sub in RESTARTING
    was_over = before.ended or before.sub in RESTARTING
    if run.result in CRASHES and (state.active == "failed" or (restarting and not was_over)):
        return EventType.SERVICE_CRASHED
    if (restarting or restarted) and not announced:
        return EventType.SERVICE_RESTART
    return EventType.SERVICE_STATE
