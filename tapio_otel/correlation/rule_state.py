"""What the engine keeps for one rule: its open groups, by the keys that lead to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.group import DEEPEST, MOST_GROUPS, Group, Index
from tapio_otel.correlation.grouping import Grouping, reachable
from tapio_otel.correlation.lineage import AddressBook, Key
from tapio_otel.correlation.rule import ADDRESS, Rule
from tapio_otel.correlation.selection import Use

_NONE: Final[tuple[Group, ...]] = ()


class Aim:
    """Say how facts of one alias find their groups, and what becomes of those that find none."""

    __slots__ = ("alias", "by_address", "grouping", "index", "is_patient", "is_root", "ranks", "state", "waits")

    def __init__(self, state: RuleState, alias: str, tolerance_ns: int) -> None:
        self.state, self.alias, self.grouping = state, alias, state.grouping
        self.by_address = state.grouping.joins[alias] == ADDRESS
        self.index = state.by_target if self.by_address else state.by_key
        self.ranks = state.grouping.plain_ranks(alias)
        self.is_root = alias in state.grouping.roots
        self.waits = state.grouping.waits and not self.is_root
        self.is_patient = state.rule.facts[alias].before_ns > tolerance_ns
        """Whether it may come before its cause by more than clocks differ."""

    def keys(self, fact: Fact, targets: tuple[Key, ...]) -> Sequence[Key]:
        """Return the keys by which a fact finds its group; `targets` are those of what it failed to reach."""
        if self.by_address:
            return targets
        return self.grouping.keys(self.alias, fact) if self.ranks is None else fact.keys_of_ranks(self.ranks)

    def groups(self, fact: Fact, keys: Sequence[Key]) -> tuple[Group, ...]:
        """Return the open groups that a fact belongs to: the latest ones where there are many, in the order of opening."""
        found = tried = _NONE
        index = self.index
        for key in keys:
            groups = index.get(key, _NONE)
            if groups is tried:
                continue
            tried = groups
            for group in groups:
                if group not in found and group.fits(self.alias, fact):
                    found = (*found, group)
        if len(found) > 1:
            return tuple(sorted(found, key=lambda group: group.serial)[-MOST_GROUPS:])
        return found

    def leads_to(self, group: Group, fact: Fact, targets: tuple[Key, ...]) -> bool:
        """Tell whether a fact has a key by which a group can be found."""
        index = self.index
        return any(group in index.get(key, _NONE) for key in self.keys(fact, targets))


class Waits:
    """Say which of some aims wait where they find no group, and under which keys."""

    __slots__ = ("_aims", "_by_address", "_ranks", "patient", "uses")

    def __init__(self, uses: Sequence[Use]) -> None:
        self.uses = tuple(use for use in uses if use.aim.waits)
        patient = tuple(use for use in self.uses if use.aim.is_patient)
        self.patient: Waits | None = None if not patient else self if patient == self.uses else Waits(patient)
        aims = [use.aim for use in self.uses]
        self._by_address = any(aim.by_address for aim in aims)
        self._ranks = frozenset(rank for aim in aims if aim.ranks is not None for rank in aim.ranks)
        self._aims = tuple(aim for aim in aims if aim.ranks is None and not aim.by_address)

    def keys(self, fact: Fact, targets: tuple[Key, ...]) -> Sequence[Key]:
        """Return every key by which any of them would find its group."""
        keys: Sequence[Key] = fact.keys_of_ranks(self._ranks) if self._ranks else ()
        if self._by_address and targets:
            keys = [*keys, *targets]
        for aim in self._aims:
            keys = list(dict.fromkeys((*keys, *aim.keys(fact, targets))))
        return keys


class RuleState:
    """Hold the open groups of one rule by their keys."""

    def __init__(self, rule: Rule, place: int, tolerance_ns: int) -> None:
        self.rule, self.place = rule, place
        self.grouping = Grouping(rule)
        self.by_key: Index = {}
        self.by_target: Index = {}
        self.aims = {alias: Aim(self, alias, tolerance_ns) for alias in rule.facts}

    def reached(self, owner: tuple[Key, ...]) -> list[Group]:
        """Return the open groups that what has these keys can be reached in, in the order of opening."""
        found = {group.serial: group for key in owner for group in self.by_target.get(key, _NONE)}
        return [group for _, group in sorted(found.items())]

    def opened(self, group: Group) -> None:
        """Let others find a group by the keys of what opened it."""
        group.index(self.by_key, self.grouping.opening_keys(group.alias, group.opener))
        if self.grouping.by_address:
            self._reach(group, group.opener, 0)

    def joined(self, group: Group, alias: str, fact: Fact, book: AddressBook) -> None:
        """Let others find a group by the keys of what has joined it, as far as that is near enough to the root cause."""
        grouping = self.grouping
        if grouping.joins[alias] == ADDRESS:
            depth = min((group.depth[key] for key in book.owners(fact.targets) if key in group.depth), default=0) + 1
            if depth <= DEEPEST:
                group.index(self.by_key, grouping.own_keys(alias, fact))
                self._reach(group, fact, depth)
        elif alias in grouping.spreading:
            group.index(self.by_key, grouping.own_keys(alias, fact))
            if grouping.by_address:
                self._reach(group, fact, 1)
        elif grouping.is_wide:
            self._reach(group, fact, 1)

    def _reach(self, group: Group, fact: Fact, depth: int) -> None:
        keys = reachable(fact)
        group.index(self.by_target, keys)
        for key in keys:
            group.depth.setdefault(key, depth)
