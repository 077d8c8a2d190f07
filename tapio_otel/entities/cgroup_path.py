"""Cgroup paths: which container, pod, unit and slice a path of the cgroup tree belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Workload:
    """Say whose cgroup it is; empty where the path does not tell.

    `container_id` is the runtime's whole id (64 hex digits), `runtime` containerd, cri-o, docker or podman, `pod_uid` the
    pod's UID with hyphens (a static pod's has 32 hex digits and none), `qos` guaranteed, burstable or besteffort. `unit` is the
    nearest unit of the system's service manager (`user@1000.service` for all that a user runs), `user_unit` the nearest of a
    user's own, `slice` the nearest slice above the unit.
    """

    container_id: str = ""
    runtime: str = ""
    pod_uid: str = ""
    qos: str = ""
    unit: str = ""
    user_unit: str = ""
    slice: str = ""


@lru_cache(maxsize=4096)
def parse_cgroup_path(path: str) -> Workload:
    """Return what a cgroup path says, in any form that container runtimes and systemd give it."""
    raise NotImplementedError
