"""CPU throttling from cpu.stat, read every second on kept descriptors and summed up over windows.

The sums are exactly what the counters of cpu.stat rose by. Of a cgroup that is removed, what it counted after the last reading
goes unseen with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

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
from tapio_otel.receivers.ebpf.observations import CpuThrottle, Observation

READ_INTERVAL: Final = 1.0
WALK_INTERVAL: Final = 5.0
_MICROSECOND: Final = 1000
_NANOSECONDS: Final = 1_000_000_000


def parse_cpu_stat(content: bytes) -> dict[str, int]:
    """Return `periods`, `throttled_periods`, `throttled_ns` and, from v2, `runtime_ns`; what is not there counts 0."""
    counts = parse_counts(content)
    throttled_us = counts.get("throttled_usec")
    stat = {
        "periods": counts.get("nr_periods", 0),
        "throttled_periods": counts.get("nr_throttled", 0),
        "throttled_ns": counts.get("throttled_time", 0) if throttled_us is None else throttled_us * _MICROSECOND,
    }
    usage_us = counts.get("usage_usec")
    return stat if usage_us is None else {**stat, "runtime_ns": usage_us * _MICROSECOND}


def parse_cpu_max(content: bytes) -> tuple[int | None, int | None]:
    """Return quota and period of v2's cpu.max in nanoseconds; the quota is None where there is none (`max`)."""
    quota, _, period = content.strip().partition(b" ")
    return _nanoseconds(quota), _nanoseconds(period)


def _nanoseconds(microseconds: bytes) -> int | None:
    value = parse_number(microseconds)
    return None if value is None else value * _MICROSECOND


@dataclass(slots=True)
class _Watched:
    """Be a cgroup whose counters are followed; `sums` is what they rose by in the present window."""

    cgroup: Cgroup
    stat: KeptFile
    usage: KeptFile | None
    before: dict[str, int] | None = None
    sums: dict[str, int] = field(default_factory=dict)
    limit: tuple[int | None, int | None] | None = None

    def counters(self) -> dict[str, int]:
        """Return the present counters; raises OSError when the cgroup has gone."""
        content = self.stat.read()
        if not content and self.before:  # caught in the middle of being written, which only a stand-in's file can be
            return self.before
        counters = parse_cpu_stat(content)
        runtime = None if self.usage is None else self._runtime(self.usage)
        return counters if runtime is None else {**counters, "runtime_ns": runtime}

    @staticmethod
    def _runtime(usage: KeptFile) -> int | None:
        try:
            return parse_number(usage.read())
        except OSError:  # not every cgroup of `cpu` is there under `cpuacct`
            return None

    def add(self, now: dict[str, int]) -> bool:
        """Add what the counters rose by since the last reading, if there was one; return whether it was throttled."""
        before, self.before = self.before, now
        if before is None:
            return False
        risen = {name: rise(now, before, name) for name in now if name in before or not before}
        for name, amount in risen.items():
            self.sums[name] = self.sums.get(name, 0) + amount
        return bool(risen.get("throttled_periods") or risen.get("throttled_ns"))

    def close(self) -> None:
        self.stat.close()
        if self.usage is not None:
            self.usage.close()


class CpuStatFeed:
    """Watch the throttling of every cgroup below the host's root; each cgroup's sum is told once in each `window` (seconds)."""

    observed_by = ObservedBy.CPU_STAT
    notes: Sequence[str] = ()

    def __init__(self, root: Path, window: float) -> None:
        found = find_hierarchy(root, "cpu")
        if found is None:
            place = root / "sys/fs/cgroup"
            raise ProbeUnavailable(
                f"{place} has no cgroups with the cpu controller", "Make the host's cgroups visible to the agent"
            )
        self._hierarchy: Hierarchy = found
        self._accounts = None if found.unified else find_hierarchy(root, "cpuacct")
        self._window_ns = round(window * _NANOSECONDS)
        self._interval = min(window, READ_INTERVAL)
        self._descriptors = Descriptors()
        self._gone: list[_Watched] = []
        self._closed = False
        self._cgroups: Following[_Watched] = Following(found.base, min(WALK_INTERVAL, window), self._begin)
        self._read_all()
        self._window_start = boottime_ns()

    def fileno(self) -> None:
        """Return None: nothing here is urgent."""

    @property
    def interval(self) -> float:
        """Return the seconds between two readings."""
        return self._interval

    def read(self) -> list[Observation]:
        """Return a sum for each cgroup that was throttled, once the window is over."""
        return self._read(self._window_ns)

    def finish(self) -> list[Observation]:
        """Return the sums of the window that is not over yet."""
        return self._read(0)

    def _read(self, window_ns: int) -> list[Observation]:
        if self._closed:
            return []
        gone = self._cgroups.look() if self._cgroups.is_due else set()
        self._gone += self._cgroups.let_go(gone | self._read_all())
        now_ns = boottime_ns()
        if now_ns - self._window_start < window_ns:
            return []
        sums: list[Observation] = list(self._sums(now_ns, now_ns - self._window_start))
        self._window_start = now_ns
        return sums

    def _begin(self, cgroup: Cgroup, is_new: bool) -> _Watched:
        stat = KeptFile(f"{self._directory(cgroup)}/cpu.stat", self._descriptors)
        usage = None
        if self._accounts is not None:
            usage = KeptFile(f"{self._accounts.base}{cgroup.path.rstrip('/')}/cpuacct.usage", self._descriptors)
        return _Watched(cgroup, stat, usage, {} if is_new else None)

    def _directory(self, cgroup: Cgroup) -> str:
        return self._hierarchy.base + cgroup.path.rstrip("/")

    def _read_all(self) -> set[Cgroup]:
        """Add what every counter rose by; return the cgroups that have gone."""
        return {cgroup for cgroup, watched in self._cgroups.followed.items() if not self._reread(watched)}

    def _reread(self, watched: _Watched) -> bool:
        try:
            counters = watched.counters()
        except OSError as error:
            return error.errno not in GONE
        if watched.add(counters):
            watched.limit = self._limit(watched.cgroup)
        return True

    def _limit(self, cgroup: Cgroup) -> tuple[int | None, int | None]:
        directory = self._directory(cgroup)
        if self._hierarchy.unified:
            return parse_cpu_max(read_or_empty(f"{directory}/cpu.max"))
        quota, period = (read_or_empty(f"{directory}/cpu.cfs_{name}_us") for name in ("quota", "period"))
        return _nanoseconds(quota), _nanoseconds(period)

    def _sums(self, now_ns: int, window_ns: int) -> Iterator[CpuThrottle]:
        gone, self._gone = self._gone, []
        for watched in (*gone, *self._cgroups.followed.values()):
            sums, limit = watched.sums, watched.limit
            watched.sums, watched.limit = {}, None
            if not (sums.get("throttled_periods") or sums.get("throttled_ns")):
                continue
            quota_ns, period_ns = limit or (None, None)
            yield CpuThrottle(
                now_ns,
                watched.cgroup.facts,
                window_ns,
                sums.get("throttled_ns", 0),
                sums.get("periods", 0),
                sums.get("throttled_periods", 0),
                sums.get("runtime_ns"),
                quota_ns,
                period_ns,
            )

    def lost(self) -> Mapping[str, int]:
        """Return how many cgroups are not watched because there are too many."""
        return self._cgroups.lost()

    def close(self) -> None:
        """Release all descriptors; safe to call twice."""
        self._closed = True
        self._cgroups.close()
        self._gone = []
