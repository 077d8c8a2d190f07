"""Patterns in a timeline: courses of events that have a name. Each is told once for each subject and stretch of time.

- restart loop: three restarts or more of one thing, no two further apart than ten minutes;
- flapping: four changes or more between failing and well, no two further apart than ten minutes;
- cascade: a failure that failures of two other things or more follow within thirty seconds;
- burst: ten events or more within ten seconds, at five times the rate of the whole timeline at least;
- periodic: one kind of event four times or more, the pauses between differing from their mean by a tenth at most;
- escalation: one thing's warning, then error, then worse, within ten minutes, without being well in between;
- recovery: something that failed is well again and does not fail any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from tapio_otel.correlation.lineage import Key
from tapio_otel.correlation.template import duration
from tapio_otel.event import EventType, Severity
from tapio_otel.timeline.impact import NEAR, Marked
from tapio_otel.timeline.meaning import has_name, is_restart
from tapio_otel.timeline.model import SECOND, Pattern

APART: Final = 600 * SECOND
LOOP: Final = 3
CHANGES: Final = 4
CASCADE: Final = 2
BURST: Final = 10
BURST_SPAN: Final = 10 * SECOND
BURST_FACTOR: Final = 5.0
PERIODS: Final = 4
JITTER: Final = 0.1
SAME: Final = 1 * SECOND
"""Restarts closer than this are tellings of one by several sources."""
RESTART_LOOP, FLAPPING, ESCALATION, PERIODIC = "restart_loop", "flapping", "escalation", "periodic"
CASCADES, BURSTS, RECOVERY = "cascade", "burst", "recovery"
KINDS: Final = (RESTART_LOOP, FLAPPING, CASCADES, BURSTS, PERIODIC, ESCALATION, RECOVERY)


def find_patterns(marked: Sequence[Marked]) -> list[Pattern]:
    """Return all patterns of events in the order of time, sorted by their first event."""
    own: defaultdict[Key, list[int]] = defaultdict(list)
    for index, one in enumerate(marked):
        if one.event.type != EventType.CORRELATION:
            own[one.subject].append(index)
    finders: tuple[Callable[[Sequence[Marked], list[int]], Iterable[Pattern]], ...]
    finders = (_restart_loops, _flapping, _periodic, _escalations, _recoveries)
    found = [pattern for places in own.values() for finder in finders for pattern in finder(marked, places)]
    found += [*_cascades(marked), *_bursts(marked)]
    return sorted(found, key=lambda pattern: (pattern.first, KINDS.index(pattern.kind), pattern.subject))


def _pattern(kind: str, marked: Sequence[Marked], places: Sequence[int], text: str, subject: str | None = None) -> Pattern:
    first, last = marked[places[0]].event.timestamp, marked[places[-1]].event.timestamp
    name = marked[places[0]].name if subject is None else subject
    return Pattern(kind, name, first, last, tuple(places), text.format(name=name, span=duration(last - first)))


def _runs(marked: Sequence[Marked], places: Iterable[int], apart: int) -> Iterator[list[int]]:
    """Split places where the pause is longer than `apart`."""
    run: list[int] = []
    for place in places:
        if run and marked[place].event.timestamp - marked[run[-1]].event.timestamp > apart:
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _restart_loops(marked: Sequence[Marked], places: list[int]) -> Iterator[Pattern]:
    restarts: list[int] = []
    for place in places:
        if is_restart(marked[place].event):
            before = marked[restarts[-1]].event if restarts else None
            if before is None or marked[place].event.timestamp - before.timestamp > SAME:
                restarts.append(place)
    for run in _runs(marked, restarts, APART):
        if len(run) >= LOOP:
            yield _pattern(RESTART_LOOP, marked, run, f"{{name}} was restarted {len(run)} times in {{span}}")


def _flapping(marked: Sequence[Marked], places: list[int]) -> Iterator[Pattern]:
    turns: list[int] = []
    for place in places:
        one = marked[place]
        if (one.is_failure or one.is_recovery) and (not turns or marked[turns[-1]].is_recovery != one.is_recovery):
            turns.append(place)
    for run in _runs(marked, turns, APART):
        if len(run) > CHANGES:
            text = f"{{name}} changed {len(run) - 1} times between failing and well in {{span}}"
            yield _pattern(FLAPPING, marked, run, text)


def _periodic(marked: Sequence[Marked], places: list[int]) -> Iterator[Pattern]:
    kinds: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place in places:
        event = marked[place].event
        if marked[place].is_notable:
            title = event.title if event.type == EventType.LOG else ""
            kinds[(event.source, event.type, title)].append(place)
    for (_, type, title), same in kinds.items():
        times = [marked[place].event.timestamp for place in same]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        mean = sum(pauses) / len(pauses) if pauses else 0.0
        if len(same) >= PERIODS and mean >= SECOND and all(abs(pause - mean) <= JITTER * mean for pause in pauses):
            shown = repr(title[:60]) if title else type
            text = f"{shown.replace('{', '{{').replace('}', '}}')} of {{name}} came {len(same)} times, every {duration(mean)}"
            yield _pattern(PERIODIC, marked, same, text)


def _escalations(marked: Sequence[Marked], places: list[int]) -> Iterator[Pattern]:
    steps: list[int] = []
    for place in places:
        one = marked[place]
        late = bool(steps) and one.event.timestamp - marked[steps[0]].event.timestamp > APART
        if one.is_recovery or late:
            yield from _escalation(marked, steps)
            steps = []
        severity = one.event.severity
        if severity >= Severity.WARNING and (
            severity > marked[steps[-1]].event.severity if steps else severity == Severity.WARNING
        ):
            steps.append(place)
    yield from _escalation(marked, steps)


def _escalation(marked: Sequence[Marked], steps: Sequence[int]) -> Iterator[Pattern]:
    if len(steps) >= LOOP:
        words = ", then ".join(marked[place].event.severity.keyword for place in steps)
        yield _pattern(ESCALATION, marked, steps, f"{{name}} went from bad to worse in {{span}}: {words}")


def _recoveries(marked: Sequence[Marked], places: list[int]) -> Iterator[Pattern]:
    failed = well = None
    for place in places:
        one = marked[place]
        if one.is_failure:
            if failed is None or well is not None:
                failed = place
            well = None
        elif one.is_recovery and failed is not None and well is None:
            well = place
    if failed is not None and well is not None:
        yield _pattern(RECOVERY, marked, (failed, well), "{name} was well again after {span}")


def _cascades(marked: Sequence[Marked]) -> Iterator[Pattern]:
    places = [place for place, one in enumerate(marked) if one.is_failure and has_name(one.subject)]
    for run in _runs(marked, places, NEAR):
        first = {marked[place].subject: place for place in reversed(run)}
        spread = sorted(first.values())
        if len(spread) > CASCADE:
            names = ", ".join(marked[place].name for place in spread[1:6])
            more = f" and {len(spread) - 6} more" if len(spread) > 6 else ""
            braced = (names + more).replace("{", "{{").replace("}", "}}")
            yield _pattern(CASCADES, marked, spread, f"after {{name}} failed, so did in {{span}}: {braced}")


def _bursts(marked: Sequence[Marked]) -> Iterator[Pattern]:
    times = [one.event.timestamp for one in marked]
    total = times[-1] - times[0] if times else 0
    if total <= BURST_SPAN:
        return
    least = max(BURST, BURST_FACTOR * len(times) * BURST_SPAN / total)
    start, run = 0, [0, -1]
    for end, time in enumerate(times):
        while time - times[start] > BURST_SPAN:
            start += 1
        if end - start + 1 >= least:
            if run[1] >= run[0] and start > run[1]:
                yield _burst(marked, range(run[0], run[1] + 1))
                run = [start, end]
            run = [run[0] if run[1] >= run[0] else start, end]
    if run[1] >= run[0]:
        yield _burst(marked, range(run[0], run[1] + 1))


def _burst(marked: Sequence[Marked], places: Sequence[int]) -> Pattern:
    subjects = {marked[place].subject for place in places}
    about = marked[places[0]].name if len(subjects) == 1 else f"{len(subjects)} entities"
    return _pattern(BURSTS, marked, places, f"{len(places)} events about {{name}} within {{span}}", about)
