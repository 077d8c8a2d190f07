"""Groups: the facts that belong together by one rule, from the first one to the end of the window.

A group is opened by a fact that can be the root cause. It takes facts that share a key with that one, or that failed to reach
it (`join: address`), or what so joined, in at most `DEEPEST` steps. It answers what the rule's condition asks, and counts as
facts come, so that a fact costs the same in a group of a thousand as in one of two.

Windows slide. Where the condition has not held when the window ends, it begins anew at the next fact that can be the cause,
with what is not too old for that one. So a rule concludes whenever all that it asks for lies within one window.

A finding that was told goes on beyond its window where its rule has `repeats`: as long as its cause comes again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, Final

from tapio_otel.correlation.facts import Fact, Witness
from tapio_otel.correlation.grammar import ENTITY, Distinct
from tapio_otel.correlation.group_index import GroupIndexes
from tapio_otel.correlation.grouping import Grouping
from tapio_otel.correlation.keys import Key
from tapio_otel.correlation.lineage import MACHINE_BOUND, machine_of
from tapio_otel.correlation.rule import EARLIEST

DEEPEST: Final = 3
"""How many steps a fact may be away from the root cause by joins over addresses."""
MOST_MEMBERS: Final = 1000
"""Facts that one group takes; what comes beyond is counted and left out."""
MOST_KEPT: Final = 128
"""Facts that a window takes along when it begins anew: the latest ones."""
MOST_REPEATS: Final = 6
"""How many times as long as `repeats` a finding lasts at most: one that never ended would never be told anew."""


def _time(fact: Fact) -> int:
    return fact.timestamp


class Group:
    """Hold the facts of one rule that belong together; times are nanoseconds of event time."""

    __slots__ = (
        *("alias", "conclusion", "counted", "depth", "emitted_at", "end_ns", "ended", "events", "facts", "grouping", "id"),
        *("is_changed", "is_fired", "is_open", "key", "keys", "latest_ns", "members", "opener", "overflow", "reached_by"),
        *("revision", "root", "rule", "serial", "subsumed", "superseded_by", "told", "tolerance_ns", "update_due"),
    )

    def __init__(self, grouping: Grouping, alias: str, fact: Fact, key: Key, serial: int, tolerance_ns: int) -> None:
        self.grouping = grouping
        self.rule = grouping.rule
        self.alias, self.opener, self.key = alias, fact, key
        self.serial = serial
        self.tolerance_ns = tolerance_ns
        self.end_ns = fact.timestamp + self.rule.window_ns
        self.latest_ns = fact.timestamp
        """When the latest fact happened that can be the root cause."""
        self.facts: dict[str, list[Fact]] = {}
        self.depth: dict[Key, int] = {}
        """How many steps from the root cause what can be reached by a key is."""
        self.members: dict[str, Witness] = {}
        """Every event of every fact, by id."""
        self.told: dict[str, tuple[dict[str, Fact], dict[str, Fact]]] = {}
        """For each alias the events that tell facts, with the fact that is counted: those that follow apart from the others."""
        condition = self.rule.condition
        counted = condition.distinct if condition is not None else ()
        self.counted = {id(one): (one, _Values()) for one in counted} if counted else _NO_VALUES
        self.events = 0
        self.overflow = 0
        self.keys: list[Key] = []
        self.reached_by: list[Key] = []
        """The keys by which it is found, and those by which it is by what others failed to reach."""
        self.is_open = True
        self.is_fired = self.is_changed = self.ended = False
        self.root: Fact | None = None
        self.conclusion: Any = None
        self.id = ""
        self.revision = -1
        self.emitted_at = 0
        self.update_due: int | None = None
        self.subsumed: tuple[Group, ...] = ()
        self.superseded_by = ""

    # --- What the condition asks ------------------------------------------------------------------------------------------

    def count(self, alias: str) -> int:
        """Return how many facts of an alias there are."""
        return len(self.facts.get(alias, ()))

    def distinct(self, values: Distinct) -> int:
        """Return how many different values there are."""
        return len(self.counted[id(values)][1].facts)

    def in_order(self, aliases: tuple[str, ...]) -> bool:
        """Tell whether there are facts of these aliases, each after the one before, as exactly as their clocks allow."""
        for alias in aliases:
            if alias not in self.facts:
                return False  # as nearly always
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
        lead = self.opener.timestamp - fact.timestamp
        if lead <= 0:
            if fact.timestamp > self.end_ns:
                return False
            return fact.timestamp <= self.latest_ns + self.rule.window_ns or alias in self.grouping.roots
        return lead <= self.rule.facts[alias].before_ns or self.may_follow(self.opener, fact)

    # --- Facts ------------------------------------------------------------------------------------------------------------

    def add(self, alias: str, fact: Fact) -> bool:
        """Take a fact; tells whether that was one more. Not one more is what only attests the root cause."""
        members = self.members
        if len(members) >= MOST_MEMBERS and len(fact.witnesses) == 1 and fact.witnesses[0].event.id not in members:
            self.overflow += 1  # nothing tells of it here
            return False
        attests = alias != self.alias and self._attests_root(fact)
        if attests or self._is_there(alias, fact):
            self.witnessed(fact)
            return False
        if len(members) >= MOST_MEMBERS:
            self.overflow += 1
            return False
        facts = self.facts.get(alias)
        if facts is None:
            self.facts[alias] = [fact]
        elif facts[-1].timestamp <= fact.timestamp:
            facts.append(fact)
        else:
            insort(facts, fact, key=_time)
        if self not in fact.groups:
            fact.groups = (*fact.groups, self)
        self._take(alias, fact)
        if alias in self.grouping.roots:
            self.latest_ns = max(self.latest_ns, fact.timestamp)
            self.prolong()
        return True

    def prolong(self) -> None:
        """Let a finding that was told go on as long as its cause is repeated: it is one story."""
        repeats = self.rule.repeats_ns
        if self.is_fired and repeats:
            latest = min(self.latest_ns + repeats, self.opener.timestamp + MOST_REPEATS * repeats)
            self.end_ns = max(self.end_ns, latest)

    def witnessed(self, fact: Fact) -> None:
        """Take the further witnesses of a fact."""
        for alias, facts in self.facts.items():
            if facts[-1] is fact or self._is_there(alias, fact):
                self._take(alias, fact)

    def _take(self, alias: str, fact: Fact) -> None:
        members = self.members
        both = self.told.get(alias)
        if both is None:
            both = self.told[alias] = ({}, {})
        told = both[fact.kind.follows]
        for one in fact.witnesses:
            identity = one.event.id
            told.setdefault(identity, fact)
            if identity not in members:
                members[identity] = one
                self.events += 1
                self.is_changed = True
                if self.is_fired:
                    one.told_by = (*one.told_by, self)
        for values, known in self.counted.values() if self.counted else ():
            if values.alias == alias and told[fact.witnesses[0].event.id] is fact:
                known.count(fact, _value(fact, values.attributes))

    def _is_there(self, alias: str, fact: Fact) -> bool:
        """Tell whether an event of a fact already tells one of an alias; of a restart, whether it is told as its own cause."""
        told = self.told.get(alias)
        if told is None:
            return False
        follows = fact.kind.follows
        known = told[follows]
        for one in fact.witnesses:
            if one.event.id in known:
                return True
        cause = told[False].get(fact.event.id) if follows else None
        return cause is not None and cause.event.id == fact.event.id

    def _attests_root(self, fact: Fact) -> bool:
        """Tell whether an event of a fact tells the root cause too: both are one occurrence then, but for what follows it."""
        if fact.kind.follows:
            return fact.event.id == self.opener.event.id
        attested = self.opener.witnesses
        for one in fact.witnesses:  # noqa: SIM110 - a generator would cost more than the search
            if one in attested:
                return True
        return False

    def all_facts(self) -> list[Fact]:
        """Return every fact once, in the order of time."""
        unique = {id(fact): fact for facts in self.facts.values() for fact in facts}
        return sorted(unique.values(), key=in_time)

    def entries(self) -> list[tuple[str, Fact]]:
        """Return every fact with each alias that it has here, in the order of time."""
        found = [(alias, fact) for alias, facts in self.facts.items() for fact in facts]
        return sorted(found, key=lambda one: (in_time(one[1]), one[0]))

    def choose_root(self) -> Fact:
        """Return the cause: the first fact of the preferred alias, or the earliest of several, or of all."""
        rule = self.rule
        if rule.root == (EARLIEST,):
            return self.all_facts()[0]
        found = [facts for alias in rule.root if (facts := self.facts.get(alias))]
        return min((fact for facts in found for fact in facts) if rule.earliest else found[0], key=in_time)

    def close(self, indexes: GroupIndexes) -> None:
        """Let go of everything that refers to this group."""
        self.is_open = False
        for key in self.keys:
            indexes.by_key.drop(key, self)
        for key in self.reached_by:
            indexes.by_target.drop(key, self)
        for facts in self.facts.values():
            for fact in facts:
                if self in fact.groups:
                    fact.groups = tuple([one for one in fact.groups if one is not self])
        if self.is_fired:
            for witness in self.members.values():
                witness.told_by = tuple([one for one in witness.told_by if one is not self])


class _Values:
    """Count different values, each by the facts that have it: a fact's value may change as further witnesses come."""

    __slots__ = ("_of", "facts")

    def __init__(self) -> None:
        self.facts: dict[Any, int] = {}
        self._of: dict[int, Any] = {}

    def count(self, fact: Fact, value: Any) -> None:
        before = self._of.get(id(fact))  # the group holds its facts, so that no other has this id
        if value == before:
            return
        if before is not None:
            self.facts[before] -= 1
            if not self.facts[before]:
                del self.facts[before]
        if value is None:
            self._of.pop(id(fact), None)
            return
        self._of[id(fact)] = value
        self.facts[value] = self.facts.get(value, 0) + 1


_NO_VALUES: Final[dict[int, tuple[Distinct, _Values]]] = {}


def in_time(fact: Fact) -> tuple[int, str]:
    """Return what orders facts: when they happened, then their canonical event's id."""
    event = fact.witnesses[0].event
    return event.timestamp, event.id


def _value(fact: Fact, attributes: tuple[str, ...]) -> Any:
    found = []
    for name in attributes:
        if name == ENTITY:
            entity = fact.entity
            machine = machine_of(entity) if entity.type in MACHINE_BOUND else ""
            found.append(f"{machine}/{entity.type}/{entity.namespace}/{entity.uid}")
        else:
            value = fact.get(name)
            if value is None:
                return None
            found.append(str(value))
    return tuple(found)
