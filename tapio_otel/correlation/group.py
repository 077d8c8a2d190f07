"""Groups: the facts that belong together by one rule, from the first one to the end of the window.

A group is opened by a fact that can be the root cause. It takes facts that share a key with that one, or that failed to reach
it (`join: address`), or what so joined, in at most `DEEPEST` steps. It answers what the rule's condition asks, and counts as
facts come, so that a fact costs the same in a group of a thousand as in one of two.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tapio_otel.correlation.facts import Fact, Witness
from tapio_otel.correlation.grammar import ENTITY, Distinct
from tapio_otel.correlation.lineage import JOINED, REACHABLE, Key
from tapio_otel.correlation.rule import ADDRESS, ANY, EARLIEST, Rule

DEEPEST: Final = 3
"""How many steps a fact may be away from the root cause by joins over addresses."""
MOST_MEMBERS: Final = 1000
"""Facts that one group takes; what comes beyond is counted and left out."""
_ATTRIBUTES: Final = "attributes."


def _time(fact: Fact) -> int:
    return fact.timestamp


class Grouping:
    """Answer, for one rule, by which keys a fact of an alias is grouped."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._ranks = frozenset(rank for name in rule.group_by for rank in JOINED.get(name, ()))
        self._attributes = {name: _names(name, rule) for name in rule.group_by if name not in JOINED and name != ANY}
        self._any: list[Key] = [(ANY,)] if ANY in rule.group_by else []
        self._joins_any = any(selector.join == ANY for selector in rule.facts.values())
        self.by_address = any(selector.join == ADDRESS for selector in rule.facts.values())

    def keys(self, alias: str, fact: Fact) -> list[Key]:
        """Return the keys by which facts of this alias belong together, nearest first."""
        found = [*self._any, *(key for key in fact.keys if key[0] in self._ranks)] if self._ranks else [*self._any]
        for name, by_alias in self._attributes.items():
            value = fact.get(by_alias.get(alias, "")) if by_alias.get(alias) else None
            if value is not None:
                found.append((name, str(value)))
        return found

    def opening_keys(self, alias: str, fact: Fact) -> list[Key]:
        """Return the keys by which others find the group that this fact opens."""
        found = self.keys(alias, fact)
        return [*found, (ANY,)] if self._joins_any and not self._any else found


def _names(name: str, rule: Rule) -> Mapping[str, str]:
    """Return the attribute that a name in group_by stands for, by alias."""
    if name.startswith(_ATTRIBUTES):
        return dict.fromkeys(rule.facts, name.removeprefix(_ATTRIBUTES))
    return rule.aliases.get(name, {})


def reachable(fact: Fact) -> Iterator[Key]:
    """Yield the keys by which others would reach what a fact is about."""
    return (key for key in fact.keys if key[0] in REACHABLE)


