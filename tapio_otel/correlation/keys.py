"""What a lineage key is (a tuple whose first member is its rank), which ranks there are, and the keys of one event or fact.

Those of some ranks are asked for again and again. Most events share their keys with all others of their origin, so that what
was once looked up is there for the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

Key = tuple[Any, ...]

_ranks: Final[dict[frozenset[str], frozenset[str]]] = {}


def ranks_of(names: Iterable[str]) -> frozenset[str]:
    """Return ranks as the one set that equal ones share, which is what makes it quick to look up."""
    found = frozenset(names)
    return _ranks.setdefault(found, found)


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
REACHABLE: Final = ranks_of(frozenset(RANKS) - {"namespace", "node", "device", "mount", "interface", "process"})
"""Ranks of what another can fail to reach."""
ADDRESS_ALONE: Final = ranks_of(("address",))


class Keys(tuple[Key, ...]):
    """Be keys, nearest first, without repeats. `is_shared` says that what was looked up is worth keeping."""

    by_ranks: dict[frozenset[str], tuple[Key, ...]]
    is_shared = False

    def of(self, ranks: frozenset[str]) -> tuple[Key, ...]:
        """Return those of some ranks (from `ranks_of`), nearest first."""
        found = self.by_ranks.get(ranks)
        if found is None:
            found = self.by_ranks[ranks] = tuple([key for key in self if key[0] in ranks])
        return found

    def rest(self) -> None:
        """Let go of what was looked up, where only one event has these keys."""
        if not self.is_shared:
            self.by_ranks = {}


def made(keys: Iterable[Key]) -> Keys:
    """Return keys that belong together."""
    found = Keys(keys)
    found.by_ranks = {}
    return found


def kept(keys: Keys) -> Keys:
    """Return keys that many events will have."""
    keys.is_shared = True
    return keys
