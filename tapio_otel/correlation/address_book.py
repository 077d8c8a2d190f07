"""The address book: whose address it is, learnt from events in which an owner uses it.

An address is given to another pod when the one that had it has ended, within seconds at times. Whoever cannot reach it then
does not miss the pod that had it before: so an address counts for the pod that had it last, and not by itself. Bounded; the
oldest are forgotten.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tapio_otel.correlation.keys import REACHABLE, Key
from tapio_otel.entities.bounded import Bounded


class _Owner(NamedTuple):
    keys: tuple[Key, ...]
    pod: Key | None
    """The key that tells a pod from others; None where the owner is none."""
    learnt: int
    former: Key | None = None
    """The pod that had the address before."""


class AddressBook:
    """Remember whose address it is."""

    def __init__(self, limit: int = 16_384) -> None:
        self._owners: Bounded[Key, _Owner] = Bounded(limit)
        self._learnt = 0

    def __len__(self) -> int:
        return len(self._owners)

    def learn(self, address: Key, owner: tuple[Key, ...]) -> bool:
        """Take that an address key belongs to what has these keys; tells whether that is news.

        What a pod that had it before still says of itself, as its deletion, does not give it back.
        """
        keys = tuple(key for key in owner if key[0] in REACHABLE and key[0] != "address")
        known = self._owners.get(address)
        if not keys or (known is not None and known.keys == keys):
            return False
        pod = next((key for key in keys if key[0] == "pod"), None)
        former = None if known is None else known.former if known.pod == pod else known.pod
        if known is not None and pod is not None and pod == known.former:
            return False
        self._learnt += 1
        self._owners.keep(address, _Owner(keys, pod, self._learnt, former))
        return True

    def observe(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        """Learn from the keys of an event whose subject has an address; returns the addresses that are news."""
        found: tuple[Key, ...] = ()
        for key in keys:
            if key[0] == "address" and self.learn(key, keys):
                found = (*found, key)
        return found

    def owners(self, targets: tuple[Key, ...]) -> tuple[Key, ...]:
        """Return the targets with the keys of whoever owns one of them; a pod's stand in the place of its address."""
        if not targets or not self._owners:
            return targets
        found: list[Key] = []
        is_owned = False
        for target in targets:
            owner = self._owner(target)
            if owner is None:
                found.append(target)
            else:
                is_owned = True
                found += owner.keys if owner.pod is not None else (target, *owner.keys)
        return tuple(dict.fromkeys(found)) if is_owned else targets

    def _owner(self, target: Key) -> _Owner | None:
        """Return who owns a target; of an address with a port that was another pod's before, who has the address now."""
        known = self._owners.get(target)
        if len(target) != _WITH_PORT:
            return known
        now = self._owners.get(target[:-1])
        if (
            now is None
            or now.pod is None
            or (known is not None and (known.pod in {None, now.pod} or known.learnt > now.learnt))
        ):
            return known
        return now


_WITH_PORT: Final = 3
