"""CPU throttling by libbpf: windows that the program closes, and those that it cannot because a cgroup's timer has stopped.

Where a cgroup is removed, a program of its own closes the window; without it, what was counted at the last expiry is told when
the window would have ended.
"""

from __future__ import annotations

import struct
from typing import Final

from tapio_otel.receivers.ebpf.clock import boottime_ns
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName
from tapio_otel.receivers.ebpf.libbpf import BpfObject
from tapio_otel.receivers.ebpf.libbpf.library import possible_cpus
from tapio_otel.receivers.ebpf.libbpf_feeds.feed import LibbpfFeed, RareFeed, open_feed
from tapio_otel.receivers.ebpf.observations import CgroupFacts, CpuThrottle, Observation
from tapio_otel.receivers.ebpf.records import ThrottleWindow, Totals, decode_throttle, decode_window

MOST_CPUS: Final = 1024
"""CPUs whose time the program sums up; with more it tells no CPU time."""

LONGEST_PERIOD_NS: Final = 1_000_000_000
"""A running timer closes its own window one period late at most; the kernel allows a second (cpu.cfs_period_us)."""

_FORGOTTEN_NS: Final = 300_000_000_000
_KEY: Final = struct.Struct("=Q")


class ThrottleSums:
    """Tell each throttled period once, whoever closes the window: the program, the agent, or both.

    The kernel's totals only grow. So what is told of a window begins at the greater of its begin and of what was told before;
    over any time the sums of what is told are those of cpu.stat.
    """

    def __init__(self) -> None:
        self._told: dict[int, Totals] = {}

    def settle(self, window: ThrottleWindow, cgroup: CgroupFacts) -> CpuThrottle | None:
        """Return what a window adds to what was told of a cgroup; None where nothing was throttled."""
        number = cgroup.id or 0
        begin = greatest(window.begin, self._told.get(number, Totals()))
        end = greatest(window.end, begin)
        if end.throttled == begin.throttled and end.throttled_periods == begin.throttled_periods:
            return None
        self._told[number] = end
        return CpuThrottle(
            time_ns=end.time,
            cgroup=cgroup,
            window_ns=end.time - begin.time,
            throttled_ns=end.throttled - begin.throttled,
            periods=end.periods - begin.periods,
            throttled_periods=end.throttled_periods - begin.throttled_periods,
            runtime_ns=end.runtime - begin.runtime if window.end.runtime else None,
            quota_ns=window.quota_ns,
            period_ns=window.period_ns or None,
        )

    def keep(self, cgroups: set[int]) -> None:
        """Forget all other cgroups."""
        self._told = {number: totals for number, totals in self._told.items() if number in cgroups}


class ThrottleFeed(RareFeed):
    """Tell how each cgroup was throttled over windows of `window_ns`."""

    def __init__(self, bpf: BpfObject, window_ns: int) -> None:
        super().__init__(bpf)
        self._window_ns = window_ns
        self._windows = bpf.map("windows")
        self._sums = ThrottleSums()
        self._paths: dict[int, CgroupFacts] = {}
        self._looked_ns = boottime_ns()

    @property
    def interval(self) -> float:
        """Return the seconds between two looks for windows that the program cannot close."""
        return self._window_ns / 2e9

    def read(self) -> list[Observation]:
        """Return the windows that have ended."""
        seen = self._closed_windows()
        now = boottime_ns()
        if now - self._looked_ns >= self._window_ns / 2:
            self._looked_ns = now
            seen += self._open_windows(now, self._window_ns + LONGEST_PERIOD_NS)
        return seen

    def finish(self) -> list[Observation]:
        """Return the windows that have ended, and what those that are open hold."""
        return self._closed_windows() + self._open_windows(boottime_ns(), 0)

    def _closed_windows(self) -> list[Observation]:
        seen: list[Observation] = []
        for record in self._records():
            try:
                window, cgroup = decode_throttle(record)
            except ValueError:
                self._garbled += 1
                continue
            self._paths[cgroup.id or 0] = cgroup
            told = self._sums.settle(window, cgroup) if window.end.time else None
            seen += [told] if told is not None else []
        return seen

    def _open_windows(self, now: int, age_ns: int) -> list[Observation]:
        """Close the windows of that age, which no program will, and forget cgroups that have not run for long or are gone."""
        seen: list[Observation] = []
        kept: set[int] = set()
        for key, value in self._windows.items():
            number, window = _KEY.unpack(key)[0], decode_window(value if isinstance(value, bytes) else value[0])
            if window.end.time and now - window.begin.time >= age_ns:
                told = self._sums.settle(window, self._paths.get(number, CgroupFacts(number)))
                seen += [told] if told is not None else []
            if now - max(window.begin.time, window.end.time) > _FORGOTTEN_NS + 2 * self._window_ns:
                self._windows.delete(key)
            else:
                kept.add(number)
        self._sums.keep(kept)
        self._paths = {number: cgroup for number, cgroup in self._paths.items() if number in kept}
        return seen


def open_cpu_throttle(config: EbpfConfig) -> LibbpfFeed:
    """Load and attach the probe for CPU throttling."""
    window_ns = int(config.probes.cpu_throttle.window * 1e9)

    def configure(bpf: BpfObject) -> None:
        bpf.configure("window_ns", window_ns)
        bpf.configure("cpus", cpus if (cpus := possible_cpus()) <= MOST_CPUS else 0)

    def make(bpf: BpfObject) -> LibbpfFeed:
        return ThrottleFeed(bpf, window_ns)

    return open_feed(ProbeName.CPU_THROTTLE, make, configure, frozenset(("expire_entry",)))


def greatest(first: Totals, second: Totals) -> Totals:
    """Return the greater of each total."""
    return Totals(*map(max, first, second))
