"""Grouping: by which keys the facts of a rule belong together, and by which others find a group.

A fact of an alias looks for its group by the keys that its `join` names: those of the ranks in `group_by`, those of one rank
(`join: node`), what it failed to reach (`join: address`), or `any`. A group can be found by the keys of what opened it, and
by those of what joined it over an address: what these two have in common is what joins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.group_index import EVERY
from tapio_otel.correlation.keys import JOINED, REACHABLE, Key, ranks_of
from tapio_otel.correlation.rule import ADDRESS, ANY, EARLIEST, GROUP, Rule

_ATTRIBUTES: Final = "attributes."
_WIDE: Final = frozenset(("node", "namespace", ANY))


class Grouping:
    """Answer, for one rule, by which keys a fact of an alias is grouped."""

    def __init__(self, rule: Rule, place: int) -> None:
        self.rule = rule
        self.turn = not rule.suppresses, place
        """When the groups of this rule, the one at this place, are looked at: rules that suppress others first."""
        self.alone = frozenset((self,))
        self._ranks = ranks_of(rank for name in rule.group_by for rank in JOINED.get(name, ()))
        self._attributes = {name: _names(name, rule) for name in rule.group_by if name not in JOINED and name != ANY}
        self._groups_any = ANY in rule.group_by
        self._named = {alias: _ranks_of(selector.join) for alias, selector in rule.facts.items()}
        self._joined = ranks_of(rank for ranks in self._named.values() for rank in ranks)
        joins = {selector.join for selector in rule.facts.values()}
        self._opens_any = self._groups_any or ANY in joins
        self.by_address = ADDRESS in joins
        self.roots = frozenset(rule.root_aliases)
        self.waits = rule.root != (EARLIEST,)
        self.joins = {alias: selector.join for alias, selector in rule.facts.items()}
        own = {alias for alias, join in self.joins.items() if join not in {GROUP, ADDRESS}}
        self.spreading = self.roots & own
        """Aliases that can be the cause and join by more than `group_by`: what belongs to such a fact belongs to the group."""
        self.is_wide = self.by_address and not _WIDE.isdisjoint((*rule.group_by, *joins))
        """Whether what joins can be far from the root cause, and must be reachable in its own right."""

    def keys(self, alias: str, fact: Fact) -> Sequence[Key]:
        """Return the keys by which a fact of this alias looks for its group, nearest first; not those over an address."""
        join = self.joins[alias]
        if join == ANY:
            return [EVERY]
        if join in {GROUP, ADDRESS}:
            return self.own_keys(alias, fact)
        return fact.keys.of(self._named[alias])

    def plain_ranks(self, alias: str) -> frozenset[str] | None:
        """Return the ranks of keys that lead facts of an alias to their group; None where attributes or an address do."""
        join = self.joins[alias]
        if join == ANY:
            return ranks_of((ANY,))
        if join == GROUP:
            return None if self._attributes else ranks_of((*self._ranks, ANY)) if self._groups_any else self._ranks
        return None if join == ADDRESS else self._named[alias]

    def own_keys(self, alias: str, fact: Fact) -> Sequence[Key]:
        """Return the keys of `group_by` that a fact has."""
        found: Sequence[Key] = fact.keys.of(self._ranks) if self._ranks else ()
        if self._groups_any:
            found = [EVERY, *found]
        if self._attributes:
            found = [*found, *self._attribute_keys(alias, fact)]
        return found

    def _attribute_keys(self, alias: str, fact: Fact) -> list[Key]:
        found: list[Key] = []
        for name, by_alias in self._attributes.items():
            value = fact.get(by_alias[alias]) if alias in by_alias else None
            if value is not None:
                found.append((name, str(value)))
        return found

    def opening_keys(self, alias: str, fact: Fact) -> Sequence[Key]:
        """Return the keys by which others find the group that this fact opens."""
        found = self.own_keys(alias, fact)
        if self._joined:
            found = [*found, *fact.keys.of(self._joined)]
        return [*found, EVERY] if self._opens_any and not self._groups_any else found


def _ranks_of(join: str) -> frozenset[str]:
    return ranks_of(() if join in {GROUP, ADDRESS, ANY} else JOINED[join])


def _names(name: str, rule: Rule) -> Mapping[str, str]:
    """Return the attribute that a name in group_by stands for, by alias."""
    if name.startswith(_ATTRIBUTES):
        return dict.fromkeys(rule.facts, name.removeprefix(_ATTRIBUTES))
    return rule.aliases.get(name, {})


def reachable(fact: Fact) -> Sequence[Key]:
    """Return the keys by which others would reach what a fact is about."""
    return fact.keys.of(REACHABLE)
