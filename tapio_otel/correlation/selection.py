"""Selection: which rules an event concerns, in one dict lookup by its type.

For every type of event that any rule asks for there is a plan: the classes the event may belong to, each with its test, and for
each class the aliases of rules that stand for it, each with what else they ask. What no rule asks for has no plan, but for the
types that teach whose address is whose. Tests that cost little are made at once, patterns and CEL only once there is a group
that the fact would join, or when it would open one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tapio_otel.component import CounterSink
from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.fact_class import FactClass, plain
from tapio_otel.correlation.keys import ranks_of
from tapio_otel.correlation.rule import ADDRESS, FactSelector, Rule
from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import EventType, UnifiedEvent

if TYPE_CHECKING:
    from tapio_otel.conditions import Condition

Check = Callable[[UnifiedEvent], bool]

TEACHING: Final = frozenset((EventType.TCP_RESET, EventType.TCP_RETRANSMIT, EventType.POD_STATE, EventType.CONTAINER_RESTART))
"""Types of event that carry an address of what they are about."""
_EVERY: Final = ""
_LONGEST: Final = 4096
"""Characters of a text that a pattern is looked for in."""
_TEXTS: Final = 256
_SHORT: Final = 512
"""Texts, of so many characters at most, that a pattern's answer is kept of: much is said again and again."""
_MOST_SOURCES: Final = 64
_MOST_TOLD: Final = 1024
_SEVERITY_BITS: Final = 8
_LOG: Final = logging.getLogger(__name__)


class Use:
    """Say that a fact is one of an alias of a rule (by its index), for events of `sources` that pass checks and slow tests.

    `aim` belongs to the engine: where facts of the alias look for their group.
    """

    __slots__ = ("aim", "alias", "checks", "rule", "slow", "sources")

    def __init__(self, rule: int, alias: str, sources: frozenset[str], checks: Sequence[Check], slow: Sequence[Check]) -> None:
        self.rule, self.alias, self.sources = rule, alias, sources
        self.checks, self.slow = tuple(checks), tuple(slow)
        self.aim: Any = None

    def takes(self, event: UnifiedEvent) -> bool:
        """Tell whether an event passes the slow tests."""
        return _passes(event, self.slow)


class Asked:
    """Hold uses of one class of fact that take an event; `waits` belongs to the engine."""

    __slots__ = ("active", "checked", "fewer", "groupings", "ranks", "uses", "waits")

    def __init__(self, uses: tuple[Use, ...]) -> None:
        self.uses = uses
        self.checked = tuple(use for use in uses if use.checks)
        self.fewer: dict[tuple[int, ...], Asked] = {}
        """What is left when some of the checked ones do not take an event, by their places."""
        self.waits: dict[tuple[Use, ...], Any] = {}
        self.groupings: frozenset[Any] = frozenset()
        """The groupings of all the uses."""
        self.ranks: frozenset[str] = frozenset()
        """The ranks of keys by which any of them finds a group."""
        self.active: tuple[Use, ...] = ()
        """The uses from the first on that may do something where lineage leads to no group: open one, say."""

    def prepare(self) -> frozenset[Any]:
        """Find out what the engine asks again and again, once it has set its aims; returns the groupings."""
        self.groupings = frozenset(use.aim.grouping for use in self.uses)
        self.ranks = ranks_of(rank for use in self.uses for rank in use.aim.ranks or ())
        places = [place for place, use in enumerate(self.uses) if use.aim.acts_alone]
        self.active = self.uses[places[0] :] if places else ()
        return self.groupings

    def of(self, event: UnifiedEvent) -> Asked:
        """Return what takes an event, of what takes its source."""
        refused = tuple([place for place, use in enumerate(self.checked) if not _passes(event, use.checks)])
        if not refused:
            return self
        found = self.fewer.get(refused)
        if found is None:
            out = {id(self.checked[place]) for place in refused}
            found = self.fewer[refused] = Asked(tuple(use for use in self.uses if id(use) not in out))
        return found


class Step(NamedTuple):
    """Say which class of fact an event tells if it passes the test, and who asks for it."""

    kind: FactClass
    test: Check | None
    uses: tuple[Use, ...]
    by_source: dict[str, Asked]
    """For each source that was seen the uses that take its events."""

    def of_source(self, source: str) -> Asked:
        """Return what is asked of a source."""
        found = Asked(tuple(use for use in self.uses if not use.sources or source in use.sources))
        if len(self.by_source) < _MOST_SOURCES:
            self.by_source[source] = found
        return found


Told = tuple[tuple[FactClass, Asked], ...]
"""Classes of facts, each with the uses of it."""


class Plan(NamedTuple):
    """Say what events of one type may tell."""

    steps: tuple[Step, ...]
    needed: str
    """An attribute without which an event tells nothing; empty where there is none such."""
    has_targets: bool
    """Whether anybody asks what the event failed to reach."""
    teaches: bool
    tests: tuple[tuple[Check, int], ...]
    """What is to be known of an event besides source and severity, each with a bit of its own."""
    told: dict[tuple[str, int], Told]
    """What events told of which the same was known, by the source, and by the bits with the severity."""


