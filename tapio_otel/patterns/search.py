"""Search: which of many expressions match a text, in one pass of an RE2 set.

The set holds the literals that expressions require (see `literals`), each once; where one is found, the expressions it stands
for are tried. Expressions that require none, or only short ones behind their beginning, are in the set themselves. RE2 builds
its automaton while it is used, within a bounded memory; a set that cannot work within it fails to compile, and then two
smaller ones take its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import re2

from tapio_otel.entities.bounded import Bounded
from tapio_otel.patterns.expressions import quiet_options
from tapio_otel.patterns.literals import required_literals

SET_MEMORY: Final = 64 << 20
"""Bytes that an automaton of literals may take at most; that of 200 patterns takes some MiB."""
TRIAL_MEMORY: Final = 2 << 20
"""Bytes that the automaton of the expressions of one literal may take at most."""
TRIALS: Final = 256
"""For how many literals these are kept; each takes a fraction of a millisecond to make."""
_TELLING: Final = 3
"""How long the literals of an expression that begins with `^` must be to stand for it: a shorter one is found in many texts,
`=` for instance, while the expression fails at the first characters of nearly all of them, which costs an automaton nothing."""
_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?[a-z]*:\]|[^\]\\])*\]|\{(?P<least>[0-9]+),[0-9]*\}", re.DOTALL)
_TOGETHER: Final = 8
"""How many expressions are tried at once: more of them would hinder each other."""

T = TypeVar("T")
_Match = Callable[[bytes], "list[int] | None"]


class _Clue(NamedTuple):
    """Hold what the set looks for, and which expressions it stands for; `proof` tells that it is the expression itself."""

    text: str
    stands_for: list[int]
    proof: bool


class Search:
    """Find which of `expressions` match; they must be ones that RE2 takes."""

    def __init__(self, expressions: Sequence[str]) -> None:
        self._expressions = tuple(expressions)
        self._trials: Bounded[str, list[tuple[_Match, list[int]]]] = Bounded(TRIALS)
        self._sets = _together(_clues(expressions), lambda clue: clue.text, SET_MEMORY)

    def find(self, content: bytes) -> list[int]:
        """Return the indexes of the expressions that match a text in UTF-8, in no order; some may be there twice."""
        found: list[int] = []
        for match, clues in self._sets:
            hits = match(content)
            if hits:
                for hit in hits:
                    clue = clues[hit]
                    if clue.proof:
                        found += clue.stands_for
                    else:
                        self._prove(clue, content, found)
        return found

    def _prove(self, clue: _Clue, content: bytes, found: list[int]) -> None:
        """Add the expressions that a clue stands for and that match."""
        for match, indexes in self._trials.get(clue.text) or self._trials_of(clue):
            hits = match(content)
            if hits:
                found += [indexes[hit] for hit in hits]

    def _trials_of(self, clue: _Clue) -> list[tuple[_Match, list[int]]]:
        """Return what tries the expressions of a clue, few at a time, and keep it: most clues are never found."""
        parts = [clue.stands_for[at : at + _TOGETHER] for at in range(0, len(clue.stands_for), _TOGETHER)]
        trials = [trial for part in parts for trial in _together(part, self._expressions.__getitem__, TRIAL_MEMORY)]
        return self._trials.keep(clue.text, trials)


def _clues(expressions: Sequence[str]) -> list[_Clue]:
    clues: dict[str, _Clue] = {}
    for index, expression in enumerate(expressions):
        required = required_literals(expression)
        if required is None:
            clues.setdefault(expression, _Clue(expression, [], True)).stands_for.append(index)
            continue
        if expression.startswith("^") and min(map(len, required[0])) < _TELLING and "\\Q" not in expression:
            text = _without_limits(expression)
            clues.setdefault(text, _Clue(text, [], text == expression)).stands_for.append(index)
            continue
        literals, folds = required
        for literal in literals:
            text = ("(?i)" if folds else "(?-i)") + re2.escape(literal)
            clues.setdefault(text, _Clue(text, [], False)).stands_for.append(index)
    return list(clues.values())


def _without_limits(expression: str) -> str:
    """Return what matches wherever an expression does, and counts nothing: an automaton has to tell all counts apart."""

    def unlimited(part: re.Match[str]) -> str:
        return part[0] if part["least"] is None else "+" if int(part["least"]) else "*"

    return _PART.sub(unlimited, expression)


def _together(members: list[T], text: Callable[[T], str], memory: int) -> list[tuple[_Match, list[T]]]:
    """Return what looks for all members, each with those that its hits are the numbers of: one, unless that is too much."""
    if not members:
        return []
    try:
        return [(_set(list(map(text, members)), memory).Match, members)]
    except re2.error:
        if len(members) == 1:
            return [(_alone(text(members[0])), members)]
    half = len(members) // 2
    return _together(members[:half], text, memory) + _together(members[half:], text, memory)


def _set(expressions: list[str], memory: int) -> Any:
    """Return a compiled set; raises re2.error where its automaton could not work: it would then match nothing, silently."""
    options = quiet_options(memory)
    options.never_capture = True
    made = re2.Set.SearchSet(options)
    for expression in expressions:
        made.Add(expression)
    made.Compile()
    return made


def _alone(expression: str) -> _Match:
    """Return what looks for an expression that is too large for an automaton, which RE2 then does without one."""
    search = re2.compile(expression, quiet_options()).search
    return lambda content: [0] if search(content) else None
