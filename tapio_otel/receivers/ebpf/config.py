"""The options of `ebpf`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration
from tapio_otel.receivers.ebpf.feed import ProbeName

IGNORED_REASONS = ("NOT_SPECIFIED", "QUEUE_PURGE", "TCP_OLD_DATA")
_REASON = re.compile(r"[A-Z][A-Z0-9_]*")


def _check_reason(name: str) -> str:
    if not _REASON.fullmatch(name):
        raise ValueError(f"{name!r} is no drop reason: write it as the kernel does, in capitals, without SKB_DROP_REASON_")
    return name.removeprefix("SKB_DROP_REASON_")


def _check_glob(pattern: str) -> str:
    if not pattern.startswith(("/", "*")):
        raise ValueError(f"{pattern!r} can match no cgroup: their paths begin with /, as in /system.slice/*")
    return pattern


Reason = Annotated[str, AfterValidator(_check_reason)]
CgroupGlob = Annotated[str, AfterValidator(_check_glob)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class ProbeConfig(ComponentConfig):
    """Be the options that every probe has."""

    enabled: bool = Field(True, description="whether the probe is used")
    cgroups: list[CgroupGlob] = Field(
        default_factory=list, description="shell patterns of cgroup paths; empty for all; `*` also matches `/`"
    )
    exclude_cgroups: list[CgroupGlob] = Field(
        default_factory=list, description="shell patterns of cgroup paths that are left out, whatever `cgroups` says"
    )


class OomConfig(ProbeConfig):
    """Be the options of the probe for OOM kills."""


class CpuThrottleConfig(ProbeConfig):
    """Be the options of the probe for CPU throttling."""

    window: Duration = Field(
        10.0, gt=0, description="time over which throttling is summed up: at most one event a cgroup in it"
    )
    min_ratio: Ratio = Field(0.1, description="share of throttled periods from which there is an event, 0 to 1")
    min_throttled: Duration = Field(0.1, ge=0, description="throttled time in a window from which there is an event")


class NetworkConfig(ProbeConfig):
    """Be the options that the network's probes share."""

    samples_per_second: int = Field(
        10, ge=0, description="packets a second, for each reason and CPU, of which the flow is looked at; all are counted"
    )
    window: Duration = Field(
        10.0,
        ge=0,
        description="time over which what happens to one flow is summed up: the first is told at once, then one event a window",
    )
    network_namespaces: list[str] = Field(
        default_factory=list,
        description="network namespaces to look at: `host`, the inode number, or a path such as /run/netns/blue; empty for all",
    )


class NetDropConfig(NetworkConfig):
    """Be the options of the probe for dropped packets."""

    ignored_reasons: list[Reason] = Field(
        default_factory=lambda: list(IGNORED_REASONS),
        description="the kernel's drop reasons that are left out, as in NO_SOCKET; replaces the default list",
    )
    samples_per_reason: dict[Reason, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="`samples_per_second` for single reasons"
    )


class TcpRetransmitConfig(NetworkConfig):
    """Be the options of the probe for TCP retransmits."""


class TcpResetConfig(NetworkConfig):
    """Be the options of the probe for TCP resets."""


class ProbesConfig(ComponentConfig):
    """Be the options of each probe."""

    oom: OomConfig = Field(default_factory=OomConfig, description="OOM kills")
    cpu_throttle: CpuThrottleConfig = Field(default_factory=CpuThrottleConfig, description="CPU throttling by quota")
    net_drop: NetDropConfig = Field(default_factory=NetDropConfig, description="packets that the kernel drops")
    tcp_retransmit: TcpRetransmitConfig = Field(default_factory=TcpRetransmitConfig, description="TCP segments sent again")
    tcp_reset: TcpResetConfig = Field(default_factory=TcpResetConfig, description="TCP resets sent and received")

    def enabled(self) -> list[ProbeName]:
        """Return the probes to use."""
        return [name for name in ProbeName if getattr(self, name).enabled]

    def windows(self) -> dict[ProbeName, float]:
        """Return the seconds over which each of the network's probes sums up what happens to one flow."""
        found = {name: getattr(self, name) for name in ProbeName}
        return {name: options.window for name, options in found.items() if isinstance(options, NetworkConfig)}


class EbpfConfig(ComponentConfig):
    """Be the options of `ebpf`."""

    loader: Literal["auto", "libbpf", "bcc", "none"] = Field(
        "auto",
        description="how BPF programs are loaded: `libbpf` (needs BTF), `bcc` (needs BCC and the kernel's headers), `auto` for "
        "libbpf, or bcc on kernels without BTF, `none` for the fallbacks only",
    )
    fallback: bool = Field(
        True, description="look without BPF where a program cannot be loaded: /dev/kmsg, memory.events, cpu.stat, /proc/net"
    )
    required: bool = Field(
        False, description="refuse to start when any enabled probe cannot be loaded as a BPF program, instead of falling back"
    )
    poll_interval: Duration = Field(
        0.1, ge=0.01, description="time between two readings of what is not urgent: drops, retransmits, resets, files"
    )
    loss_interval: Duration = Field(
        10.0, ge=0.1, description="shortest time between two events that tell of losses in the kernel's buffers"
    )
    probes: ProbesConfig = Field(default_factory=ProbesConfig, description="each probe's own options")

    @model_validator(mode="after")
    def _check_that_something_can_look(self) -> Self:
        if self.loader == "none" and self.required:
            raise ValueError(
                "required: true asks for BPF programs, and loader: none allows none: "
                "choose loader: auto, libbpf or bcc, or set required: false"
            )
        if self.loader == "none" and not self.fallback:
            raise ValueError(
                "fallback: false and loader: none leave no way of looking: set fallback: true, or choose another loader"
            )
        return self
