"""The engine: facts from events, groups from facts, findings from groups, in the order of event time.

Events wait until the watermark (the latest time seen, less the allowed lateness) has passed them, and are then taken in the
order of (timestamp, id). All that happens later (a finding is updated, a window ends) happens at a moment of event time too,
between the events before and after it. So the order in which events arrive does not matter, as long as none is later than the
lateness: the findings are the same, byte for byte. What is later still joins the findings that are open, and opens none.

Cost: an event that no rule asks for costs one dict lookup. One that some rule asks for costs lookups by its keys, whatever
the number of facts and groups. State is bounded; what has to go early is counted by reason: `facts` (witnesses no longer
joined, facts that waited for their cause or found their group full), `open` (groups closed early), `waiting` (events taken
before the lateness was over).

After a storm much is due at once. So that nothing else has to wait for all of it, `advance` can be told how much to do at most:
the rest is done by the next calls, in the same order and with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop
from typing import Final

from tapio_otel.component import CounterSink
from tapio_otel.correlation.assembly import Assembly
from tapio_otel.correlation.keys import ADDRESS_ALONE
from tapio_otel.correlation.lineage import keys_of, targets_of
from tapio_otel.correlation.pending import Pending, PendingEvent, newest
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.selection import Plan, Selection
from tapio_otel.correlation.selection import told as told_by
from tapio_otel.correlation.telling import Teller
from tapio_otel.event import UnifiedEvent

SECOND: Final = 1_000_000_000
_NEVER: Final = 1 << 80
_SET_BACK: Final = 60 * SECOND
"""By how much more than the lateness events must have been observed before the latest for the clock to have been set back."""
_FINDING: Final = 5
"""As how many steps a finding counts, by the time that it takes."""


class Engine:
    """Correlate events by rules. For one thread; times are nanoseconds of event time."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        allowed_lateness_ns: int = 5 * SECOND,
        order_tolerance_ns: int = 5 * SECOND,
        max_facts: int = 50_000,
        max_open: int = 5_000,
        update_interval_ns: int = 5 * SECOND,
        counters: CounterSink | None = None,
        emit_traces: bool = False,
    ) -> None:
        self.rules = tuple(rules)
        self.is_behind = False
        """Whether `advance` left something for its next call that is due already."""
        self._lateness, self._max_facts, self._counters = allowed_lateness_ns, max_facts, counters
        self._selection = Selection(self.rules)
        self._plans, self._other = self._selection.plans, self._selection.other
        self._pending = Pending()
        self._teller = Teller(update_interval_ns, counters, emit_traces)
        self._assembly = Assembly(
            self.rules,
            self._selection,
            self._teller,
            tolerance_ns=order_tolerance_ns,
            max_facts=max_facts,
            max_open=max_open,
            counters=counters,
        )
        self._serial = self._steps = 0
        self._most, self._last_id = _NEVER, ""
        self._begin()

    def _begin(self) -> None:
        """Begin with no time and nothing that happened."""
        self._seen = self._passed = -_NEVER
        self._assembly.begin(-_NEVER)

    # --- State, for gauges and tests ----------------------------------------------------------------------------------------

    @property
    def latest_ns(self) -> int:
        """Return the latest time of an event that was seen."""
        return self._seen

    @property
    def open_findings(self) -> int:
        """Return how many findings were told whose window has not ended."""
        return sum(group.is_fired for group in self._assembly.open.values())

    @property
    def open_groups(self) -> int:
        """Return how many groups there are, told or not."""
        return len(self._assembly.open)

    @property
    def fact_count(self) -> int:
        """Return how many facts still take witnesses."""
        return len(self._assembly.facts)

    @property
    def waiting_count(self) -> int:
        """Return how many events wait for the watermark."""
        return len(self._pending)

    # --- Input --------------------------------------------------------------------------------------------------------------

    def interested(self, event: UnifiedEvent) -> bool:
        """Tell whether any rule may ask for an event."""
        return self._plans.get(event.type, self._other) is not None

    def add(self, events: Sequence[UnifiedEvent]) -> None:
        """Take events; those that no rule asks for are left alone."""
        if events and newest(events[-1:]) < self._seen - self._lateness - _SET_BACK:
            self._look_back(events)
        plans, other = self._plans, self._other
        for event in events:
            plan = plans.get(event.type, other)
            if plan is not None and (not plan.needed or event.get(plan.needed) is not None):
                self._take(event, plan)
        if events:
            self._saw(events[-1])

    def _look_back(self, events: Sequence[UnifiedEvent]) -> None:
        """Begin anew where the clock was set back, or a recording follows a later one: all would be late until then."""
        if newest(events) < self._seen - self._lateness - _SET_BACK:
            self._count("correlation_set_back")
            self._advance(0, final=True)
            self._begin()

    def _saw(self, event: UnifiedEvent) -> None:
        """Let time go on: not beyond when an event was observed, as one clock that is ahead would make all others late."""
        at, observed = event.timestamp, event.observed
        at = min(at, observed)
        self._seen = max(self._seen, at)

    def _take(self, event: UnifiedEvent, plan: Plan) -> None:
        self._saw(event)
        asked = told_by(event, plan)
        if not asked and not plan.teaches:
            return
        keys = keys_of(event)
        if not asked and not keys.of(ADDRESS_ALONE):
            return
        targets = targets_of(event) if plan.has_targets else ()
        self._serial += 1
        # A copy: what comes after in the pipeline may change the event.
        kept, reached = event.copy(), max(self._assembly.reached, self._passed)
        if event.timestamp < reached:
            self._count("correlation_late")
            self._assembly.take(kept, keys, targets, asked, reached, late=True)
        else:
            self._pending.keep(PendingEvent(event.timestamp, event.id, self._serial, kept, keys, targets, asked))

    # --- Time ---------------------------------------------------------------------------------------------------------------

    def advance(self, now_ns: int, final: bool = False, most: int | None = None) -> list[UnifiedEvent]:
        """Let event time go on to `now_ns` at least (0: as far as events were seen); returns the findings that are due.

        With `final` nothing more comes: every event is taken and every group closed. With `most` that many steps are done at
        most (an event, a window that ends, a fifth of a finding each): `is_behind` tells whether there is more to do, by
        further calls with the same arguments. Only what exceeds the bounds of the state is done in any case.
        """
        self._advance(now_ns, final, _NEVER if most is None else max(most, 1))
        return self._teller.take()

    def _advance(self, now_ns: int, final: bool, most: int = _NEVER) -> None:
        assembly = self._assembly
        assembly.clock = max(self._seen, now_ns)
        watermark = _NEVER if final else assembly.clock - self._lateness
        self._steps, self._most, self.is_behind = 0, most, False
        due = self._pending.due(watermark, self._max_facts, most)
        if due.early:
            self._count("correlation_evicted", due.early, reason="waiting")
        taken_all = self._take_due(due.events, due.excess, due.has_more)
        self.is_behind = not (taken_all and self._fire_timers(watermark))
        if not final and not self.is_behind:
            assembly.reached = max(assembly.reached, watermark)
        assembly.forget()
        self._selection.tell_errors(self._counters)

    def _take_due(self, due: list[PendingEvent], excess: int, has_more: bool) -> bool:
        """Take events in their order; tells whether it was all. What is left waits again, but for the excess.

        One that something fails on is not taken again; those behind it are, the next time.
        """
        taken, timers, assembly = 0, self._teller.timers, self._assembly
        last_id, self._last_id = self._last_id, ""
        is_sliced = self._most < _NEVER
        try:
            for at, identity, _, event, keys, targets, asked in due:
                if is_sliced and taken >= excess and self._is_spent():
                    break
                if timers and timers[0][0] < at and not self._fire_timers(at, taken < excess):
                    break
                taken += 1
                self._steps += 1
                if identity == last_id:
                    continue
                last_id = identity
                assembly.reached = max(assembly.reached, at)
                assembly.take(event, keys, targets, asked, at)
        finally:
            if taken < len(due):
                self._pending.put_back(due[taken:])
        if taken < len(due) or has_more:
            self._last_id = last_id  # what comes next may be the same, told again
        return taken == len(due) and not has_more

    def _fire_timers(self, until: int, must: bool = False) -> bool:
        """Do what is due before a moment: update findings, close groups whose window has ended; tells whether it was all."""
        timers, assembly = self._teller.timers, self._assembly
        while timers and timers[0][0] < until:
            if not must and self._is_spent():
                self._passed = timers[0][0]  # what is older is late by now
                return False
            due, _, group = heappop(timers)
            if not group.is_open:
                continue
            self._steps += 1
            if due >= group.end_ns:
                assembly.close(group, due)
                assembly.evaluate(due)
            elif due == group.update_due:
                self._teller.update(group, due)
            else:  # it was prolonged meanwhile
                self._teller.opened(group)
        return True

    def _is_spent(self) -> bool:
        """Tell whether so much was done that the rest is left for the next call."""
        return self._steps + _FINDING * self._teller.count >= self._most

    def _count(self, name: str, amount: int = 1, **attributes: str) -> None:
        if self._counters is not None:
            self._counters.add(name, amount, **attributes)
