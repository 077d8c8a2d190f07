"""The mapper: which container, pod, unit or process stands behind a cgroup or a pid."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tapio_otel.entity import EntityReference


class WorkloadNames(Protocol):
    """Know what Kubernetes or a container runtime calls things; `None` for what it does not know. Must answer at once."""

    def container(self, container_id: str) -> EntityReference | None:
        """Return the container with its whole lineage."""

    def pod(self, uid: str) -> EntityReference | None:
        """Return the pod with its lineage."""


class EntityMapper:
    """Map cgroup ids, cgroup paths, pids and units to entities. One for the whole agent, shared by its components.

    `root_path` is where the host's root is mounted (`/` but in a container). Creating it reads nothing. Not thread-safe: for
    the event loop's thread.
    """

    def __init__(self, root_path: Path = Path("/")) -> None:
        self.root_path = root_path
        self.names: WorkloadNames | None = None
        """Whoever knows names sets this (the Kubernetes receiver)."""

    @property
    def node(self) -> EntityReference:
        """Return the node itself."""
        raise NotImplementedError

    def cgroup_path(self, cgroup_id: int) -> str | None:
        """Return the path of a cgroup (of any hierarchy, below its mount point, `/` first) by its id, its directory's inode.

        An unknown id makes the index look at the cgroup tree again, but not more than some times a second; paths of cgroups
        that have gone are still known for a while.
        """
        raise NotImplementedError

    def learn_cgroup(self, cgroup_id: int, path: str) -> None:
        """Take a path that the kernel told, before or after the cgroup can be found in the tree."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Look at the cgroup tree again: keeps the index warm, and lets go of what went long ago."""
        raise NotImplementedError

    def of_cgroup_path(self, path: str) -> EntityReference | None:
        """Return the container (parent: pod, parent: node) or unit a path belongs to; None for the root and bare slices."""
        raise NotImplementedError

    def of_pid(self, pid: int, start_ticks: int | None = None, comm: str = "", cgroup_path: str = "") -> EntityReference:
        """Return what a process belongs to: container or unit by `cgroup_path` or /proc, else the process itself.

        A process's identity is pid and start; `start_ticks` is field 22 of proc_pid_stat(5). Where /proc shows another start,
        the pid has been given to another process, and /proc is not asked.
        """
        raise NotImplementedError

    def of_unit(self, unit: str, control_group: str = "", user: str = "") -> EntityReference:
        """Return the entity of a systemd unit; the container and pod of a scope or slice of theirs is its parent."""
        raise NotImplementedError
