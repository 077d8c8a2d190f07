"""What may belong to an entity: found by the lineage keys of subjects, without looking at what has nothing to do with it.

The same as `tapio_otel.timeline.index` finds in memory: events that bear one of the entity's names or failed to reach it,
notable events about what it belongs to and of traces that it takes part in, and findings.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from tapio_otel.correlation.lineage import Key, keys_of
from tapio_otel.event import EventType, Severity
from tapio_otel.event_store.decoding import Decoder
from tapio_otel.event_store.lineage_keys import digest, focus_keys
from tapio_otel.event_store.rows import select
from tapio_otel.event_store.selection import Selection, lanes_where
from tapio_otel.timeline.focus import Focus

MOST_SAMPLES: Final = 5_000
"""Subjects of which an event is looked at for further names of the entity; those with the latest events."""
MOST_TRACES: Final = 1_000
_NOTABLE: Final = f"NOT (kind.type = '{EventType.LOG}' AND kind.severity < {int(Severity.WARNING)})"
_SUBJECTS: Final = "subject.id IN (SELECT subject FROM lineage WHERE key IN (SELECT value FROM json_each(?)))"
_FINDINGS: Final = f"kind.type = '{EventType.CORRELATION}'"
_TRACED: Final = (
    "SELECT body.place FROM body JOIN event USING (place) JOIN lane ON lane.id = event.lane "  # noqa: S608 - our own words
    f"JOIN kind ON kind.id = lane.kind WHERE {_NOTABLE}"
)
_NEWEST: Final = (
    "SELECT subject, max((SELECT max(place) FROM event WHERE event.lane = lane.id AND place BETWEEN ? AND ?)) AS newest "
    "FROM lane WHERE events > 0 AND subject IN (SELECT subject FROM lineage WHERE key IN (SELECT value FROM json_each(?))) "
    "GROUP BY subject HAVING newest IS NOT NULL ORDER BY newest DESC LIMIT ?"
)
Form = tuple[Any, ...]


class Related:
    """Look for what belongs to one focus, within a window."""

    def __init__(self, database: sqlite3.Connection, decoder: Decoder, focus: Focus, window: Selection) -> None:
        self._database, self._decoder, self._focus, self._window = database, decoder, focus, window

    def places(self, limit: int) -> list[int]:
        """Return places in the order of time, `limit` at most: of too many the notable ones, and then the latest."""
        direct, about = self._names()
        lanes = dict(self._lanes(direct))
        notable = dict(self._lanes(direct, _NOTABLE))
        plain = {lane: events for lane, events in lanes.items() if lane not in notable}
        notable |= dict(self._lanes(about, _NOTABLE))
        notable |= dict(lanes_where(self._database, _FINDINGS, ()))
        found = set(self._window.among(list(notable.items())).places(self._database, limit))
        if len(found) < limit and plain:
            found.update(self._window.among(list(plain.items())).places(self._database, limit - len(found)))
        if len(found) < limit:
            found.update(self._traced(found, limit))
        return sorted(found)[-limit:]

    def _names(self) -> tuple[list[Form], list[Form]]:
        """Return under which keys events about the focus are found, and those about what it belongs to."""
        focus = self._focus
        forms = focus_keys(focus)
        low, high = self._window.span
        wanted = (low, high, _digests(forms), MOST_SAMPLES)
        samples = [place for _, place in self._database.execute(_NEWEST, wanted)]
        names: dict[Form, None] = dict.fromkeys((*forms, *focus.keys))
        above: dict[Key, None] = {}
        for event in self._decoder.events(self._database, samples):
            keys = keys_of(event)
            names.update(dict.fromkeys(key for key in keys if focus.names(key)))
            names.update(dict.fromkeys(focus.aliases(keys)))
            above.update(dict.fromkeys(focus.ancestors(keys)))
        return [*names, *(("to", key) for key in names)], [("about", key) for key in above]

    def _lanes(self, forms: Iterable[Form], condition: str = "1") -> list[tuple[int, int]]:
        return lanes_where(self._database, f"{_SUBJECTS} AND {condition}", (_digests(forms),))

    def _traced(self, found: set[int], limit: int) -> list[int]:
        """Return notable events of the traces that events found take part in."""
        rows = select(self._database, "SELECT DISTINCT trace FROM body WHERE trace NOT NULL AND place IN ({})", sorted(found))
        traces = list({trace for (trace,) in rows})[:MOST_TRACES]
        low, high = self._window.span
        places = select(
            self._database,
            f"{_TRACED} AND place BETWEEN {low} AND {high} AND body.trace IN ({{}})",
            traces,
        )
        return sorted({place for (place,) in places} - found)[-(limit - len(found)) :]


def _digests(forms: Iterable[Form]) -> str:
    return json.dumps(list(map(digest, forms)))
