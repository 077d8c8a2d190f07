"""Names of severities: what loggers call their levels, in words and in numbers, as the event model's severity.

A program's `fatal` and `panic` are critical: it ended, the node did not. Levels below debug are debug, success is info.
"""

from __future__ import annotations

from typing import Any, Final

from tapio_otel.event import Severity

SYSLOG: Final = (
    *(Severity.EMERGENCY, Severity.ALERT, Severity.CRITICAL, Severity.ERROR),
    *(Severity.WARNING, Severity.NOTICE, Severity.INFO, Severity.DEBUG),
)
"""Severities by syslog's number (RFC 5424, section 6.2.1)."""

_NAMES: Final = {
    Severity.DEBUG: "trace trc trce verbose verb vrb fine finer finest all debug debu dbug dbg config",
    Severity.INFO: "info information informational inf success",
    Severity.NOTICE: "notice note",
    Severity.WARNING: "warning warn wrn",
    Severity.ERROR: "error err erro eror severe fail failure",
    Severity.CRITICAL: "critical crit crt fatal fata ftl panic pani dpanic",
    Severity.ALERT: "alert",
    Severity.EMERGENCY: "emergency emerg",
}
SEVERITY_NAMES: Final = {name: severity for severity, names in _NAMES.items() for name in names.split()}
"""Severities by what loggers call them, in lower case."""

_LETTERS: Final = {
    **{"T": Severity.DEBUG, "V": Severity.DEBUG, "D": Severity.DEBUG, "I": Severity.INFO, "N": Severity.NOTICE},
    **{"W": Severity.WARNING, "E": Severity.ERROR, "C": Severity.CRITICAL, "F": Severity.CRITICAL},
    **{f"D{level}": Severity.DEBUG for level in range(1, 6)},
}
_SPELLED: Final = {
    **{spelt(name): severity for name, severity in SEVERITY_NAMES.items() for spelt in (str.lower, str.upper, str.capitalize)},
    **_LETTERS,
}
"""Severities by what nearly all bodies say, so that one look is enough."""
_LONGEST: Final = 32
_NODE_LEVELS: Final = ((60, Severity.CRITICAL), (50, Severity.ERROR), (40, Severity.WARNING), (30, Severity.INFO))
_PYTHON_LEVELS: Final = ((50, Severity.CRITICAL), (40, Severity.ERROR), (30, Severity.WARNING), (20, Severity.INFO))
_OTEL_LEVELS: Final = (
    *((21, Severity.CRITICAL), (19, Severity.ALERT), (18, Severity.CRITICAL), (17, Severity.ERROR)),
    *((13, Severity.WARNING), (10, Severity.NOTICE), (9, Severity.INFO)),
)
_GOOGLE_LEVELS: Final = (
    *((800, Severity.EMERGENCY), (700, Severity.ALERT), (600, Severity.CRITICAL), (500, Severity.ERROR)),
    *((400, Severity.WARNING), (300, Severity.NOTICE), (200, Severity.INFO)),
)


def severity_of_name(name: str) -> Severity | None:
    """Return the severity that a level's name stands for, `ERROR+2` of Go's slog among them; None for other words."""
    if not name or len(name) > _LONGEST:
        return None
    word = name.strip(" []<>:\t")
    found = SEVERITY_NAMES.get(word.lower()) or _LETTERS.get(word)
    if found is None and word[-1:].isdigit():
        found = SEVERITY_NAMES.get(word.rstrip("0123456789").rstrip("+-").lower()) if "+" in word or "-" in word else None
    return found


def severity_of_word(word: Any) -> Severity | None:
    """Return the severity that a word names; None for letters, numbers and anything else."""
    return SEVERITY_NAMES.get(word.lower()) if isinstance(word, str) and len(word) <= _LONGEST else None


def severity_of_level(level: Any) -> Severity | None:
    """Return the severity of a `level`: a name, or a number of pino and bunyan (10 to 60); None for anything else."""
    if isinstance(level, str):
        found = _SPELLED.get(level)
        if found is None:
            found = severity_of_name(level) or (severity_of_level(int(level)) if is_short_number(level) else None)
        return found
    return _BY_NODE_LEVEL[level] if type(level) is int and 0 <= level <= 100 else None


def severity_of_python_level(level: Any) -> Severity | None:
    """Return the severity of one of Python's level numbers (10 to 50); None for anything else."""
    return _at_least(number(level), _PYTHON_LEVELS, 1, 100)


def severity_of_otel_number(level: Any) -> Severity | None:
    """Return the severity of an OpenTelemetry severity number (1 to 24); None for anything else."""
    return _at_least(number(level), _OTEL_LEVELS, 1, 24)


def severity_of_syslog_number(level: Any) -> Severity | None:
    """Return the severity of a syslog number (0 to 7, as number or text); None for anything else."""
    level = number(level)
    return SYSLOG[level] if type(level) is int and 0 <= level <= 7 else None


def severity_of_google_number(level: Any) -> Severity | None:
    """Return the severity of a Google Cloud log severity number (100 to 800); None for anything else."""
    return _at_least(number(level), _GOOGLE_LEVELS, 100, 800)


def is_short_number(text: str) -> bool:
    """Return whether a text is a decimal number of at most four ASCII digits."""
    return len(text) <= 4 and text.isascii() and text.isdigit()


def number(value: Any) -> Any:
    """Return the number that a short text stands for; anything else unchanged."""
    return int(value) if isinstance(value, str) and is_short_number(value) else value


def _at_least(level: Any, levels: tuple[tuple[int, Severity], ...], least: int, most: int) -> Severity | None:
    if type(level) is not int or not least <= level <= most:
        return None
    for threshold, severity in levels:
        if level >= threshold:
            return severity
    return Severity.DEBUG


_BY_NODE_LEVEL: Final = [_at_least(level, _NODE_LEVELS, 10, 100) for level in range(101)]
