"""Entries on their way out of the reading process: what a process writes with each of its entries is sent once.

Three quarters of an entry's fields (user, unit, command line, host…) are the same in all that one process writes. They are sent
with its first entry, and from then on only the others are: that costs a third of sending entries whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Final, TypeAlias

from tapio_otel.receivers.journald.shape import Entry, Fields

Packed: TypeAlias = tuple[int, str, Any]
"""Number of a template, cursor, then all fields where they become that template, else the values that differ from it."""

MAX_TEMPLATES: Final = 1024
NO_TEMPLATE: Final = -1
MAX_FIELDS: Final = 64
MAX_BYTES: Final = 8192
"""How many fields an entry may have to become a template, and how long these may be that are the same each time."""
_CONSTANT: Final = frozenset(("SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "SYSLOG_PID"))
_VARIABLE: Final = frozenset(("_SOURCE_REALTIME_TIMESTAMP", "_SOURCE_MONOTONIC_TIMESTAMP", "_SOURCE_BOOTTIME_TIMESTAMP"))


class Template:
    """Hold what entries of one process have in common: `names` are the fields that differ each time."""

    __slots__ = ("_constant", "_count", "_values", "number", "rest")

    def __init__(self, number: int, fields: Fields) -> None:
        constant = [name for name in fields if _is_constant(name)]
        self.number = number
        self.rest = _picker([name for name in fields if not _is_constant(name)])
        self._count = len(fields)
        self._constant = _picker(constant)
        self._values = self._constant(fields)

    def fits(self, fields: Fields) -> bool:
        """Tell whether an entry has the same in common; raises KeyError where it has other fields."""
        return len(fields) == self._count and self._constant(fields) == self._values


class Packer:
    """Pack entries for one `Unpacker`."""

    def __init__(self) -> None:
        self._last: dict[Any, Template] = {}
        self._known: dict[Any, Template] = {}

    def pack(self, entries: Iterable[Entry]) -> list[Packed]:
        """Return the packed form of entries."""
        packed: list[Packed] = []
        append, last = packed.append, self._last.get
        for fields, cursor in entries:
            try:
                template = last(fields.get("_PID"))
                if template is not None and template.fits(fields):
                    append((template.number, cursor, template.rest(fields)))
                    continue
            except KeyError:  # other fields than this process had last
                pass
            except TypeError:  # several values of _PID
                append((NO_TEMPLATE, cursor, fields))
                continue
            append(self._pack_other(fields, cursor))
        return packed

    def _pack_other(self, fields: Fields, cursor: str) -> Packed:
        """Pack an entry that looks different from the last one of its process."""
        pid = fields.get("_PID")
        key = pid, *fields
        known = self._known.get(key)
        if known is not None and known.fits(fields):
            self._last[pid] = known
            return known.number, cursor, known.rest(fields)
        if len(fields) > MAX_FIELDS or sum(len(fields[name]) for name in fields if _is_constant(name)) > MAX_BYTES:
            return NO_TEMPLATE, cursor, fields
        if known is None and len(self._known) >= MAX_TEMPLATES:
            self._known.clear()
            self._last.clear()
        number = len(self._known) if known is None else known.number
        self._last[pid] = self._known[key] = Template(number, fields)
        return number, cursor, fields


class Unpacker:
    """Unpack what one `Packer` packed, all of it and in order."""

    def __init__(self) -> None:
        self._templates: dict[int, tuple[Fields, list[str]]] = {}

    def unpack(self, packed: Iterable[Packed]) -> list[Entry]:
        """Return the entries."""
        entries: list[Entry] = []
        append, templates = entries.append, self._templates
        for number, cursor, rest in packed:
            if rest.__class__ is dict:
                if number != NO_TEMPLATE:
                    names = [name for name in rest if not _is_constant(name)]
                    templates[number] = {**rest, **dict.fromkeys(names)}, names
                append((rest, cursor))
            else:
                whole, names = templates[number]
                fields = whole.copy()
                fields.update(zip(names, rest, strict=True))
                append((fields, cursor))
        return entries


def _is_constant(name: str) -> bool:
    return name in _CONSTANT or (name[:1] == "_" and name not in _VARIABLE)


def _picker(names: list[str]) -> Callable[[Fields], tuple[Any, ...]]:
    """Return what takes the values of fields from an entry as a tuple; raises KeyError where one is not there."""
    if len(names) > 1:
        return itemgetter(*names)
    return (lambda fields: (fields[names[0]],)) if names else (lambda _fields: ())
