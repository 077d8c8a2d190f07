"""What a pattern is: which texts it knows, what they mean, and what is taken from them.

A pattern is made from an entry of a pattern file (`specification`) by `load_library`, and never changed after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tapio_otel.config.suggest import suggestion
from tapio_otel.event import AttributeValue, Severity


@dataclass(frozen=True, slots=True)
class FieldConditions:
    """Say of which writers' texts a pattern speaks. What is empty is not asked for; globs as in fnmatch(3), case matters."""

    identifier: tuple[str, ...] = ()
    """Globs for SYSLOG_IDENTIFIER, or _COMM where there is none."""
    unit: tuple[str, ...] = ()
    """Globs for the name of the unit that wrote."""
    transport: tuple[str, ...] = ()
    severities: frozenset[Severity] = frozenset()
    """The severities that the writer may have declared."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """Say what is taken from a match: `positional` names unnamed groups in order, `types` how named ones are read."""

    positional: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubjectRule:
    """Say which groups name the thing that a text is about; `type` is the rule's key: process, unit, container, cgroup…"""

    type: str
    group: str
    name: str = ""
    namespace: str = ""
    uid: str = ""

    @property
    def groups(self) -> tuple[str, ...]:
        """Return every group the rule asks for."""
        return tuple(filter(None, (self.group, self.name, self.namespace, self.uid)))


@dataclass(frozen=True, slots=True)
class Example:
    """Hold a text as its software writes it, who wrote it as far as that is given, and what must come of it."""

    text: str
    line: int | None = None
    identifier: str = ""
    unit: str = ""
    transport: str = ""
    priority: Severity | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    entity: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Know one kind of text. `expressions` are in RE2's syntax, any of them counts; `file` and `line` say where it is."""

    name: str
    expressions: tuple[str, ...]
    event_type: str
    severity: Severity
    category: str = ""
    fields: FieldConditions | None = None
    extract: Extraction = Extraction()
    entity: SubjectRule | None = None
    title: str = ""
    examples: tuple[Example, ...] = ()
    counter_examples: tuple[Example, ...] = ()
    wrapped: bool = False
    """Whether it knows a cause that other messages quote, and so ranks after all others of its origin."""
    description: str = ""
    file: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """Hold patterns in the order of their rank: where several match, the first says what a text means."""

    patterns: tuple[Pattern, ...] = ()

    def __len__(self) -> int:
        return len(self.patterns)

    @property
    def names(self) -> Sequence[str]:
        """Return the names of all patterns, by rank."""
        return [pattern.name for pattern in self.patterns]

    def get(self, name: str) -> Pattern:
        """Return a pattern by its name; raises LookupError saying which was probably meant."""
        for pattern in self.patterns:
            if pattern.name == name:
                return pattern
        raise LookupError(f"there is no pattern {name!r}; {suggestion(name, self.names, 'there are')}")
