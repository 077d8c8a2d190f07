"""What the engine keeps for one rule: its open groups, by the keys that lead to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.group import DEEPEST, MOST_GROUPS, Group, Index
from tapio_otel.correlation.grouping import Grouping, reachable
from tapio_otel.correlation.lineage import AddressBook, Key
from tapio_otel.correlation.rule import ADDRESS, Rule

_NONE: Final[tuple[Group, ...]] = ()


class Aim:
    """Say how facts of one alias find their groups, and what becomes of those that find none."""

    __slots__ = ("alias", "by_address", "grouping", "index", "is_patient", "is_root", "state", "waits")

    def __init__(self, state: RuleState, alias: str, tolerance_ns: int) -> None:
        self.state, self.alias, self.grouping = state, alias, state.grouping
        self.by_address = state.grouping.joins[alias] == ADDRESS
        self.index = state.by_target if self.by_address else state.by_key
        self.is_root = alias in state.grouping.roots
        self.waits = state.grouping.waits and not self.is_root
        self.is_patient = state.rule.facts[alias].before_ns > tolerance_ns
        """Whether it may come before its cause by more than clocks differ."""

    def keys(self, fact: Fact, targets: tuple[Key, ...]) -> Sequence[Key]:
        """Return the keys by which a fact finds its group; `targets` are those of what it failed to reach."""
        return targets if self.by_address else self.grouping.keys(self.alias, fact)

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
