"""The index of the cgroup tree: the path of a cgroup by its id, the inode number of its directory.

The kernel names cgroups by id in most of its events, and the cgroup of a process that was killed may be gone before anybody
looks. Hence paths are read ahead, and kept for a while after their cgroup has gone.

Ids are unique within one hierarchy only (kernfs numbers each by itself): with version 1, `memory` and `cpu` have different ids
for one path, and the same id for different paths. Whoever knows the controller that an id was taken from should name it.
Within a hierarchy and a boot, an id is not given twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tapio_otel.entities.bounded import Bounded

TOMBSTONE_SECONDS: Final = 300.0
"""How long the path of a cgroup that has gone is still known."""
TOMBSTONES: Final = 4096
"""How many of them at most, in each hierarchy."""
_PAUSE: Final = 0.25
"""Seconds between two looks at the tree that unknown ids cause."""
_SHARE: Final = 20
"""A look may cost at most one part in so many of the time: larger trees are looked at less often."""
_MISSING_SECONDS: Final = 5.0
"""How long an id that a look did not find causes none: it belongs to a cgroup that has gone, or cannot be seen from here."""
_MISSING: Final = 1024
_LEAF_LINKS: Final = 2
"""Links of a directory without directories below; file systems that do not count them say 1."""
_PREFERRED: Final = ("unified", "name=systemd", "memory", "cpu")
_NEVER: Final = float("inf")

Clock = Callable[[], float]


class Hierarchy:
    """Index one hierarchy, mounted at `directory`; `controllers` are the names it is found by."""

    def __init__(self, directory: Path, controllers: frozenset[str], clock: Clock = time.monotonic) -> None:
        self.directory = directory
        self.controllers = controllers
        self._clock = clock
        self._live: dict[int, str] = {}
        self._remembered: Bounded[int, tuple[str, float]] = Bounded(TOMBSTONES)
        self._missing: Bounded[int, float] = Bounded(_MISSING)
        self._next = -_NEVER

    def known(self, cgroup_id: int) -> str | None:
        """Return the path of a cgroup that is there, was there a while ago, or was told of."""
        path = self._live.get(cgroup_id)
        if path is not None:
            return path
        remembered = self._remembered.get(cgroup_id)
        return remembered[0] if remembered is not None and self._clock() < remembered[1] else None

    def find(self, cgroup_id: int) -> str | None:
        """Return the path of a cgroup, looking at the tree if it is unknown and that is due."""
        path = self.known(cgroup_id)
        if path is not None:
            return path
        now = self._clock()
        if now < self._next or now < self._missing.get(cgroup_id, -_NEVER):
            return None
        self.scan()
        path = self.known(cgroup_id)
        if path is None:
            self._missing.keep(cgroup_id, now + _MISSING_SECONDS)
        return path

    def learn(self, cgroup_id: int, path: str) -> None:
        """Remember a path until its cgroup has been seen to come and go."""
        if cgroup_id not in self._live:
            self._remembered.keep(cgroup_id, (path, _NEVER))

    def scan(self) -> None:
        """Look at the whole tree."""
        begun = self._clock()
        live = walk(str(self.directory))
        for cgroup_id in self._live.keys() - live.keys():
            self._remembered.keep(cgroup_id, (self._live[cgroup_id], begun + TOMBSTONE_SECONDS))
        for cgroup_id in [one for one, (_, until) in self._remembered.items() if until <= begun or one in live]:
            del self._remembered[cgroup_id]
        self._live = live
        self._next = _next_look(begun, self._clock())

    def __len__(self) -> int:
        return len(self._live) + len(self._remembered)


class CgroupIndex:
    """Index all hierarchies below `mount` (`/sys/fs/cgroup`). Creating it reads nothing."""

    def __init__(self, mount: Path, clock: Clock = time.monotonic) -> None:
        self._mount = mount
        self._clock = clock
        self._found: list[Hierarchy] = []
        self._told: Bounded[tuple[str, int], str] = Bounded(TOMBSTONES)
        self._next = -_NEVER

    @property
    def hierarchies(self) -> list[Hierarchy]:
        """Return the hierarchies, that which tells most of units and containers first."""
        if not self._found and self._clock() >= self._next:
            self._found = _hierarchies(self._mount, self._clock)
            self._next = -_NEVER if self._found else self._clock() + _PAUSE
        return self._found

    @property
    def unified(self) -> bool:
        """Tell whether there is version 2 only, so that each process has one path."""
        return len(self.hierarchies) == 1 and "unified" in self.hierarchies[0].controllers

    def path(self, cgroup_id: int, controller: str = "") -> str | None:
        """Return the path of a cgroup; without the controller its id is of, that of the first hierarchy that has the id."""
        told = self._told.get((controller, cgroup_id))
        if told is not None:
            return told
        hierarchies = self._of(controller)
        for hierarchy in hierarchies:
            if (path := hierarchy.known(cgroup_id)) is not None:
                return path
        return self._look(hierarchies, cgroup_id)

    def learn(self, cgroup_id: int, path: str, controller: str = "") -> None:
        """Take a path that the kernel told."""
        hierarchies = self._of(controller)
        if len(hierarchies) == 1:
            hierarchies[0].learn(cgroup_id, path)
        else:
            self._told.keep((controller, cgroup_id), path)

    def scan(self) -> None:
        """Look at all hierarchies again."""
        for hierarchy in self.hierarchies:
            hierarchy.scan()

    def _look(self, hierarchies: list[Hierarchy], cgroup_id: int) -> str | None:
        """Look at one hierarchy when that is due, at several when what that costs together allows it."""
        begun = self._clock()
        if len(hierarchies) > 1 and begun < self._next:
            return None
        path = next((found for one in hierarchies if (found := one.find(cgroup_id)) is not None), None)
        if len(hierarchies) > 1:
            self._next = _next_look(begun, self._clock())
        return path

    def _of(self, controller: str) -> list[Hierarchy]:
        """Return the hierarchies an id may be of: a controller that none of version 1 has is in the unified one."""
        hierarchies = self.hierarchies
        if not controller:
            return hierarchies
        having = [one for one in hierarchies if controller in one.controllers]
        return having or [one for one in hierarchies if "unified" in one.controllers]


def _next_look(begun: float, ended: float) -> float:
    return ended + max(_PAUSE, _SHARE * (ended - begun))


def walk(directory: str) -> dict[int, str]:
    """Return the paths of all cgroups below a mount point, by inode number. What goes meanwhile is left out.

    A cgroup's directory has as many links as directories below it and two more, so that those of leaves, the most, need not be
    read.
    """
    try:
        found = {os.stat(directory).st_ino: "/"}  # noqa: PTH116 - thousands of directories in milliseconds
    except OSError:
        return {}
    pending = [(directory, "")]
    while pending:
        above, path = pending.pop()
        for entry, below in _directories(above, path):
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            found[status.st_ino] = below if below.isascii() else _repaired(below)
            if status.st_nlink != _LEAF_LINKS:
                pending.append((entry.path, below))
    return found


def _directories(directory: str, path: str) -> list[tuple[os.DirEntry[str], str]]:
    try:
        with os.scandir(directory) as entries:
            return [(entry, f"{path}/{entry.name}") for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _repaired(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _hierarchies(mount: Path, clock: Clock) -> list[Hierarchy]:
    if (mount / "cgroup.controllers").exists():
        return [Hierarchy(mount, frozenset(("unified",)), clock)]
    try:
        mounted = [one for one in mount.iterdir() if (one / "cgroup.procs").exists() and not one.is_symlink()]
    except OSError:
        return []
    found = [Hierarchy(one, _controllers(one.name), clock) for one in mounted]
    return sorted(found, key=_preference)


def _controllers(name: str) -> frozenset[str]:
    """Return the controllers of a hierarchy by the name of its directory, as in `cpu,cpuacct`."""
    return frozenset(("name=systemd",)) if name == "systemd" else frozenset(name.split(","))


def _preference(hierarchy: Hierarchy) -> tuple[int, str]:
    ranks = [rank for rank, name in enumerate(_PREFERRED) if name in hierarchy.controllers]
    return min(ranks, default=len(_PREFERRED)), str(hierarchy.directory)
