"""Control processes: the commands of a service besides its main process, one of which may be why it failed.

systemd's Result says that some process ended badly, and the ExecMain properties how the main process did, which by then may
have been terminated for another's failure. How each command ended is in the properties of the commands themselves.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from tapio_otel.receivers.systemd.properties import CLD_DUMPED, CLD_EXITED, CLD_KILLED, Run, type_of
from tapio_otel.receivers.systemd.transition import RESTARTING, ControlExit, Kind, Transition

COMMANDS: Final = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecStop", "ExecStopPost")
CONTROL_PROPERTIES: Final = ("Type", *COMMANDS)
"""What is asked of a service whose main process does not explain its result."""
_CODES: Final = {"exit-code": CLD_EXITED, "signal": CLD_KILLED, "core-dump": CLD_DUMPED}
"""How the process ended that is the cause of a result."""
_CLEAN: Final = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
"""Signals that systemd takes for a good end, but for a oneshot's."""
_OVER: Final = frozenset(("inactive", "failed", "deactivating"))


def main_fits(run: Run) -> bool:
    """Tell whether the main process's end can be the cause of a result that one process's end is the cause of."""
    code = _CODES.get(run.result)
    return code is None or (run.code == code and run.status != 0)


def is_unexplained(transition: Transition) -> bool:
    """Tell whether a service's run failed and its main process does not surely tell why."""
    state, run = transition.state, transition.run
    if transition.kind is Kind.JOB or type_of(transition.unit) != "service":
        return False
    if state.active not in _OVER and state.sub not in RESTARTING:
        return False
    if run.result in _CODES:
        return not main_fits(run) or (run.code == CLD_KILLED and run.status in _CLEAN)
    return run.result == "timeout"


class _Command(NamedTuple):
    """Hold how a command ended; `exited` on the monotonic clock."""

    process: str
    exited: int
    code: int
    status: int


def failed_command(properties: Mapping[str, Any], transition: Transition) -> ControlExit | None:
    """Return the first control process that ended as the result says, before the transition; None where there is none."""
    result, stamp = transition.run.result, transition.state.stamp
    ended = [one for one in _ended(properties) if one.exited <= stamp and _fits(one, result)]
    if not ended:
        return None
    first = min(ended, key=lambda one: one.exited)
    return ControlExit(first.process, first.code, first.status)


def _ended(properties: Mapping[str, Any]) -> Iterator[_Command]:
    for name in COMMANDS:
        if name == "ExecStart" and properties.get("Type") != "forking":
            continue  # it is the main process
        for command in properties.get(name) or ():
            ignored, exited, code, status = command[2], command[6], command[8], command[9]
            if exited and not ignored:
                yield _Command(name, exited, code, status)


def _fits(command: _Command, result: str) -> bool:
    if result == "timeout":
        return command.code in {CLD_KILLED, CLD_DUMPED}
    return command.code == _CODES.get(result) and command.status != 0
