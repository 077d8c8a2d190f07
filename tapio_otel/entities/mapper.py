"""The mapper: which container, pod, unit or process stands behind a cgroup or a pid."""

from __future__ import annotations

import socket
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

from tapio_otel.entities.bounded import Bounded
from tapio_otel.entities.cgroup_index import CgroupIndex
from tapio_otel.entities.cgroup_path import ROOT_SLICE, Workload, parse_cgroup_path
from tapio_otel.entities.process import read_process
from tapio_otel.entity import EntityReference, EntityType, this_node

_KEPT: Final = 8192
"""How many entities of one type, and paths, are kept."""
_SHORT_ID: Final = 12
"""How many digits of its id stand for a container without a name, as runtimes show it."""


class WorkloadNames(Protocol):
    """Know what Kubernetes or a container runtime calls things; `None` for what it does not know. Must answer at once."""

    @property
    def version(self) -> int:
        """Return a number that goes up whenever an answer may be another than before."""

    def container(self, container_id: str) -> EntityReference | None:
        """Return the container with its whole lineage."""

    def pod(self, uid: str) -> EntityReference | None:
        """Return the pod with its lineage."""


class FirstKnown:
    """Ask several that know names, the first of them first: the API before the container runtime, say."""

    def __init__(self, *names: WorkloadNames) -> None:
        self._names = names

    @property
    def version(self) -> int:
        """Return a number that goes up whenever an answer may be another than before."""
        return sum([one.version for one in self._names])

    def container(self, container_id: str) -> EntityReference | None:
        """Return the container with its whole lineage."""
        return next((found for one in self._names if (found := one.container(container_id)) is not None), None)

    def pod(self, uid: str) -> EntityReference | None:
        """Return the pod with its lineage."""
        return next((found for one in self._names if (found := one.pod(uid)) is not None), None)


