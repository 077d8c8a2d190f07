"""Conditions on the writer of a text, prepared once: of whose texts a pattern speaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from typing import Final

from tapio_otel.event import Severity
from tapio_otel.patterns.pattern import FieldConditions
from tapio_otel.patterns.writer import Writer

_GLOB: Final = frozenset("*?[")


class Conditions:
    """Answer whether a pattern speaks of texts by a writer."""

    __slots__ = ("_identifier", "_severities", "_transports", "_unit")

    def __init__(self, fields: FieldConditions) -> None:
        self._identifier = _any_of(fields.identifier)
        self._unit = _any_of(fields.unit)
        self._transports = frozenset(fields.transport)
        self._severities = fields.severities

    def met(self, writer: Writer, severity: Severity) -> bool:
        """Tell whether all conditions are met; they are by a writer of whom nothing is known."""
        if not writer.known:
            return True
        return (
            (not self._transports or writer.transport in self._transports)
            and (not self._severities or severity in self._severities)
            and self._identifier(writer.identifier)
            and self._unit(writer.unit)
        )


def _any_of(globs: Sequence[str]) -> Callable[[str], bool]:
    if not globs:
        return lambda _value: True
    if not any(_GLOB & set(glob) for glob in globs):
        return frozenset(globs).__contains__
    compiled = re.compile("|".join(map(translate, globs)))
    return lambda value: compiled.match(value) is not None
