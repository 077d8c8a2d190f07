"""Matching: one pass over a text finds every pattern in it, however many there are (see `search`).

Time is linear in the length of a text, of which the first 16 KiB are looked at, and nothing that the author of a pattern writes
can change that. What is taken from a match costs only texts that match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Final

import re2

from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import AttributeValue, Severity
from tapio_otel.patterns.conditions import Conditions
from tapio_otel.patterns.expressions import quiet_options
from tapio_otel.patterns.pattern import Pattern
from tapio_otel.patterns.search import Search
from tapio_otel.patterns.values import convert
from tapio_otel.patterns.writer import Writer

MAX_TEXT: Final = 16 * 1024
"""How many characters of a text are looked at."""
MAX_VALUE: Final = 1024
"""How many characters of a group are kept."""
TITLE_LENGTH: Final = 200
_KEPT: Final = 256
"""Of how many patterns the compiled expressions are kept."""
_NONE: Final[list[int]] = []


@dataclass(frozen=True, slots=True)
class Extracted:
    """Hold what a text says: its groups as text, those that have a value of their type as attributes, and the title."""

    groups: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    title: str = ""


class Matcher:
    """Find patterns, given by rank, in texts; and `triggers`, bare expressions that count on from the last pattern.

    The expressions must be ones that `check_expression` takes.
    """

    def __init__(self, patterns: Sequence[Pattern], triggers: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        owned = [(one, index) for index, pattern in enumerate(patterns) for one in pattern.expressions]
        owned += [(trigger, len(self.patterns) + index) for index, trigger in enumerate(triggers)]
        self._find = Search([expression for expression, _ in owned]).find
        self._owners = [index for _, index in owned]
        self._members: Bounded[int, list[_Member]] = Bounded(_KEPT)
        self._titles: dict[int, Callable[[dict[str, str]], str]] = {}
        self._conditions = {
            index: Conditions(pattern.fields) for index, pattern in enumerate(patterns) if pattern.fields is not None
        }

    def hits(self, text: str) -> list[int]:
        """Return the indexes of the patterns and triggers in a text, by rank, each once. Do not change the list."""
        try:
            content = text[:MAX_TEXT].encode()
        except UnicodeEncodeError:
            content = encoded(text)
        found = self._find(content)
        if not found:
            return _NONE
        owners = self._owners
        return [owners[found[0]]] if len(found) == 1 else sorted({owners[one] for one in found})

    def first(self, hits: Iterable[int], writer: Writer, severity: Severity) -> int | None:
        """Return the first of the hits that is a pattern and speaks of texts by this writer with this declared severity."""
        for index in hits:
            if index >= len(self.patterns):
                break
            conditions = self._conditions.get(index)
            if conditions is None or conditions.met(writer, severity):
                return index
        return None

    def extract(self, index: int, text: str) -> Extracted | None:
        """Return what a pattern takes from a text, by the first of its expressions that matches; None when none does."""
        content = encoded(text)
        for member in self._members_of(index):
            groups = member.groups(content)
            if groups is not None:
                return self._extracted(index, groups)
        return None

    def _members_of(self, index: int) -> list[_Member]:
        members = self._members.get(index)
        if members is None:
            pattern = self.patterns[index]
            members = self._members.keep(index, [_Member(one, pattern.extract.positional) for one in pattern.expressions])
        return members

    def _extracted(self, index: int, groups: dict[str, str]) -> Extracted:
        types = self.patterns[index].extract.types
        values = {name: convert(text, types.get(name, "str")) for name, text in groups.items()}
        title = self._titles.get(index)
        if title is None:
            title = self._titles[index] = _title(self.patterns[index].title)
        return Extracted(groups, {name: value for name, value in values.items() if value is not None}, title(groups))


def encoded(text: str) -> bytes:
    """Return what is looked at of a text, in UTF-8; lone surrogates become question marks."""
    try:
        return text[:MAX_TEXT].encode()
    except UnicodeEncodeError:
        return text[:MAX_TEXT].encode("utf-8", "replace")


class _Member:
    """Take the groups from a text by one expression of a pattern."""

    __slots__ = ("_compiled", "_names")

    def __init__(self, expression: str, positional: Sequence[str]) -> None:
        self._compiled = re2.compile(expression, quiet_options())
        named = {index: name for name, index in self._compiled.groupindex.items()}
        unnamed = [index for index in range(1, self._compiled.groups + 1) if index not in named]
        named.update(zip(unnamed, positional, strict=False))
        self._names = sorted(named.items())

    def groups(self, content: bytes) -> dict[str, str] | None:
        """Return the groups that hold something, or None where the expression does not match."""
        found = self._compiled.search(content)
        if found is None:
            return None
        held = ((name, found.group(index)) for index, name in self._names)
        return {name: value.decode("utf-8", "replace")[:MAX_VALUE] for name, value in held if value}


def _title(template: str) -> Callable[[dict[str, str]], str]:
    """Return what makes a title of groups; empty where one is missing."""
    parts = list(Formatter().parse(template))
    if not any(name for _, name, _, _ in parts):
        constant = "".join(text for text, *_ in parts)[:TITLE_LENGTH]
        return lambda _groups: constant

    def made(groups: dict[str, str]) -> str:
        try:
            text = "".join(literal + (groups[name] if name else "") for literal, name, _, _ in parts)
        except KeyError:
            return ""
        return " ".join(text.split())[:TITLE_LENGTH]

    return made