class Group:
    """Hold the facts of one rule that belong together; times are nanoseconds of event time."""

    __slots__ = (
        *("alias", "clock_end", "conclusion", "depth", "emitted_at", "ended", "events", "facts", "grouping", "id", "indexed"),
        *("is_changed", "is_fired", "is_open", "key", "keys", "members", "opener", "overflow", "revision", "root", "rule"),
        *("serial", "subsumed", "superseded_by", "told", "tolerance_ns", "update_due", "values", "end_ns"),
    )

    def __init__(self, grouping: Grouping, alias: str, fact: Fact, serial: int, tolerance_ns: int) -> None:
        self.grouping = grouping
        self.rule = grouping.rule
        self.alias, self.opener = alias, fact
        self.serial = serial
        self.tolerance_ns = tolerance_ns
        self.end_ns = fact.timestamp + self.rule.window_ns
        self.key: Key = next(iter(grouping.keys(alias, fact)), ())
        self.facts: dict[str, list[Fact]] = {}
        self.depth: dict[Key, int] = {}
        """How many steps from the root cause what can be reached by a key is."""
        self.members: dict[str, Witness] = {}
        """Every event of every fact, by id."""
        self.told: dict[tuple[str, str], Fact] = {}
        self.values: dict[Distinct, set[Any]] = {}
        if self.rule.condition is not None:
            self.values = {values: set() for values in self.rule.condition.distinct}
        self.events = 0
        self.overflow = 0
        self.indexed: list[tuple[dict[Key, Group], Key]] = []
        self.is_open = True
        self.is_fired = self.is_changed = self.ended = False
        self.root: Fact | None = None
        self.conclusion: Any = None
        self.id = ""
        self.revision = -1
        self.emitted_at = 0
        self.update_due: int | None = None
        self.subsumed: list[Group] = []
        self.superseded_by = ""

    # --- What the condition asks ------------------------------------------------------------------------------------------

    def count(self, alias: str) -> int:
        """Return how many facts of an alias there are."""
        return len(self.facts.get(alias, ()))

    def distinct(self, values: Distinct) -> int:
        """Return how many different values there are."""
        return len(self.values[values])

    def in_order(self, aliases: tuple[str, ...]) -> bool:
        """Tell whether there are facts of these aliases, each after the one before, as exactly as their clocks allow."""
        used: list[Fact] = []
        for alias in aliases:
            before = used[-1] if used else None
            facts = self.facts.get(alias, [])
            since = before.timestamp - self.tolerance_ns if before is not None else 0
            following = (fact for fact in facts[bisect_left(facts, since, key=_time) :] if fact not in used)
            found = next((fact for fact in following if before is None or self.may_follow(before, fact)), None)
            if found is None:
                return False
            used.append(found)
        return True

    def holds(self) -> bool:
        """Tell whether what the rule asks for is there."""
        rule = self.rule
        if self.events < rule.min_events:
            return False
        if rule.condition is not None:
            return rule.condition.holds(self)
        return all(selector.optional or self.facts.get(alias) for alias, selector in rule.facts.items())

    # --- Time -------------------------------------------------------------------------------------------------------------

    def may_follow(self, cause: Fact, effect: Fact) -> bool:
        """Tell whether one fact can come after another: by their time, or where no one clock told both, nearly so."""
        if effect.timestamp >= cause.timestamp:
            return True
        if cause.timestamp - effect.timestamp > self.tolerance_ns:
            return False
        common = [source for source in cause.sources if source in effect.sources]
        return all(effect.first_by(source) >= cause.first_by(source) for source in common)

    def fits(self, alias: str, fact: Fact) -> bool:
        """Tell whether a fact lies within the window."""
        if fact.timestamp > self.end_ns:
            return False
        lead = self.opener.timestamp - fact.timestamp
        return lead <= self.rule.facts[alias].before_ns or self.may_follow(self.opener, fact)

    # --- Facts ------------------------------------------------------------------------------------------------------------

    def add(self, alias: str, fact: Fact) -> bool:
        """Take a fact; tells whether that was one more. Not one more is what only the root's own events tell."""
        attests = alias != self.alias and self._is_only_root(fact)
        if attests or self._is_there(alias, fact):
            self.witnessed(fact)
            return False
        if len(self.members) >= MOST_MEMBERS:
            self.overflow += 1
            return False
        insort(self.facts.setdefault(alias, []), fact, key=_time)
        if self not in fact.groups:
            fact.groups = (*fact.groups, self)
        for values, known in self.values.items():
            if values.alias == alias:
                value = _value(fact, values.attributes)
                if value is not None:
                    known.add(value)
        self._take(alias, fact)
        return True

    def witnessed(self, fact: Fact) -> None:
        """Take the further witnesses of a fact."""
        for alias, facts in self.facts.items():
            if any(one is fact for one in facts[-8:]) or self._is_there(alias, fact):
                self._take(alias, fact)

    def _take(self, alias: str, fact: Fact) -> None:
        for one in fact.witnesses:
            self.told.setdefault((alias, one.event.id), fact)
            if one.event.id not in self.members:
                self.members[one.event.id] = one
                self.events += 1
                self.is_changed = True
                if self.is_fired:
                    one.told_by = (*one.told_by, self)

    def _is_there(self, alias: str, fact: Fact) -> bool:
        told, witnesses = self.told, fact.witnesses
        if len(witnesses) == 1:  # as nearly always
            return (alias, witnesses[0].event.id) in told
        return any((alias, one.event.id) in told for one in witnesses)

    def _is_only_root(self, fact: Fact) -> bool:
        attested = self.opener.witnesses
        return fact.witnesses[0] in attested and all(one in attested for one in fact.witnesses)

    def all_facts(self) -> list[Fact]:
        """Return every fact once, in the order of time."""
        unique = {id(fact): fact for facts in self.facts.values() for fact in facts}
        return sorted(unique.values(), key=in_time)

    def choose_root(self) -> Fact:
        """Return the cause: the first fact of the preferred alias, or the earliest of all."""
        if self.rule.root != (EARLIEST,):
            for alias in self.rule.root:
                if self.facts.get(alias):
                    return min(self.facts[alias], key=in_time)
        return self.all_facts()[0]

    def index(self, index: dict[Key, Group], keys: Iterable[Key]) -> None:
        """Let others find this group by keys that no other group has."""
        for key in keys:
            if key not in index:
                index[key] = self
                self.indexed.append((index, key))

    def close(self) -> None:
        """Let go of everything that refers to this group."""
        self.is_open = False
        for index, key in self.indexed:
            if index.get(key) is self:
                del index[key]
        for facts in self.facts.values():
            for fact in facts:
                fact.groups = tuple(one for one in fact.groups if one is not self)
        for witness in self.members.values():
            if witness.told_by:
                witness.told_by = tuple(one for one in witness.told_by if one is not self)


def in_time(fact: Fact) -> tuple[int, str]:
    """Return what orders facts: when they happened, then their canonical event's id."""
    event = fact.witnesses[0].event
    return event.timestamp, event.id


def _value(fact: Fact, attributes: tuple[str, ...]) -> Any:
    found = []
    for name in attributes:
        if name == ENTITY:
            entity = fact.entity
            found.append(f"{entity.type}/{entity.namespace}/{entity.uid}")
        else:
            value = fact.get(name)
            if value is None:
                return None
            found.append(str(value))
    return tuple(found)
