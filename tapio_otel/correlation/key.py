"""What a lineage key is: a tuple whose first member is its rank, and which ranks there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Key = tuple[Any, ...]

RANKS: Final = (
    *("process", "invocation", "cgroup", "container", "unit", "pod", "pod_name", "device", "mount", "interface", "address"),
    *("owner", "service", "namespace", "node"),
)
"""All ranks, nearest first."""
JOINED: Final[Mapping[str, tuple[str, ...]]] = {
    **{rank: (rank,) for rank in RANKS},
    "unit": ("unit", "invocation", "cgroup"),
    "pod": ("pod", "pod_name"),
}
"""What counts where a rule names a rank."""
REACHABLE: Final = frozenset(RANKS) - {"namespace", "node", "device", "mount", "interface", "process"}
"""Ranks of what another can fail to reach."""
