"""Write a store: events in transactions, the same event once, of a finding the last revision. Every call blocks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from operator import sub
from pathlib import Path
from typing import Final

from tapio_otel.event_store import tallies
from tapio_otel.event_store.interning import Interning
from tapio_otel.event_store.places import Places
from tapio_otel.event_store.record import Record
from tapio_otel.event_store.retention import Retention, RetentionLimits
from tapio_otel.event_store.rows import insert, select
from tapio_otel.event_store.schema import connect, transaction
from tapio_otel.event_store.words import Words

_EVENT: Final = "event (place, lane, shift)"
_BODY: Final = "body (place, id, origin, lag, title, description, own, trace, span, parent)"
_MENTION: Final = "mention (key, place)"
_KNOWN: Final = "SELECT id, place FROM body WHERE substr(id, -6) IN ({})"
_RESTING_WAL: Final = 8 * 1024 * 1024
_GROWN: Final = (
    "UPDATE {0} SET events = {0}.events + told.value FROM json_each(?) AS told WHERE {0}.id = CAST(told.key AS INTEGER)"
)


class EventStoreWriter:
    """Write to one file, for one thread. After an error the transaction never was; the writer may be used on."""

    def __init__(self, path: Path, limits: RetentionLimits, fsync: bool = False) -> None:
        """Open the file, making or upgrading it; raises sqlite3.Error, OSError or ForeignFile."""
        self.path = path
        self._database = connect(path, fsync)
        found = path.stat()
        self._inode = found.st_dev, found.st_ino
        self._interning = Interning(self._database)
        self._places = Places(self._database)
        self._words = Words(self._database, limits.max_events, limits.max_bytes)
        self._retention = Retention(self._database, self._interning, self._words, limits)

    @property
    def is_in_place(self) -> bool:
        """Tell whether the open file is the one that has its name: not if someone removed or replaced it meanwhile."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode

    @property
    def events(self) -> int:
        """Return how many events the store holds."""
        return self._retention.events

    def add(self, records: Sequence[Record]) -> int:
        """Write records in one transaction; returns how many of them were there already."""
        try:
            with transaction(self._database):
                fresh, replaced = self._fresh(records)
                if fresh:
                    self._insert(fresh, replaced)
        except BaseException:
            self._interning.forget()
            self._places.forget()
            self._words.forget()
            self._retention.recount()
            raise
        self._retention.events += len(fresh) - len(replaced)
        return len(records) - len(fresh)

    def tidy(self, now_ns: int) -> bool:
        """Take a step towards the limits; returns whether there is more to do."""
        return self._retention.step(now_ns)

    def _fresh(self, records: Sequence[Record]) -> tuple[list[Record], dict[str | bytes, int]]:
        """Return the records that are to be written, in the order of time, and the places of those that they replace."""
        last = {record.id: record for record in records}
        if len(last) < len(records):
            last = _latest(records)
        ends = [bytearray(id[-6:]) if isinstance(id, bytes) else id[-6:] for id in last]
        known = {id: place for id, place in select(self._database, _KNOWN, ends) if id in last}
        replaced: dict[str | bytes, int] = {}
        for id, place in known.items():
            if last[id].revision >= 0 and last[id].revision > self._revision(place):
                replaced[id] = place
            else:
                del last[id]
        return sorted(last.values(), key=_time), replaced

    def _revision(self, place: int) -> int:
        """Return the revision of a finding that is stored; higher than any where it is none."""
        row = self._database.execute(
            "SELECT body.own, kind.type FROM body JOIN event USING (place) JOIN lane ON lane.id = event.lane "
            "JOIN kind ON kind.id = lane.kind WHERE place = ?",
            (place,),
        ).fetchone()
        if row is None or row[1] != "correlation":
            return 1 << 62
        revision = json.loads(row[0] or "{}").get("revision", 0)
        return revision if isinstance(revision, int) else 0

    def _insert(self, records: list[Record], replaced: dict[str | bytes, int]) -> None:
        lanes, origins = self._interning.rows(records)
        columns = dict(zip(Record._fields, zip(*records, strict=True), strict=True))
        places = self._places.take(columns["timestamp"], [replaced.get(id) for id in columns["id"]] if replaced else ())
        if replaced:
            self._retention.remove(sorted(replaced.values()))
        shifts = map(sub, places, columns["timestamp"])
        insert(self._database, _EVENT, zip(places, lanes, shifts, strict=True))
        ids = [bytearray(id) if id.__class__ is bytes else id for id in columns["id"]]
        texts = [bytearray(text) if text.__class__ is bytes else text for text in columns["description"]]
        rest = (columns[name] for name in ("own", "trace", "span", "parent"))
        body = zip(places, ids, origins, columns["lag"], columns["title"], texts, *rest, strict=True)
        insert(self._database, _BODY, body)
        insert(
            self._database,
            _MENTION,
            sorted((key, place) for place, keys in zip(places, columns["keys"], strict=True) if keys for key in keys),
        )
        self._words.add(places, columns["words"])
        tallies.add(self._database, places, lanes)
        for table, numbers in (("lane", lanes), ("origin", origins)):
            self._database.execute(_GROWN.format(table), (json.dumps(Counter(numbers)),))

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except OSError:
            return 0

    def fold(self) -> None:
        """Move what is in the write-ahead log into the file, as far as no reader needs it."""
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def rest(self) -> None:
        """Fold a write-ahead log of some size while there is nothing to write."""
        if self.wal_bytes() > _RESTING_WAL:
            self.fold()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._database.close()


def _latest(records: Sequence[Record]) -> dict[str | bytes, Record]:
    """Return records by their ids: of several with the same the first, but of a finding's revisions the last."""
    found: dict[str | bytes, Record] = {}
    for record in records:
        before = found.get(record.id)
        if before is None or record.revision > before.revision:
            found[record.id] = record
    return found


def _time(record: Record) -> int:
    return record.timestamp
