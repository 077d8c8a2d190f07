"""Where in its code a program says that it wrote a log body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tapio_otel.classifiers import names
from tapio_otel.classifiers.written_text import first_text
from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import AttributeValue

_LONGEST_NAME: Final = 256
_MOST_DIGITS: Final = 7
_KEPT: Final = 1024
PLACES: Final[Bounded[str, tuple[dict[str, AttributeValue], bool]]] = Bounded(_KEPT)
"""Attributes by what was written, and whether that had a line: a program has only so many places where it writes."""


class CodeFields:
    """Read file, line and function from the values of a body with known names."""

    __slots__ = ("_files", "_files_with_line", "_functions", "_lines")

    def __init__(self, places: Mapping[str, int]) -> None:
        self._files = names.places_of(names.FILES, places)
        self._files_with_line = names.places_of(names.PERHAPS_FILES, places)
        self._lines = names.places_of(names.LINES, places)
        self._functions = names.places_of(names.FUNCTIONS, places)

    @classmethod
    def among(cls, places: Mapping[str, int]) -> CodeFields | None:
        """Return what reads the place of a body with these names; None where they can tell none."""
        found = cls(places)
        return found if found._files or found._files_with_line or found._functions else None

    def add(self, values: Sequence[Any], attributes: dict[str, AttributeValue]) -> None:
        """Add the attributes of the place that the values tell, as far as they do."""
        written = first_text(values, self._files)
        perhaps = "" if written else first_text(values, self._files_with_line)
        if written or perhaps:
            place, has_line = PLACES.get(written or perhaps) or _place((written or perhaps)[-_LONGEST_NAME:])
            if has_line or not self._lines:
                attributes.update(place if written or has_line else {})
            elif place:
                attributes.update(place)
                attributes.update(_line(str(values[self._lines[0]])))
        if self._functions:
            function = first_text(values, self._functions)
            if function:
                attributes["code.function.name"] = function[:_LONGEST_NAME]


def _place(written: str) -> tuple[dict[str, AttributeValue], bool]:
    """Return the attributes that `file:line` gives, or a file alone, and whether a line is there."""
    file, colon, line = written.rpartition(":")
    has_line = bool(colon and line.isascii() and line.isdigit())
    if not has_line:
        return PLACES.keep(written, ({"code.file.path": written}, False))
    return PLACES.keep(written, ({"code.file.path": file, **_line(line)} if file else {}, True))


def _line(text: str) -> dict[str, AttributeValue]:
    return {"code.line.number": int(text)} if len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit() else {}
