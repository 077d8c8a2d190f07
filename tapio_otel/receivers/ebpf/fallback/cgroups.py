"""The cgroup tree as files: which hierarchy has a controller, which cgroups there are, and what their files say."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tapio_otel.receivers.ebpf.observations import CgroupFacts

GONE: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.ESTALE})
"""How the kernel says that a cgroup has been removed."""
MOST_CGROUPS: Final = 20_000
PAGE: Final = 8192


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Say where a controller's cgroups are mounted, and whether it is the unified hierarchy (cgroup v2)."""

    base: str
    unified: bool


def find_hierarchy(root: Path, controller: str) -> Hierarchy | None:
    """Return the hierarchy below the host's root that has a controller (`memory`, `cpu`, `cpuacct`); None where none has."""
    top = root / "sys/fs/cgroup"
    for base in (top, top / "unified"):
        if controller.encode() in read_or_empty(f"{base}/cgroup.controllers").split():
            return Hierarchy(str(base), True)
    if (top / "cgroup.controllers").exists():
        return None
    with contextlib.suppress(OSError):
        for mounted in sorted(top.iterdir()):
            if controller in mounted.name.split(",") and mounted.is_dir():
                return Hierarchy(str(mounted), False)
    return None


def read_or_empty(path: str) -> bytes:
    """Return a small file's content; nothing where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, PAGE)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def parse_counts(content: bytes) -> dict[str, int]:
    """Return the lines `name number` of files such as cpu.stat and memory.events; other lines are left out."""
    counts = {}
    for line in content.split(b"\n"):
        name, _, number = line.partition(b" ")
        value = parse_number(number)
        if value is not None:
            counts[name.decode("ascii", "replace")] = value
    return counts


def parse_number(text: bytes) -> int | None:
    """Return an unsigned decimal number of at most 64 bits; None for anything else, such as `max` and `-1`."""
    text = text.strip()
    return int(text) if text.isdigit() and len(text) <= 20 else None


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Be a cgroup found in the tree: its id (its directory's inode) and its path below the base, as the file system has it."""

    id: int
    path: str

    @property
    def facts(self) -> CgroupFacts:
        """Return it as observations tell it, bytes that are no UTF-8 replaced."""
        return CgroupFacts(self.id, os.fsencode(self.path).decode("utf-8", "replace"))

    @property
    def ancestors(self) -> Iterable[str]:
        """Return its own path and those above it, nearest first, without the root."""
        path = self.path
        while len(path) > 1:
            yield path
            path = path.rpartition("/")[0]


@dataclass(slots=True)
class Tree:
    """Be what one walk found, parents first; not `complete` where directories could not be listed or were too many."""

    cgroups: list[Cgroup] = field(default_factory=list)
    complete: bool = True
    unlisted: int = 0


def walk(base: str, most: int = MOST_CGROUPS) -> Tree:
    """Return the cgroups below a hierarchy's base, the root included."""
    try:
        tree = Tree([Cgroup(Path(base).stat().st_ino, "/")])
    except OSError:
        return Tree(complete=False)
    for cgroup in tree.cgroups:  # grows while it is gone through
        for child in _children(base, cgroup.path, tree):
            if len(tree.cgroups) < most:
                tree.cgroups.append(child)
            else:
                tree.complete, tree.unlisted = False, tree.unlisted + 1
    return tree


def _children(base: str, path: str, tree: Tree) -> list[Cgroup]:
    prefix = path if path.endswith("/") else f"{path}/"
    try:
        with os.scandir(base + path) as entries:
            return [Cgroup(entry.inode(), prefix + entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        tree.complete = tree.complete and error.errno in GONE
        return []
