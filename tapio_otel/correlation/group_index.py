"""An index of the open groups of all rules, by the keys that lead to them.

One lookup by a key tells for every rule at once which groups there are, and mostly that there are none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from tapio_otel.correlation.keys import Key
from tapio_otel.correlation.rule import ANY

if TYPE_CHECKING:
    from tapio_otel.correlation.group import Group
    from tapio_otel.correlation.grouping import Grouping

MOST_GROUPS: Final = 4
"""Groups of one rule that one key leads to, and that one fact joins; the latest ones where there are more."""
EVERY: Final[Key] = (ANY,)
"""The key that everything has in common where nothing is asked for."""
Held: TypeAlias = "dict[Grouping, tuple[Group, ...]]"
"""The groups that one key leads to, by the grouping of their rule."""
Near: TypeAlias = "dict[Grouping, list[tuple[str, tuple[Group, ...]]]]"
"""What some keys lead to: for each rule's grouping the groups, each time with the key's rank."""


class GroupIndex(dict[Key, Held]):
    """Hold groups by key."""

    def put(self, key: Key, group: Group) -> bool:
        """Let a key lead to a group, and of several groups of its rule to the latest; tells whether it did not before."""
        held = self.get(key)
        if held is None:
            self[key] = {group.grouping: (group,)}
        else:
            groups = held.get(group.grouping)
            if groups is None:
                held[group.grouping] = (group,)
            elif group in groups:
                return False
            else:
                held[group.grouping] = (*groups[-MOST_GROUPS + 1 :], group)
        return True

    def drop(self, key: Key, group: Group) -> None:
        """Let a key no longer lead to a group."""
        held = self.get(key)
        groups = held.get(group.grouping) if held is not None else None
        if held is None or groups is None:
            return
        if len(groups) > 1:
            held[group.grouping] = tuple([one for one in groups if one is not group])
        elif groups[0] is group:
            del held[group.grouping]
            if not held:
                del self[key]

    def near(self, keys: Iterable[Key], groupings: frozenset[Grouping]) -> Near:
        """Return what keys lead to, of some rules."""
        found: Near = {}
        for key in keys:
            held = self.get(key)
            if held is not None:
                for grouping, groups in held.items():
                    if grouping in groupings:
                        known = found.get(grouping)
                        if known is None:
                            found[grouping] = [(key[0], groups)]
                        else:
                            known.append((key[0], groups))
        return found

    def of(self, key: Key, grouping: Grouping) -> tuple[Group, ...]:
        """Return the groups of one rule that a key leads to."""
        held = self.get(key)
        return () if held is None else held.get(grouping, ())


class GroupIndexes:
    """Hold the open groups by the keys of what they are about, and by those that others fail to reach."""

    def __init__(self) -> None:
        self.by_key, self.by_target = GroupIndex(), GroupIndex()

    def around(self, keys: tuple[Key, ...], targets: tuple[Key, ...], groupings: frozenset[Grouping]) -> tuple[Near, Near]:
        """Return which groups of some rules a fact's keys lead to, and which its targets."""
        by_key, by_target = self.by_key, self.by_target
        near = by_key.near((*keys, EVERY) if EVERY in by_key else keys, groupings) if by_key else {}
        return near, by_target.near(targets, groupings) if targets and by_target else {}
