"""Templates: the words of a finding with values of its facts, as in `Memory ran out in {root.entity}[ (limit
{root.memory_limit:size})]`.

`{subject.value}` and `{subject.value:form}`. Subjects are `root`, `impact` (the first one), `last` (the last one), an alias
(its first fact), and `finding`; `impacts`, an alias, and `members` also have `count`, `entities` and `sources`. Values of a
fact are `entity`, `time`, `after` (how long after the root), `title`, `description`, `type`, `severity`, `source`, `sources`,
and every attribute. `finding` has `window`, `span` (from the first to the last), `entities`, `sources`, `witnesses`. Forms:
`client|clients` (1 client, 2 clients), `size` (bytes), `duration` (nanoseconds), `seconds`, `percent`. A part in square
brackets is left out where a value in it is not there; outside of brackets, such a value is written as `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

Resolve = Callable[[str, str], Any]
"""Return the value of a name of a subject; None where there is none."""

_PART = re.compile(r"\[(?P<optional>[^\[\]]*\{[^\[\]]*)\]|(?P<value>\{[^{}]*\})|(?P<text>[^\[{]+|.)", re.DOTALL)
_VALUE = re.compile(r"\{(?P<subject>[a-z][a-z0-9_]*)\.(?P<name>[A-Za-z_][\w.]*)(?::(?P<form>[a-z]+|[^{}:|]+\|[^{}:|]+))?\}")
_ANY_VALUE = re.compile(r"\{[^{}]*\}")
_UNKNOWN: Final = "unknown"


class TemplateError(ValueError):
    """Report what is wrong in a template: what was found, what to write."""


class Template:
    """Be a text with places for values."""

    __slots__ = ("_parts", "text", "values")

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: list[tuple[str, str]] = []
        """Subjects and names that are asked for."""
        self._parts = [self._part(match) for match in _PART.finditer(text)]

    def _part(self, match: re.Match[str]) -> str | tuple[bool, list[Any]]:
        if match["text"] is not None:
            if match["text"] in "{}":
                raise TemplateError(f"{match['text']!r} in {self.text!r} belongs to no value: write {{root.entity}}")
            return match["text"]
        optional = match["optional"]
        return optional is not None, self._split(match["value"] if optional is None else optional)

    def _split(self, text: str) -> list[Any]:
        parts: list[Any] = []
        place = 0
        for found in _ANY_VALUE.finditer(text):
            match = _VALUE.fullmatch(found[0])
            if match is None:
                raise TemplateError(f"{found[0]!r} is no value: write a subject and a name, as in {{root.entity}}")
            form = match["form"] or ""
            if form and form not in FORMS and "|" not in form:
                raise TemplateError(f"{found[0]!r}: there is no form {form!r}: use one of {', '.join(FORMS)}")
            self.values.append((match["subject"], match["name"]))
            parts += [text[place : found.start()], (match["subject"], match["name"], form)]
            place = found.end()
        return [part for part in [*parts, text[place:]] if part != ""]

    def fill(self, resolve: Resolve) -> str:
        """Return the text with its values."""
        return "".join(part if isinstance(part, str) else _filled(*part, resolve) for part in self._parts)


@lru_cache(maxsize=1024)
def template_of(text: str) -> Template:
    """Return the template that a text is; raises TemplateError."""
    return Template(text)


def _filled(optional: bool, parts: list[Any], resolve: Resolve) -> str:
    told = []
    for part in parts:
        if isinstance(part, str):
            told.append(part)
            continue
        subject, name, form = part
        value = resolve(subject, name)
        if value is None or value == "":
            if optional:
                return ""
            value, form = _UNKNOWN, ""
        told.append(_shown(value, form))
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
    """Return a time for people: 250 µs, 12.5 ms, 3.2 s, 2.5 min."""
    for unit, length, following in (("µs", 1e3, 1e6), ("ms", 1e6, 1e9), ("s", 1e9, 60e9)):
        if abs(nanoseconds) < following:
            return f"{f'{nanoseconds / length:.1f}'.removesuffix('.0')} {unit}"
    return f"{f'{nanoseconds / 60e9:.1f}'.removesuffix('.0')} min"


FORMS: Final[Mapping[str, Callable[[float], str]]] = {
    "size": size,
    "duration": duration,
    "seconds": lambda seconds: duration(seconds * 1e9),
    "percent": lambda share: f"{share * 100:.0f} %",
}
