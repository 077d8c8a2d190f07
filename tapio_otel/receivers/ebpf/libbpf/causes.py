"""Why the kernel or libbpf refused, in one line of cause and one of remedy, made of error number, libbpf's words and /proc."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tapio_otel.receivers.ebpf.feed import ProbeUnavailable
from tapio_otel.receivers.ebpf.libbpf.library import error_text

BTF: Final = Path("/sys/kernel/btf/vmlinux")
NEEDED: Final = {"CAP_BPF": 39, "CAP_PERFMON": 38}
CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, **NEEDED}
FIRST_WITH_CAP_BPF: Final = (5, 8)  # Linux commit 2c78ee898d8f
FIRST_WITHOUT_MEMLOCK: Final = (5, 11)  # BPF memory counts against the cgroup since Linux commit d5299b67dd59

_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_PROGRAM = re.compile(r"prog '([^']+)': (?!-- )")
_PREFIX = re.compile(r"^libbpf: (prog '[^']+': )?")
_VERIFIER_LOG = re.compile(r"-- (BEGIN|END) PROG LOAD LOG --")
_CONSEQUENCE = re.compile(
    r"failed to (load|prepare load attributes)\b|BPF program load failed|try raising 'ulimit -l'|BTF load"
)
_NO_BTF = re.compile(r"(failed to find valid kernel BTF|Error loading vmlinux BTF|kernel BTF is missing)", re.IGNORECASE)
_VERIFIER_TALK = re.compile(r"^(processed \d+ insns|verification time|stack depth|mark_precise|$)")
_LONGEST_LINE = 240

_GRANT = (
    "Give the agent CAP_BPF and CAP_PERFMON (systemd: AmbientCapabilities=CAP_BPF CAP_PERFMON; "
    "Kubernetes: securityContext.capabilities.add: [BPF, PERFMON])"
)
_REPORT = "Report this line with what `uname -r` prints; probes.<name>.enabled: false silences it"


class ProgramRefused(ProbeUnavailable):
    """Report that one program of an object cannot be loaded or attached; the object's others may be, without it."""

    def __init__(self, cause: str, remedy: str, program: str) -> None:
        super().__init__(cause, remedy)
        self.program = program


def missing_btf() -> ProbeUnavailable:
    """Return the report that the kernel tells no BTF."""
    return ProbeUnavailable(
        f"the kernel tells no types: {BTF} is missing or empty",
        "Use a kernel with CONFIG_DEBUG_INFO_BTF=y and make /sys visible to the agent",
    )


def open_failure(path: Path, number: int, lines: Sequence[str]) -> ProbeUnavailable:
    """Return why an object file cannot be opened."""
    said = _last_words(lines)
    if number == errno.ENOENT:
        return ProbeUnavailable(f"the BPF object {path} is missing", "Build it with `make bpf`, or install the wheel")
    if number in {errno.EACCES, errno.EPERM}:
        return ProbeUnavailable(f"the BPF object {path} cannot be read: {said or _text(number)}", "Check its access rights")
    cause = f"{path} is no BPF object that libbpf can read: {_text(number)}{_also(said)}"
    return ProbeUnavailable(cause, "Build it anew with `make bpf`, or reinstall the package")


def load_failure(number: int, lines: Sequence[str]) -> ProbeUnavailable:
    """Return why an object cannot be loaded, as ProgramRefused where it is one program's fault."""
    program = _refused_program(lines)
    if number == errno.EPERM and (report := missing_rights() or (_seccomp() if program is None else None)):
        return report
    if any(_NO_BTF.search(line) for line in lines):
        return missing_btf()
    if number == errno.ENOMEM:
        cause = f"there is not memory enough to load the BPF programs{_also(_last_words(lines))}"
        return ProbeUnavailable(cause, "Raise the memory limit of the agent's cgroup")
    if program is None:
        cause = f"the BPF programs cannot be loaded: {_text(number)}{_also(_last_words(lines))}"
        return ProbeUnavailable(cause, _REPORT)
    return program_failure(program, "loaded", number, lines)


def program_failure(program: str, what: str, number: int, lines: Sequence[str]) -> ProgramRefused:
    """Return why one program cannot be loaded or attached (`what`)."""
    said = _verifier_words(lines) or _last_words(lines)
    cause = f"the program {program!r} cannot be {what}: {_text(number)}{_also(said)}"
    return ProgramRefused(cause, _program_remedy(number), program)


def _program_remedy(number: int) -> str:
    if number == errno.EPERM:
        return "A policy of the kernel forbids this kind of program"
    if number in {errno.ENOENT, errno.ESRCH}:
        return "This kernel lacks what the program looks at"
    return _REPORT