class EntityMapper:
    """Map cgroup ids, cgroup paths, pids and units to entities. One for the whole agent, shared by its components.

    `root_path` is where the host's root is mounted (`/` but in a container). Creating it reads nothing. Not thread-safe: for
    the event loop's thread. What is equal is the same object, as far as it is still kept.
    """

    def __init__(self, root_path: Path = Path("/")) -> None:
        self.root_path = root_path
        self._names: WorkloadNames | None = None
        self._index = CgroupIndex(root_path / "sys/fs/cgroup")
        self._proc = str(root_path / "proc")
        self._paths: Bounded[str, tuple[int, EntityReference | None]] = Bounded(_KEPT)
        """What paths led to, and the version of the names at that time."""
        self._seen: Bounded[tuple[int, int], str] = Bounded(_KEPT)
        """Paths of processes that were seen in containers of pods, by pid and start."""
        self._pods: Bounded[str, EntityReference] = Bounded(_KEPT)
        self._containers: Bounded[str, EntityReference] = Bounded(_KEPT)
        self._units: Bounded[str, EntityReference] = Bounded(_KEPT)
        self._processes: Bounded[str, EntityReference] = Bounded(_KEPT)

    @property
    def names(self) -> WorkloadNames | None:
        """Return who knows the names of pods and containers; whoever does sets it."""
        return self._names

    @names.setter
    def names(self, names: WorkloadNames | None) -> None:
        self._names = names
        self._paths.clear()

    @cached_property
    def node(self) -> EntityReference:
        """Return the node itself: below another `root_path` what that is called, not the container this runs in."""
        return _node_at(self.root_path)

    def cgroup_path(self, cgroup_id: int, controller: str = "") -> str | None:
        """Return the path of a cgroup (of any hierarchy, below its mount point, `/` first) by its id, its directory's inode.

        An unknown id makes the index look at the cgroup tree again, but not more than some times a second; paths of cgroups
        that have gone are still known for a while. `controller` (`memory`, `cpu`, `unified`…) says which hierarchy the id is
        of, as those of version 1 number their cgroups each by itself; without it, the unified one is preferred.
        """
        return self._index.path(cgroup_id, controller)

    def learn_cgroup(self, cgroup_id: int, path: str, controller: str = "") -> None:
        """Take a path that the kernel told, before or after the cgroup can be found in the tree."""
        self._index.learn(cgroup_id, path, controller)

    def refresh(self) -> None:
        """Look at the cgroup tree again: keeps the index warm, and lets go of what went long ago."""
        self._index.scan()

    def of_cgroup_path(self, path: str) -> EntityReference | None:
        """Return the container (parent: pod, parent: node), pod or unit of a path; None for the root and bare slices."""
        version = self._names.version if self._names is not None else 0
        kept = self._paths.get(path)
        if kept is not None and kept[0] == version:
            return kept[1]
        return self._paths.keep(path, (version, self._of_workload(parse_cgroup_path(path))))[1]

    def of_pid(self, pid: int, start_ticks: int | None = None, comm: str = "", cgroup_path: str = "") -> EntityReference:
        """Return what a process belongs to: container or unit by `cgroup_path` or /proc, else the process itself.

        A process's identity is pid and start; `start_ticks` is field 22 of proc_pid_stat(5). Where /proc shows another start,
        the pid has been given to another process, and /proc is not asked. A process that has gone, and was seen in a container
        of a pod when it was asked for before, is still found there.
        """
        told = self.of_cgroup_path(cgroup_path) if cgroup_path else None
        if told is not None and (told.type != EntityType.SYSTEMD_UNIT or self._index.unified):
            return told
        facts = read_process(pid, self._proc)
        if facts is None or start_ticks not in {None, facts.start_ticks}:
            return self._remembered(pid, start_ticks) or told or self._process(pid, start_ticks, comm)
        paths = (cgroup_path, *facts.cgroup_paths)
        best = max(paths, key=lambda path: parse_cgroup_path(path).tells)  # the first of those that tell as much
        workload = parse_cgroup_path(best)
        if workload.pod_uid and workload.container_id:
            self._seen.keep((pid, facts.start_ticks), best)
        return self.of_cgroup_path(best) or self._process(pid, facts.start_ticks, comm or facts.comm)

    def _remembered(self, pid: int, start_ticks: int | None) -> EntityReference | None:
        path = self._seen.get((pid, start_ticks)) if start_ticks is not None else None
        return self.of_cgroup_path(path) if path is not None else None

    def of_unit(self, unit: str, control_group: str = "", user: str = "") -> EntityReference:
        """Return the entity of a systemd unit; the container and pod of a scope or slice of theirs is its parent.

        `control_group` is the unit's cgroup path, as systemd tells it. `user` is the id of the user whose service manager has
        the unit, empty for the system's.
        """
        workload = parse_cgroup_path(control_group or unit)
        own = unit in {workload.unit, workload.user_unit}
        slice_name = workload.slice if own else _slice_above(control_group)
        system = ""
        if user:
            system = workload.unit if workload.user_unit else f"user@{user}.service"
        elif unit == workload.user_unit:
            system = workload.unit
        return self._unit(unit, slice_name, self._owner(workload), system)

    def _of_workload(self, workload: Workload) -> EntityReference | None:
        owner = self._owner(workload)
        if owner is not None or not workload.unit:
            return owner
        if workload.user_unit:
            return self._unit(workload.user_unit, workload.slice, None, workload.unit)
        return self._unit(workload.unit, workload.slice)

    def _owner(self, workload: Workload) -> EntityReference | None:
        """Return the container or else the pod."""
        if workload.container_id:
            if self._names is not None and (known := self._names.container(workload.container_id)) is not None:
                return known
            return self._container(workload, self._pod(workload) if workload.pod_uid else None)
        return self._pod(workload) if workload.pod_uid else None

    def _pod(self, workload: Workload) -> EntityReference:
        uid, qos = workload.pod_uid, workload.qos
        if self._names is not None and (known := self._names.pod(uid)) is not None:
            return known
        kept = self._pods.get(uid)
        if kept is not None and qos in {"", kept.attributes.get("qos")}:
            return kept
        made = EntityReference("pod", uid, uid=uid, parent=self.node, attributes={"qos": qos} if qos else {})
        return self._pods.keep(uid, made)

    def _container(self, workload: Workload, pod: EntityReference | None) -> EntityReference:
        uid, runtime = workload.container_id, workload.runtime
        kept = self._containers.get(uid)
        if kept is not None and (pod is None or kept.parent is pod) and runtime in {"", kept.attributes.get("runtime")}:
            return kept
        parent, attributes = pod or self.node, {"runtime": runtime} if runtime else {}
        return self._containers.keep(uid, EntityReference("container", uid[:_SHORT_ID], "", uid, parent, attributes))

    def _unit(self, name: str, slice_name: str, owner: EntityReference | None = None, system: str = "") -> EntityReference:
        """Return a unit of the system, or one of the user whose service manager is `system`; parent: its owner, else that."""
        uid = f"{system}/{name}" if system else name
        kept = self._units.get(uid)
        parent = owner or (self._unit(system, "") if system else self.node)
        if kept is not None and kept.parent is parent and slice_name in {"", kept.attributes.get("slice")}:
            return kept
        attributes = {"slice": slice_name} if slice_name else {}
        return self._units.keep(uid, EntityReference("systemd_unit", name, "", uid, parent, attributes))

    def _process(self, pid: int, start_ticks: int | None, comm: str) -> EntityReference:
        uid = f"process-{pid}" if start_ticks is None else f"process-{pid}-{start_ticks}"
        name = comm or f"pid-{pid}"
        kept = self._processes.get(uid)
        if kept is not None and kept.name == name:
            return kept
        return self._processes.keep(uid, EntityReference("process", name, "", uid, self.node))


def _slice_above(control_group: str) -> str:
    """Return the slice that a unit's cgroup lies directly in, or an empty text."""
    above = control_group.rstrip("/").rpartition("/")[0]
    name = above.rpartition("/")[2]
    if name.endswith(".slice"):
        return name
    return ROOT_SLICE if control_group.strip("/") and not above else ""


def _node_at(root_path: Path) -> EntityReference:
    machine = "" if root_path == Path("/") else _first_line(root_path / "etc/machine-id")
    if not machine:
        return this_node()
    return EntityReference("node", _first_line(root_path / "etc/hostname") or socket.gethostname(), uid=machine)


def _first_line(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
