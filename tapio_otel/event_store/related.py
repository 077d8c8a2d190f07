"""What may belong to an entity: found by lineage keys, without looking at what has nothing to do with it.

The same as `tapio_otel.timeline.index` finds in memory: events that bear one of the entity's names or failed to reach it,
notable events about what it belongs to and of traces that it takes part in, and findings. Further names are learnt from the
events that bear the first.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from tapio_otel.correlation.lineage import Key, keys_of
from tapio_otel.event import EventType, Severity, UnifiedEvent
from tapio_otel.event_store.decoding import Decoder
from tapio_otel.event_store.lineage_keys import Form, digest, focus_forms
from tapio_otel.event_store.rows import select
from tapio_otel.event_store.selection import Selection, lanes_where
from tapio_otel.timeline.focus import Focus
from tapio_otel.timeline.meaning import is_notable

MOST_TRACES: Final = 1_000
MOST_LEARNT: Final = 2_000
"""Events of which further names of the focus are learnt: the latest, the notable ones first."""
MOST_FINDINGS: Final = 1_000
"""Findings that are looked at: the latest of the window."""
MOST_BYTES: Final = 48 * 1024**2
"""Bytes of events that are looked at."""
_NOTABLE: Final = f"NOT (kind.type = '{EventType.LOG}' AND kind.severity < {int(Severity.WARNING)})"
_SUBJECTS: Final = "subject.id IN (SELECT subject FROM lineage WHERE key IN (SELECT value FROM json_each(?)))"
_FINDINGS: Final = f"kind.type = '{EventType.CORRELATION}'"
_KINDS: Final = "event JOIN lane ON lane.id = event.lane JOIN kind ON kind.id = lane.kind"
_MENTIONED: Final = (
    f"SELECT event.place FROM mention CROSS JOIN {_KINDS} WHERE event.place = mention.place AND mention.key IN "  # noqa: S608
    "(SELECT value FROM json_each(?)) AND mention.place BETWEEN ? AND ? AND {} ORDER BY mention.place DESC LIMIT ?"
)
_TRACED: Final = f"SELECT body.place FROM body CROSS JOIN {_KINDS} WHERE event.place = body.place AND {_NOTABLE}"  # noqa: S608


class Related:
    """Look for what belongs to one focus, within a window."""

    def __init__(self, database: sqlite3.Connection, decoder: Decoder, focus: Focus, window: Selection) -> None:
        self._database, self._decoder, self._focus, self._window = database, decoder, focus, window
        self._found: dict[int, UnifiedEvent] = {}
        self._room = MOST_BYTES

    def events(self, limit: int) -> list[UnifiedEvent]:
        """Return events in the order of time, `limit` at most: of too many the notable ones, and then the latest."""
        forms = list(focus_forms(self._focus))
        direct = self._places(forms, limit)
        self._take(direct[:MOST_LEARNT])
        names, above = self._learnt()
        further = [name for name in names if name not in forms]
        self._take(direct)
        self._take(self._places([*further, *(("to", one) for one in (*forms, *names))], limit - len(direct)))
        self._take(self._places([("about", one) for one in above], limit - len(self._found), only_notable=True))
        findings = lanes_where(self._database, _FINDINGS, ())
        self._take(self._window.among(findings).places(self._database, MOST_FINDINGS))
        self._take(self._traced(names))
        return self._fitting(limit)

    def _take(self, places: Iterable[int]) -> None:
        """Read events, the first of them first where there is no room for all."""
        fresh = [place for place in dict.fromkeys(places) if place not in self._found]
        events, count, used = self._decoder.some(self._database, fresh, self._room)
        self._room -= used
        self._found.update(zip(fresh[:count], events, strict=True))

    def _places(self, forms: Sequence[Form], limit: int, only_notable: bool = False) -> list[int]:
        """Return where events are that are found under forms of keys, the notable ones first, of these the latest."""
        if not forms or limit <= 0:
            return []
        keys = json.dumps(list(map(digest, forms)))
        found: list[int] = []
        for condition in (_NOTABLE,) if only_notable else (_NOTABLE, f"NOT {_NOTABLE}"):
            left = limit - len(found)
            lanes = lanes_where(self._database, f"{_SUBJECTS} AND {condition}", (keys,))
            both = set(self._window.among(lanes).places(self._database, left))
            rows = self._database.execute(_MENTIONED.format(condition), (keys, *self._window.span, left + len(self._found)))
            both.update(place for (place,) in rows)
            found += sorted(both - self._found.keys(), reverse=True)[:left]
        return found

    def _learnt(self) -> tuple[dict[Key, None], dict[Key, None]]:
        """Return further names of the focus, and what it belongs to."""
        focus = self._focus
        names: dict[Key, None] = dict.fromkeys(focus.keys)
        above: dict[Key, None] = {}
        last: tuple[Key, ...] = ()
        for event in self._found.values():
            keys = keys_of(event)
            if keys is not last and any(map(focus.names, keys)):
                names.update(dict.fromkeys(key for key in keys if focus.names(key)))
                names.update(dict.fromkeys(focus.aliases(keys)))
                above.update(dict.fromkeys(focus.ancestors(keys)))
            last = keys
        return names, above

    def _traced(self, names: dict[Key, None]) -> list[int]:
        """Return where notable events are of the traces that the focus takes part in."""
        direct = (one for one in self._found.values() if one.trace_id and not names.keys().isdisjoint(keys_of(one)))
        traces = list(dict.fromkeys(bytes.fromhex(one.trace_id) for one in direct))[-MOST_TRACES:]
        low, high = self._window.span
        query = f"{_TRACED} AND body.place BETWEEN {low} AND {high} AND body.trace > 0 AND body.trace IN ({{}})"
        return [place for (place,) in select(self._database, query, traces)]

    def _fitting(self, limit: int) -> list[UnifiedEvent]:
        window = self._window
        places = [place for place in sorted(self._found) if window.since <= self._found[place].timestamp <= window.until]
        if len(places) > limit:
            places = sorted(sorted(places, key=lambda one: (is_notable(self._found[one]), one), reverse=True)[:limit])
        return sorted((self._found[place] for place in places), key=_time)


def _time(event: UnifiedEvent) -> int:
    return event.timestamp
