"""A thin typed binding over the system's libbpf.so.1: programs are opened, configured, loaded, attached, read and released.

Of our own because the agent needs some thirty functions of libbpf and no compiler, no Python extension and no second copy of
the library. Nothing here knows what a probe is. Refusals become `ProbeUnavailable`, with libbpf's own words as the cause.
"""

from tapio_otel.receivers.ebpf.libbpf.btf import kernel_enum
from tapio_otel.receivers.ebpf.libbpf.causes import ProgramRefused
from tapio_otel.receivers.ebpf.libbpf.maps import BpfMap
from tapio_otel.receivers.ebpf.libbpf.object import BpfObject
from tapio_otel.receivers.ebpf.libbpf.ring import Ring

__all__ = ["BpfMap", "BpfObject", "ProgramRefused", "Ring", "kernel_enum"]
