"""Conditions in CEL over an event: `type == "log" && severity_number < WARNING && attributes.unit == "cron.service"`.

A condition is compiled once, with every error told by line and column, and then asked about events. What it cannot decide,
because an attribute is missing or an operation does not fit a value, is not met; `errors` counts the latter, not the former.

Guarantees: `matches` never raises and never changes an event, nor detaches it from its origin. Results are remembered by the
values that decide them. Time is linear in the text for patterns (RE2), bounded for macros (two within each other).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AfterValidator

from tapio_otel.conditions.analysis import check_names, references, split
from tapio_otel.conditions.engine import LONGEST, Program, engine, is_failure
from tapio_otel.conditions.samples import check_literals, check_result, check_severities
from tapio_otel.conditions.syntax import ConditionError, Token, explained, tokens
from tapio_otel.conditions.term import Result, Term
from tapio_otel.event import UnifiedEvent


class Condition:
    """Tell of events whether something is true. Not to be shared between threads."""

    __slots__ = ("_decide", "errors", "last_error", "text")

    def __init__(self, text: str, decide: Callable[[UnifiedEvent], Result]) -> None:
        self.text = text
        self.errors = 0
        """How often the condition could not be decided because of an error, since it was compiled."""
        self.last_error = ""
        self._decide = decide

    @classmethod
    def compile(cls, text: str) -> Condition:
        """Return the condition that a text in CEL describes; raises ConditionError (a ValueError) saying where and what."""
        if len(text) > LONGEST:
            raise ConditionError(f"the condition has {len(text)} characters: at most {LONGEST} are allowed")
        program = _parse(text)
        words = tokens(text)
        found = references(text, words)
        check_names(text, found, program.variables(), program.functions())
        check_literals(text, words)
        check_severities(text, words)
        return cls(text, _either([[_term(text, part) for part in parts] for parts in split(words)]))

    def matches(self, event: UnifiedEvent) -> bool:
        """Return whether the condition is true of an event; false where that cannot be told."""
        result = self._decide(event)
        if result is True or result is False:
            return result
        if result:
            self.errors += 1
            self.last_error = result
        return False

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"


def _parse(text: str) -> Program:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConditionError(f"character {error.start + 1} is half of a surrogate pair: write the whole character") from None
    try:
        program: Program = engine().compile(text)
    except BaseException as error:
        if not is_failure(error):
            raise
        raise explained(text, str(error)) from None
    return program


def _term(text: str, words: Sequence[Token]) -> Term:
    found = references(text, words)
    term = Term(_parse(_prepared(text, words)), found)
    check_result(text, words, found, term)
    return term


def _prepared(text: str, words: Sequence[Token]) -> str:
    """Return the text of a term, with `matches` by the name of the function that remembers compiled patterns."""
    parts, place = [], words[0].start
    for word, after in zip(words, [*words[1:], None], strict=True):
        if word.text == "matches" and after is not None and after.text == "(":
            parts += [text[place : word.start], "re2_matches"]
            place = word.end
    return "".join([*parts, text[place : words[-1].end]])


def _either(alternatives: list[list[Term]]) -> Callable[[UnifiedEvent], Result]:
    """Return what decides `a && b || c`, by CEL's rules: an undecided part matters only where no other part decides."""
    decisions = [_every(terms) for terms in alternatives]
    return decisions[0] if len(decisions) == 1 else _joined(decisions, True)


def _every(terms: list[Term]) -> Callable[[UnifiedEvent], Result]:
    return terms[0].decision() if len(terms) == 1 else _joined([term.decision() for term in terms], False)


def _joined(decisions: list[Callable[[UnifiedEvent], Result]], decisive: bool) -> Callable[[UnifiedEvent], Result]:
    """Return what asks one after the other until one gives the decisive result."""

    def decide(event: UnifiedEvent) -> Result:
        undecided: str | None = None
        for one in decisions:
            result = one(event)
            if result is decisive:
                return decisive
            if result.__class__ is str:
                undecided = undecided or result
        return not decisive if undecided is None else undecided

    return decide


def _checked(text: str) -> str:
    Condition.compile(text)
    return text


ConditionText = Annotated[str, AfterValidator(_checked)]
"""An option that holds a condition: its errors are shown where it is written."""
