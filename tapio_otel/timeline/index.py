"""An index of events by what they are about: for timelines over a live stream or over many stored events.

Events are kept as compressed blocks of JSON, each of one subject, so that a query unpacks little besides what it is for. For
each key there are the numbers of its events. At most `max_events` are kept, in two generations: when the younger one is
half of that, the older is forgotten as a whole.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tapio_otel.correlation.lineage import Key, keys_of, targets_of
from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType, Severity, UnifiedEvent
from tapio_otel.event_json import EventFormatError, from_json, to_json
from tapio_otel.otlp.members import without_members
from tapio_otel.timeline.focus import Focus
from tapio_otel.timeline.meaning import is_notable, subject_of
from tapio_otel.timeline.model import Timeline
from tapio_otel.timeline.reconstruct import TimelineReconstructor, as_focus

BLOCK: Final = 64
MOST_LOOSE: Final = 32_768
"""Events that are not in a block yet, at most, before all become blocks."""
_FINDINGS: Final[Key] = ("findings",)
_WIDE: Final = frozenset(("namespace", "node", "service", "owner"))


class EventIndex:
    """Keep the last events, and reconstruct timelines of any entity from them. For one thread."""

    def __init__(self, max_events: int = 1_000_000) -> None:
        self._half = max(max_events // 2, 1)
        self._young, self._old = _Generation(), _Generation()
        self.refused = 0
        """Events that JSON cannot hold, and that are not kept."""

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, events: Iterable[UnifiedEvent]) -> None:
        """Take events, in any order."""
        for event in map(without_members, events):
            try:
                text = to_json(event)
            except EventFormatError:
                self.refused += 1
                continue
            if len(self._young) >= self._half:
                self._old, self._young = self._young, _Generation()
            self._young.add(event, text)

    @property
    def latest_ns(self) -> int:
        """Return the time of the latest event; 0 where there is none."""
        return max(self._young.latest, self._old.latest)

    def timeline(
        self,
        focus: Focus | EntityReference | str,
        start: int | None = None,
        end: int | None = None,
        reconstructor: TimelineReconstructor | None = None,
    ) -> Timeline:
        """Return what happened to an entity from `start` to `end` in nanoseconds; raises `FocusError`."""
        aim = as_focus(focus)
        until = self.latest_ns if end is None else end
        return (reconstructor or TimelineReconstructor()).reconstruct(self.related(aim, start, until), aim, start, until)

    def related(self, focus: Focus, start: int | None, end: int) -> Iterator[UnifiedEvent]:
        """Yield what may belong to a focus: what bears one of its names or failed to reach it, what it belongs to, findings."""
        since = -(1 << 62) if start is None else start
        generations = (self._old, self._young)
        names = {key for one in generations for key in one.named(focus)}
        seen: list[set[int]] = []
        further: set[Key] = set()
        traces: set[str] = set()
        for one in generations:
            places = one.within(names, since, end)
            seen.append(places)
            for event in one.events(places):
                keys = keys_of(event)
                further.update(focus.aliases(keys))
                further.update(("about", key) for key in focus.ancestors(keys))
                traces.add(event.trace_id)
                yield event
        wanted = further - names | {("to", key) for key in names | further} | {("trace", one) for one in traces if one}
        for one, places in zip(generations, seen, strict=True):
            yield from one.events(one.within({*wanted, _FINDINGS}, since, end) - places)


class _Generation:
    """Hold events, numbered from 0: where each one is, when it was, and which bear a key."""

    def __init__(self) -> None:
        self.latest = 0
        self._times = array("q")
        self._blocks = array("i")
        self._places = array("H")
        self._sealed: list[bytes] = []
        self._loose: dict[Key, list[tuple[int, bytes]]] = {}
        self._loose_texts: dict[int, bytes] = {}
        self._by_key: dict[str, dict[Key, array[int]]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, event: UnifiedEvent, text: bytes) -> None:
        number = len(self._times)
        self._times.append(event.timestamp)
        self._blocks.append(-1)
        self._places.append(0)
        self.latest = max(self.latest, event.timestamp)
        for key in _index_keys(event):
            self._numbers(key).append(number)
        subject = subject_of(event)
        loose = self._loose.setdefault(subject, [])
        loose.append((number, text))
        self._loose_texts[number] = text
        if len(loose) >= BLOCK:
            self._seal(self._loose.pop(subject))
        elif len(self._loose_texts) >= MOST_LOOSE:
            self._seal_all()

    def _numbers(self, key: Key) -> array[int]:
        keys = self._by_key.setdefault(key[0], {})
        numbers = keys.get(key)
        if numbers is None:
            numbers = keys[key] = array("I")
        return numbers

    def _seal_all(self) -> None:
        """Make blocks of all that is loose, of several subjects each where one has little."""
        rest = [one for subject in sorted(self._loose, key=repr) for one in self._loose[subject]]
        self._loose.clear()
        for start in range(0, len(rest), BLOCK):
            self._seal(rest[start : start + BLOCK])

    def _seal(self, content: Sequence[tuple[int, bytes]]) -> None:
        for place, (number, _) in enumerate(content):
            self._blocks[number], self._places[number] = len(self._sealed), place
            del self._loose_texts[number]
        self._sealed.append(zlib.compress(b"\n".join(text for _, text in content), 1))

    def named(self, focus: Focus) -> list[Key]:
        """Return the keys that name a focus, as they stand in events."""
        if not focus.any_host:
            return list(focus.keys)
        return [key for key in self._by_key.get(focus.keys[0][0], ()) if focus.names(key)]

    def within(self, keys: Iterable[Key], since: int, until: int) -> set[int]:
        """Return the numbers of events that bear one of the keys, from a time to another."""
        times = self._times
        found: set[int] = set()
        for key in keys:
            numbers = self._by_key.get(key[0], {}).get(key, ())
            found.update(number for number in numbers if since <= times[number] <= until)
        return found

    def events(self, numbers: Iterable[int]) -> Iterator[UnifiedEvent]:
        """Yield events by their numbers, each block unpacked once."""
        by_block: dict[int, list[int]] = {}
        for number in sorted(numbers):
            by_block.setdefault(self._blocks[number], []).append(number)
        for block, members in by_block.items():
            if block < 0:
                yield from (from_json(self._loose_texts[number]) for number in members)
                continue
            texts = zlib.decompress(self._sealed[block]).split(b"\n")
            yield from (from_json(texts[self._places[number]]) for number in members)


def _index_keys(event: UnifiedEvent) -> Iterator[Key]:
    """Yield what an event is found by: its keys, what it failed to reach, its trace, what it itself is about."""
    if event.type == EventType.CORRELATION:
        yield _FINDINGS
    keys = keys_of(event)
    yield from keys
    for target in targets_of(event):
        yield ("to", target)
    if event.trace_id and is_notable(event):
        yield ("trace", event.trace_id)
    if event.type != EventType.LOG or event.severity >= Severity.WARNING:
        own = next((key for key in keys if key[0] != "namespace"), None)
        if own is not None and own[0] in _WIDE:
            yield ("about", own)
