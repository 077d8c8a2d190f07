"""Where systemd puts a unit's cgroup, for units that are gone before they could be asked."""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.receivers.systemd.properties import type_of

ROOT_SLICE: Final = "-.slice"
_DERIVABLE: Final = frozenset(("service", "scope", "slice"))
"""Units that always have a cgroup while they are up; of sockets and mounts only those that run a command."""
_ESCAPED = re.compile(r"[_.]|(?:cgroup|cpu|cpuacct|cpuset|io|blkio|memory|devices|pids|hugetlb|rdma|misc|bpf-[a-z-]+)\.")
"""Names that the kernel could mistake for a control file, which systemd escapes by rules that differ between its versions."""


def cgroup_of(unit: str, slice_name: str, root: str) -> str:
    """Return the cgroup of a unit in a slice, below the cgroup of its service manager; empty where that is not certain."""
    unit_type = type_of(unit)
    if unit_type not in _DERIVABLE or _ESCAPED.match(unit):
        return ""
    if unit_type == "slice":
        return root.rstrip("/") + _slice_path(unit)
    return f"{root.rstrip('/')}{_slice_path(slice_name)}/{unit}" if slice_name else ""


def _slice_path(name: str) -> str:
    """Return `/a.slice/a-b.slice` for `a-b.slice`: a slice is in the one that its name begins with."""
    if name == ROOT_SLICE:
        return ""
    parts = name.removesuffix(".slice").split("-")
    return "".join(f"/{'-'.join(parts[: count + 1])}.slice" for count in range(len(parts)))