class Selection:
    """Hold the plans by type of event; `other` is that of types that are not named anywhere, None as a rule."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._conditions: list[tuple[str, Condition]] = []
        self.uses: list[Use] = []
        self._failed: dict[int, int] = {}
        self._said: set[str] = set()
        found: dict[str, dict[str, tuple[Check | None, list[Use]]]] = {}
        for index, rule in enumerate(rules):
            for alias, selector in rule.facts.items():
                sources = selector.sources or rule.sources
                use = Use(index, alias, sources, _checks(selector), self._slow(rule, selector))
                self.uses.append(use)
                for type, class_name, test in _told_by(selector):
                    found.setdefault(type, {}).setdefault(class_name, (test, []))[1].append(use)
        general = found.pop(_EVERY, {})
        self._kinds: dict[str, FactClass] = {}
        by_address = any(selector.join == ADDRESS for rule in rules for selector in rule.facts.values())
        teaching = TEACHING if by_address else frozenset[str]()
        self.other = self._plan(general, False) if general else None
        self.plans = {type: self._plan({**steps, **general}, type in teaching) for type, steps in found.items()}
        for type in teaching - self.plans.keys():
            self.plans[type] = self._plan(general, True)

    def _slow(self, rule: Rule, selector: FactSelector) -> list[Check]:
        tests: list[Check] = [_matches(selector.pattern)] if selector.pattern else []
        if selector.where:
            from tapio_otel.conditions import Condition

            condition = Condition.compile(selector.where)
            self._conditions.append((rule.name, condition))
            tests.append(condition.matches)
        return tests

    def _plan(self, told: dict[str, tuple[Check | None, list[Use]]], teaches: bool) -> Plan:
        steps = tuple(Step(self._kind(name), test, tuple(uses), {}) for name, (test, uses) in told.items())
        selectors = [self._rules[use.rule].facts[use.alias] for step in steps for use in step.uses]
        alike = bool(steps) and CLASSES.keys().isdisjoint(told) and not teaches
        common = sorted(set.intersection(*(set(one.having) for one in selectors))) if alike else []
        by_target = any(name in CLASSES and "target" in CLASSES[name].differs for name in told)
        has_targets = by_target or any(one.join == ADDRESS for one in selectors)
        tests = [step.test for step in steps if step.test is not None]
        tests += [_has(name) for name in sorted({name for one in selectors for name in one.having})]
        bits = tuple((test, 1 << (place + _SEVERITY_BITS)) for place, test in enumerate(tests))
        return Plan(steps, common[0] if common else "", has_targets, teaches, bits, {})

    def _kind(self, name: str) -> FactClass:
        return CLASSES.get(name) or self._kinds.setdefault(name, plain(name))

    def plan(self, type: str) -> Plan | None:
        """Return the plan for events of a type; None where no rule asks for them."""
        return self.plans.get(type, self.other)

    def tell_errors(self, counters: CounterSink | None) -> None:
        """Count what conditions could not decide as `correlation_errors`, and log the first of each rule."""
        for place, (rule, condition) in enumerate(self._conditions):
            more = condition.errors - self._failed.get(place, 0)
            if not more:
                continue
            self._failed[place] = condition.errors
            if counters is not None:
                counters.add("correlation_errors", more, rule=rule)
            if rule not in self._said:
                self._said.add(rule)
                said = "the rule %s cannot tell %r of some events, and does not take them: %s"
                _LOG.warning(said, rule, condition.text, condition.last_error)


def told(event: UnifiedEvent, plan: Plan) -> Told:
    """Return the classes of facts that an event tells, with who asks for it; a fact's witness need not pass their checks."""
    known: int = event.severity
    for test, bit in plan.tests:
        if test(event):
            known |= bit
    of = event.source, known
    found = plan.told.get(of)
    if found is None:
        found = _told(event, plan)
        if len(plan.told) < _MOST_TOLD:
            plan.told[of] = found
    return found


def _told(event: UnifiedEvent, plan: Plan) -> Told:
    found: list[tuple[FactClass, Asked]] = []
    source = event.source
    for step in plan.steps:
        if step.test is None or step.test(event):
            asked = step.by_source.get(source) or step.of_source(source)
            if asked.checked:
                asked = asked.of(event)
            if asked.uses or step.kind.types:
                found.append((step.kind, asked))
    return tuple(found)


def _passes(event: UnifiedEvent, checks: tuple[Check, ...]) -> bool:
    for check in checks:  # noqa: SIM110 - a generator would cost more than most checks
        if not check(event):
            return False
    return True


def _told_by(selector: FactSelector) -> Sequence[tuple[str, str, Check | None]]:
    """Return the types of event that a selector asks for, each with the class of fact and its test."""
    told = [(type, name, test) for name in selector.classes for type, test in CLASSES[name].types.items()]
    told += [(type, f"type {type}", None) for type in selector.event_types]
    return told or [(_EVERY, "any type", None)]


def _checks(selector: FactSelector) -> list[Check]:
    checks: list[Check] = []
    severity = selector.severity
    if severity is not None:
        worst = severity
        checks.append(lambda event: event.severity >= worst)
    checks += [_has(name) for name in selector.having]
    return checks


def _has(name: str) -> Check:
    return lambda event: event.get(name) is not None


def _matches(pattern: str) -> Check:
    from tapio_otel.patterns.search import Search

    find = Search([f"(?i){pattern}"]).find
    known: Bounded[str, bool] = Bounded(_TEXTS)

    def contains(text: str) -> bool:
        found = known.get(text)
        if found is None:
            found = bool(find(_content(text)))
            if len(text) <= _SHORT:
                known.keep(text, found)
        return found

    def matches(event: UnifiedEvent) -> bool:
        title, text = event.title, event.description
        return contains(text) or (bool(title) and title != text and contains(title))

    return matches


def _content(text: str) -> bytes:
    return text[:_LONGEST].encode("utf-8", "replace")
