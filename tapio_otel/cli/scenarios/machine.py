"""One machine of a scenario: what its journal, its kernel and its service manager say, as the receivers make events of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from tapio_otel.cli.scenarios.form import SystemdStep
from tapio_otel.correlation.examples import BEGINNING
from tapio_otel.correlation.listeners import Listeners, Listening
from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.ebpf.clock import WallClock
from tapio_otel.receivers.ebpf.events import EventMaker as KernelEventMaker
from tapio_otel.receivers.ebpf.feed import ObservedBy
from tapio_otel.receivers.ebpf.observations import (
    CgroupFacts,
    CpuThrottle,
    Flow,
    OomKill,
    PacketDrop,
    TcpReset,
    TcpRetransmit,
)
from tapio_otel.receivers.journald.entry import EntryParser
from tapio_otel.receivers.systemd.events import EventMaker as UnitEventMaker
from tapio_otel.receivers.systemd.properties import Statics, type_of
from tapio_otel.receivers.systemd.tracker import Listed, Tracker
from tapio_otel.receivers.systemd.transition import RESTARTING

NOWHERE: Final = Path("/nonexistent")
"""Root of the machines of scenarios: nothing may depend on the one this runs on."""
UPTIME: Final = 1_000_000_000_000
"""How long machines have been up when a scenario begins, in nanoseconds."""
_PROBES: Final[Mapping[str, Any]] = {
    "oom_kill": OomKill,
    "cpu_throttle": CpuThrottle,
    "network_drop": PacketDrop,
    "tcp_retransmit": TcpRetransmit,
    "tcp_reset": TcpReset,
}
_CGROUPS: Final = ("cgroup", "memory_cgroup", "limit_cgroup")
_FLOW: Final = ("protocol", "src_ip", "src_port", "dst_ip", "dst_port")
_ENDED: Final = frozenset(("inactive", "failed"))
_KILLED: Final = 2
_EXITED: Final = 1
CgroupOf = Callable[[str], str]
"""Returns the cgroup of a container by `namespace/pod/container`."""


@dataclass(slots=True)
class _Unit:
    """Hold what systemd's properties of a unit are now; times in microseconds since boot."""

    active: str
    sub: str
    run: int = 1
    restarts: int = 0
    result: str = "success"
    code: int = 0
    status: int = 0
    started: int = 1
    exited: int = 0
    times: dict[str, int] = field(
        default_factory=lambda: {"InactiveExit": 1, "ActiveEnter": 1, "ActiveExit": 0, "InactiveEnter": 0}
    )
    condition: int = 1


