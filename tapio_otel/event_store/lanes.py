"""What lanes are: whose events, of which kind."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

from tapio_otel.event import Severity
from tapio_otel.event_store.record import restored
from tapio_otel.event_store.rows import select

_LANES: Final = (
    "SELECT lane.id, path, severity, source, kind.type FROM lane JOIN kind ON kind.id = lane.kind "
    "JOIN subject ON subject.id = lane.subject JOIN entity ON entity.id = subject.entity WHERE lane.id IN ({})"
)


class Lane(NamedTuple):
    """Be the events of one kind about one subject; `path` has the names of its lineage, the outermost first."""

    path: tuple[str, ...]
    severity: Severity
    source: str
    type: str


def described(database: sqlite3.Connection, lanes: Iterable[int]) -> dict[int, Lane]:
    """Return what lanes are, by their rows; equal paths are one object."""
    paths: dict[str, tuple[str, ...]] = {}
    found = {}
    for lane, path, severity, source, type in select(database, _LANES, list(lanes)):
        names = paths.get(path)
        if names is None:
            names = paths[path] = tuple(json.loads(path))
        found[lane] = Lane(names, Severity(severity), restored(source), restored(type))
    return found
