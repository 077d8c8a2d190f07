"""Required literals: texts of which at least one is in everything that an expression matches.

An automaton of many whole expressions has far too many states (each `.*` or `\\S+` that has begun is one more thing to keep in
mind); an automaton of literals has hardly more than their characters. So literals are looked for first, and an expression
only where one of its own was found. The analysis errs on the safe side: what it does not understand requires nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

_MOST: Final = 24
"""How many literals may stand for one expression."""
_LONGEST: Final = 48
_TELLING: Final = 3
"""Literals of so many characters are rare enough in ordinary texts; shorter ones only if made of rare characters."""
_RARE: Final = frozenset("{}|<>~^$`@\\#%&*!?\"'=;")
_CLASS_MOST: Final = 3
_QUANTIFIER = re.compile(r"(?:[*+?]|\{([0-9]+)(,([0-9]*))?\})[?]?")
_QUANTIFIERS: Final = frozenset("*+?{")
_RUN = re.compile(r"[^\\^$.|?*+()\[{]+(?![*+?{])")
"""Characters that stand for themselves, without the last one where it is repeated."""
_FLAGS = re.compile(r"\?([imsU]*)(?:-([imsU]*))?([:)])")
_NAMED = re.compile(r"\?P?<[^>]*>")
_CLASS = re.compile(r"\[(\^?)(\]?(?:\\.|\[:\^?[a-z]*:\]|[^\]\\])*)\]", re.DOTALL)
_CLASS_PART = re.compile(r"\\([^a-zA-Z0-9])|\[:|\\|(.)-(?!$)|(.)", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:Q(?P<quoted>.*?)(?:\\E|$)|(?P<empty>[AbBz])|(?P<any>p\{[^}]*\}|P\{[^}]*\}|[pP].|x\{[^}]*\}|x..|[0-7]{1,3}|[a-zA-Z])|(?P<self>.))",
    re.DOTALL,
)
_ASCII = re.compile(r"[\x00-\x7f]+")
_EMPTY: Final = frozenset(("",))

Literals = frozenset[str]


class _Found(NamedTuple):
    """Hold what a part matches: `exact` is all of it, if that is few; `required`, of which one is in everything it matches."""

    exact: Literals | None = None
    required: Literals | None = None


_NOTHING: Final = _Found()
_ZERO_WIDTH: Final = _Found(exact=_EMPTY)


@lru_cache(maxsize=8192)
def required_literals(expression: str) -> tuple[Literals, bool] | None:
    """Return literals of which one is in every match, and whether without regard to case; None where none can be told."""
    parser = _Parser(expression)
    try:
        found = parser.alternatives()
    except (_NotUnderstood, RecursionError):
        return None
    literals = _best([found.exact, found.required])
    if parser.at != len(expression) or literals is None or not all(map(_is_telling, literals)):
        return None
    if parser.folds:
        literals = frozenset(one.lower() for one in literals)
    return _shortest(literals), parser.folds


def _is_telling(literal: str) -> bool:
    return len(literal) >= _TELLING or any(character in _RARE for character in literal)


def _shortest(literals: Literals) -> Literals:
    """Return the literals without those that hold another one: that is found with them."""
    return frozenset(one for one in literals if not any(other != one and other in one for other in literals))


def _best(candidates: Iterable[Literals | None]) -> Literals | None:
    """Return the candidate whose shortest literal is longest."""
    usable = [one for one in candidates if one and "" not in one]
    if len(usable) < 2:  # as nearly always
        return usable[0] if usable else None
    return max(usable, key=lambda one: (min(map(len, one)), -len(one)), default=None)


class _NotUnderstood(Exception):
    """Give up on an expression."""


class _Parser:
    """Read an expression from left to right, as far as required literals need it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self.folds = False

    def alternatives(self) -> _Found:
        """Read until the end or a closing parenthesis."""
        branches = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else _either(branches)

    def _peek(self) -> str:
        return self._text[self.at : self.at + 1]

    def _sequence(self) -> _Found:
        run, whole, candidates = _EMPTY, True, list[Literals | None]()
        text, end = self._text, len(self._text)
        while self.at < end and text[self.at] not in "|)":
            part = self._repeated(self._part())
            joined = _joined(run, part.exact) if part.exact is not None else None
            if joined is not None:
                run = joined
                continue
            candidates += [run, part.required]
            whole, run = False, part.exact or _EMPTY
        return _Found(run if whole else None, _best([*candidates, run]))

    def _repeated(self, part: _Found) -> _Found:
        while self._peek() in _QUANTIFIERS and (found := _QUANTIFIER.match(self._text, self.at)):
            self.at = found.end()
            least = {"*": 0, "?": 0, "+": 1}.get(found[0][0], int(found[1] or 0))
            if least:
                part = _Found(None, _best([part.exact, part.required]))
            else:
                optional = found[0][0] == "?" and part.exact is not None
                part = _Found(exact=part.exact | _EMPTY) if optional and part.exact is not None else _NOTHING
        return part

    def _part(self) -> _Found:
        character = self._peek()
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        if run := _RUN.match(self._text, self.at):
            self.at = run.end()
            return _literal(run[0])
        self.at += 1
        if character in "^$":
            return _ZERO_WIDTH
        return _NOTHING if character == "." else _literal(character)

    def _group(self) -> _Found:
        self.at += 1
        if self._peek() == "?":
            flags = _FLAGS.match(self._text, self.at)
            found = flags or _NAMED.match(self._text, self.at)
            if found is None:
                raise _NotUnderstood
            self.at = found.end()
            if flags is not None:
                self.folds |= "i" in (flags[1] or "") + (flags[2] or "")
                if flags[3] == ")":
                    return _ZERO_WIDTH
        inside = self.alternatives()
        if self._peek() != ")":
            raise _NotUnderstood
        self.at += 1
        return inside

    def _class(self) -> _Found:
        found = _CLASS.match(self._text, self.at)
        if found is None:
            raise _NotUnderstood
        self.at = found.end()
        characters: set[str] = set()
        for part in _CLASS_PART.finditer(found[2]):
            character = part[1] or part[3]
            if not character or found[1]:
                return _NOTHING
            characters.add(character)
        if not 0 < len(characters) <= _CLASS_MOST or not all(map(str.isascii, characters)):
            return _NOTHING
        return _Found(exact=frozenset(characters))

    def _escape(self) -> _Found:
        found = _ESCAPE.match(self._text, self.at)
        if found is None:
            raise _NotUnderstood
        self.at = found.end()
        if found["quoted"] is not None:
            if _QUANTIFIER.match(self._text, self.at):  # it is for the last character alone
                raise _NotUnderstood
            return _literal(found["quoted"])
        if found["empty"]:
            return _ZERO_WIDTH
        return _NOTHING if found["any"] else _literal(found["self"])


def _literal(text: str) -> _Found:
    if text.isascii() and len(text) <= _LONGEST:
        return _Found(exact=frozenset((text,)))
    # Letters beyond ASCII have cases that differ from one Unicode version to the next.
    longest = max(_ASCII.findall(text), key=len, default="")[:_LONGEST]
    return _Found(required=frozenset((longest,)) if longest else None)


def _joined(run: Literals, exact: Literals) -> Literals | None:
    """Return every literal of one set followed by every one of the other; None where that is too much."""
    if exact is _EMPTY:
        return run
    if run is _EMPTY:
        return exact if len(exact) <= _MOST and max(map(len, exact)) <= _LONGEST else None
    if len(run) * len(exact) > _MOST or max(map(len, run)) + max(map(len, exact)) > _LONGEST:
        return None
    return frozenset(first + second for first in run for second in exact)


def _either(branches: list[_Found]) -> _Found:
    exact = _union([one.exact for one in branches])
    return _Found(exact, _union([_best([one.exact, one.required]) for one in branches]))


def _union(parts: list[Literals | None]) -> Literals | None:
    if any(part is None for part in parts):
        return None
    union: Literals = frozenset().union(*(part for part in parts if part is not None))
    return union if len(union) <= _MOST else None
