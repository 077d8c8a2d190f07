"""The ebpf receiver: what the kernel knows and no log tells, at a cost nobody notices.

OOM kills and CPU throttling are delivered at once, dropped packets, retransmits and resets by the tick, counted in the kernel
and sampled there. The kernel waits for nobody: what its buffers cannot hold is lost, but counted and told. Without BPF, lesser
ways of looking take over, and every event says which way it was seen.
"""

from __future__ import annotations

from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.receiver import EbpfReceiver

__all__ = ["EbpfConfig", "EbpfReceiver"]
