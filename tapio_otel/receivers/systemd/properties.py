"""What systemd says of a unit: D-Bus values turned into plain state, without I/O.

The properties are those of org.freedesktop.systemd1(5). Times are in microseconds: `stamp` and the like of CLOCK_MONOTONIC,
`realtime` since the Unix epoch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

MANAGER: Final = "org.freedesktop.systemd1.Manager"
UNIT: Final = "org.freedesktop.systemd1.Unit"
UNIT_PATH: Final = "/org/freedesktop/systemd1/unit/"

INTERFACES: Final = {
    f"org.freedesktop.systemd1.{name}": name.lower()
    for name in ("Service", "Socket", "Mount", "Swap", "Timer", "Path", "Automount", "Scope", "Slice", "Target", "Device")
}
"""The unit type of each type-specific interface."""
INTERFACE_OF: Final = {unit_type: interface for interface, unit_type in INTERFACES.items()}
WITH_RESULT: Final = frozenset(("service", "socket", "mount", "swap", "timer", "path", "automount", "scope"))
"""Unit types that have the property Result."""
WITH_CGROUP: Final = frozenset(("service", "socket", "mount", "swap", "scope", "slice"))
"""Unit types that have the properties Slice and ControlGroup."""
RUN_PROPERTIES: Final = (
    *("MainPID", "NRestarts", "ExecMainCode", "ExecMainStatus"),
    *("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic"),
)
"""What a service has besides its Result."""

CLD_EXITED: Final = 1
CLD_KILLED: Final = 2
CLD_DUMPED: Final = 3
"""How a process can end, by waitid(2)."""

_PLAIN: Final = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NINE: Final = ord("9")
_ESCAPED = re.compile(rb"_([0-9a-f]{2})")
ENDED: Final = frozenset(("inactive", "failed"))


@lru_cache(maxsize=4096)
def unit_of_path(path: str) -> str:
    """Return the unit's name that an object path stands for (sd_bus_path_decode(3)); empty for any other path."""
    if not path.startswith(UNIT_PATH):
        return ""
    label = path[len(UNIT_PATH) :].encode()
    return _ESCAPED.sub(lambda escaped: bytes.fromhex(escaped[1].decode()), label).decode("utf-8", "replace")


def path_of_unit(unit: str) -> str:
    """Return the object path of a unit (sd_bus_path_encode(3))."""
    encoded = unit.encode()
    label = "".join(
        chr(byte) if byte in _PLAIN and (index or byte > _NINE) else f"_{byte:02x}" for index, byte in enumerate(encoded)
    )
    return UNIT_PATH + (label or "_")


def type_of(unit: str) -> str:
    """Return a unit's type, the part of its name after the last dot."""
    return unit.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class UnitState:
    """Hold the properties of the Unit interface that change; `invocation` is 32 hex digits or empty."""

    active: str
    sub: str
    stamp: int = 0
    realtime: int = 0
    inactive_exit: int = 0
    active_enter: int = 0
    active_exit: int = 0
    inactive_enter: int = 0
    condition: int = 0
    invocation: str = ""
    job: int = 0

    @property
    def ended(self) -> bool:
        """Tell whether the unit is neither up nor on the way to or from it."""
        return self.active in ENDED

    def crossings(self, after: int) -> int:
        """Count the changes between up and down later than `after` and earlier than the state itself."""
        marks = {self.inactive_exit, self.active_enter, self.active_exit, self.inactive_enter}
        return sum(after < mark < self.stamp for mark in marks)


@dataclass(frozen=True, slots=True)
class Run:
    """Hold how a unit's last run went; all but `result` for services only. `code` is CLD_EXITED, CLD_KILLED or CLD_DUMPED."""

    result: str = ""
    main_pid: int = 0
    n_restarts: int | None = None
    code: int = 0
    status: int = 0
    started: int = 0
    exited: int = 0


@dataclass(frozen=True, slots=True)
class Statics:
    """Hold what seldom changes and no signal tells."""

    load_state: str = ""
    fragment_path: str = ""
    unit_file_state: str = ""
    slice: str = ""
    control_group: str = ""


def plain(value: Any) -> Any:
    """Return what is in a variant of either library; anything else as it is."""
    return getattr(value, "value", value)


def unit_state(changed: Mapping[str, Any], before: UnitState | None = None) -> UnitState:
    """Return the state after a change of the Unit interface's properties; what is not among them is as `before`."""
    known = before or UnitState("", "")

    def get(name: str, otherwise: Any) -> Any:
        found = changed.get(name)
        return otherwise if found is None else plain(found)

    return UnitState(
        get("ActiveState", known.active),
        get("SubState", known.sub),
        get("StateChangeTimestampMonotonic", known.stamp),
        get("StateChangeTimestamp", known.realtime),
        get("InactiveExitTimestampMonotonic", known.inactive_exit),
        get("ActiveEnterTimestampMonotonic", known.active_enter),
        get("ActiveExitTimestampMonotonic", known.active_exit),
        get("InactiveEnterTimestampMonotonic", known.inactive_enter),
        get("ConditionTimestampMonotonic", known.condition),
        invocation_id(changed["InvocationID"]) if "InvocationID" in changed else known.invocation,
        plain(changed["Job"])[0] if "Job" in changed else known.job,
    )


def invocation_id(value: Any) -> str:
    """Return an InvocationID (16 bytes, none or all zero where there was no run) as hex digits."""
    found = bytes(plain(value))
    return found.hex() if any(found) else ""


def run_state(changed: Mapping[str, Any], before: Run) -> Run:
    """Return the run after a change of a type-specific interface's properties."""

    def get(name: str, otherwise: Any) -> Any:
        found = changed.get(name)
        return otherwise if found is None else plain(found)

    return Run(
        get("Result", before.result),
        get("MainPID", before.main_pid),
        get("NRestarts", before.n_restarts),
        get("ExecMainCode", before.code),
        get("ExecMainStatus", before.status),
        get("ExecMainStartTimestampMonotonic", before.started),
        get("ExecMainExitTimestampMonotonic", before.exited),
    )


def statics(unit: Mapping[str, Any], group: Mapping[str, Any]) -> Statics:
    """Return what the Unit interface and the type-specific one say that seldom changes."""
    return Statics(
        str(plain(unit.get("LoadState", ""))),
        str(plain(unit.get("FragmentPath", ""))),
        str(plain(unit.get("UnitFileState", ""))),
        str(plain(group.get("Slice", ""))),
        str(plain(group.get("ControlGroup", ""))),
    )
