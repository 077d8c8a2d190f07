"""What a key stands for beside the other keys of its body.

Most known names stand for themselves in any body. `name`, `category` and `priority` are as often the writer's own, so what they
say depends on who wrote the body, which the keys beside them tell. zap's console names are single letters, which mean nothing
but together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tapio_otel.classifiers.names import JOURNAL_PRIORITY, KNOWN, PRIORITY

_OF_PYTHON: Final = ("levelname", "levelno", "lineno", "funcname", "asctime")
_ONLY_BESIDE: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    # pino and bunyan write both; what renders Python's records keeps its names of other attributes.
    "name": (frozenset(("pid", "hostname")), *(frozenset((name,)) for name in _OF_PYTHON)),
    "category": (frozenset(("loglevel",)), frozenset(("eventid",))),  # .NET's console
}
"""Names that count only beside all of one of these sets."""
_OF_JOURNAL: Final = frozenset(
    ("syslog_identifier", "syslog_facility", "_systemd_unit", "systemd_unit", "_transport", "_boot_id", "boot_id")
)
"""Fields of journal entries, of which there are some in whatever passes entries on, with or without capitals."""
_JOURNAL_EXPORT: Final = frozenset(("PRIORITY", "MESSAGE"))
_ZAP_CONSOLE: Final = frozenset(("L", "M"))
_OF_ZAP_CONSOLE: Final = {"l": "level", "t": "time", "n": "logger", "c": "caller", "m": "msg", "s": "stacktrace"}
_DEPENDING: Final = frozenset((*_ONLY_BESIDE, PRIORITY, "l"))


def naming_of(keys: Iterable[str]) -> Mapping[str, str]:
    """Return the known names by what a body with these keys calls them, in lower case."""
    written = frozenset(keys)
    lower = frozenset(map(str.lower, written))
    if _DEPENDING.isdisjoint(lower):
        return KNOWN
    naming = dict(KNOWN)
    for name, beside in _ONLY_BESIDE.items():
        if not any(map(lower.issuperset, beside)):
            del naming[name]
    if written.issuperset(_JOURNAL_EXPORT) or not _OF_JOURNAL.isdisjoint(lower):
        naming[PRIORITY] = JOURNAL_PRIORITY
    if written.issuperset(_ZAP_CONSOLE):
        naming |= _OF_ZAP_CONSOLE
    return naming
