"""systemd's terms turned into the event model's: severity, title, description.

The severity is that of the state, refined by its cause; the table is in docs/systemd-events.md. The first row that matches
decides:

1. too many starts, or the state `failed`: critical
2. a job that failed without any change of the unit's state: error
3. about to be restarted, or restarted unseen: error, but warning where the run before ended well
4. on the way down after something went wrong, or restarted without any of it having been seen: warning
5. everything else: info
"""

from __future__ import annotations

from typing import Final

from tapio_otel.event import EventType, Severity, UnifiedEvent

JOB: Final = "job"
"""The raw form of an event about a job that failed."""
RESTARTING: Final = frozenset(("auto-restart", "auto-restart-queued"))
_WELL: Final = frozenset(("", "success", "exec-condition"))

STATES: Final = {
    "active": "is up",
    "reloading": "reloads its configuration",
    "inactive": "has ended",
    "activating": "is starting",
    "deactivating": "is stopping",
    "failed": "has failed",
    "maintenance": "is in maintenance",
    "refreshing": "refreshes its mounts",
}
CAUSES: Final = {
    "watchdog": "it did not report to its watchdog in time",
    "oom-kill": "the machine or its cgroup ran out of memory",
    "timeout": "it took too long",
    "protocol": "it did not keep to the protocol of its service type",
    "resources": "systemd lacked what it takes to run it",
    "start-limit-hit": "it was started too often in too short a time",
    "service-start-limit-hit": "its service was started too often in too short a time",
    "unit-start-limit-hit": "its unit was started too often in too short a time",
    "trigger-limit-hit": "it was triggered too often in too short a time",
    "exit-code": "a process of it ended with an error",
    "signal": "a process of it was killed",
    "core-dump": "a process of it dumped core",
}
JOBS: Final = {
    "dependency": "a unit it depends on failed",
    "timeout": "it took too long",
    "assert": "an assertion of the unit is not met",
    "invalid": "the unit cannot do that",
    "unsupported": "this machine does not support that type of unit",
}


def normalize(events: list[UnifiedEvent]) -> None:
    """Complete systemd events in place; what has no raw form was normalized before and stays as it is."""
    for event in events:
        kind = event.raw
        if kind is None:
            continue
        event.raw = None
        event.severity = severity(event, kind)
        event.title = title(event, kind)
        event.description = description(event, kind)


def severity(event: UnifiedEvent, kind: str = "") -> Severity:
    """Return how bad it is, by the table above."""
    if event.type == EventType.RESTART_LIMIT_HIT or event.get("current_state") == "failed":
        return Severity.CRITICAL
    if kind == JOB:
        return Severity.ERROR
    well = event.get("result", "") in _WELL
    if event.get("sub_state") in RESTARTING or event.type == EventType.SERVICE_RESTART:
        return Severity.WARNING if well else Severity.ERROR
    unseen = event.get("previous_state") == event.get("current_state") and event.get("missed_transitions", 0)
    if unseen or (event.get("current_state") == "deactivating" and not well):
        return Severity.WARNING
    return Severity.INFO


def title(event: UnifiedEvent, kind: str = "") -> str:
    """Return the transition in one line."""
    unit = event.get("unit", "")
    if kind == JOB:
        return f"Service {unit}: {event.get('job_type') or 'job'} failed ({event.get('job_result')})"
    return f"Service {unit}: {event.get('previous_state')} → {event.get('current_state')}"


def description(event: UnifiedEvent, kind: str = "") -> str:
    """Return what happened and why in plain words."""
    unit = event.get("unit", "")
    if kind == JOB:
        result = event.get("job_result", "")
        reason = JOBS.get(result)
        return f"The {event.get('job_type') or 'job'} of {unit} failed" + (f": {reason}" if reason else "")
    text = f"{unit} {_state(event)}"
    cause = _cause(event)
    if cause:
        text += f": {cause}"
    return text + _remarks(event)


def _state(event: UnifiedEvent) -> str:
    if event.type == EventType.RESTART_LIMIT_HIT:
        return "has failed and is not started again"
    if event.get("sub_state") in RESTARTING:
        return "waits to be restarted"
    active = str(event.get("current_state", ""))
    return STATES.get(active, f"is {active}") + f" ({event.get('sub_state')})"


def _cause(event: UnifiedEvent) -> str:
    result = event.get("result", "")
    if event.type == EventType.RESTART_LIMIT_HIT:
        return CAUSES.get(result if str(result).endswith("limit-hit") else "start-limit-hit", "")
    if result in _WELL or (event.get("current_state") in {"active", "activating"} and event.get("sub_state") not in RESTARTING):
        return ""
    ended = _ended(event)
    reason = CAUSES.get(result, str(result))
    if result in {"exit-code", "signal", "core-dump"} and ended:
        return ended
    return f"{reason} ({ended})" if ended else reason


def _ended(event: UnifiedEvent) -> str:
    """Return how the process ended that is the cause: a control process if one is known to be, else the main process."""
    process = event.get("control_process")
    if process:
        code, signal = event.get("control_exit_code"), event.get("control_signal")
        return f"the command of {process} " + (f"was killed by {signal}" if signal else f"exited with code {code}")
    code, signal = event.get("exit_code"), event.get("signal")
    if signal:
        return f"its main process was killed by {signal}" + (" and dumped core" if event.get("core_dump") else "")
    return f"its main process exited with code {code}" if code else ""


def _remarks(event: UnifiedEvent) -> str:
    remarks = []
    restarts = event.get("n_restarts")
    if restarts:
        remarks.append("restarted once so far" if restarts == 1 else f"restarted {restarts} times so far")
    missed = event.get("missed_transitions")
    if missed:
        remarks.append(f"at least {missed} change{'' if missed == 1 else 's'} before this went unseen")
    if event.get("reconciled"):
        remarks.append("found out after a time without connection")
    return f"; {', '.join(remarks)}" if remarks else ""
