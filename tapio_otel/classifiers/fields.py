"""What the fields of a structured body say: severity, message, error, request, place in the code, time.

A service writes the same fields over and over, so which of them is the level, the message and so on is settled once for each
sequence of names and kept as a `Reading`; a body then costs a few look-ups by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tapio_otel.classification import Classification
from tapio_otel.classifiers import names
from tapio_otel.classifiers.http_request import CATEGORY, FAILED
from tapio_otel.classifiers.severity_fields import SeverityFields
from tapio_otel.classifiers.title import one_line
from tapio_otel.classifiers.written_error import ErrorFields
from tapio_otel.classifiers.written_place import CodeFields
from tapio_otel.classifiers.written_request import RequestFields
from tapio_otel.classifiers.written_text import first_name, first_text
from tapio_otel.classifiers.written_time import rfc3339_of
from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import AttributeValue, Severity

_new: Final = tuple.__new__  # a third of what it costs to go through the arguments' names
_LONGEST_NAME: Final = 256
_KEPT: Final = 512
_LONGEST_LITTLE: Final = 20
_LITTLE: Final = frozenset(("", "handled request", "request completed", "request", "access"))
"""Messages of access logs that are the same for every request, whose title tells more."""


class Reading:
    """Read the values of bodies that have the same known names, each once, in the same order."""

    __slots__ = (
        *("_code", "_errors", "_instant", "_loggers", "_messages", "_perhaps_loggers", "_read_severity", "_request", "_times"),
        *("levels", "names_level"),
    )

    def __init__(self, known: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(known)}
        severity = SeverityFields(places)
        self._read_severity = severity.read
        self.levels = severity.levels
        """Places of what may be the name of a level."""
        self.names_level = severity.names_level
        """Return whether one of the values is a level by name and by what it says."""
        self._messages = names.places_of(names.MESSAGES, places)
        self._errors = ErrorFields.among(places)
        self._request = RequestFields.among(places)
        of_mongodb = (names.MONGODB_COMPONENT,) if names.MONGODB_TIME in places else ()
        self._loggers = names.places_of(names.LOGGERS, places)
        self._perhaps_loggers = names.places_of((*names.PERHAPS_LOGGERS, *of_mongodb), places)
        self._times = names.places_of(names.TIMES, places)
        instant = names.places_of(names.INSTANT, places)
        self._instant = instant if len(instant) == len(names.INSTANT) else ()
        self._code = CodeFields.among(places)

    def classify(self, values: Sequence[Any]) -> Classification | None:
        """Return what the values say; None where they hold neither severity, message, error nor request."""
        severity = self._read_severity(values)
        message = first_text(values, self._messages)
        attributes: dict[str, AttributeValue] = {}
        kind = category = error = ""
        if self._errors is not None:
            error = self._errors.add(values, attributes)
        if self._request is not None:
            request = self._request.add(values, attributes)
            if request is not None:
                severity, title = max(severity or Severity.DEBUG, request[0]), request[1]
                category, message = CATEGORY, title if _says_little(message) else message
                if attributes["http.response.status_code"] >= 500:  # type: ignore[operator]
                    kind = FAILED
        if severity is None and not message and not attributes:
            return None
        if self._loggers or self._perhaps_loggers:
            logger = first_name(values, self._loggers, self._perhaps_loggers)
            if logger:
                attributes["logger"] = logger[:_LONGEST_NAME]
        logged_at = self._logged_at(values)
        if logged_at:
            attributes["logged_at"] = logged_at
        if self._code is not None:
            self._code.add(values, attributes)
        return _new(Classification, (severity, kind, category, one_line(message or error), attributes))

    def _logged_at(self, values: Sequence[Any]) -> str:
        for place in self._times:
            found = rfc3339_of(values[place])
            if found:
                return found
        if self._instant:
            seconds, rest = (values[place] for place in self._instant)
            if type(seconds) is int and type(rest) is int:
                return rfc3339_of(seconds * 10**9 + rest)
        return ""


def _says_little(message: str) -> bool:
    return len(message) <= _LONGEST_LITTLE and message.lower() in _LITTLE


READINGS: Final[Bounded[tuple[str, ...], Reading]] = Bounded(_KEPT)
"""What reads the values of bodies, by their known names."""


def reading_of(known: tuple[str, ...]) -> Reading:
    """Return what reads the values of bodies with these known names, each of which is there once."""
    return READINGS.get(known) or READINGS.keep(known, Reading(known))
