"""Where in a JSON object that has others in it its known fields are, found out once for the keys of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from operator import call
from typing import Any, Final, NamedTuple

from tapio_otel.classifiers.fields import Reading, reading_of
from tapio_otel.classifiers.layout import KEPT, MOST_KEYS, Inner, Take, may_be_kept, taker
from tapio_otel.classifiers.names import OBJECTS
from tapio_otel.classifiers.naming import naming_of
from tapio_otel.entities.bounded import Bounded

Keys = tuple[str, ...]
Shape = tuple[Keys | None, ...]
"""The keys of an object, then those of each object in it that may have known names, None where there is a single value."""

ARE_SINGLE: Final = frozenset((str, int, float, bool, type(None))).issuperset
"""Whether values of these types have no others in them."""


class Nesting(NamedTuple):
    """Tell how to take the values that say something from an object and from those in it, and how to read them."""

    takes: tuple[Take, ...]
    reading: Reading


NESTINGS: Final[Bounded[Shape, Nesting]] = Bounded(KEPT)
"""The nestings seen of late."""


def read_nested(content: dict[str, Any], keys: Keys, inner: tuple[Inner, ...]) -> tuple[Reading, tuple[Any, ...]] | None:
    """Return what reads an object and those in it, and the values to read; None where a value to look at is a list or too deep.

    `keys` are the object's, `inner` those of them whose values may be objects with known names in them.
    """
    objects = [content]
    shape: list[Keys | None] = [keys]
    for key, keys_within in inner:
        value = content[key]
        if type(value) is not dict:
            if type(value) is list:
                return None
            shape.append(None)
            continue
        objects.append(value)
        shape.append(tuple(value))
        for key_within in keys_within:
            within = value.get(key_within)
            if type(within) is dict:
                objects.append(within)
                shape.append(tuple(within))
            else:
                shape.append(None)
    takes, reading = NESTINGS.get(tuple(shape)) or _made(tuple(shape), inner)
    values: tuple[Any, ...] = sum(map(call, takes, objects), ())
    return (reading, values) if ARE_SINGLE(map(type, values)) else None


def _made(shape: Shape, inner: tuple[Inner, ...]) -> Nesting:
    """Return a new nesting of a shape."""
    objects = dict(_objects(shape, inner))
    taken: dict[Keys, list[str]] = {path: [] for path in objects}
    names: dict[Keys, list[str]] = {path: [] for path in objects}
    known: set[str] = set()
    naming = naming_of(objects[()][:MOST_KEYS])
    for path, key, name in _fields((), "", objects, naming):
        # What is not to be read is taken too: where it is an object, its names are to be looked at one by one.
        stands_for = naming.get(name, "")
        names[path].append(stands_for if stands_for not in known else "")
        taken[path].append(key)
        known.add(stands_for)
    nesting = Nesting(tuple(map(taker, taken.values())), reading_of(tuple(chain.from_iterable(names.values()))))
    if may_be_kept([key for keys in shape for key in keys or ()]):
        NESTINGS.keep(shape, nesting)
    return nesting


def _objects(shape: Shape, inner: tuple[Inner, ...]) -> Iterator[tuple[Keys, Keys]]:
    """Yield path and keys of the objects of a shape, in their order there."""
    rest = iter(shape)
    keys = next(rest)
    yield (), keys or ()
    for key, keys_within in inner:
        keys = next(rest)
        if keys is not None:
            yield (key,), keys
            for key_within in keys_within:
                keys = next(rest)
                if keys is not None:
                    yield (key, key_within), keys


def _fields(
    path: Keys, prefix: str, objects: Mapping[Keys, Keys], naming: Mapping[str, str]
) -> Iterator[tuple[Keys, str, str]]:
    """Yield path, key and name of the fields to look at in an object and in those within, in the order of the text."""
    for key in objects[path][:MOST_KEYS]:
        name = f"{prefix}{key.lower()}"
        if (*path, key) in objects:
            yield from _fields((*path, key), f"{name}.", objects, naming)
        elif name in naming or name in OBJECTS:
            yield path, key, name
