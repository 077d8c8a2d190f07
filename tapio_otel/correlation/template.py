"""Templates: the words of a finding with values of its facts, as in `Memory ran out in {root.entity}[ (limit
{root.memory_limit:size})]`.

`{subject.value}` and `{subject.value:form}`. Subjects are `root`, `impact` (the first one), `last` (the last one), an alias
(its first fact), and `finding`; `impacts`, an alias, and `members` also have `count`, `entities`, `others` (entities but the
root's), `targets` (what could not be reached) and `sources`. Values of a fact are `entity` (`Entity` at the beginning of a
sentence), `node` (its machine), `time`, `after` (how long after the root), `title`, `description`, `type`, `severity`,
`source`, `sources`, and every attribute. `finding` has `window`, `span` (from the first to the last), `entities`, `sources`,
`witnesses`. Forms: `client|clients` (1 client, 2 clients), `size` (bytes), `duration` (nanoseconds), `seconds`, `percent`. A
part in square brackets is left out where a value in it is not there, but for brackets within it, which are left out by
themselves; outside of brackets, such a value is written as `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

Resolve = Callable[[str, str], Any]
"""Return the value of a name of a subject; None where there is none."""

_VALUE = re.compile(r"\{(?P<subject>[a-z][a-z0-9_]*)\.(?P<name>[A-Za-z_][\w.]*)(?::(?P<form>[a-z]+|[^{}:|]+\|[^{}:|]+))?\}")
_TOKEN = re.compile(r"\{[^{}]*\}|[\[\]]|[^\[\]{}]+|.", re.DOTALL)
_DEEPEST: Final = 8
_UNKNOWN: Final = "unknown"


class TemplateError(ValueError):
    """Report what is wrong in a template: what was found, what to write."""


class _Optional(NamedTuple):
    """Be a part in square brackets; one without any value stays as it is written."""

    parts: list[Any]


class Template:
    """Be a text with places for values."""

    __slots__ = ("_parts", "text", "values")

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: list[tuple[str, str]] = []
        """Subjects and names that are asked for."""
        tokens = [match[0] for match in _TOKEN.finditer(text)]
        self._parts, rest = self._read(tokens, 0, 0)
        assert rest == len(tokens)

    def _read(self, tokens: list[str], place: int, depth: int) -> tuple[list[Any], int]:
        """Return the parts from one on, to the bracket that ends them, and where that is."""
        if depth > _DEEPEST:
            raise TemplateError(f"more than {_DEEPEST} brackets within one another in {self.text!r}")
        parts: list[Any] = []
        while place < len(tokens):
            piece = tokens[place]
            if piece == "]" and depth:
                return parts, place
            if piece == "[":
                inner, end = self._read(tokens, place + 1, depth + 1)
                if end == len(tokens):
                    parts += ["[", *inner]  # a bracket that is not closed is a bracket
                    return parts, end
                parts += [_Optional(inner)] if _has_value(inner) else ["[", *inner, "]"]
                place = end
            elif piece in ("{", "}"):
                raise TemplateError(f"{piece!r} in {self.text!r} belongs to no value: write {{root.entity}}")
            else:
                parts.append(self._value(piece) if piece[0] == "{" else piece)
            place += 1
        return parts, place

    def _value(self, text: str) -> tuple[str, str, str]:
        match = _VALUE.fullmatch(text)
        if match is None:
            raise TemplateError(f"{text!r} is no value: write a subject and a name, as in {{root.entity}}")
        form = match["form"] or ""
        if form and form not in FORMS and "|" not in form:
            raise TemplateError(f"{text!r}: there is no form {form!r}: use one of {', '.join(FORMS)}")
        self.values.append((match["subject"], match["name"]))
        return match["subject"], match["name"], form

    def fill(self, resolve: Resolve) -> str:
        """Return the text with its values."""
        return _filled(self._parts, resolve, False) or ""


def _has_value(parts: list[Any]) -> bool:
    return any(not isinstance(part, str) for part in parts)


@lru_cache(maxsize=1024)
def template_of(text: str) -> Template:
    """Return the template that a text is; raises TemplateError."""
    return Template(text)


def _filled(parts: list[Any], resolve: Resolve, optional: bool) -> str | None:
    """Return the text of parts; None where a value of an optional part itself is missing."""
    told: list[str] = []
    for part in parts:
        if part.__class__ is str:
            told.append(part)
        elif part.__class__ is _Optional:
            told.append(_filled(part.parts, resolve, True) or "")
        else:
            subject, name, form = part
            value = resolve(subject, name)
            if value is None or value == "":
                if optional:
                    return None
                value, form = _UNKNOWN, ""
            told.append(value if value.__class__ is str and "|" not in form else _shown(value, form))
    return "".join(told)


def _shown(value: Any, form: str) -> str:
    if "|" in form:
        one, many = form.split("|")
        return f"1 {one}" if value == 1 else f"{value} {many}"
    if form and isinstance(value, int | float):
        return FORMS[form](value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return listed([str(one) for one in value])
    return str(value)


def listed(words: list[str], most: int = 3) -> str:
    """Return `a, b and c`, of many the first ones and how many more there are."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def size(amount: float) -> str:
    """Return a number of bytes for people: 30.0 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration(nanoseconds: float) -> str:
    """Return a time for people: 0 s, 250 µs, 12.5 ms, 3.2 s, 2.5 min, 24 h, 3 d."""
    if not nanoseconds:
        return "0 s"
    for unit, length, end in _UNITS:
        if abs(nanoseconds) < end:
            return f"{f'{nanoseconds / length:.1f}'.removesuffix('.0')} {unit}"
    return f"{nanoseconds} ns"  # no time, but infinity


_UNITS: Final = (
    ("µs", 1e3, 1e6),
    ("ms", 1e6, 1e9),
    ("s", 1e9, 60e9),
    ("min", 60e9, 3600e9),
    ("h", 3600e9, 48 * 3600e9),
    ("d", 86400e9, float("inf")),
)


FORMS: Final[Mapping[str, Callable[[float], str]]] = {
    "size": size,
    "duration": duration,
    "seconds": lambda seconds: duration(seconds * 1e9),
    "percent": lambda share: f"{share * 100:.0f} %",
}
