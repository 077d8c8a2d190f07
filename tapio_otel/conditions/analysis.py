"""What a condition refers to: which variables, which keys of maps, which functions. Errors of naming are found here.

The engine's own analysis lists names without telling variables from what macros bind, and no keys; so this one reads the
tokens of a text that the engine accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from tapio_otel.conditions.regexp import compiled
from tapio_otel.conditions.syntax import ConditionError, Token, wrong
from tapio_otel.conditions.vocabulary import (
    CONSTANTS,
    ENTITY,
    ENTITY_KEYS,
    FUNCTIONS,
    MACROS,
    MAPS,
    METHODS,
    TYPES,
    VARIABLES,
)
from tapio_otel.config.suggest import nearest, suggestion

_OPENING: Final = "([{"
_CLOSING: Final = ")]}"
_LITERALS: Final = ("true", "false", "null")
_MOST_NESTED: Final = 2
_BEFORE_VALUE: Final = ("(", "[", "{", ",", "?", ":", "&&", "||")


@dataclass(slots=True)
class References:
    """Hold what a condition, or a part of it, refers to."""

    variables: set[str] = field(default_factory=set)
    keys: dict[str, set[str]] = field(default_factory=dict)
    """The keys of each map that are named in the text."""
    whole: set[str] = field(default_factory=set)
    """Maps of which any key may matter."""
    functions: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)


def split(words: Sequence[Token]) -> list[list[Sequence[Token]]]:
    """Return the alternatives (joined by ||) of terms (joined by &&) that a condition consists of at its outermost level."""
    if any(word.text == "?" for word in _outermost(words)):
        return [[words]]
    return [_split_at("&&", part) for part in _split_at("||", words)]


def _split_at(mark: str, words: Sequence[Token]) -> list[Sequence[Token]]:
    places = [place for place, word in _numbered(words) if word.text == mark]
    starts, ends = [0, *(place + 1 for place in places)], [*places, len(words)]
    return [words[start:end] for start, end in zip(starts, ends, strict=True)]


def _outermost(words: Sequence[Token]) -> Iterator[Token]:
    return (word for _, word in _numbered(words))


def _numbered(words: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """Yield what stands outside of all brackets."""
    depth = 0
    for place, word in enumerate(words):
        if word.kind == "mark":
            depth += (word.text in _OPENING) - (word.text in _CLOSING)
            if depth == 0:
                yield place, word


def references(text: str, words: Sequence[Token]) -> References:
    """Return what the tokens refer to; raises ConditionError for names that are not known."""
    return _Reader(text, words).read()


class _Reader:
    """Read the tokens from left to right, with the names that macros have bound at each place."""

    def __init__(self, text: str, words: Sequence[Token]) -> None:
        self._text = text
        self._words = words
        self._found = References()
        self._depth = 0
        self._bound: list[tuple[int, str]] = []

    def read(self) -> References:
        for place, word in enumerate(self._words):
            if word.kind == "mark":
                self._bracket(word.text)
            elif word.kind == "name" and word.text not in _LITERALS:
                self._name(place, word)
        return self._found

    def _at(self, place: int) -> str:
        """Return the mark or word at a place, nothing outside of the text."""
        return self._words[place].text if 0 <= place < len(self._words) else ""

    def _bracket(self, mark: str) -> None:
        self._depth += (mark in _OPENING) - (mark in _CLOSING)
        while self._bound and self._bound[-1][0] > self._depth:
            self._bound.pop()

    def _name(self, place: int, word: Token) -> None:
        before, after = self._at(place - 1), self._at(place + 1)
        if after == "{":
            raise wrong(self._text, word.start, f"there are no messages such as {word.text}{{...}} here")
        if before == ".":
            self._member(place, word, after == "(")
        elif after == "(":
            self._function(place, word)
        elif word.text not in (name for _, name in self._bound):
            self._variable(place, word)

    def _member(self, place: int, word: Token, called: bool) -> None:
        if place < 2 or (self._words[place - 2].kind == "mark" and self._at(place - 2) not in _CLOSING):
            raise wrong(self._text, word.start, f"write {word.text!r} without the dot before it")
        if not called:
            return
        if word.text not in METHODS:
            raise wrong(self._text, word.start, _unknown_method(word.text))
        if word.text in MACROS:
            self._macro(place, word)
        self._call(place, word, place + 2)

    def _function(self, place: int, word: Token) -> None:
        if word.text not in FUNCTIONS:
            raise wrong(self._text, word.start, _unknown_function(word.text))
        self._call(place, word, place + 2)

    def _call(self, place: int, word: Token, argument: int) -> None:
        self._found.functions.add(word.text)
        if word.text != "matches":
            return
        if self._at(place - 1) != ".":  # matches(text, pattern)
            argument = next((at for at in range(argument, len(self._words)) if self._at(at) == ","), len(self._words)) + 1
        pattern = self._words[argument] if self._at(argument + 1) == ")" else None
        value = _plain(pattern)
        if value is not None and pattern is not None:
            try:
                compiled(value)
            except ValueError as error:
                raise wrong(self._text, pattern.start, f"RE2 cannot take the pattern {value!r}: {error}") from None

    def _macro(self, place: int, word: Token) -> None:
        allowed = MACROS[word.text]
        if self._arguments(place + 1) not in allowed:
            raise wrong(
                self._text, word.start, f"{word.text} takes a name and a condition, as in labels.{word.text}(key, key == 'app')"
            )
        if len(self._bound) >= _MOST_NESTED:
            raise wrong(self._text, word.start, f"more than {_MOST_NESTED} macros within each other take too long")
        self._bound.append((self._depth + 1, self._at(place + 2)))
        self._found.bound.add(self._at(place + 2))

    def _arguments(self, opening: int) -> int:
        """Return how many arguments a call has."""
        depth = count = 0
        for word in islice(self._words, opening, None):
            if word.kind == "mark":
                depth += (word.text in _OPENING) - (word.text in _CLOSING)
                count += depth == 1 and word.text == ","
            if depth == 0:
                break
        return count + 1

    def _variable(self, place: int, word: Token) -> None:
        name = word.text
        if name in TYPES or name in CONSTANTS:
            self._found.variables.add(name)
            return
        if name not in VARIABLES:
            raise wrong(self._text, word.start, f"unknown variable {name!r}; {_meant(name)}")
        self._found.variables.add(name)
        if name in MAPS or name == ENTITY:
            key = self._key(place)
            if name == ENTITY and key is not None and key not in ENTITY_KEYS:
                raise wrong(self._text, word.start, f"an entity has no {key!r}; {suggestion(key, ENTITY_KEYS, 'it has')}")
            if key is None:
                self._found.whole.add(name)
            else:
                self._found.keys.setdefault(name, set()).add(key)

    def _key(self, place: int) -> str | None:
        """Return the one key that is asked of the map at a place: `map.key`, `map["key"]`, `"key" in map`."""
        after = self._at(place + 1)
        if after == "." and self._at(place + 3) != "(":
            return self._at(place + 2)
        if after == "[":
            return self._words[place + 2].literal() if self._at(place + 3) == "]" else None
        if self._at(place - 1) == "in" and (place == 2 or self._at(place - 3) in _BEFORE_VALUE) and after != ".":
            return self._words[place - 2].literal()
        return None


def _plain(word: Token | None) -> str | None:
    """Return a literal pattern, raw or without escapes."""
    if word is None or word.kind != "text":
        return None
    raw = word.text[0] in "rR" and word.text[1:4] not in {"'''", '"""'} and word.text[1] in "'\""
    return word.text[2:-1] if raw else word.literal()


def _meant(name: str) -> str:
    if name.lower() in VARIABLES or nearest(name, (*VARIABLES, *CONSTANTS)):
        return suggestion(name, (*VARIABLES, *CONSTANTS), "")
    return f"the event's own are {', '.join(VARIABLES)}; others are keys, as in attributes[{name!r}]"


def _unknown_method(name: str) -> str:
    if name in FUNCTIONS:
        return f"{name} is called as {name}(value)"
    return f"unknown function {name!r}; {suggestion(name, METHODS, 'known are')}"


def _unknown_function(name: str) -> str:
    if name in METHODS:
        return f"{name} is called on a value, as in title.{name}(...)"
    return f"unknown function {name!r}; {suggestion(name, FUNCTIONS, 'known are')}"


def check_names(text: str, found: References, names: Sequence[str], called: Sequence[str]) -> None:
    """Compare with the engine's own analysis, so that nothing it refers to has been overlooked."""
    unread = set(names) - found.variables - found.bound
    unexpanded = set(called) & set(MACROS)
    if unread or unexpanded:
        raise ConditionError(f"cannot tell what {', '.join(sorted(unread | unexpanded))} refers to, in {text.strip()[:160]}")
