"""Forms of stack traces as small state machines over lines, in tables, and the test for lines that may begin one.

A form's step is a regular expression and the state that a line with it leads to. A state beginning with `?` is reached on
trial: the line belongs to the stack only if a later one leads to a state without it, as blank lines or an unknown program's
source line do. `END` ends the stack with the line. A line that no step of its state knows does not belong to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

END: Final = "END"
REJECT: Final = "REJECT"
"""Leads a line out of the stack that a later, more general step would take in."""
LONGEST_TRIAL: Final = 8
"""Lines on trial in a row at most: what is given up after these is looked at again, which must stay cheap."""
_LOOKED_AT: Final = 4096
_PAIR: Final = 2
_NEEDLES: Final = 3
_IN_NO_LINE: Final = "\n\0\n"

Step: TypeAlias = tuple[str, str]
"""A regular expression (RE2, unanchored) and the state it leads to."""


@dataclass(frozen=True, slots=True)
class Start:
    """Describe lines that begin a stack. Each begins with one of `begins` or contains `contains`, which is cheap to see.

    Of a start with neither every line is matched against `pattern`, which is not cheap.
    """

    pattern: str
    state: str
    begins: tuple[str, ...] = ()
    contains: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """Describe the stack traces of one kind; `of_kernel` for lines of the kernel only."""

    name: str
    starts: tuple[Start, ...]
    steps: Mapping[str, Sequence[Step]]
    of_kernel: bool = False


class Matcher:
    """Tell which of several patterns a line has: the first in their order, or all, in one pass."""

    __slots__ = ("_set",)

    def __init__(self, patterns: Iterable[str]) -> None:
        import re2

        self._set: Any = re2.Set.SearchSet()
        for pattern in patterns:
            self._set.Add(pattern)
        self._set.Compile()

    def all(self, line: str) -> list[int]:
        """Return the indexes of the patterns that the line has, in order."""
        try:
            return sorted(self._set.Match(line) or ())
        except UnicodeEncodeError:  # a lone surrogate from a plugin
            return []

    def first(self, line: str) -> int:
        """Return the index of the first pattern that the line has; -1 where it has none."""
        found = self.all(line)
        return found[0] if found else -1


class _Table:
    """Hold one form, compiled when its first stack begins."""

    __slots__ = ("_matchers", "form")

    def __init__(self, form: Form) -> None:
        self.form = form
        self._matchers: dict[str, Matcher] = {}

    def step(self, state: str, line: str) -> str:
        """Return the state that a line leads to; `REJECT` where it does not belong to the stack."""
        name = state.removeprefix("?")
        steps = self.form.steps.get(name, ())
        matcher = self._matchers.get(name)
        if matcher is None:
            matcher = self._matchers[name] = Matcher(pattern for pattern, _ in steps)
        index = matcher.first(line)
        return REJECT if index < 0 else steps[index][1]


class Course:
    """Follow one stack line by line, in every form that it may still have. `firm` counts the lines that belong to it."""

    __slots__ = ("_alternatives", "_seen", "firm")

    def __init__(self, alternatives: list[tuple[_Table, str]]) -> None:
        self._alternatives = alternatives
        self._seen = self.firm = 1

    @property
    def is_over(self) -> bool:
        """Tell whether no further line can belong to the stack."""
        return not self._alternatives

    @property
    def is_firm(self) -> bool:
        """Tell whether no line is on trial."""
        return self.firm == self._seen

    def begin_anew(self) -> None:
        """Count from the line just added, which is the first of another part."""
        self._seen = self.firm = 1

    def add(self, text: str) -> bool:
        """Add a line; returns False, and changes nothing, where it does not belong to the stack."""
        line = seen_of(text)
        reached = [(table, table.step(state, line)) for table, state in self._alternatives]
        going_on = [one for one in reached if one[1] not in {END, REJECT}]
        is_firm = any(not state.startswith("?") for _, state in reached if state != REJECT)
        ended = any(state == END for _, state in reached)
        if not (going_on or ended) or (not is_firm and self._seen - self.firm >= LONGEST_TRIAL):
            return False
        self._alternatives = going_on
        self._seen += 1
        if is_firm:
            self.firm = self._seen
        return True


class Forms:
    """Know all chosen forms: which lines begin a stack, and how it goes on.

    A line begins a stack only if its first two characters are in `heads` and it has one of the beginnings there, or it
    contains one of the three `needles`, or `every_line` is set: cheap tests that nearly all lines end at. The first two
    needles begin with `initial`, if with anything in common: a line without it is known to hold neither at a fifth of the cost.
    """

    def __init__(self, forms: Sequence[Form]) -> None:
        tables = [_Table(form) for form in forms]
        starts = [start for form in forms for start in form.starts]
        self._starts = [(table, start.state) for table in tables for start in table.form.starts]
        self._matcher = Matcher(start.pattern for start in starts)
        self.heads = _heads(starts)
        contained = tuple(dict.fromkeys(start.contains for start in starts if start.contains))
        self.every_line = len(contained) > _NEEDLES or any(not start.begins and not start.contains for start in starts)
        self.needles = (*contained, *(_IN_NO_LINE,) * _NEEDLES)[:_NEEDLES]
        self.initial = self.needles[0][0] if self.needles[0][0] == self.needles[1][0] else ""

    def may_begin(self, text: str) -> bool:
        """Tell, still without a regular expression, whether a line may begin a stack."""
        heads, (first, second, third) = self.heads, self.needles
        return (
            (text[:2] in heads and text.startswith(heads[text[:2]]))
            or (self.initial in text and (first in text or second in text))
            or third in text
            or self.every_line
        )

    def begin(self, text: str, of_kernel: bool) -> Course | None:
        """Return the course of the stack that a line begins, or None."""
        found: dict[int, tuple[_Table, str]] = {}
        for index in self._matcher.all(seen_of(text)):
            table, state = self._starts[index]
            if of_kernel or not table.form.of_kernel:
                found.setdefault(id(table), (table, state))
        return Course(list(found.values())) if found else None


def _heads(starts: Iterable[Start]) -> dict[str, tuple[str, ...]]:
    """Map the first two characters of lines to what such a line may begin with."""
    heads: dict[str, list[str]] = {}
    for beginning in (beginning for start in starts for beginning in start.begins):
        for pair in _pairs(beginning):
            heads.setdefault(pair, []).append(beginning)
    return {pair: tuple(beginnings) for pair, beginnings in heads.items()}


def seen_of(text: str) -> str:
    """Return as much of a line as is looked at, without blanks at its end, which the journal does not keep either."""
    return text[:_LOOKED_AT].rstrip()


def _pairs(beginning: str) -> list[str]:
    """Return the pairs of characters that a line with this beginning may begin with."""
    if len(beginning) >= _PAIR:
        return [beginning[:_PAIR]]
    return [beginning, *(beginning + chr(code) for code in range(32, 127))]
