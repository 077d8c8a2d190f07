"""What many events have in common, stored once: kinds, entities, subjects, lanes and origins, found again by their numbers.

All that is new in a transaction is looked up and added together, as a storm of short-lived processes makes much of it.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference
from tapio_otel.event_store.lineage_keys import digest, subject_keys
from tapio_otel.event_store.record import Record, Shared, storable
from tapio_otel.event_store.rows import insert, select, total

_KEPT: Final = 16_384
Kind = tuple[str, str, int]


class Interning:
    """Give numbers to what events have in common, in the transaction at hand; `forget` after one that failed."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._epoch = object()
        self._kinds: dict[Kind, int] = {}
        self._entities: Bounded[int, tuple[EntityReference, int]] = Bounded(_KEPT)

    def forget(self) -> None:
        """Look every number up again when it is next needed."""
        self._epoch = object()
        self._kinds.clear()
        self._entities.clear()

    def rows(self, records: Sequence[Record]) -> tuple[list[int], list[int]]:
        """Return the rows of the lanes and of the origins that records belong to, making those that are new."""
        epoch = self._epoch
        fresh = list({id(one.shared): one.shared for one in records if one.shared.epoch is not epoch}.values())
        if fresh:
            self._add_origins(fresh)
            self._add_subjects(fresh)
            for one in fresh:
                one.epoch = epoch
        lanes = [one.shared.lanes.get(one.kind, 0) for one in records]
        if 0 in lanes:
            self._add_lanes([one for one, lane in zip(records, lanes, strict=True) if not lane])
            lanes = [one.shared.lanes[one.kind] for one in records]
        return lanes, [one.shared.row for one in records]

    def _add_origins(self, origins: Sequence[Shared]) -> None:
        marks = [digest(one.content) for one in origins]
        rows = self._known("SELECT digest, id FROM origin WHERE digest IN ({})", marks)
        following = self._following("origin")
        added: list[tuple[int, int, int, bytes]] = []
        for mark, one in zip(marks, origins, strict=True):
            if mark not in rows:
                rows[mark] = following + len(added)
                added.append((rows[mark], mark, 0, one.content))
            one.row = rows[mark]
        insert(self._database, "origin (id, digest, events, content)", added)

    def _add_subjects(self, origins: Sequence[Shared]) -> None:
        keys = [subject_keys(one.keys) for one in origins]
        entities = [self._entity(one.entity) for one in origins]
        packed = [struct.pack(f"<{len(mine)}q", *mine) for mine in keys]
        marks = [digest(struct.pack("<q", entity) + mine) for entity, mine in zip(entities, packed, strict=True)]
        rows = self._known("SELECT digest, id FROM subject WHERE digest IN ({})", marks)
        following = self._following("subject")
        added: list[tuple[int, int, int, bytes]] = []
        lineage: list[tuple[int, int]] = []
        for number, (mark, one) in enumerate(zip(marks, origins, strict=True)):
            if mark not in rows:
                row = rows[mark] = following + len(added)
                added.append((row, mark, entities[number], packed[number]))
                lineage += [(key, row) for key in keys[number]]
            one.subject, one.lanes = rows[mark], {}
        insert(self._database, "subject (id, digest, entity, keys)", added)
        insert(self._database, "lineage (key, subject)", sorted(lineage))

    def _add_lanes(self, records: Sequence[Record]) -> None:
        wanted = {(one.shared.subject, self._kind(one.kind)) for one in records}
        subjects = list({subject for subject, _ in wanted})
        rows: dict[tuple[int, int], int] = {}
        for subject, kind, row in select(self._database, "SELECT subject, kind, id FROM lane WHERE subject IN ({})", subjects):
            rows[subject, kind] = row
        missing = sorted(wanted - rows.keys())
        rows.update(zip(missing, range(self._following("lane"), 1 << 62), strict=False))
        insert(self._database, "lane (id, subject, kind, events)", [(rows[pair], *pair, 0) for pair in missing])
        for one in records:
            one.shared.lanes[one.kind] = rows[one.shared.subject, self._kinds[one.kind]]

    def _kind(self, kind: Kind) -> int:
        known = self._kinds.get(kind)
        if known is None:
            columns = storable(kind[0]), storable(kind[1]), kind[2]
            row = total(self._database, "SELECT id FROM kind WHERE source = ? AND type = ? AND severity = ?", columns)
            known = self._kinds[kind] = row or self._added(
                "INSERT INTO kind (source, type, severity) VALUES (?, ?, ?)", columns
            )
        return known

    def _entity(self, entity: EntityReference) -> int:
        known = self._entities.get(id(entity))
        if known is not None and known[0] is entity:
            return known[1]
        columns = path_of(entity), storable(entity.uid)
        row = total(self._database, "SELECT id FROM entity WHERE path = ? AND uid = ?", columns) or self._added(
            "INSERT INTO entity (path, uid, type, namespace, name, folded) VALUES (?, ?, ?, ?, ?, ?)",
            (*columns, *map(storable, (entity.type, entity.namespace, entity.name)), folded(reference(entity))),
        )
        return self._entities.keep(id(entity), (entity, row))[1]

    def _known(self, query: str, marks: Iterable[int]) -> dict[int, int]:
        return dict(select(self._database, query, list(dict.fromkeys(marks))))

    def _following(self, table: str) -> int:
        return total(self._database, f"SELECT max(id) FROM {table}") + 1  # noqa: S608 - our own words

    def _added(self, statement: str, columns: Sequence[object]) -> int:
        row = self._database.execute(statement, columns).lastrowid
        assert row is not None
        return row


def path_of(entity: EntityReference) -> str:
    """Return the names of an entity's lineage, the outermost first, as JSON."""
    return json.dumps([reference(one) for one in reversed(entity.lineage())])


def reference(entity: EntityReference) -> str:
    """Return how an entity is written: `pod/prod/web-0`, `node/n1`."""
    return "/".join(filter(None, (entity.type, entity.namespace, entity.name)))


def folded(text: str) -> str:
    """Return a text for searching whatever the case."""
    return text.casefold().encode("utf-8", "replace").decode()
