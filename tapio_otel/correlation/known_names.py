"""Names that ship: the sources, and the types of event that receivers, the table of classes and the shipped patterns have.

A rule may name others, which a plugin or a user's pattern brings. Most names that are not among these are misspelt, though, and
a rule that asks for one never concludes: so they are worth a warning, and no error.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

from tapio_otel.correlation.classes import CLASSES
from tapio_otel.event import EventType, Source

_TYPE: Final = "event_type:"
_OTHER_TYPES: Final = ("journal_gap",)
"""What receivers tell beyond `EventType`."""


def known_sources() -> frozenset[str]:
    """Return the names of the built-in sources."""
    return _constants(Source)


@lru_cache(maxsize=1)
def known_types() -> frozenset[str]:
    """Return the types of event that anything that ships tells."""
    types = {*_constants(EventType), *_OTHER_TYPES, *(type for one in CLASSES.values() for type in one.types)}
    for file in (files("tapio_otel.config") / "patterns").iterdir():
        if file.name.endswith(".yaml"):
            lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
            types |= {line.removeprefix(_TYPE).strip() for line in lines if line.startswith(_TYPE)}
    return frozenset(types)


def _constants(names: type) -> frozenset[str]:
    return frozenset(value for name, value in vars(names).items() if name.isupper())
