"""The engine: facts from events, groups from facts, findings from groups, in the order of event time.

Events wait until the watermark (the latest time seen, less the allowed lateness) has passed them, and are then taken in the
order of (timestamp, id). All that happens later (a finding is updated, a window ends) happens at a moment of event time too,
between the events before and after it. So the order in which events arrive does not matter, as long as none is later than the
lateness: the findings are the same, byte for byte. What is later still joins the findings that are open, and opens none.

Cost: an event that no rule asks for costs one dict lookup. One that some rule asks for costs lookups by its keys, whatever
the number of facts and groups. State is bounded; what has to go early is counted by reason: `facts` (witnesses no longer
joined, facts that waited for their cause or found their group full), `open` (groups closed early), `waiting` (events taken
before the lateness was over).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from tapio_otel.component import CounterSink
from tapio_otel.correlation.facts import Fact, Facts, Witness
from tapio_otel.correlation.finding import CLOSED, OPEN, finding_id, make_finding
from tapio_otel.correlation.group import DEEPEST, Group, reachable
from tapio_otel.correlation.lineage import AddressBook, Key, keys_of, targets_of
from tapio_otel.correlation.rule import ADDRESS, Rule
from tapio_otel.correlation.rule_state import RuleState
from tapio_otel.correlation.selection import Plan, Selection, Told, told
from tapio_otel.event import UnifiedEvent

SECOND: Final = 1_000_000_000
_NEVER: Final = 1 << 80
_LOG: Final = logging.getLogger(__name__)


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
    ) -> None:
        self.rules = tuple(rules)
        self._lateness, self._tolerance = allowed_lateness_ns, order_tolerance_ns
        self._max_facts, self._max_open, self._interval = max_facts, max_open, update_interval_ns
        self._counters = counters
        self._selection = Selection(self.rules)
        self._plans, self._other = self._selection.plans, self._selection.other
        self._states = [RuleState(rule, order_tolerance_ns) for rule in self.rules]
        self._rank = {id(rule): (not rule.suppresses, place) for place, rule in enumerate(self.rules)}
        self._facts = Facts(max_facts)
        self._book = AddressBook()
        self._pending: list[tuple[int, str, int, UnifiedEvent, tuple[Key, ...], tuple[Key, ...], Told]] = []
        self._timers: list[tuple[int, int, Group]] = []
        self._open: OrderedDict[int, Group] = OrderedDict()
        self._touched: dict[int, Group] = {}
        self._findings: list[UnifiedEvent] = []
        self._seen = self._clock = self._reached = -_NEVER
        self._serial = 0

    # --- State, for gauges and tests ----------------------------------------------------------------------------------------

    @property
    def latest_ns(self) -> int:
        """Return the latest time of an event that was seen."""
        return self._seen

    @property
    def open_findings(self) -> int:
        """Return how many findings were told whose window has not ended."""
        return sum(group.is_fired for group in self._open.values())

    @property
    def open_groups(self) -> int:
        """Return how many groups there are, told or not."""
        return len(self._open)

    @property
    def fact_count(self) -> int:
        """Return how many facts still take witnesses."""
        return len(self._facts)

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
        plans, other = self._plans, self._other
        for event in events:
            plan = plans.get(event.type, other)
            if plan is not None and (not plan.needed or event.get(plan.needed) is not None):
                self._take(event, plan)
        if events:
            self._saw(events[-1])

    def _saw(self, event: UnifiedEvent) -> None:
        """Let time go on: not beyond when an event was observed, as one clock that is ahead would make all others late."""
        at = event.timestamp if event.timestamp <= event.observed else event.observed
        self._seen = max(self._seen, at)

    def _take(self, event: UnifiedEvent, plan: Plan) -> None:
        self._saw(event)
        asked = told(event, plan)
        if not asked:
            return
        kept = event.copy()  # what comes after in the pipeline may change the event
        keys = keys_of(kept)
        targets = targets_of(kept) if plan.has_targets else ()
        if event.timestamp < self._reached:
            self._count("correlation_late")
            self._process(kept, keys, targets, asked, self._reached, late=True)
            return
        self._serial += 1
        heappush(self._pending, (event.timestamp, event.id, self._serial, kept, keys, targets, asked))

    def advance(self, now_ns: int, final: bool = False) -> list[UnifiedEvent]:
        """Let event time go on to `now_ns` at least (0: as far as events were seen); returns the findings that are due.

        With `final` nothing more comes: every event is taken and every group closed.
        """
        self._clock = max(self._seen, now_ns)
        watermark = _NEVER if final else self._clock - self._lateness
        pending = self._pending
        last_id = ""
        while pending and (pending[0][0] < watermark or len(pending) > self._max_facts):
            at, identity, _, event, keys, targets, asked = heappop(pending)
            if at >= watermark:
                self._count("correlation_evicted", reason="waiting")
            if identity == last_id:
                continue
            last_id = identity
            self._fire_timers(at)
            self._reached = max(self._reached, at)
            self._process(event, keys, targets, asked, at)
        self._fire_timers(watermark)
        if not final:
            self._reached = max(self._reached, watermark)
        self._forget(self._reached)
        findings, self._findings = self._findings, []
        return findings

    # --- Facts and groups ---------------------------------------------------------------------------------------------------

    def _process(
        self, event: UnifiedEvent, keys: tuple[Key, ...], targets: tuple[Key, ...], asked: Told, now: int, late: bool = False
    ) -> None:
        witness = Witness(event, keys)
        self._book.observe(keys)
        placed = []
        for class_name, uses in asked:
            fact, is_new = self._facts.place(class_name, witness, targets)
            placed.append((fact, uses))
            if not is_new:
                for group in fact.groups:
                    group.witnessed(fact)
                    self._index(self._states_of(group), group, group.alias, fact, 0)
                    self._touch(group)
        for fact, uses in placed:
            for rule, alias in uses:
                self._offer(self._states[rule], alias, fact, late)
        self._evaluate(now)

    def _states_of(self, group: Group) -> RuleState:
        return self._states[self._rank[id(group.rule)][1]]

    def _offer(self, state: RuleState, alias: str, fact: Fact, late: bool) -> None:
        keys = state.keys(alias, fact, self._book)
        index = state.index(alias)
        for key in keys:
            group = index.get(key)
            if group is not None and group.fits(alias, fact):
                self._join(state, group, alias, fact)
                return
        if late:
            return
        if alias in state.roots:
            self._open_group(state, alias, fact)
        elif state.waits and keys:
            state.wait(alias, fact, keys)

    def _join(self, state: RuleState, group: Group, alias: str, fact: Fact) -> None:
        full = group.overflow
        if group.add(alias, fact) and state.rule.facts[alias].join == ADDRESS:
            known = [group.depth[key] for key in self._book.owners(fact.targets) if key in group.depth]
            self._index(state, group, alias, fact, min(known, default=0) + 1)
        if group.overflow > full:
            self._count("correlation_evicted", reason="facts")
        self._touch(group)

    def _index(self, state: RuleState, group: Group, alias: str, fact: Fact, depth: int) -> None:
        """Let others find a group by the keys of its opener and of what joined it, as far as these are near enough."""
        if depth > DEEPEST or (depth == 0 and fact is not group.opener):
            return
        group.index(state.by_key, state.grouping.opening_keys(alias, fact))
        if state.grouping.by_address:
            keys = list(reachable(fact))
            group.index(state.by_target, keys)
            for key in keys:
                group.depth.setdefault(key, depth)

    def _open_group(self, state: RuleState, alias: str, fact: Fact) -> None:
        if not state.grouping.keys(alias, fact):
            return
        if len(self._open) >= self._max_open:
            _, oldest = self._open.popitem(last=False)
            self._count("correlation_evicted", reason="open")
            self._close(oldest, max(self._reached, oldest.opener.timestamp))
        self._serial += 1
        group = Group(state.grouping, alias, fact, self._serial, self._tolerance)
        self._open[group.serial] = group
        heappush(self._timers, (group.end_ns, group.serial, group))
        group.add(alias, fact)
        self._index(state, group, alias, fact, 0)
        if state.waits:
            for waiting_alias, waiting in state.waiting_for(group):
                if group.fits(waiting_alias, waiting):
                    self._join(state, group, waiting_alias, waiting)
        self._touch(group)

    def _touch(self, group: Group) -> None:
        self._touched[group.serial] = group

    # --- Findings -----------------------------------------------------------------------------------------------------------

    def _evaluate(self, now: int) -> None:
        """Tell what the groups that were touched conclude, those that suppress others first."""
        touched = list(self._touched.values())
        self._touched.clear()
        if len(touched) > 1:
            touched.sort(key=lambda group: (self._rank[id(group.rule)], group.serial))
        for group in touched:
            if not group.is_open:
                continue
            if group.is_fired:
                self._schedule(group, now)
            elif not group.superseded_by and group.holds():
                self._fire(group, now)

    def _fire(self, group: Group, now: int) -> None:
        if not self._concludes(group):
            return
        group.root = group.choose_root()
        suppressor = self._suppressor(group)
        if suppressor is not None:
            group.superseded_by = suppressor.id
            suppressor.subsumed.append(group)
            suppressor.is_changed = True
            self._schedule(suppressor, now)
            return
        group.is_fired = True
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
            group.conclusion = correlate({alias: tuple(facts) for alias, facts in group.facts.items()}) or group.conclusion
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
                if group.rule.name in other.rule.suppresses and not other.superseded_by:
                    return other  # type: ignore[no-any-return]
        return None

    def _suppress(self, group: Group, now: int) -> None:
        """Close the findings that were told before, and that this one tells better."""
        if not group.rule.suppresses:
            return
        others = {other.serial: other for one in list(group.members.values()) for other in one.told_by}
        for _, other in sorted(others.items()):
            known = other.root is not None and any(one.event.id in group.members for one in other.root.witnesses)
            if known and other.rule.name in group.rule.suppresses and not other.superseded_by:
                other.superseded_by = group.id
                group.subsumed.append(other)
                self._emit(other, now, CLOSED)

    def _schedule(self, group: Group, now: int) -> None:
        if not group.is_changed or group.superseded_by or group.update_due is not None:
            return
        due = group.emitted_at + self._interval
        if due <= now:
            self._emit(group, now, OPEN)
        elif due < group.end_ns:
            group.update_due = due
            heappush(self._timers, (due, group.serial, group))

    def _emit(self, group: Group, now: int, state: str) -> None:
        if group.revision >= 0 and not self._concludes(group):
            return
        if not group.superseded_by:
            self._suppress(group, now)
        group.revision += 1
        group.is_changed = False
        group.emitted_at = now
        self._findings.append(make_finding(group, now, state))

    # --- Time ---------------------------------------------------------------------------------------------------------------

    def _fire_timers(self, until: int) -> None:
        """Do what is due before a moment: update findings, and close groups whose window has ended."""
        while self._timers and self._timers[0][0] < until:
            due, _, group = heappop(self._timers)
            if not group.is_open:
                continue
            if due >= group.end_ns:
                self._open.pop(group.serial, None)
                self._close(group, due)
            elif due == group.update_due:
                group.update_due = None
                if group.is_changed and not group.superseded_by:
                    self._emit(group, due, OPEN)

    def _close(self, group: Group, now: int) -> None:
        group.ended = self._clock >= group.end_ns
        if group.is_fired:
            if group.is_changed and not group.superseded_by:
                self._emit(group, now, CLOSED)
        elif group.ended and not group.superseded_by and group.holds():
            self._fire(group, now)
        group.close()

    def _forget(self, now: int) -> None:
        early = self._facts.forget(now)
        for state in self._states:
            if state.waiting_since:
                early += state.forget(now, self._max_facts)
        if early:
            self._count("correlation_evicted", early, reason="facts")

    def _count(self, name: str, amount: int = 1, **attributes: str) -> None:
        if self._counters is not None:
            self._counters.add(name, amount, **attributes)
