"""What the engine keeps for one rule: by which keys facts find its open groups, and which keys lead to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tapio_otel.correlation.address_book import AddressBook
from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.group import DEEPEST, Group
from tapio_otel.correlation.group_index import EVERY, MOST_GROUPS, GroupIndexes, Near
from tapio_otel.correlation.grouping import Grouping, reachable
from tapio_otel.correlation.keys import Key, Keys, ranks_of
from tapio_otel.correlation.rule import ADDRESS, ANY, Rule
from tapio_otel.correlation.selection import Asked, Use

_MOST_WAYS: Final = 256
_NONE: Final[tuple[Group, ...]] = ()


class Aim:
    """Say how facts of one alias find their groups, and what becomes of those that find none."""

    __slots__ = (
        *("acts_alone", "alias", "by_address", "by_attributes", "grouping", "index", "is_patient", "is_root", "ranks"),
        *("state", "waits"),
    )

    def __init__(self, state: RuleState, alias: str, tolerance_ns: int) -> None:
        self.state, self.alias, self.grouping = state, alias, state.grouping
        self.by_address = state.grouping.joins[alias] == ADDRESS
        self.index = state.by_target if self.by_address else state.by_key
        self.ranks = state.grouping.plain_ranks(alias)
        """The ranks of the keys that count, where ranks tell it."""
        self.is_root = alias in state.grouping.roots
        self.by_attributes = self.ranks is None and not self.by_address
        self.acts_alone = self.is_root or self.by_attributes
        """Whether it may open a group, or finds one by more than lineage."""
        self.waits = state.grouping.waits and not self.is_root
        self.is_patient = state.rule.facts[alias].before_ns > tolerance_ns
        """Whether it may come before its cause by more than clocks differ."""

    def keys(self, fact: Fact, targets: tuple[Key, ...]) -> Sequence[Key]:
        """Return the keys by which a fact finds its group; `targets` are those of what it failed to reach."""
        return targets if self.by_address else self.grouping.keys(self.alias, fact)

    def among(self, near: Near, fact: Fact) -> tuple[Group, ...]:
        """Return the open groups that a fact belongs to, of those that its keys lead to, in the order of opening."""
        reached = near.get(self.grouping)
        if reached is None:
            return _NONE
        found, ranks = _NONE, self.ranks
        for rank, groups in reached:
            if ranks is not None and rank not in ranks:
                continue
            for group in groups:
                if group.is_open and group not in found and group.fits(self.alias, fact):
                    found = (*found, group)
        if len(found) > 1:
            return tuple(sorted(found, key=_serial)[-MOST_GROUPS:])
        return found

    def groups(self, fact: Fact, targets: tuple[Key, ...]) -> tuple[Group, ...]:
        """Return the open groups that a fact belongs to, by whatever keys."""
        return self.among(self.index.near(self.keys(fact, targets), self.grouping.alone), fact)

    def leads_to(self, group: Group, fact: Fact, targets: tuple[Key, ...]) -> bool:
        """Tell whether a fact has a key by which a group can be found."""
        index, grouping = self.index, self.grouping
        return any(group in index.of(key, grouping) for key in self.keys(fact, targets))


def _serial(group: Group) -> int:
    return group.serial


class Waits:
    """Say which of some aims wait where they find no group, and under which keys."""

    __slots__ = ("_by_address", "_every", "_special", "patient", "ranks", "uses")

    def __init__(self, uses: Sequence[Use]) -> None:
        self.uses = tuple(use for use in uses if use.aim.waits)
        patient = tuple(use for use in self.uses if use.aim.is_patient)
        self.patient: Waits | None = None if not patient else self if patient == self.uses else Waits(patient)
        aims = [use.aim for use in self.uses]
        self._by_address = any(aim.by_address for aim in aims)
        self.ranks = ranks_of(rank for aim in aims if aim.ranks is not None for rank in aim.ranks)
        self._every = ANY in self.ranks
        self._special = tuple(aim for aim in aims if aim.by_attributes)

    def further(self, fact: Fact, targets: tuple[Key, ...]) -> tuple[Key, ...]:
        """Return the keys that a fact's lineage does not tell: what it failed to reach, and what attributes say."""
        further = targets if self._by_address else ()
        for aim in self._special:
            further = (*further, *aim.keys(fact, targets))
        return (*further, EVERY) if self._every else further

    def keys(self, keys: Keys, further: tuple[Key, ...]) -> tuple[Key, ...]:
        """Return every key by which any of them would find its group."""
        named = keys.of(self.ranks)
        return tuple(dict.fromkeys((*named, *further))) if self._special else (*named, *further) if further else named


def waits_of(asked: Asked, known: tuple[Use, ...]) -> Waits:
    """Return what waits of the uses of a fact when some of them have found a group."""
    waits: Waits | None = asked.waits.get(known)
    if waits is None:
        waits = Waits([use for use in asked.uses if use not in known])
        if len(asked.waits) < _MOST_WAYS:
            asked.waits[known] = waits
    return waits


class RuleState:
    """Say which keys lead to the open groups of one rule; the indexes are those of all rules."""

    def __init__(self, rule: Rule, place: int, tolerance_ns: int, indexes: GroupIndexes) -> None:
        self.rule, self.place = rule, place
        self.grouping = Grouping(rule, place)
        self.by_key, self.by_target = indexes.by_key, indexes.by_target
        self.aims = {alias: Aim(self, alias, tolerance_ns) for alias in rule.facts}
        self.has_waiting = any(aim.waits for aim in self.aims.values())
        """Whether anything waits for its groups to be opened."""

    def reached(self, owner: tuple[Key, ...]) -> list[Group]:
        """Return the open groups that what has these keys can be reached in, in the order of opening."""
        found = {group.serial: group for key in owner for group in self.by_target.of(key, self.grouping)}
        return [group for _, group in sorted(found.items())]

    def opened(self, group: Group, keys: Sequence[Key]) -> None:
        """Let others find a group by the keys of what opened it."""
        self._index(group, keys)
        if self.grouping.by_address:
            self._reach(group, group.opener, 0)

    def joined(self, group: Group, alias: str, fact: Fact, book: AddressBook) -> None:
        """Let others find a group by the keys of what has joined it, as far as that is near enough to the root cause."""
        grouping = self.grouping
        if grouping.joins[alias] == ADDRESS:
            depth = min((group.depth[key] for key in book.owners(fact.targets) if key in group.depth), default=0) + 1
            if depth <= DEEPEST:
                self._index(group, grouping.own_keys(alias, fact))
                self._reach(group, fact, depth)
        elif alias in grouping.spreading:
            self._index(group, grouping.own_keys(alias, fact))
            if grouping.by_address:
                self._reach(group, fact, 1)
        elif grouping.is_wide:
            self._reach(group, fact, 1)

    def _reach(self, group: Group, fact: Fact, depth: int) -> None:
        keys = reachable(fact)
        self.reach(group, keys)
        for key in keys:
            group.depth.setdefault(key, depth)

    def reach(self, group: Group, keys: Sequence[Key]) -> None:
        """Let those find a group that fail to reach what has these keys."""
        group.reached_by += [key for key in keys if self.by_target.put(key, group)]

    def _index(self, group: Group, keys: Sequence[Key]) -> None:
        group.keys += [key for key in keys if self.by_key.put(key, group)]
