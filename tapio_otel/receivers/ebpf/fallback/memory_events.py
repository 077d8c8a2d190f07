"""OOM kills from the counters of memory cgroups: that there were some and whose, but not which process.

How much memory was used is not told: by the time of reading, what the victim used has been freed.

cgroup v2: `memory.events.local` counts a cgroup's own kills (`oom_kill`) and how often its own limit was hit (`oom`);
`memory.events` also those below it, which is how kills in cgroups that have gone already, or that were not found yet, are
noticed. Its changes wake us. cgroup v1: `oom_kill` of `memory.oom_control` (from 4.13), read at intervals; a cgroup that goes
between two readings takes its count with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tapio_otel.receivers.ebpf.clock import boottime_ns
from tapio_otel.receivers.ebpf.fallback.cgroups import (
    GONE,
    Cgroup,
    Hierarchy,
    find_hierarchy,
    parse_counts,
    parse_number,
    read_or_empty,
)
from tapio_otel.receivers.ebpf.fallback.following import Descriptors, Following, KeptFile, rise
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import NO_CGROUP, Observation, OomKill

READ_INTERVAL: Final = 0.5
WALK_INTERVAL: Final = 2.0
_HIT_NS: Final = 5_000_000_000
"""How long after a limit was hit a kill below it may be seen: the two counters are not read in the same instant."""
_NEAR_LIMIT: Final = 1 << 20
"""Bytes below its limit at which a v1 cgroup counts as having hit it: the kernel charges in batches for each CPU."""
_UNSEEN: Final = f"kills in cgroups that live less than {WALK_INTERVAL:g} s are not seen"
"""What cgroup v1 cannot tell: there, what a cgroup counts is not counted above it as well."""


class _Names(NamedTuple):
    own: tuple[str, ...]
    below: str
    limit: str


_NAMES: Final = {
    True: _Names(("memory.events.local", "memory.events"), "memory.events", "memory.max"),
    False: _Names(("memory.oom_control",), "", "memory.limit_in_bytes"),
}


@dataclass(slots=True)
class _Watched:
    """Be a cgroup whose counts are followed: its own, and those with all below it where these are another file."""

    cgroup: Cgroup
    own: KeptFile
    below: KeptFile | None
    own_before: dict[str, int] | None = None
    below_before: dict[str, int] | None = None
    kills: int = 0
    hit_at: int | None = None
    hit_below_at: int | None = None
    unexplained: int = 0
    unexplained_before: int = 0

    def reread(self, now_ns: int) -> int:
        """Note what was counted since; return the kills of it and all below it. Raises OSError when it has gone."""
        self.kills = 0
        own = parse_counts(self.own.read())
        below = parse_counts(self.below.read()) if self.below else own
        if "oom_kill" not in own or "oom_kill" not in below:  # caught while being written, as only a stand-in's file can be
            return 0
        own_before, self.own_before = self.own_before, own
        below_before, self.below_before = self.below_before, below
        if own_before is None or below_before is None:
            return 0
        self.kills = rise(own, own_before, "oom_kill")
        self.hit_at = now_ns if rise(own, own_before, "oom") else self.hit_at
        self.hit_below_at = now_ns if rise(below, below_before, "oom") else self.hit_below_at
        return rise(below, below_before, "oom_kill")

    def close(self) -> None:
        self.own.close()
        if self.below:
            self.below.close()


class MemoryEventsFeed:
    """Watch the counts of OOM kills of every memory cgroup below the host's root."""

    observed_by = ObservedBy.MEMORY_EVENTS

    def __init__(self, root: Path, poll_interval: float = READ_INTERVAL) -> None:
        self._hierarchy = _hierarchy(root)
        self._names = _NAMES[self._hierarchy.unified]
        self.notes: Sequence[str] = () if self._hierarchy.unified else (_UNSEEN,)
        self._interval = max(poll_interval, READ_INTERVAL)
        self._descriptors = Descriptors()
        self._closed = False
        self._read_due = 0.0
        self._news = select.epoll() if self._hierarchy.unified else None
        self._cgroups: Following[_Watched] = Following(self._hierarchy.base, WALK_INTERVAL, self._begin)
        self._reread_all(boottime_ns())

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when a count changed (cgroup v2)."""
        return None if self._news is None or self._closed else self._news.fileno()

    @property
    def interval(self) -> float:
        """Return the seconds between two readings that no change asks for."""
        return self._interval

    def read(self) -> list[Observation]:
        """Return the kills counted since; those of one cgroup together."""
        if self._closed:
            return []
        has_news = bool(self._news is not None and self._news.poll(0))
        if not has_news and time.monotonic() < self._read_due:
            return []
        self._read_due = time.monotonic() + self._interval
        # A kill that no known cgroup accounts for may be one of a cgroup that is not known yet.
        must_look = self._cgroups.is_due or any(one.unexplained > 0 for one in self._cgroups.followed.values())
        gone = self._cgroups.look() if must_look else set()
        now_ns = boottime_ns()
        rises = self._reread_all(now_ns)
        self._explain(rises)
        kills: list[Observation] = list(self._kills(now_ns))
        self._cgroups.let_go(gone | (self._cgroups.followed.keys() - rises.keys()))
        return kills

    def _begin(self, cgroup: Cgroup, is_new: bool) -> _Watched | None:
        directory = self._hierarchy.base + cgroup.path.rstrip("/")
        name = next((name for name in self._names.own if os.access(f"{directory}/{name}", os.F_OK)), None)
        if name is None:  # as in the root, which has no limit
            return None
        own = KeptFile(f"{directory}/{name}", self._descriptors)
        has_below = self._names.below not in ("", name)
        below = KeptFile(f"{directory}/{self._names.below}", self._descriptors) if has_below else None
        return _Watched(cgroup, own, below, *(({}, {}) if is_new else (None, None)))

    def _wake_on(self, file: KeptFile) -> None:
        """Be woken by changes of a file of the kernel's; a regular file, which may stand in for it, cannot do that."""
        if self._news is not None and file.descriptor is not None:
            with contextlib.suppress(PermissionError, FileExistsError):
                self._news.register(file.descriptor, select.EPOLLPRI | select.EPOLLET)

    def _reread_all(self, now_ns: int) -> dict[Cgroup, int]:
        """Return how many kills each cgroup counted since, with those below it; a cgroup that has gone is left out."""
        rises = {}
        # From the leaves up: a limit is counted as hit before the kill below it, so whoever is read later knows of it.
        for cgroup, watched in reversed(self._cgroups.followed.items()):
            was_open = watched.own.descriptor is not None
            try:
                rises[cgroup] = watched.reread(now_ns)
            except OSError as error:
                if error.errno not in GONE:
                    rises[cgroup] = 0
            if not was_open:
                self._wake_on(watched.below or watched.own)
        return rises

    def _explain(self, rises: Mapping[Cgroup, int]) -> None:
        """Note which kills a cgroup counted below it that none of the known cgroups counted.

        A kill between the readings of a cgroup and of one above it is unexplained until the next reading, so only what stays
        unexplained over two readings is believed.
        """
        by_path = self._by_path()
        for cgroup, risen in rises.items():
            watched = self._cgroups.followed[cgroup]
            watched.unexplained += risen - watched.kills
            above = by_path.get(cgroup.path.rpartition("/")[0])
            if above is not None and above.below is not None:
                above.unexplained -= risen

    def _by_path(self) -> dict[str, _Watched]:
        return {cgroup.path: watched for cgroup, watched in self._cgroups.followed.items()}

    def _kills(self, now_ns: int) -> Iterator[OomKill]:
        for watched in self._cgroups.followed.values():
            missed = max(0, min(watched.unexplained, watched.unexplained_before))
            watched.unexplained -= missed
            watched.unexplained_before = watched.unexplained
            if missed:  # earlier than what is seen now, which also keeps the two apart
                yield self._kill(watched, missed, now_ns - 1, _is_recent(watched.hit_below_at, now_ns))
            if watched.kills:
                yield self._kill(watched, watched.kills, now_ns)

    def _kill(self, watched: _Watched, kills: int, now_ns: int, was_limited: bool = False) -> OomKill:
        hit = self._hit_limit(watched.cgroup, now_ns)
        own = watched.cgroup.facts
        directory = self._hierarchy.base + (hit.cgroup.path if hit else "")
        return OomKill(
            now_ns,
            scope="cgroup" if hit or was_limited else "global",
            memory_limit=parse_number(read_or_empty(f"{directory}/{self._names.limit}")) if hit else None,
            cgroup=own,
            memory_cgroup=own,
            limit_cgroup=hit.cgroup.facts if hit else NO_CGROUP,
            kills=kills,
        )

    def _hit_limit(self, cgroup: Cgroup, now_ns: int) -> _Watched | None:
        """Return the nearest cgroup, from this one up, that has just hit its limit."""
        by_path = self._by_path()
        for path in cgroup.ancestors:
            watched = by_path.get(path)
            if watched is not None and self._is_at_limit(watched, now_ns):
                return watched
        return None

    def _is_at_limit(self, watched: _Watched, now_ns: int) -> bool:
        if self._hierarchy.unified:
            return _is_recent(watched.hit_at, now_ns)
        # v1 counts no such thing; what it kept is the highest usage ever.
        directory = self._hierarchy.base + watched.cgroup.path
        limit = parse_number(read_or_empty(f"{directory}/memory.limit_in_bytes"))
        highest = parse_number(read_or_empty(f"{directory}/memory.max_usage_in_bytes"))
        return limit is not None and highest is not None and highest + min(_NEAR_LIMIT, limit // 2) >= limit

    def lost(self) -> Mapping[str, int]:
        """Return how many cgroups are not watched because there are too many."""
        return self._cgroups.lost()

    def close(self) -> None:
        """Release all descriptors; safe to call twice."""
        self._closed = True
        self._cgroups.close()
        if self._news is not None:
            self._news.close()


def _is_recent(time_ns: int | None, now_ns: int) -> bool:
    return time_ns is not None and now_ns - time_ns <= _HIT_NS


def _hierarchy(root: Path) -> Hierarchy:
    hierarchy = find_hierarchy(root, "memory")
    if hierarchy is None:
        place = root / "sys/fs/cgroup"
        remedy = "Make the host's cgroups visible to the agent, and boot without cgroup_disable=memory"
        raise ProbeUnavailable(f"{place} has no cgroups with the memory controller", remedy)
    names = _NAMES[hierarchy.unified].own
    if not hierarchy.unified and not _counts_kills(f"{hierarchy.base}/{names[0]}"):
        raise ProbeUnavailable(f"{hierarchy.base}/{names[0]} counts no OOM kills", "Use a kernel from 4.13 on")
    return hierarchy


def _counts_kills(path: str) -> bool:
    return "oom_kill" in parse_counts(read_or_empty(path)) or not os.access(path, os.F_OK)
