"""Sample values on which a condition is tried when it is compiled, so that what can never be true or false is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Final

from tapio_otel.conditions.analysis import References
from tapio_otel.conditions.engine import engine, in_words, is_failure
from tapio_otel.conditions.syntax import Token, wrong
from tapio_otel.conditions.term import Term
from tapio_otel.conditions.vocabulary import ENTITY, FIELDS, MAPS, READS_TEXT
from tapio_otel.config.suggest import suggestion
from tapio_otel.event import Severity

_TEXTS: Final = ("a", "", "12", "1.5", "1s", "2026-01-31T12:00:00Z")
_OTHERS: Final = (12, 1.5, True, ["a"])
_KEYWORDS: Final = tuple(severity.keyword for severity in Severity)
_EQUALITY: Final = frozenset(("==", "!="))
_PARTS: Final = frozenset(("+", "."))
"""What makes a text beside it a part of an expression."""
_NOW: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
_FIXED: Final = {"timestamp": _NOW, "observed": _NOW, "severity": "error", "severity_number": 17}


def _entity(text: str) -> dict[str, Any]:
    alone = {"type": text, "name": text, "namespace": text, "uid": text, "attributes": {"a": text}}
    return {**alone, "parent": {**alone, "parent": alone}}


def _samples(found: References) -> Iterator[dict[str, Any]]:
    for value in (*_TEXTS, *_OTHERS):
        text = value if isinstance(value, str) else "a"
        values = {name: _FIXED.get(name, text) for name in FIELDS if name in found.variables}
        if ENTITY in found.variables:
            values[ENTITY] = _entity(text)
        for name in MAPS:
            if name in found.variables:
                one = value if name == "attributes" else text
                values[name] = dict.fromkeys([*found.keys.get(name, ()), "a"], one)
        yield values


def check_result(text: str, words: Sequence[Token], found: References, term: Term) -> None:
    """Raise ConditionError when a term gives, on all samples, something else than true or false."""
    results = [term.run(values) for values in _samples(found)]
    told = [result for result in results if not isinstance(result, BaseException)]
    if any(isinstance(result, bool) for result in told):
        return
    if told:
        raise wrong(text, words[0].start, f"this is {_kind(told[0])}, where true or false is needed: compare it with something")
    if not found.variables.intersection(MAPS) and not any(isinstance(result, LookupError) for result in results):
        raise wrong(text, words[0].start, f"this can never be decided: {in_words(results[0])}")


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    names = {list: "a list", dict: "a map", bytes: "bytes", type(None): "null", datetime: "a time"}
    return names.get(type(value), "a value")


def check_literals(text: str, words: Sequence[Token]) -> None:
    """Raise ConditionError for a literal that its function cannot read, as in duration("1d")."""
    for place, word in enumerate(words[:-3]):
        call = words[place : place + 4]
        read = word.kind == "name" and word.text in READS_TEXT and (place == 0 or words[place - 1].text != ".")
        if read and call[1].text == "(" and call[2].kind == "text" and call[3].text == ")":
            try:
                engine().compile(text[word.start : call[3].end]).execute({})
            except BaseException as error:
                if not is_failure(error):
                    raise
                raise wrong(text, call[2].start, f"{word.text}() cannot read {call[2].text}{_FORMS[word.text]}") from None


def check_severities(text: str, words: Sequence[Token]) -> None:
    """Raise ConditionError where `severity` is compared with a text that is no severity's keyword: no event has it."""
    told = [word.text for word in words]
    places = [place for place, word in enumerate(words) if word.kind == "name" and word.text == "severity"]
    if any(told[max(0, place - 1)] == "(" and told[place + 1 : place + 2] == [","] for place in places):
        return  # a macro's name hides the variable
    for place in places:
        if told[max(0, place - 1)] == ".":
            continue
        for other in _compared(told, place):
            keyword = words[other].literal()
            in_expression = _PARTS.intersection((told[max(0, other - 1)], *told[other + 1 : other + 2]))
            if keyword is not None and keyword not in _KEYWORDS and not in_expression:
                there = suggestion(keyword, _KEYWORDS, "there are")
                raise wrong(text, words[other].start, f"there is no severity {keyword!r}; {there}")


def _compared(told: Sequence[str], place: int) -> Iterator[int]:
    """Yield the places of what the word at a place is compared with: an operand, or the members of a list."""
    if place >= 2 and told[place - 1] in _EQUALITY:
        yield place - 2
    if told[place + 1 : place + 2] and told[place + 1] in _EQUALITY and place + 2 < len(told):
        yield place + 2
    elif told[place + 1 : place + 3] == ["in", "["]:
        yield from takewhile(lambda member: told[member] != "]", range(place + 3, len(told)))


_FORMS: Final = {
    "duration": ": write hours, minutes and seconds, as in '1h30m' or '250ms'",
    "timestamp": ": write RFC 3339, as in '2026-01-31T12:00:00Z'",
    "int": ": write a whole number",
    "uint": ": write a whole number of 0 or more",
    "double": ": write a number",
}
