"""Facts about processes that the journal leaves out: when a process began, and which entries this agent wrote itself."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROC: Final = Path("/proc")
_INITIAL_PID_NAMESPACE: Final = "pid:[4026531836]"  # PROC_PID_INIT_INO, fixed in the kernel's include/linux/proc_ns.h
_CONTAINER_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def boot_id() -> str:
    """Return the id of the running boot as the journal writes it, or an empty text."""
    return _read(PROC / "sys/kernel/random/boot_id").replace("-", "")


def machine_id() -> str:
    """Return this machine's id, or an empty text."""
    return _read(Path("/etc/machine-id"))


class ProcessStarts:
    """Find out when the writer of an entry began, while it still lives.

    The start is counted in clock ticks since boot (field 22 of proc_pid_stat(5)), which with the pid identifies a process.
    The answer is empty for a process of another boot, one that has ended, or a number that has since gone to another process:
    then its command differs, or it began after the entry was written.
    """

    def __init__(self) -> None:
        self._boot = boot_id().encode()
        self._boot_time = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def find(self, record: Mapping[str, Any], realtime: int) -> bytes:
        """Return the start in ticks as decimal digits, or empty bytes; `realtime` is the entry's time in microseconds."""
        pid, comm = record.get("_PID"), record.get("_COMM")
        if not isinstance(pid, bytes) or not pid.isdigit() or record.get("_BOOT_ID") != self._boot:
            return b""
        try:
            stat = (PROC / pid.decode() / "stat").read_bytes()
        except OSError:
            return b""
        name, _, rest = stat.partition(b" (")[2].rpartition(b") ")
        ticks = rest.split()[19]
        began = self._boot_time + int(ticks) / _CLOCK_TICKS
        return ticks if name == comm and began <= realtime / 1e6 + 1 else b""


@dataclass(frozen=True, slots=True)
class OwnEntries:
    """Recognise what this agent wrote to the journal.

    As a systemd service: everything of its unit on this machine, whichever run wrote it. In a container whose output goes to
    the journal: everything of that container. Else what this very process wrote. Pids of different namespaces are not
    comparable, hence the program must be the same too.
    """

    pid: bytes
    boot: bytes
    machine: bytes
    exe: bytes
    unit: bytes = b""
    container: bytes = b""

    @classmethod
    def of_this_process(cls) -> OwnEntries:
        """Find out how this process appears in the journal."""
        try:
            exe = str((PROC / "self/exe").readlink())
        except OSError:
            exe = ""
        return cls(
            pid=str(os.getpid()).encode(),
            boot=boot_id().encode(),
            machine=machine_id().encode(),
            exe=os.fsencode(exe),
            unit=_own_unit().encode(),
            container=_own_container().encode(),
        )

    def wrote(self, record: Mapping[str, Any]) -> bool:
        """Tell whether the entries of an origin are the agent's own."""
        if self.container and record.get("CONTAINER_ID_FULL") == self.container:
            return True
        if record.get("_MACHINE_ID") != self.machine and self.machine:
            return False
        if self.unit and record.get("_SYSTEMD_UNIT") == self.unit:
            return True
        return (
            record.get("_PID") == self.pid and record.get("_BOOT_ID") == self.boot and record.get("_EXE", self.exe) == self.exe
        )


def _own_unit() -> str:
    """Return the service that this process is the main process of; a shell's service or session does not count."""
    if os.environ.get("SYSTEMD_EXEC_PID") not in {str(os.getpid()), str(os.getppid())}:
        return ""
    for line in _read(PROC / "self/cgroup").splitlines():
        _number, controllers, path = line.split(":", 2)
        name = path.rsplit("/", 1)[-1]
        if controllers in {"", "name=systemd"} and name.endswith(".service"):
            return name
    return ""


def _own_container() -> str:
    """Return the id of the container that this process runs in, if it has a PID namespace of its own."""
    try:
        namespace = str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
    if namespace == _INITIAL_PID_NAMESPACE:
        return ""
    for name in ("cgroup", "mountinfo"):
        found = _CONTAINER_ID.findall(_read(PROC / "self" / name))
        if found:
            return str(found[-1]) if name == "cgroup" else str(found[0])
    return ""
