"""Feeds by libbpf: each probe's BPF object loaded, attached and read; the best way of looking, on kernels with BTF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName
from tapio_otel.receivers.ebpf.libbpf_feeds.feed import LibbpfFeed
from tapio_otel.receivers.ebpf.libbpf_feeds.network import open_net_drop, open_tcp_reset, open_tcp_retransmit
from tapio_otel.receivers.ebpf.libbpf_feeds.oom import open_oom
from tapio_otel.receivers.ebpf.libbpf_feeds.throttle import open_cpu_throttle

__all__ = ["LibbpfFeed", "open_libbpf"]

_OPENERS: Final[Mapping[ProbeName, Callable[[EbpfConfig], LibbpfFeed]]] = {
    ProbeName.OOM: open_oom,
    ProbeName.CPU_THROTTLE: open_cpu_throttle,
    ProbeName.NET_DROP: open_net_drop,
    ProbeName.TCP_RETRANSMIT: open_tcp_retransmit,
    ProbeName.TCP_RESET: open_tcp_reset,
}


def open_libbpf(name: ProbeName, config: EbpfConfig) -> LibbpfFeed:
    """Load and attach a probe; raises ProbeUnavailable with the cause and what would help."""
    return _OPENERS[name](config)
