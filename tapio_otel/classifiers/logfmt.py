"""logfmt: `level=error msg="it broke" err="no such file"`, as Go services, Heroku and Prometheus write it.

A sentence that mentions `a=b` is no logfmt: the text must begin with a pair, and either name a known level, or consist of at
least three pairs and nothing else. Without a level, words without quotes behind a value are no logfmt; with one, they go on
the value before them, as careless writers mean them to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.fields import reading_of
from tapio_otel.classifiers.layout import Layouts
from tapio_otel.classifiers.naming import naming_of
from tapio_otel.event import UnifiedEvent

TRIGGER: Final = r"^\s*[A-Za-z_@][A-Za-z0-9_.@/\-]{0,63}=[^=]"
_MOST_PAIRS: Final = 128
_MOST_LOOSE: Final = 256
_LONGEST_KEY: Final = 128
_LEAST_PAIRS: Final = 3
_LEVELS: Final = ("level", "lvl", "severity", "loglevel")
_AUDIT: Final = "msg=audit("
_KEY_BEGINS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_@")
_KEY_LETTERS: Final = _KEY_BEGINS | frozenset("0123456789.-/")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_split: Final = re.compile(
    r'(?<![^ ])([A-Za-z_@][A-Za-z0-9_.@/\-]{0,126}+)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^ "][^ ]*+|)(?: ++|\Z)', re.DOTALL
).split
"""Part a line into what is outside of pairs, key and value in turn; nothing is outside in nearly every line of logfmt.

Linear, as a pair begins only behind a blank, so that no letter of a key or value is looked at more than twice.
"""
LAYOUTS: Final = Layouts(by_place=True)


class Pairs(NamedTuple):
    """Hold the pairs of a line in order, whether it began with one, and how many words stood outside of pairs."""

    pairs: list[tuple[str, str]]
    leading: bool
    loose: int


def classify(text: str, event: UnifiedEvent) -> Classification | None:  # noqa: ARG001
    """Return what the fields say; None for a text that is no logfmt."""
    line = text.strip()
    if "\n" in line:
        line = line.partition("\n")[0]
    if line.find(_AUDIT, 0, _LONGEST_KEY) >= 0:  # the kernel's audit records have pairs, but neither message nor level
        return None
    line = line.replace("\t", " ")
    parts = _split(line, _MOST_PAIRS)
    if any(parts[::3]):
        return _classify_careless(line)
    keys = tuple(parts[1::3])
    take, reading, _ = LAYOUTS.get(keys) or LAYOUTS.made(keys)
    values = _unquoted(take(parts[2::3]))
    for place in reading.levels:
        if " " in values[place]:
            return _classify_careless(line)
    if len(keys) < _LEAST_PAIRS and not reading.names_level(values):
        return None
    return reading.classify(values)


def _classify_careless(line: str) -> Classification | None:
    """Return what the fields of a line say in which there are words outside of pairs, or blanks in a level."""
    found = _pairs(line)
    if not found.leading:
        return None
    fields: dict[str, str] = {}
    naming = naming_of(key for key, _ in found.pairs)
    for key, value in found.pairs:
        name = naming.get(key.lower())
        if name is not None:
            fields.setdefault(name, value)
    for key in _LEVELS:
        word, blank, rest = fields.get(key, "").partition(" ")
        if blank:  # what is behind the level is the message of `level=error it broke`
            fields[key] = word
            fields.setdefault("msg", rest)
    reading, values = reading_of(tuple(fields)), tuple(fields.values())
    if (found.loose or len(found.pairs) < _LEAST_PAIRS) and not reading.names_level(values):
        return None
    return reading.classify(values)


def pairs(line: str) -> Pairs:
    """Return the pairs of a line; linear in its length, at most 128 pairs and 256 other words."""
    line = line.replace("\t", " ")
    parts = _split(line, _MOST_PAIRS)
    if any(parts[::3]):
        return _pairs(line)
    values = _unquoted(parts[2::3])
    return Pairs(list(zip(parts[1::3], values, strict=True)), bool(values), 0)


def _pairs(line: str) -> Pairs:
    """Return the pairs of a line that holds anything at all."""
    found: list[tuple[str, str]] = []
    loose = place = 0
    leading = False
    begin = -1  # of the last value, where it has no quotes and words may follow
    while len(found) < _MOST_PAIRS and loose < _MOST_LOOSE:
        word = _next_word(line, place)
        end = _end_of_word(line, word)
        if word == end:
            break
        equals = line.find("=", word, min(end, word + _LONGEST_KEY))
        if equals < 0 or not _is_key(line[word:equals]):
            loose += 1
        else:
            if begin >= 0:
                found[-1] = (found[-1][0], line[begin:place])
            leading, begin = leading or not loose, equals + 1
            value = ""
            if line[begin : begin + 1] == '"':
                value, end = _quoted(line, begin + 1)
                begin = -1
            found.append((line[word:equals], value))
        place = end
    if begin >= 0:
        found[-1] = (found[-1][0], line[begin:place])
    return Pairs(found, leading, loose)


def _next_word(line: str, place: int) -> int:
    while line.startswith(" ", place):
        place += 1
    return place


def _end_of_word(line: str, place: int) -> int:
    end = line.find(" ", place)
    return len(line) if end < 0 else end


def _is_key(text: str) -> bool:
    return bool(text) and text.isascii() and text[0] in _KEY_BEGINS and _KEY_LETTERS.issuperset(text)


def _quoted(line: str, begin: int) -> tuple[str, int]:
    """Return the value whose opening quote is before `begin`, and where it ends; an unclosed one reaches to the end."""
    end = begin
    while True:
        end = line.find('"', end)
        if end < 0:
            return _unescaped(line[begin:]), len(line)
        first = end
        while first > begin and line[first - 1] == "\\":
            first -= 1
        if (end - first) % 2 == 0:  # else the quote is escaped
            return _unescaped(line[begin:end]), end + 1
        end += 1


def _unquoted(values: Iterable[str]) -> list[str]:
    """Return values without quotes around them."""
    return [value if value[:1] != '"' else value[1:-1] if "\\" not in value else _unescaped(value[1:-1]) for value in values]


def _unescaped(text: str) -> str:
    if "\\\\" not in text:
        text = text.replace('\\"', '"')  # nearly all that is ever escaped
        return text if "\\" not in text else _unescape_one(text)
    whole = text.split("\\\\")  # pairs of backslashes first: what is left of them escapes something
    return "\\".join(_unescape_one(part) for part in whole)


def _unescape_one(text: str) -> str:
    first, *rest = text.split("\\")
    return first + "".join(_ESCAPES.get(part[:1], part[:1]) + part[1:] for part in rest)


CLASSIFIER: Final = Classifier(classify, TRIGGER)
