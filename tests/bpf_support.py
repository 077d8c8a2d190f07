"""Whether this machine can load our BPF programs."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from tapio_otel.receivers.ebpf.feed import ProbeName
from tests.requirements import require


def obstacle() -> str | None:
    """Return why BPF programs cannot be loaded here, or None."""
    if os.geteuid() != 0:
        return "loading BPF programs takes root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "the kernel has no BTF (/sys/kernel/btf/vmlinux)"
    objects = files("tapio_otel.receivers.ebpf") / "objects"
    missing = [f"{name}.bpf.o" for name in ProbeName if not (objects / f"{name}.bpf.o").is_file()]
    return f"not built: {', '.join(missing)} (make bpf)" if missing else None


def require_bpf() -> None:
    """Skip the test with the exact reason where BPF programs cannot be loaded; fail it where that is required."""
    reason = obstacle()
    require("bpf", reason is None, reason or "")
