"""OOM kills by libbpf."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName
from tapio_otel.receivers.ebpf.libbpf_feeds.feed import LibbpfFeed, RareFeed, open_feed
from tapio_otel.receivers.ebpf.observations import CgroupFacts, Observation, OomKill
from tapio_otel.receivers.ebpf.records import decode_oom

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_START_FIELD: Final = 19  # of proc_pid_stat(5), counted behind the name


class OomFeed(RareFeed):
    """Tell each OOM kill as it happens."""

    def read(self) -> list[Observation]:
        """Return the kills since the last reading."""
        seen: list[Observation] = []
        for record in self._records():
            try:
                kill = decode_oom(record, _PAGE)
            except ValueError:
                self._garbled += 1
            else:
                seen.append(kill if kill.start_boottime_ns is not None else describe_victim(kill))
        return seen


def open_oom(_config: EbpfConfig) -> LibbpfFeed:
    """Load and attach the probe for OOM kills."""
    return open_feed(ProbeName.OOM, OomFeed, lambda _: None, frozenset(("mark_victim",)))


def describe_victim(kill: OomKill, proc: Path = Path("/proc")) -> OomKill:
    """Add what /proc still tells of a victim of which the kernel (before 6.9) passed only the pid, if anything."""
    directory = proc / str(kill.pid)
    try:
        stat = (directory / "stat").read_text("utf-8", "replace")
        status = (directory / "status").read_text("utf-8", "replace")
        score = int((directory / "oom_score_adj").read_text())
        cgroups = (directory / "cgroup").read_text("utf-8", "replace")
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
        start = int(stat.rpartition(")")[2].split()[_START_FIELD]) * _TICK_NS
        pid, uid = int(fields["Tgid"][0]), int(fields["Uid"][0])
    except (OSError, ValueError, LookupError):
        return kill  # it was quicker
    comm = stat.partition("(")[2].rpartition(")")[0]
    return replace(
        kill,
        pid=pid,
        comm=comm,
        uid=uid,
        oom_score_adj=score,
        start_boottime_ns=start,
        cgroup=_cgroup(cgroups, ""),
        memory_cgroup=_cgroup(cgroups, "memory") if ":memory:" in cgroups else _cgroup(cgroups, ""),
    )


def _cgroup(lines: str, controller: str) -> CgroupFacts:
    """Return the cgroup in one hierarchy, as /proc/PID/cgroup tells it."""
    for line in lines.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return CgroupFacts(path=path)
    return CgroupFacts()
