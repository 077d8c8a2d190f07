"""The text of a condition: its tokens, places in it, and the engine's complaints about it in plain words.

The engine checks the grammar; the tokens serve to find what an accepted text refers to, and where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+|//[^\n]*)
    | (?P<text>(?P<prefix>[bB][rR]|[rR][bB]|[rRbB])?
        (?:\"{3}.*?(?<!\\)\"{3}|'{3}.*?(?<!\\)'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>&&|\|\||==|!=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_RAW = re.compile(r"[bB]?[rR][bB]?(\"{3}.*?\"{3}|'{3}.*?'{3}|\"[^\"\n]*\"|'[^'\n]*')", re.DOTALL)
_COMPLAINT = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*?)(?=\n\| |\nERROR: <input>|\Z)", re.DOTALL)
_MISMATCH = re.compile(r"(?:mismatched|extraneous) input '(?P<found>.*)' expecting (?P<expected>.+)", re.DOTALL)
_MISSING = re.compile(r"missing (?P<expected>.+) at '(?P<found>.*)'", re.DOTALL)
_UNKNOWN = re.compile(r"token recognition error at: '(?P<found>.*)'", re.DOTALL)
_LONGEST: Final = 160
_AROUND: Final = 60
_HINTS: Final = {
    "and": "CEL writes && for and",
    "AND": "CEL writes && for and",
    "or": "CEL writes || for or",
    "OR": "CEL writes || for or",
    "not": "CEL writes ! for not",
    "=": "write == to compare",
    "&": "write && for and",
    "|": "write || for or",
    "~": "write title.matches('...') to match a pattern",
    "`": "write attributes['some-key'] for a key that is no plain name",
    ">": "write != for unequal",
}
_ENDS: Final = {"<EOF>": "the end", "')'": "')'", "']'": "']'", "'}'": "'}'", "':'": "':'", "','": "','"}


@dataclass(frozen=True, slots=True)
class Token:
    """Hold one word, literal or mark of a condition, and where it stands."""

    kind: str
    """name, text, number or mark; `in` is a mark."""
    text: str
    start: int
    end: int

    def literal(self) -> str | None:
        """Return the value of a text without escapes; None for one that only the engine can read."""
        plain = self.kind == "text" and self.text[0] in "'\"" and self.text[:3] not in {"'''", '"""'}
        return self.text[1:-1] if plain and "\\" not in self.text else None


def tokens(text: str) -> list[Token]:
    """Return the tokens of a condition that the engine accepted, without blanks and comments."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    place = 0
    while place < len(text):
        match = _RAW.match(text, place)
        kind = "text"
        if match is None:
            match = _TOKEN.match(text, place)
            assert match is not None, "the last alternative takes any character"
            kind = str(match.lastgroup)
        place = match.end()
        if kind != "blank":
            yield Token("mark" if match[0] == "in" else kind, match[0], match.start(), place)


class ConditionError(ValueError):
    """Report what is wrong in a condition: where (line:column), what was found, what to write."""


def wrong(text: str, place: int, said: str) -> ConditionError:
    """Return the error that says something about a place of a condition."""
    line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
    return ConditionError(f"at {line}:{column}: {said}{_shown(text, place)}")


def _shown(text: str, place: int) -> str:
    """Return the rest at a place and the whole, as far as they are short."""
    rest = text[place : place + _AROUND].partition("\n")[0].rstrip()
    at = f", at `{rest}`" if rest and place else ""
    if len(text) <= _LONGEST:
        return f"{at} in `{text.strip()}`"
    before = text[max(0, place - _AROUND) : place].strip()
    return f"{at} after `{before}`" if before else at


def explained(text: str, error: str) -> ConditionError:
    """Return the engine's complaint about a condition, the first in reading order that says something."""
    if not text.strip():
        return ConditionError("the condition is empty: write one such as severity_number >= WARNING")
    found = [(int(line), int(column), said) for line, column, said in _COMPLAINT.findall(error)]
    told = [one for one in found if not one[2].startswith("Incomplete")] or found
    if not told:
        return ConditionError(f"the engine cannot read this condition ({' '.join(error.split())[:_LONGEST]})")
    line, column, said = min(told)
    lines = text.split("\n")
    place = sum(len(one) + 1 for one in lines[: line - 1]) + column - 1
    return wrong(text, min(place, len(text)), _in_words(said.removeprefix("Syntax error: ")))


def _in_words(said: str) -> str:
    match = _MISMATCH.match(said) or _MISSING.match(said)
    if match is not None:
        return f"expected {_expected(match['expected'])}, found {_found(match['found'])}"
    match = _UNKNOWN.match(said)
    if match is not None:
        return _unreadable(match["found"])
    if "has() macro" in said:
        return "has() asks for a key of a map: write has(attributes.name)"
    if "Recursion limit" in said:
        return "this is nested too deeply"
    if said == "argument must be a simple name":
        return "the first argument names the element: write labels.exists(key, key == 'app')"
    return " ".join(said.split())[:_LONGEST]


def _expected(words: str) -> str:
    if "IDENTIFIER" in words:
        return "a value"
    if not words.startswith("{"):
        return "the end" if words == "<EOF>" else words
    ends = [said for mark, said in _ENDS.items() if mark in words]
    return " or ".join(["an operator", *ends])


def _found(word: str) -> str:
    hint = _HINTS.get(word)
    return "the end" if word == "<EOF>" else f"{word!r} ({hint})" if hint else repr(word)


def _unreadable(found: str) -> str:
    if found[:1] in "'\"":
        return "this text has no closing quote, or an escape such as \\d that CEL does not know: write a raw one, r'\\d'"
    return f"CEL has no {_found(found.strip()[:1] or found)}"
