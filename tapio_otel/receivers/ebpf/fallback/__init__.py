"""Looking without BPF: the kernel's own log, counters of cgroups and of the network.

Each way sees less than the probe it stands in for, and says so by `observed_by`: /dev/kmsg tells nearly all of an OOM kill,
`memory.events` only that there was one, `cpu.stat` the sums of throttling, /proc/net how many packets were dropped for what
reason but not whose. Everything is read below the host's root, so that an agent in a container sees the host.
"""

from __future__ import annotations

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import Feed, ProbeName


def open_log(entities: EntityMapper) -> Feed:
    """Open the kernel's log, which tells of OOM kills; raises ProbeUnavailable where it may not be read."""
    from tapio_otel.receivers.ebpf.fallback.kmsg import KmsgFeed

    return KmsgFeed(entities.root_path)


def open_counters(name: ProbeName, config: EbpfConfig, entities: EntityMapper) -> Feed:
    """Open the kernel's counters of what a probe sees; raises ProbeUnavailable where there are none."""
    if name is ProbeName.OOM:
        from tapio_otel.receivers.ebpf.fallback.memory_events import MemoryEventsFeed

        return MemoryEventsFeed(entities.root_path, config.poll_interval)
    if name is ProbeName.CPU_THROTTLE:
        from tapio_otel.receivers.ebpf.fallback.cpu_stat import CpuStatFeed

        return CpuStatFeed(entities.root_path, config.probes.cpu_throttle.window)
    from tapio_otel.receivers.ebpf.fallback.proc_net import ProcNetFeed

    return ProcNetFeed(name, entities.root_path, config.poll_interval, getattr(config.probes, name))
