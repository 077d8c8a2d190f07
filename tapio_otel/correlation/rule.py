"""What a rule is: which facts it looks for, what must hold of them, and what it then concludes.

A rule is made from an entry of a rule file (`rule_file`) or by a plugin's code, and never changed after that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tapio_otel.event import Severity

if TYPE_CHECKING:
    from tapio_otel.correlation.facts import Fact
    from tapio_otel.correlation.grammar import Condition
    from tapio_otel.correlation.rule_options import RuleExample

ANY: Final = "any"
GROUP: Final = "group"
ADDRESS: Final = "address"
EARLIEST: Final = "earliest"


@dataclass(frozen=True, slots=True)
class FactSelector:
    """Choose the facts that an alias stands for. What is empty is not asked for; times are nanoseconds."""

    classes: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    pattern: str = ""
    """An expression in RE2's syntax, over title and description."""
    having: tuple[str, ...] = ()
    where: str = ""
    """A condition in CEL over the event."""
    severity: Severity | None = None
    sources: frozenset[str] = frozenset()
    optional: bool = False
    join: str = GROUP
    """`group`, `address`, `any`, or a rank of lineage that it has in common with the root."""
    before_ns: int = 0


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Be what a rule in Python concludes from facts. What is None or empty is taken from the rule."""

    root: Fact | None = None
    impacts: Sequence[Fact] | None = None
    confidence: float | None = None
    title: str = ""
    description: str = ""
    hint: str = ""


CorrelationFunction = Callable[[Mapping[str, Sequence["Fact"]]], Conclusion | None]
"""Conclude from the facts of one group, by alias, in the order of time; None while there is nothing to conclude."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Know one kind of incident. `condition` and `correlate` must both hold where both are given."""

    name: str
    facts: Mapping[str, FactSelector]
    window_ns: int
    title: str
    description: str
    confidence: float
    hint: str = ""
    severity: Severity | None = None
    sources: frozenset[str] = frozenset()
    min_events: int = 1
    condition: Condition | None = None
    """None: every alias that is not optional."""
    group_by: tuple[str, ...] = (ANY,)
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Names in `group_by`, each with the attribute that it stands for in the facts of an alias."""
    root: tuple[str, ...] = (EARLIEST,)
    earliest: bool = False
    """Whether of several aliases in `root` the earliest fact is the cause; otherwise the first alias that is there."""
    impacts: tuple[str, ...] | None = None
    evidence: tuple[str, ...] = ()
    suppresses: tuple[str, ...] = ()
    repeats_ns: int = 0
    """How long after its last root cause a told finding takes further ones; 0: none beyond its window."""
    correlate: CorrelationFunction | None = None
    examples: tuple[RuleExample, ...] = ()
    file: str = ""
    line: int | None = None

    @property
    def root_aliases(self) -> tuple[str, ...]:
        """Return the aliases whose facts can be the root cause, the preferred ones first."""
        return tuple(self.facts) if self.root == (EARLIEST,) else self.root

    @property
    def impact_aliases(self) -> tuple[str, ...]:
        """Return the aliases whose facts are consequences."""
        if self.impacts is not None:
            return self.impacts
        return tuple(self.facts) if self.root == (EARLIEST,) else tuple(name for name in self.facts if name not in self.root)
