"""What is seen, whichever way: the facts that probes and their fallbacks hand on, one class for each kind of occurrence.

`time_ns` counts from boot with the time asleep (CLOCK_BOOTTIME). None means that this way of looking cannot tell; sizes are in
bytes. Events are made of these in one place, `events.py`, so that a fallback's events differ only in what they cannot know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class CgroupFacts:
    """Name a cgroup; `path` begins with `/` below its hierarchy's root, and is empty where only the id is known."""

    id: int | None = None
    path: str = ""


NO_CGROUP = CgroupFacts()


@dataclass(frozen=True, slots=True)
class OomKill:
    """Say which process was chosen to die for want of memory, and whose limit it was (`scope`: `cgroup` or `global`).

    `cgroup` is the victim's cgroup that tells whose it is (unified hierarchy where there is one), `memory_cgroup` its memory
    cgroup, `limit_cgroup` the one whose limit was hit. `kills` counts kills where single ones cannot be told apart.
    `sequence` is the number of the record in the kernel's log that told it.
    """

    time_ns: int
    pid: int | None = None
    comm: str = ""
    start_boottime_ns: int | None = None
    uid: int | None = None
    oom_score_adj: int | None = None
    trigger_pid: int | None = None
    trigger_comm: str = ""
    scope: str = ""
    memory_limit: int | None = None
    memory_usage: int | None = None
    total_vm: int | None = None
    anon_rss: int | None = None
    file_rss: int | None = None
    shmem_rss: int | None = None
    page_tables: int | None = None
    cgroup: CgroupFacts = NO_CGROUP
    memory_cgroup: CgroupFacts = NO_CGROUP
    limit_cgroup: CgroupFacts = NO_CGROUP
    kills: int = 1
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class CpuThrottle:
    """Sum up how a cgroup was throttled over `window_ns`; `quota_ns` per `period_ns` is its limit.

    `throttled_ns` is as in cpu.stat: the time its run queues had to wait, summed over CPUs.
    """

    time_ns: int
    cgroup: CgroupFacts
    window_ns: int
    throttled_ns: int
    periods: int
    throttled_periods: int
    runtime_ns: int | None = None
    quota_ns: int | None = None
    period_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Name a packet's or socket's ends; addresses as text, `protocol` tcp, udp, icmp… or the number; empty where unknown."""

    protocol: str = ""
    src_ip: str = ""
    src_port: int | None = None
    dst_ip: str = ""
    dst_port: int | None = None


@dataclass(frozen=True, slots=True)
class PacketDrop:
    """Tell of packets that the kernel dropped: `count` of one flow for one reason.

    `reason` is the kernel's number, or None, then `reason_name` is set by who saw it. `suppressed` is how many more were
    dropped for this reason since the last reading of which no flow is known: only one observation of a reading tells them.
    `length` is the bytes of all `count`.
    """

    time_ns: int
    flow: Flow = Flow()
    reason: int | None = None
    reason_name: str = ""
    count: int = 1
    length: int | None = None
    suppressed: int = 0
    interface: str = ""
    network_namespace: int | None = None
    cgroup: CgroupFacts = NO_CGROUP
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class TcpRetransmit:
    """Tell of segments of one connection sent again: `count` of them; `state` is the socket's (`ESTABLISHED`, `SYN_SENT`…)."""

    time_ns: int
    flow: Flow = Flow(protocol="tcp")
    count: int = 1
    state: str = ""
    suppressed: int = 0
    network_namespace: int | None = None
    cgroup: CgroupFacts = NO_CGROUP
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class TcpReset:
    """Tell of resets of one connection, whose source is who sent them.

    `direction` is `sent` or `received`, `reason` why the kernel sent one, where it tells.
    """

    time_ns: int
    direction: str = ""
    flow: Flow = Flow(protocol="tcp")
    count: int = 1
    state: str = ""
    reason: str = ""
    suppressed: int = 0
    network_namespace: int | None = None
    cgroup: CgroupFacts = NO_CGROUP
    uid: int | None = None


Observation: TypeAlias = OomKill | CpuThrottle | PacketDrop | TcpRetransmit | TcpReset
