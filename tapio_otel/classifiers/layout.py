"""Where in a structured body its known fields are, found out once for each sequence of keys.

Bodies that one place in a program writes have the same keys in the same order. A `Layout` takes the values of the known ones
from such a body in one step, whatever else it holds. Layouts of many or long keys are made anew each time rather than kept, so
that a writer of nothing but new keys costs time in proportion to them, and a few megabytes at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from tapio_otel.classifiers.fields import Reading, reading_of
from tapio_otel.classifiers.names import OBJECTS
from tapio_otel.classifiers.naming import naming_of
from tapio_otel.entities.bounded import Bounded

MOST_KEYS: Final = 256
"""Of how many keys of a body, or of an object in it, the first are looked at."""
KEPT: Final = 512
_MOST_KEPT_KEYS: Final = 64
_MOST_KEPT_CHARACTERS: Final = 2048
_INNER: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(sorted(other[len(name) + 1 :] for other in OBJECTS if other.rpartition(".")[0] == name)) for name in OBJECTS
}

Take = Callable[[Any], tuple[Any, ...]]
Inner = tuple[str, tuple[str, ...]]
"""A key whose value may be an object with known names in it, and keys of that whose values may be such objects."""


class Layout(NamedTuple):
    """Tell how to take and to read the values that say something."""

    take: Take
    reading: Reading
    inner: tuple[Inner, ...]


class Layouts:
    """Keep the layouts of the keys seen of late.

    `by_place` for bodies that are a sequence of values beside that of their keys. The first of equal names counts.
    """

    def __init__(self, by_place: bool = False) -> None:
        self._by_place = by_place
        self.kept: Bounded[tuple[str, ...], Layout] = Bounded(KEPT)
        self.get = self.kept.get
        """Return the layout of a body's keys, if it is kept."""

    def made(self, keys: tuple[str, ...]) -> Layout:
        """Return a new layout of a body's keys."""
        known: dict[str, Any] = {}
        inner: list[Inner] = []
        looked_at = keys[:MOST_KEYS]
        naming = naming_of(looked_at)
        for place, key in enumerate(looked_at):
            name = key.lower()
            if name in naming:
                known.setdefault(naming[name], place if self._by_place else key)
            if name in OBJECTS:
                inner.append((key, _INNER[name]))
        layout = Layout(taker(list(known.values())), reading_of(tuple(known)), tuple(inner))
        return self.kept.keep(keys, layout) if may_be_kept(keys) else layout


def may_be_kept(keys: Sequence[str]) -> bool:
    """Return whether keys are few and short enough to be kept."""
    return len(keys) <= _MOST_KEPT_KEYS and sum(map(len, keys)) <= _MOST_KEPT_CHARACTERS


def taker(places: Sequence[Any]) -> Take:
    """Return what takes the values at these places, always as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda body: ()  # noqa: ARG005
    place = places[0]
    return lambda body: (body[place],)