class Machine:
    """Make events of what one machine's sources say.

    `units` are the states of its units when the scenario begins, `listening` which of them listen at which `address:port`.
    """

    def __init__(
        self, name: str, units: Mapping[str, str], cgroup_of: CgroupOf, listening: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.id = sha256(name.encode()).hexdigest()[:32]
        self.entities = EntityMapper(NOWHERE)
        self.entities.node = EntityReference("node", name, uid=self.id)
        self._cgroup_of = cgroup_of
        self._boot = sha256(f"boot of {name}".encode()).hexdigest()[:32]
        self._parser = EntryParser()
        self._entries = 0
        self._kernel = KernelEventMaker(self.entities, self._boot, WallClock(lambda: BEGINNING, lambda: UPTIME))
        self._maker = UnitEventMaker(self.entities, self._boot)
        self._tracker = Tracker()
        self._units = {unit: _Unit(*_states(state)) for unit, state in units.items()}
        self._jobs = 0
        listed = [Listed(unit, one.active, one.sub) for unit, one in self._units.items()]
        self._tracker.baseline(listed, BEGINNING // 1000 - 1)
        self.listeners = self._look(listening or {})

    def _look(self, listening: Mapping[str, str]) -> Listeners:
        """Return who listens where, as the kernel would tell it."""
        found = []
        for cgroup_id, (place, unit) in enumerate(listening.items(), 1):
            address, _, port = place.rpartition(":")
            self.entities.learn_cgroup(cgroup_id, f"/system.slice/{unit}", "unified")
            found.append(Listening(ip_address(address), int(port), cgroup_id))
        listeners = Listeners(self.entities, lambda: found, lambda: BEGINNING / 1e9)
        listeners.look()
        return listeners

    # --- journal --------------------------------------------------------------------------------------------------------

    def journal(self, written: Mapping[str, Any], at: int, observed: int) -> list[UnifiedEvent]:
        """Return the event of a journal entry."""
        entry = {**self._writer(written), **{name: value for name, value in written.items() if name.isupper()}}
        common = {"_HOSTNAME": self.name, "_MACHINE_ID": self.id, "_BOOT_ID": self._boot, "PRIORITY": "6"}
        encoded = {name: str(value).encode() for name, value in {**common, **entry}.items()}
        self._entries += 1
        cursor = f"s={self.id};i={self._entries:x};b={self._boot};m={at // 1000:x};t={at // 1000:x};x=0"
        event = self._parser.parse(encoded, cursor, observed)
        return [] if event is None else [event]

    def _writer(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that journald adds, by who writes."""
        if "kernel" in written:
            return {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "SYSLOG_FACILITY": "0"}
        if "about" in written:
            return self._of_manager(str(written["about"]))
        if "container" in written:
            return self._of_container(str(written["container"]))
        if "unit" in written:
            return self._of_unit(str(written["unit"]))
        return {"_TRANSPORT": "syslog"}

    def _of_manager(self, unit: str) -> dict[str, Any]:
        about = {"UNIT": unit, "INVOCATION_ID": self._invocation(unit), "_SYSTEMD_UNIT": "init.scope"}
        who = {"_PID": 1, "_UID": 0, "_GID": 0, "_COMM": "systemd", "_EXE": "/usr/lib/systemd/systemd"}
        return {**who, **about, "_TRANSPORT": "journal", "SYSLOG_IDENTIFIER": "systemd", "_SYSTEMD_CGROUP": "/init.scope"}

    def _of_unit(self, unit: str) -> dict[str, Any]:
        name = unit.partition(".")[0].partition("@")[0]
        where = {"_SYSTEMD_CGROUP": f"/system.slice/{unit}", "_SYSTEMD_SLICE": "system.slice"}
        who = {"_PID": self._main_pid(unit), "_UID": 0, "_GID": 0, "_COMM": name[:15], "SYSLOG_IDENTIFIER": name}
        run = {"_SYSTEMD_UNIT": unit, "_SYSTEMD_INVOCATION_ID": self._invocation(unit)}
        return {**who, **where, **run, "_TRANSPORT": "stdout"}

    def _of_container(self, container: str) -> dict[str, Any]:
        """Return the fields that CRI-O's monitor gives to what a container prints."""
        id = self._cgroup_of(container).rpartition("-")[2].removesuffix(".scope")
        namespace, pod, *name = container.split("/")
        unit = f"crio-conmon-{id}.scope"
        names = {
            "CONTAINER_ID_FULL": id,
            "CONTAINER_ID": id[:12],
            "CONTAINER_NAME": f"k8s_{(name or ['app'])[0]}_{pod}_{namespace}_0",
        }
        who = {"_PID": int(id[:4], 16) + 1000, "_UID": 0, "_GID": 0, "_COMM": "conmon", "SYSLOG_IDENTIFIER": "conmon"}
        where = {"_SYSTEMD_UNIT": unit, "_SYSTEMD_CGROUP": f"/system.slice/{unit}", "_SYSTEMD_SLICE": "system.slice"}
        return {**names, **who, **where, "_TRANSPORT": "journal"}

    def _main_pid(self, unit: str) -> int:
        return 2000 + int(sha256(f"{unit} {self._run(unit)}".encode()).hexdigest()[:4], 16)

    def _run(self, unit: str) -> int:
        return self._units[unit].run if unit in self._units else 1

    def _invocation(self, unit: str) -> str:
        return sha256(f"{self.name} {unit} {self._run(unit)}".encode()).hexdigest()[:32]

    # --- kernel ---------------------------------------------------------------------------------------------------------

    def kernel(self, seen: Mapping[str, Any], at: int, observed: int) -> list[UnifiedEvent]:
        """Return the event of what a probe saw."""
        kind = _PROBES.get(seen.get("probe", ""))
        if kind is None:
            raise ValueError(f"there is no probe {seen.get('probe')!r}: use one of {', '.join(_PROBES)}")
        known = {one.name for one in fields(kind)}
        facts = {name: value for name, value in seen.items() if name in known}
        if unknown := seen.keys() - known - {"probe", "unit", "container", *(_FLOW if "flow" in known else ())}:
            raise ValueError(f"the probe {seen['probe']} knows nothing of {', '.join(sorted(unknown))}")
        owner = self._owner(seen)
        if owner:
            facts.setdefault("cgroup", owner)
        for name in _CGROUPS:
            if isinstance(facts.get(name), str):
                facts[name] = CgroupFacts(path=facts[name])
        if "flow" in known:
            ends = {name: seen[name] for name in _FLOW if name in seen}
            facts["flow"] = Flow(**{"protocol": "tcp", **ends})
        facts["time_ns"] = at - BEGINNING + UPTIME
        return self._kernel.events([kind(**facts)], ObservedBy.LIBBPF, observed)

    def _owner(self, seen: Mapping[str, Any]) -> str:
        if "container" in seen:
            return self._cgroup_of(str(seen["container"]))
        return f"/system.slice/{seen['unit']}" if "unit" in seen else ""

    # --- systemd --------------------------------------------------------------------------------------------------------

    def systemd(self, step: SystemdStep, at: int, observed: int) -> list[UnifiedEvent]:
        """Return the events of one change of a unit, as the tracker sees them in the signals that systemd sends."""
        unit, stamp = self._units[step.unit], (at - BEGINNING + UPTIME) // 1000
        job = 0
        if step.job or step.job_result:
            self._jobs += 1
            job = self._jobs
        if step.job_result:
            transition = self._tracker.job_removed(job, step.unit, step.job_result)
        else:
            self._advance(unit, step, stamp)
            if type_of(step.unit) == "service":
                self._tracker.type_changed(step.unit, self._service_properties(unit, step))
            else:
                self._tracker.type_changed(step.unit, {"Result": unit.result})
            transition = self._tracker.unit_changed(step.unit, self._unit_properties(unit, step.unit, stamp, at, job))
        if transition is None:
            return []
        transition.job_type = step.job
        cgroup = f"/system.slice/{step.unit}"
        place = f"/lib/systemd/system/{step.unit}"
        return [self._maker.make(transition, Statics("loaded", place, "enabled", "system.slice", cgroup), observed)]

    def _advance(self, unit: _Unit, step: SystemdStep, stamp: int) -> None:
        """Change the properties as systemd does."""
        before, (unit.active, unit.sub) = (unit.active, unit.sub), _states(step.to)
        ended, was_ended = unit.active in _ENDED, before[0] in _ENDED
        starts = not ended and unit.sub not in RESTARTING and (was_ended or before[1] in RESTARTING)
        if starts:
            unit.run += 1
            unit.result, unit.code, unit.status, unit.started, unit.exited = "success", 0, 0, stamp - 200, 0
            unit.condition = stamp - 300
        if unit.active == "inactive" and before[1] in RESTARTING:
            unit.condition = stamp + 50  # conditions of the next run are tested before the signal is sent
        if step.result:
            unit.result = step.result
        if step.signal is not None or step.exit_code is not None:
            unit.code = _KILLED if step.signal is not None else _EXITED
            unit.status = step.signal if step.signal is not None else step.exit_code or 0
            unit.exited = stamp - 150
        if step.restarts is not None:
            unit.restarts = step.restarts
        if was_ended and not ended:
            unit.times["InactiveExit"] = stamp
        if unit.active == "active" and before[0] not in {"active", "reloading"}:
            unit.times["ActiveEnter"] = stamp
        if before[0] in {"active", "reloading"} and unit.active not in {"active", "reloading"}:
            unit.times["ActiveExit"] = stamp
        if ended and not was_ended:
            unit.times["InactiveEnter"] = stamp

    @staticmethod
    def _service_properties(unit: _Unit, step: SystemdStep) -> dict[str, Any]:
        return {
            "Result": unit.result,
            "MainPID": step.main_pid,
            "NRestarts": unit.restarts,
            "ExecMainCode": unit.code,
            "ExecMainStatus": unit.status,
            "ExecMainStartTimestampMonotonic": unit.started,
            "ExecMainExitTimestampMonotonic": unit.exited,
        }

    def _unit_properties(self, unit: _Unit, name: str, stamp: int, at: int, job: int) -> dict[str, Any]:
        marks = {f"{mark}TimestampMonotonic": value for mark, value in unit.times.items()}
        return {
            "ActiveState": unit.active,
            "SubState": unit.sub,
            "StateChangeTimestamp": at // 1000,
            "StateChangeTimestampMonotonic": stamp,
            **marks,
            "ConditionTimestampMonotonic": unit.condition,
            "InvocationID": bytes.fromhex(self._invocation(name)),
            "Job": [job, f"/org/freedesktop/systemd1/job/{job}" if job else "/"],
        }


def _states(written: str) -> tuple[str, str]:
    active, _, sub = written.partition("/")
    if not sub:
        raise ValueError(f"{written!r} is no state: write state and sub state, such as failed/failed")
    return active, sub
