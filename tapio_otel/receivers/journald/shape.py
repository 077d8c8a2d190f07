"""What the names of an entry's fields alone tell, prepared once: entries with the same names are taken apart the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from tapio_otel.receivers.journald.fields import NUMERIC, FieldSelection, attribute_key

Fields: TypeAlias = dict[str, Any]
"""A journal entry: field name to bytes, or to a list of bytes where the field is repeated."""
Entry: TypeAlias = tuple[Fields, str]
"""A journal entry and its cursor."""
Wanted: TypeAlias = tuple[tuple[int, str, str], ...]
"""Index in what a shape's `rest` takes, field name, attribute key: of each field that becomes an event's own attribute."""


class Shape:
    """Take entries with `count` fields of certain names apart.

    `names` are the fields of the origin, sorted; `pick` takes their values from an entry. `chosen` takes from these the ones
    that become attributes with the keys `keys`; `numeric` tells which keys are numbers, and where their values are. `rest`
    takes message, priority and the other fields from an entry, and `own` tells which of these become attributes.
    """

    __slots__ = ("chosen", "count", "keys", "names", "numeric", "own", "pick", "rest")

    def __init__(self, names: tuple[str, ...], selection: FieldSelection) -> None:
        static = sorted(filter(selection.of_origin, names))
        dynamic = [name for name in names if name not in static and name not in {"MESSAGE", "PRIORITY"}]
        selected = [name for name in static if selection.selects(name)]
        own = tuple((2 + index, name, attribute_key(name)) for index, name in enumerate(dynamic) if selection.selects(name))
        if "PRIORITY" in names and selection.selects("PRIORITY"):
            own = ((1, "PRIORITY", "PRIORITY"), *own)
        self.count = len(names)
        self.names = tuple(static)
        self.pick = _pick(static)
        self.rest = _rest("MESSAGE" in names, "PRIORITY" in names, dynamic)
        self.own: Wanted = own
        self.chosen = _pick([static.index(name) for name in selected])
        self.keys = tuple(map(attribute_key, selected))
        self.numeric = [(attribute_key(name), static.index(name)) for name in selected if name in NUMERIC]


def _pick(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the values at `keys` (an entry's names, or indexes) as a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return (lambda values: (values[keys[0]],)) if keys else (lambda _values: ())


def _rest(message: bool, priority: bool, names: list[str]) -> Callable[[Fields], tuple[Any, ...]]:
    """Return what takes message, priority and `names` from an entry, in that order; missing ones are empty."""
    if message and priority:
        return itemgetter("MESSAGE", "PRIORITY", *names)
    pick = _pick(names)

    def rest(fields: Fields) -> tuple[Any, ...]:
        return (fields["MESSAGE"] if message else b"", fields["PRIORITY"] if priority else b"", *pick(fields))

    return rest
