"""Cgroup paths: which container, pod, unit and slice a path of the cgroup tree belongs to.

Container runtimes and the kubelet name cgroups in some sixteen ways (two drivers, two versions of cgroups, private cgroup
namespaces, nodes that are containers themselves); systemd names those of its units. A path is read once, component by
component, in time proportional to its length, whoever made it up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

ROOT_SLICE: Final = "-.slice"
_BURSTABLE, _BESTEFFORT, _GUARANTEED = "burstable", "besteffort", "guaranteed"
_KUBEPODS: Final = "kubepods"
_ID_LENGTH: Final = 64
_ID = re.compile(r"[0-9a-f]{64}")
_POD_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\@-]+)?\.(?:service|scope|socket|mount|swap)")
_SLICE = re.compile(r"[A-Za-z0-9:_.\\-]+\.slice")
_USER_MANAGER = re.compile(r"user@[0-9]+\.service")
_LONGEST_NAME: Final = 255

_RUNTIMES: Final = {
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "docker": "docker",
    "libpod": "podman",
    "libpod-payload": "podman",  # below the service that started it: podman run --cgroups=split, Quadlet
}
"""Whose containers have these prefixes. What only watches a container (`crio-conmon-<id>.scope`) is no container."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Say whose cgroup it is; empty where the path does not tell.

    `container_id` is the runtime's whole id (64 hex digits), `runtime` containerd, cri-o, docker or podman, `pod_uid` the
    pod's UID with hyphens (a static pod's has 32 hex digits and none), `qos` guaranteed, burstable or besteffort. `unit` is the
    nearest unit of the system's service manager (`user@1000.service` for all that a user runs), `user_unit` the nearest of a
    user's own, `slice` the nearest slice above the unit, or without a unit the nearest of the path.
    """

    container_id: str = ""
    runtime: str = ""
    pod_uid: str = ""
    qos: str = ""
    unit: str = ""
    user_unit: str = ""
    slice: str = ""

    @property
    def tells(self) -> int:
        """Rank how much is known: a container 3, a pod 2, a unit 1, else 0."""
        return 3 if self.container_id else 2 if self.pod_uid else 1 if self.unit else 0


@lru_cache(maxsize=4096)
def parse_cgroup_path(path: str) -> Workload:
    """Return what a cgroup path says, in any form that container runtimes and systemd give it."""
    names = [name for name in path.split("/") if name]
    container, runtime, pod, qos = _container_and_pod(names)
    unit, user_unit, nearest = _units([name for name in names if name not in {".", ".."}])
    if unit and not nearest and path.startswith("/") and ".." not in names:
        nearest = ROOT_SLICE
    return Workload(container, runtime, pod, qos, unit, user_unit, nearest)


def _container_and_pod(names: list[str]) -> tuple[str, str, str, str]:
    """Return container id, runtime, pod UID and QoS of the innermost: a node may be a container, with pods inside."""
    container = runtime = pod = qos = above = ""
    for name in names:
        if found := _pod(name.partition(":")[0], above):
            pod, qos = found
            container = runtime = ""
        if found := _container(name, above):
            container, runtime = found
        above = name
    return container, runtime, pod, qos


def _pod(name: str, above: str) -> tuple[str, str] | None:
    """Return UID and QoS by the name of a pod's own cgroup: `pod<uid>`, or `kubepods-burstable-pod<uid with _>.slice`."""
    if name.startswith("pod") and _POD_UID.fullmatch(name, 3):
        known = above in {"", "..", _BURSTABLE, _BESTEFFORT} or _ends_in_kubepods(above)
        return (name[3:], _qos(above)) if known else None
    head, pod, uid = name.removesuffix(".slice").rpartition("-pod")
    if not pod or not name.endswith(".slice") or "-" in uid or not _POD_UID.fullmatch(uid := uid.replace("_", "-")):
        return None
    prefix, _, level = head.rpartition("-")
    if level in {_BURSTABLE, _BESTEFFORT}:
        return (uid, level) if _ends_in_kubepods(prefix) else None
    return (uid, _GUARANTEED) if _ends_in_kubepods(head) else None


def _qos(above: str) -> str:
    if above in {_BURSTABLE, _BESTEFFORT}:
        return above
    return _GUARANTEED if _ends_in_kubepods(above) else ""


def _ends_in_kubepods(name: str) -> bool:
    """Tell whether a name is the kubelet's cgroup of all pods, with or without the cgroup root it was configured with."""
    return name == _KUBEPODS or name.endswith(f"-{_KUBEPODS}")


def _container(name: str, above: str) -> tuple[str, str] | None:
    """Return id and runtime by the name of a container's cgroup: `<id>`, `<prefix>-<id>[.scope]`, `<slice>:<prefix>:<id>`."""
    name = name.removesuffix(".scope")
    prefix, digits = name[:-_ID_LENGTH], name[-_ID_LENGTH:]
    if not _ID.fullmatch(digits):
        return None
    if not prefix:  # below libpod_parent, podman's pods have such names
        return None if above == "libpod_parent" else (digits, "docker" if above == "docker" else "")
    if prefix.endswith(":"):
        kind = prefix[:-1].rpartition(":")[2]
        return None if kind.endswith("conmon") else (digits, _RUNTIMES.get(kind, ""))
    runtime = _RUNTIMES.get(prefix[:-1]) if prefix.endswith("-") else None
    return (digits, runtime) if runtime else None


def _units(names: list[str]) -> tuple[str, str, str]:
    """Return unit, a user's unit and the nearest slice, by systemd's own rule: the first name that is no slice, if a unit."""
    at, nearest = _skip_slices(names, 0)
    unit = _unit(names[at]) if at < len(names) else ""
    if not _USER_MANAGER.fullmatch(unit):
        return unit, "", nearest
    at, users = _skip_slices(names, at + 1)
    user_unit = _unit(names[at]) if at < len(names) else ""
    return unit, user_unit, (users or ROOT_SLICE) if user_unit else nearest


def _skip_slices(names: list[str], at: int) -> tuple[int, str]:
    nearest = ""
    while at < len(names) and len(names[at]) <= _LONGEST_NAME and _SLICE.fullmatch(name := _unescape(names[at])):
        at, nearest = at + 1, name
    return at, nearest


def _unit(name: str) -> str:
    name = _unescape(name)
    return name if len(name) <= _LONGEST_NAME and _UNIT.fullmatch(name) else ""


def _unescape(name: str) -> str:
    """Take away the `_` that systemd puts before names which the kernel could mistake for a control file (`_cpu.service`)."""
    return name[1:] if name.startswith("_") else name
