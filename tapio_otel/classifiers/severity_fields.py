"""The severity that the fields of a structured body give, by the name of the field: in words or in one of five numberings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tapio_otel.classifiers import names
from tapio_otel.classifiers.severity_name import (
    severity_of_google_number,
    severity_of_level,
    severity_of_otel_number,
    severity_of_python_level,
    severity_of_syslog_number,
    severity_of_word,
)
from tapio_otel.event import Severity

Reader = Callable[[Any], Severity | None]

_NUMBERS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys(names.NUMBERED_LEVELS, severity_of_syslog_number),
    "severity": severity_of_google_number,
    **dict.fromkeys(("severity_number", "severitynumber"), severity_of_otel_number),
    **dict.fromkeys(("levelno", "level_number", "record.level.no"), severity_of_python_level),
    names.JOURNAL_PRIORITY: severity_of_syslog_number,
    names.PRIORITY: severity_of_word,
}
"""What reads the number, or the word, in a field of that name, the preferred one first."""


class SeverityFields:
    """Read the severity from the values of a body with known names, of which the places are given."""

    __slots__ = ("_otherwise", "_readers", "levels")

    def __init__(self, places: Mapping[str, int]) -> None:
        self.levels = names.places_of(names.LEVELS, places)
        readers: list[tuple[Reader, int]] = [(severity_of_level, place) for place in self.levels]
        readers += [(read, places[name]) for name, read in _NUMBERS.items() if name in places]
        self._otherwise: Severity | None = None
        if names.GELF_MESSAGE in places:  # GELF's levels are syslog's
            readers = [(severity_of_syslog_number, place) for place in names.places_of(("level",), places)]
        elif names.MONGODB_TIME in places and names.MONGODB_LEVEL in places:  # whose level has a name of one letter
            readers.append((severity_of_level, places[names.MONGODB_LEVEL]))
        elif names.SERILOG_TIME in places and not places.keys().isdisjoint(names.SERILOG_MESSAGES):  # which leaves info out
            self._otherwise = Severity.INFO
        self._readers = tuple(readers)

    def read(self, values: Sequence[Any]) -> Severity | None:
        """Return the first severity that the values give."""
        for reader, place in self._readers:
            found = reader(values[place])
            if found is not None:
                return found
        return self._otherwise

    def names_level(self, values: Sequence[Any]) -> bool:
        """Return whether one of the values is a level by name and by what it says."""
        return any(severity_of_level(values[place]) is not None for place in self.levels)
