"""The grammar of a rule's condition: what must hold of the facts of a group.

    condition  = term { "or" term }
    term       = factor { "and" factor }
    factor     = "not" factor | "(" condition ")" | test
    test       = alias
               | "count" "(" alias { "," alias } ")" compare number
               | "distinct" "(" alias { "," attribute } ")" compare number
               | "sequence" "(" alias { "," alias } ")"
               | "absent" "(" alias ")"
    compare    = ">=" | ">" | "==" | "!=" | "<=" | "<"

An alias alone holds when there is a fact of it. `distinct` counts different values of an attribute (`entity` for what it is
about; several attributes make one value, and a fact that lacks one does not count). `absent` can only be told when the window
has ended. A condition is parsed once; every error says its column.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from tapio_otel.config.suggest import suggestion

_TOKEN = re.compile(r"\s*(?:(?P<number>\d+)|(?P<name>[A-Za-z_][\w.]*)|(?P<mark>>=|<=|==|!=|[()<>,])|(?P<other>\S))")
_COMPARE: Final[Mapping[str, Callable[[int, int], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    "<": operator.lt,
}
_FUNCTIONS: Final = ("count", "distinct", "sequence", "absent")
_WORDS: Final = ("and", "or", "not")
_HINTS: Final = {"&": "write and", "|": "write or", "!": "write not", "=": "write =="}
_DEEPEST: Final = 32
ENTITY: Final = "entity"


class ConditionError(ValueError):
    """Report what is wrong in a condition: at which column, what was found, what to write."""


class Holding(Protocol):
    """Be what a condition is asked about: the facts of a group, by alias."""

    def count(self, alias: str) -> int:
        """Return how many facts of an alias there are."""

    def distinct(self, values: Distinct) -> int:
        """Return how many different values there are."""

    def in_order(self, aliases: tuple[str, ...]) -> bool:
        """Tell whether there are facts of these aliases, each after the one before."""

    @property
    def ended(self) -> bool:
        """Tell whether the window has ended."""


Test = Callable[[Holding], bool]


@dataclass(frozen=True, slots=True)
class Distinct:
    """Name what values are counted: those of attributes of an alias's facts."""

    alias: str
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """Hold a parsed condition with what it refers to."""

    text: str
    holds: Test
    aliases: tuple[str, ...]
    distinct: tuple[Distinct, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def parse_condition(text: str, aliases: Iterable[str]) -> Condition:
    """Return the condition that a text describes over these aliases; raises ConditionError."""
    return _Parser(text, tuple(aliases)).parse()


class _Parser:
    def __init__(self, text: str, aliases: tuple[str, ...]) -> None:
        self._text, self._aliases = text, aliases
        self._tokens = list(_tokens(text))
        self._place = 0
        self._depth = 0
        self._used: dict[str, None] = {}
        self._values: dict[Distinct, Distinct] = {}

    def parse(self) -> Condition:
        if not self._tokens:
            raise ConditionError(f"the condition is empty: write one such as {' and '.join(self._aliases[:2])}")
        holds = self._either()
        if self._place < len(self._tokens):
            raise self._wrong("expected and, or, or the end")
        return Condition(self._text, holds, tuple(self._used), tuple(self._values))

    def _either(self) -> Test:
        tests = [self._every()]
        while self._take("or"):
            tests.append(self._every())
        return tests[0] if len(tests) == 1 else lambda group: any(test(group) for test in tests)

    def _every(self) -> Test:
        tests = [self._factor()]
        while self._take("and"):
            tests.append(self._factor())
        return tests[0] if len(tests) == 1 else _all_of(tests)

    def _factor(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} levels of parentheses and not")
        try:
            if self._take("not"):
                inner = self._factor()
                return lambda group: not inner(group)
            if self._take("("):
                inner = self._either()
                self._expect(")")
                return inner
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Test:
        token = self._peek()
        if token is None or token.kind != "name" or token.text in _WORDS:
            raise self._wrong("expected an alias, a function, not or (")
        following = self._tokens[self._place + 1] if self._place + 1 < len(self._tokens) else None
        if following is None or following.text != "(":
            alias = self._alias()
            return lambda group: group.count(alias) > 0
        if token.text not in _FUNCTIONS:
            raise self._wrong(f"there is no function {token.text!r}; {suggestion(token.text, _FUNCTIONS, 'there are')}")
        self._place += 2
        made: Test = getattr(self, f"_{token.text}")()
        return made

    def _count(self) -> Test:
        aliases = self._list(self._alias)
        compare, number = self._comparison()
        return lambda group: compare(sum(map(group.count, aliases)), number)

    def _distinct(self) -> Test:
        alias = self._alias()
        attributes = []
        while self._take(","):
            attributes.append(self._name("an attribute"))
        self._expect(")")
        values = Distinct(alias, tuple(attributes) or (ENTITY,))
        values = self._values.setdefault(values, values)
        compare, number = self._comparison()
        return lambda group: compare(group.distinct(values), number)

    def _sequence(self) -> Test:
        aliases = tuple(self._list(self._alias))
        return lambda group: group.in_order(aliases)

    def _absent(self) -> Test:
        alias = self._alias()
        self._expect(")")
        return lambda group: group.ended and not group.count(alias)

    def _list(self, read: Callable[[], str]) -> list[str]:
        found = [read()]
        while self._take(","):
            found.append(read())
        self._expect(")")
        return found

    def _alias(self) -> str:
        token = self._peek()
        name = self._name("an alias")
        if name not in self._aliases:
            self._place -= 1
            raise self._wrong(f"there is no alias {name!r}; {suggestion(name, self._aliases, 'there are')}")
        assert token is not None
        self._used[name] = None
        return name

    def _name(self, what: str) -> str:
        token = self._peek()
        if token is None or token.kind != "name":
            raise self._wrong(f"expected {what}")
        self._place += 1
        return token.text

    def _comparison(self) -> tuple[Callable[[int, int], bool], int]:
        token = self._peek()
        if token is None or token.text not in _COMPARE:
            raise self._wrong(f"expected one of {' '.join(_COMPARE)} and a number")
        self._place += 1
        number = self._peek()
        if number is None or number.kind != "number":
            raise self._wrong("expected a whole number")
        self._place += 1
        return _COMPARE[token.text], int(number.text)

    def _peek(self) -> _Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _take(self, text: str) -> bool:
        token = self._peek()
        if token is not None and token.text == text:
            self._place += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._wrong(f"expected {text}")

    def _wrong(self, said: str) -> ConditionError:
        token = self._peek()
        if token is None:
            return ConditionError(f"at column {len(self._text) + 1}: {said}, found the end")
        hint = f" ({_HINTS[token.text]})" if token.text in _HINTS else ""
        found = "" if said.startswith("there is no") else f", found {token.text!r}{hint}"
        return ConditionError(f"at column {token.column}: {said}{found}")


def _all_of(tests: list[Test]) -> Test:
    def passes(group: Holding) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would cost more than the tests
            if not test(group):
                return False
        return True

    return passes


def _tokens(text: str) -> Iterable[_Token]:
    place = 0
    while match := _TOKEN.match(text, place):
        kind = str(match.lastgroup)
        yield _Token(kind, match[kind], match.start(kind) + 1)
        place = match.end()
