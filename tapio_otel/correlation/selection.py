"""Selection: which rules an event concerns, in one dict lookup by its type.

For every type of event that any rule asks for there is a plan: the classes the event may belong to, each with its test, and for
each class the aliases of rules that stand for it, each with what else they ask. What no rule asks for has no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.rule import ADDRESS, FactSelector, Rule
from tapio_otel.event import UnifiedEvent

Check = Callable[[UnifiedEvent], bool]

_EVERY: Final = ""
_LONGEST: Final = 4096
"""Characters of a text that a pattern is looked for in."""


class Use(NamedTuple):
    """Say that a fact is one of an alias of a rule (by its index), for events that pass every check."""

    rule: int
    alias: str
    checks: tuple[Check, ...]


class Step(NamedTuple):
    """Say which class of fact an event tells if it passes the test, and who asks for it."""

    class_name: str
    test: Check | None
    uses: tuple[Use, ...]


class Plan(NamedTuple):
    """Say what events of one type may tell."""

    steps: tuple[Step, ...]
    needed: str
    """An attribute without which an event tells nothing; empty where there is none such."""
    has_targets: bool
    """Whether anybody asks what the event failed to reach."""


Told = list[tuple[str, list[tuple[int, str]]]]
"""Classes of facts, each with the rules and aliases that ask for it."""


class Selection:
    """Hold the plans by type of event; `other` is that of types that are not named anywhere, None as a rule."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        found: dict[str, dict[str, tuple[Check | None, list[Use]]]] = {}
        for index, rule in enumerate(rules):
            for alias, selector in rule.facts.items():
                use = Use(index, alias, tuple(_checks(rule, selector)))
                for type, class_name, test in _told_by(selector):
                    found.setdefault(type, {}).setdefault(class_name, (test, []))[1].append(use)
        general = found.pop(_EVERY, {})
        self.other = self._plan(general) if general else None
        self.plans = {type: self._plan({**steps, **general}) for type, steps in found.items()}

    def _plan(self, told: dict[str, tuple[Check | None, list[Use]]]) -> Plan:
        steps = tuple(Step(name, test, tuple(uses)) for name, (test, uses) in told.items())
        selectors = [self._rules[use.rule].facts[use.alias] for step in steps for use in step.uses]
        needed = [set(one.having) for one in selectors] if CLASSES.keys().isdisjoint(told) else [set()]
        common = sorted(set.intersection(*needed))
        by_target = any(name in CLASSES and "target" in CLASSES[name].differs for name in told)
        has_targets = by_target or any(one.join == ADDRESS for one in selectors)
        return Plan(steps, common[0] if common else "", has_targets)

    def plan(self, type: str) -> Plan | None:
        """Return the plan for events of a type; None where no rule asks for them."""
        return self.plans.get(type, self.other)


def told(event: UnifiedEvent, plan: Plan) -> Told:
    """Return the classes of facts that an event tells, with who asks for it; a fact's witness need not pass their checks."""
    found: Told = []
    for class_name, test, uses in plan.steps:
        if test is None or test(event):
            asked = [(rule, alias) for rule, alias, checks in uses if _passes(event, checks)]
            if asked or class_name in CLASSES:
                found.append((class_name, asked))
    return found


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


def _checks(rule: Rule, selector: FactSelector) -> list[Check]:
    checks: list[Check] = []
    sources = selector.sources or rule.sources
    if sources:
        checks.append(lambda event: event.source in sources)
    severity = selector.severity
    if severity is not None:
        worst = severity
        checks.append(lambda event: event.severity >= worst)
    for name in selector.having:
        checks.append(_has(name))
    if selector.pattern:
        checks.append(_matches(selector.pattern))
    if selector.where:
        from tapio_otel.conditions import Condition

        checks.append(Condition.compile(selector.where).matches)
    return checks


def _has(name: str) -> Check:
    return lambda event: event.get(name) is not None


def _matches(pattern: str) -> Check:
    from tapio_otel.patterns.search import Search

    find = Search([f"(?i){pattern}"]).find

    def matches(event: UnifiedEvent) -> bool:
        title, text = event.title, event.description
        return bool(find(_content(text)) or (title and title != text and find(_content(title))))

    return matches


def _content(text: str) -> bytes:
    return text[:_LONGEST].encode("utf-8", "replace")