def missing_rights() -> ProbeUnavailable | None:
    """Return what stands against bpf(2) for this process as a whole, None if nothing that /proc tells."""
    held = held_capabilities(_status())
    lacking = lacking_capabilities(held)
    if lacking:
        holds = f"it has {', '.join(sorted(held))}" if held else "it has none that bear on BPF"
        return ProbeUnavailable(f"the kernel refuses BPF (EPERM): this process lacks {' and '.join(lacking)}; {holds}", _GRANT)
    if _is_in_user_namespace():
        cause = "the kernel refuses BPF (EPERM): this process is in a user namespace, whose capabilities do not count"
        return ProbeUnavailable(cause, "Run the agent in the machine's own user namespace")
    return _lockdown() or _memlock()


def lacking_capabilities(held: set[str]) -> list[str]:
    """Return the capabilities without which this kernel loads none of our programs, and that are not in `held`."""
    if "CAP_SYS_ADMIN" in held:
        return []
    if kernel_version() < FIRST_WITH_CAP_BPF:
        return ["CAP_SYS_ADMIN"]
    return [name for name in NEEDED if name not in held]


def held_capabilities(status: dict[str, str]) -> set[str]:
    """Return which of the capabilities that bear on BPF are in effect, by the fields of /proc/self/status; all without it."""
    effective = int(status.get("CapEff", "-1"), 16)
    return {name for name, bit in CAPABILITIES.items() if effective >> bit & 1}


def kernel_version() -> tuple[int, int]:
    """Return the running kernel's major and minor version."""
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    return int(major), int(minor)


def raise_memlock() -> None:
    """Raise the limit of locked memory as far as this process may, on kernels that count BPF maps against it.

    libbpf itself asks for no limit, which takes CAP_SYS_RESOURCE; up to the hard limit everybody may go.
    """
    if kernel_version() < FIRST_WITHOUT_MEMLOCK:
        _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def _memlock() -> ProbeUnavailable | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if kernel_version() >= FIRST_WITHOUT_MEMLOCK or limit == resource.RLIM_INFINITY:
        return None
    cause = f"the kernel refuses BPF (EPERM): it counts maps as locked memory, and the limit is {limit} bytes"
    return ProbeUnavailable(cause, "Raise it (systemd: LimitMEMLOCK=infinity) or give the agent CAP_SYS_RESOURCE")


def _lockdown() -> ProbeUnavailable | None:
    try:
        mode = _LOCKDOWN.read_text()
    except OSError:
        return None
    if "[confidentiality]" not in mode:
        return None
    cause = "the kernel refuses BPF (EPERM): it is locked down (confidentiality), so no program may read its memory"
    return ProbeUnavailable(cause, "Boot with lockdown=integrity or without lockdown")


def _seccomp() -> ProbeUnavailable | None:
    if _status().get("Seccomp", "0") == "0":
        return None
    cause = "the kernel refuses BPF (EPERM) though this process has the capabilities: it runs under a seccomp filter"
    return ProbeUnavailable(cause, "Allow bpf(2) in the filter (Kubernetes: seccompProfile; systemd: SystemCallFilter=bpf)")


def _is_in_user_namespace() -> bool:
    try:
        return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _status() -> dict[str, str]:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _refused_program(lines: Sequence[str]) -> str | None:
    """Return the program that libbpf named last: it stops at the first that fails."""
    named = [match[1] for line in lines if (match := _PROGRAM.search(line))]
    return named[-1] if named else None


def _verifier_words(lines: Sequence[str]) -> str:
    """Return the end of the verifier's log: the line of source it was at, and why it stopped."""
    marks = [index for index, line in enumerate(lines) if _VERIFIER_LOG.search(line)]
    if not marks:
        return ""
    log = list(lines)[marks[0] + 1 if len(marks) > 1 else 0 : marks[-1]]
    told = [line.strip() for line in log if not _VERIFIER_TALK.match(line.strip())]
    source = [line for line in told[:-1] if line.startswith(";")][-1:]
    return " / ".join(line[:_LONGEST_LINE] for line in source + told[-2:] if line)


def _last_words(lines: Sequence[str]) -> str:
    """Return libbpf's last complaints but for those that only tell what else failed for it."""
    said = [_PREFIX.sub("", line).strip()[:_LONGEST_LINE] for line in lines if line.startswith("libbpf: ")]
    causes = [line for line in said if not _CONSEQUENCE.search(line)]
    return " / ".join(causes[-2:])


def _text(number: int) -> str:
    return "not found" if number == errno.ESRCH else error_text(number)  # libbpf gives ESRCH for types and symbols


def _also(said: str) -> str:
    return f" ({said})" if said else ""
