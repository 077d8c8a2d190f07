"""Expressions in RE2's syntax: what RE2 has against one, and where in it; which groups it has.

RE2 gives a reason and the offending fragment, not its place. Its parser goes from left to right, so the fragment ends where
the shortest beginning of the expression with the same complaint ends.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import re2

from tapio_otel.patterns.literals import required_literals

MAX_LENGTH: Final = 4096
MAX_PROGRAM: Final = 20_000
"""Instructions of an expression: what looking at one character of a text may cost."""
_TOGETHER: Final = 64 << 20
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?[a-z]*:\]|[^\]\\])*\]|\((?:\?P?<([^>]*)>|\?[^:)]*[:)]|)|\)", re.DOTALL
)
"""What parentheses are looked for between: quoted and escaped characters, classes. Group 1 is a group's name."""
_ADVICE: Final = {
    "(?=": "RE2 has no look-ahead",
    "(?!": "RE2 has no look-ahead; name what must not match by a pattern of its own, or narrow the expression",
    "(?<": "RE2 has no look-behind",
    "(?>": "RE2 has no atomic groups and needs none, as it never goes back",
    "(?P=": "RE2 has no back-references",
    "\\Z": "write \\z",
}
_NAMES = re.compile(r"\(\?P?<([^>=!]*)>")
_MANY = re.compile(r"\{(?:[0-9]*,)?[0-9]{2,}\}|\\[pP]")
_BACK_REFERENCE = re.compile(r"\\[1-9]")


class Refused(ValueError):
    """Say why an expression cannot be taken, and at which column."""


def quiet_options(max_mem: int = 8 << 20) -> Any:
    """Return RE2's options without its own logging to standard error."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = max_mem
    return options


def check_expression(text: str) -> Any:
    """Compile an expression; raises `Refused` with the reason, and the place in it."""
    if len(text) > MAX_LENGTH:
        raise Refused(f"is longer than {MAX_LENGTH} characters; write several expressions instead")
    try:
        compiled = re2.compile(text, quiet_options())
    except UnicodeEncodeError as error:
        raise Refused(f"holds a character at column {error.start + 1} that is none of Unicode's; remove it") from None
    except re2.error as error:
        raise Refused(_complaint(text, _words(error))) from None
    if compiled.programsize > MAX_PROGRAM:
        raise Refused(
            f"makes {compiled.programsize} instructions, more than {MAX_PROGRAM}; repeat less, or write several expressions"
        )
    _check_names(text)
    if compiled.search("") and compiled.search("\0"):
        raise Refused("matches the empty text, and so every text; ask for something that has to be there")
    return compiled


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _complaint(text: str, words: str) -> str:
    reason, _, fragment = words.partition(": ")
    if reason in {"missing )", "unexpected )"}:
        return f"is refused by RE2 at column {_unbalanced(text)}: {_UNBALANCED[reason]}"
    if not fragment:
        return f"is refused by RE2: {reason}; make it smaller, or write several expressions"
    column = _column(text, words, fragment)
    advice = _advice(fragment, text[column - 1 :])
    return f"is refused by RE2 at column {column}: {reason}: {fragment}{advice}"


_UNBALANCED: Final = {
    "missing )": "this ( is never closed; close it, or write \\( for the character",
    "unexpected )": "this ) closes nothing; write \\) for the character",
}


def _column(text: str, words: str, fragment: str) -> int:
    """Return where a fragment stands, counted from 1."""
    for end in range(len(fragment), len(text) + 1):
        try:
            re2.compile(text[:end], quiet_options())
        except re2.error as error:
            if _words(error) == words:
                return end - len(fragment) + 1
    return text.find(fragment) + 1 or 1


def _advice(fragment: str, rest: str) -> str:
    if _BACK_REFERENCE.match(fragment):
        return " (RE2 has no back-references)"
    found = next((advice for start, advice in _ADVICE.items() if fragment.startswith(start) or rest.startswith(start)), "")
    return f" ({found})" if found else ""


def _groups(text: str) -> Iterator[tuple[str, int]]:
    """Yield each named group with its column."""
    for token in _TOKEN.finditer(text):
        if token[1] is not None:
            yield token[1], token.start() + 1


def suspects(expressions: Sequence[str]) -> list[str]:
    """Return the expressions that `check_expression` has to look at; the others are certainly fine.

    Reading them together takes a tenth of the time that reading each takes; compiling is for those that may match nothing.
    """
    options = quiet_options(_TOGETHER)
    options.never_capture = True
    read, together = re2.Set.SearchSet(options), re2.Set.SearchSet(options)
    vague = [one for one in expressions if required_literals(one) is None]  # the others cannot match the empty text
    try:
        for one in expressions:
            read.Add(one)
        for one in vague:
            together.Add(one)
        if vague:
            together.Compile()
        empty = {vague[index] for index in together.Match(b"") or ()} if vague else set()
    except (re2.error, UnicodeEncodeError):
        return list(expressions)
    return [one for one in expressions if one in empty or _is_suspect(one)]


def _is_suspect(text: str) -> bool:
    names = group_names(text)
    return (
        len(text) > MAX_LENGTH
        or len(set(names)) != len(names)
        or _MANY.search(text) is not None
        or not all(map(_NAME.fullmatch, names))
    )


def group_names(text: str) -> list[str]:
    """Return the names of an expression's groups, also of one that RE2 does not take."""
    return _NAMES.findall(text)


def unnamed_groups(text: str) -> int:
    """Return how many groups have no name."""
    return sum(token[0] == "(" for token in _TOKEN.finditer(text))


def _check_names(text: str) -> None:
    found = list(_groups(text))
    counts = Counter(name for name, _ in found)
    for name, column in found:
        if not _NAME.fullmatch(name):
            raise Refused(f"names a group {name!r} at column {column}; use lower-case letters, digits and _")
        if counts[name] > 1:
            places = " and ".join(str(at) for other, at in found if other == name)
            raise Refused(f"names two groups {name!r}, at columns {places}; write two expressions, each with one")


def _unbalanced(text: str) -> int:
    """Return the column of the parenthesis without its other half."""
    still_open: list[int] = []
    for token in _TOKEN.finditer(text):
        if token[0] == ")":
            if not still_open:
                return token.start() + 1
            still_open.pop()
        elif token[0].startswith("(") and not token[0].endswith(")"):
            still_open.append(token.start() + 1)
    return still_open[-1] if still_open else len(text)
