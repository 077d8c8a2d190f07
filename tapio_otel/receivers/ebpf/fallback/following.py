"""Following the cgroups of a tree: new ones are begun with, those that go are let go, their files are read over and over.

Descriptors are kept open because opening costs several times what reading does; their number is bounded, and a file beyond
the bound is opened for each reading.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, Protocol, TypeVar

from tapio_otel.receivers.ebpf.fallback.cgroups import PAGE, Cgroup, walk

_MOST_DESCRIPTORS: Final = 4096


class Descriptors:
    """Count the descriptors that may still be kept: at most a quarter of what the process may have."""

    def __init__(self, most: int | None = None) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        quarter = soft // 4 if soft >= 0 else _MOST_DESCRIPTORS
        self.left = min(_MOST_DESCRIPTORS, quarter) if most is None else most


class KeptFile:
    """Read one small file again and again, on a descriptor that is kept while there are some left."""

    __slots__ = ("_descriptors", "descriptor", "path")

    def __init__(self, path: str, descriptors: Descriptors) -> None:
        self.path, self._descriptors = path, descriptors
        self.descriptor: int | None = None

    def read(self) -> bytes:
        """Return the file's present content; raises OSError, with an errno of `GONE` when its cgroup was removed."""
        if self.descriptor is not None:
            return os.pread(self.descriptor, PAGE, 0)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        if self._descriptors.left > 0:
            self._descriptors.left -= 1
            self.descriptor = descriptor
            return os.pread(descriptor, PAGE, 0)
        try:
            return os.pread(descriptor, PAGE, 0)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the descriptor; safe to call twice."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
            self._descriptors.left += 1


def rise(now: Mapping[str, int], before: Mapping[str, int], name: str) -> int:
    """Return by how much a count rose; one that fell began again at 0, as when a controller was taken away and given back."""
    new, old = now.get(name, 0), before.get(name, 0)
    return new - old if new >= old else new


class Followed(Protocol):
    """Be what is kept of one cgroup."""

    def close(self) -> None:
        """Release its descriptors; safe to call twice."""


F = TypeVar("F", bound=Followed)


class Following(Generic[F]):
    """Keep something of each cgroup below `base`, looking for new ones every `interval` seconds.

    `begin` gets a cgroup, and whether it was made since the last look, so that all it counted already is news; it returns None
    for a cgroup that cannot be followed. Parents come before their children in `followed`.
    """

    def __init__(self, base: str, interval: float, begin: Callable[[Cgroup, bool], F | None]) -> None:
        self.followed: dict[Cgroup, F] = {}
        self.unlisted = 0
        """The most cgroups that one look had to leave out."""
        self._base, self._interval, self._begin = base, interval, begin
        self._knew_all = False
        self._due = 0.0
        self.look()

    @property
    def is_due(self) -> bool:
        """Tell whether it is time to look for new cgroups."""
        return time.monotonic() >= self._due

    def look(self) -> set[Cgroup]:
        """Begin with the cgroups that are new; return those that are followed but have gone."""
        self._due = time.monotonic() + self._interval
        tree = walk(self._base)
        for cgroup in tree.cgroups:
            if cgroup not in self.followed and (begun := self._begin(cgroup, self._knew_all)) is not None:
                self.followed[cgroup] = begun
        self._knew_all = tree.complete
        self.unlisted = max(self.unlisted, tree.unlisted)
        return self.followed.keys() - set(tree.cgroups) if tree.complete else set()

    def let_go(self, cgroups: Iterable[Cgroup]) -> list[F]:
        """Release cgroups that have gone; return what was kept of them."""
        gone = [self.followed.pop(cgroup) for cgroup in cgroups]
        for followed in gone:
            followed.close()
        return gone

    def lost(self) -> Mapping[str, int]:
        """Return how many cgroups are not followed because there are too many."""
        return {"unwatched": self.unlisted} if self.unlisted else {}

    def close(self) -> None:
        """Release everything; safe to call twice."""
        self.let_go(list(self.followed))
