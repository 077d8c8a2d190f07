"""Asking a rule in Python: what it answers is a plugin's, and is checked before anything is made of it."""

from __future__ import annotations

from dataclasses import replace

from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.group import Group
from tapio_otel.correlation.rule import Conclusion, CorrelationFunction


def conclusion_of(correlate: CorrelationFunction, group: Group) -> Conclusion | None:
    """Return what a rule's function concludes from a group; raises what it raises, and TypeError or ValueError for nonsense."""
    found = correlate({alias: tuple(facts) for alias, facts in group.facts.items()})
    if found is None:
        return None
    if not isinstance(found, Conclusion):
        raise TypeError(f"it returned {found!r}: return a Conclusion or None")
    for name in ("title", "description", "hint"):
        if not isinstance(getattr(found, name), str):
            raise TypeError(f"its {name} is {getattr(found, name)!r}: give text")
    if found.root is not None:
        _check_fact(found.root, group, "its root")
    sure = found.confidence
    if sure is not None and not (isinstance(sure, int | float) and 0 < sure <= 1):
        raise ValueError(f"its confidence is {sure!r}: give a number above 0 and at most 1")
    if found.impacts is None:
        return found
    impacts = tuple({id(one): one for one in found.impacts}.values())  # of an iterator, too, which can be read but once
    for one in impacts:
        _check_fact(one, group, "one of its impacts")
    return replace(found, impacts=impacts)


def _check_fact(fact: object, group: Group, what: str) -> None:
    if not isinstance(fact, Fact) or not any(fact is one for facts in group.facts.values() for one in facts):
        raise ValueError(f"{what} is {fact!r}: give one of the facts that the function got")
