"""Telling: when a group becomes a finding, when it is told again, and which of several findings about the same is told."""

from __future__ import annotations

import logging
from heapq import heapify, heappush
from typing import Final

from tapio_otel.component import CounterSink
from tapio_otel.correlation.asking import conclusion_of
from tapio_otel.correlation.finding import CLOSED, OPEN, finding_id, make_finding
from tapio_otel.correlation.group import Group
from tapio_otel.event import UnifiedEvent

_LOG: Final = logging.getLogger(__name__)
_FEW_TIMERS: Final = 1024


class Teller:
    """Tell findings; `timers` has what is due at a moment of event time: (moment, serial, group).

    With `emit_traces` each finding is told when its window has ended, whether it has grown or not, and brings its members.
    """

    def __init__(self, interval_ns: int, counters: CounterSink | None, emit_traces: bool = False) -> None:
        self.timers: list[tuple[int, int, Group]] = []
        self._interval, self._counters, self._emit_traces = interval_ns, counters, emit_traces
        self._findings: list[UnifiedEvent] = []
        self._many = _FEW_TIMERS

    def take(self) -> list[UnifiedEvent]:
        """Return the findings since the last call."""
        findings, self._findings = self._findings, []
        return findings

    @property
    def count(self) -> int:
        """Return how many findings there are since the last call of `take`."""
        return len(self._findings)

    def opened(self, group: Group) -> None:
        """Note when a group's window ends; timers of groups that were closed early go, as they hold all of these."""
        timers = self.timers
        if len(timers) >= self._many:
            timers[:] = [one for one in timers if one[2].is_open]
            heapify(timers)
            self._many = 2 * len(timers) + _FEW_TIMERS
        heappush(timers, (group.end_ns, group.serial, group))

    def look(self, group: Group, now: int) -> None:
        """Tell of a group that has grown what is to be told."""
        if group.is_fired:
            self._schedule(group, now)
        elif not group.superseded_by and group.holds():
            self._fire(group, now)

    def update(self, group: Group, due: int) -> None:
        """Tell again what was to be told again at this moment."""
        group.update_due = None
        if group.is_changed and not group.superseded_by:
            self._emit(group, due, OPEN)

    def end(self, group: Group, now: int) -> None:
        """Tell what is to be told of a group for the last time."""
        if group.is_fired:
            if (group.is_changed or self._emit_traces) and not group.superseded_by:
                self._emit(group, now, CLOSED)
        elif group.ended and not group.superseded_by and group.holds():
            self._fire(group, now)

    def _fire(self, group: Group, now: int) -> None:
        if not self._concludes(group):
            return
        group.root = group.choose_root()
        suppressor = self._suppressor(group)
        if suppressor is not None:
            group.superseded_by = suppressor.id
            suppressor.subsumed = (*suppressor.subsumed, group)
            suppressor.is_changed = True
            self._schedule(suppressor, now)
            return
        group.is_fired = True
        group.prolong()
        group.id = finding_id(group, group.root if group.conclusion is None else group.conclusion.root or group.root)
        for witness in group.members.values():
            witness.told_by = (*witness.told_by, group)
        self._emit(group, now, CLOSED if group.ended else OPEN)
        self._count("correlation_findings", rule=group.rule.name)

    def _concludes(self, group: Group) -> bool:
        """Ask the rule's function, where it has one."""
        correlate = group.rule.correlate
        if correlate is None:
            return True
        try:
            group.conclusion = conclusion_of(correlate, group) or group.conclusion
        except Exception:
            _LOG.warning("the rule %s failed; it concludes nothing here", group.rule.name, exc_info=True)
            self._count("correlation_errors", rule=group.rule.name)
            return False
        return group.conclusion is not None

    def _suppressor(self, group: Group) -> Group | None:
        """Return the open finding that already tells of this group's root cause, and is there in its place."""
        assert group.root is not None
        for witness in group.root.witnesses:
            for other in witness.told_by:
                if _outdoes(other, group) and not other.superseded_by:
                    return other  # type: ignore[no-any-return]
        return None

    def _suppress(self, group: Group, now: int) -> None:
        """Close the findings that were told before, and that this one tells better."""
        others = {other.serial: other for one in list(group.members.values()) for other in one.told_by}
        for _, other in sorted(others.items()):
            if other is group or other.superseded_by or not _outdoes(group, other):
                continue
            if other.root is not None and any(one.event.id in group.members for one in other.root.witnesses):
                other.superseded_by = group.id
                group.subsumed = (*group.subsumed, other)
                self._emit(other, now, CLOSED)

    def _schedule(self, group: Group, now: int) -> None:
        if not group.is_changed or group.superseded_by or group.update_due is not None:
            return
        due = group.emitted_at + self._interval
        if due <= now:
            self._emit(group, now, OPEN)
        elif due < group.end_ns:
            group.update_due = due
            heappush(self.timers, (due, group.serial, group))

    def _emit(self, group: Group, now: int, state: str) -> None:
        if group.revision >= 0 and not self._concludes(group):
            return
        if not group.superseded_by:
            self._suppress(group, now)
        group.revision += 1
        group.is_changed = False
        group.emitted_at = now
        is_whole = self._emit_traces and state == CLOSED and not group.superseded_by
        self._findings.append(make_finding(group, now, state, with_members=is_whole))

    def _count(self, name: str, **attributes: str) -> None:
        if self._counters is not None:
            self._counters.add(name, 1, **attributes)


def _outdoes(group: Group, other: Group) -> bool:
    """Tell whether a group's finding is told in the place of another's about the same: a rule tells one cause once."""
    return other.rule.name in group.rule.suppresses or other.rule is group.rule
