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

from collections import OrderedDict
from collections.abc import Sequence
from heapq import heappop
from typing import Final

from tapio_otel.component import CounterSink
from tapio_otel.correlation.facts import Fact, Facts, Witness
from tapio_otel.correlation.group import DEEPEST, MOST_KEPT, Group, in_time
from tapio_otel.correlation.group_index import GroupIndexes
from tapio_otel.correlation.grouping import Grouping
from tapio_otel.correlation.keys import Key, Keys
from tapio_otel.correlation.lineage import ADDRESS_ALONE, AddressBook, keys_of, targets_of
from tapio_otel.correlation.pending import Pending, PendingEvent, newest
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.rule_state import Aim, RuleState, waits_of
from tapio_otel.correlation.selection import Asked, Plan, Selection, Told, Use
from tapio_otel.correlation.selection import told as told_by
from tapio_otel.correlation.telling import Teller
from tapio_otel.correlation.waiting import Waiting
from tapio_otel.event import UnifiedEvent

SECOND: Final = 1_000_000_000
_NEVER: Final = 1 << 80
_SET_BACK: Final = 60 * SECOND
"""By how much more than the lateness events must have been observed before the latest for the clock to have been set back."""


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
        self._lateness, self._tolerance = allowed_lateness_ns, order_tolerance_ns
        self._max_facts, self._max_open = max_facts, max_open
        self._counters = counters
        self._selection = Selection(self.rules)
        self._plans, self._other = self._selection.plans, self._selection.other
        self._indexes = GroupIndexes()
        self._states = [RuleState(rule, place, order_tolerance_ns, self._indexes) for place, rule in enumerate(self.rules)]
        for use in self._selection.uses:
            use.aim = self._states[use.rule].aims[use.alias]
        self._rank = {id(rule): (not rule.suppresses, place) for place, rule in enumerate(self.rules)}
        self._book = AddressBook()
        longest = max((one.before_ns for rule in self.rules for one in rule.facts.values()), default=0)
        self._longest = max(longest, order_tolerance_ns)
        self._pending = Pending()
        self._teller = Teller(update_interval_ns, counters, emit_traces)
        self._open: OrderedDict[int, Group] = OrderedDict()
        self._touched: dict[int, Group] = {}
        self._serial = self._left_out = self._slid = 0
        self._begin()

    def _begin(self) -> None:
        """Begin with no time and nothing that happened."""
        self._seen = self._clock = self._reached = self._now = -_NEVER
        self._facts = Facts(self._max_facts)
        self._waiting = Waiting(self._tolerance, self._max_facts)
        self._patient = Waiting(self._longest, self._max_facts)

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
        kept = event.copy()
        if event.timestamp < self._reached:
            self._count("correlation_late")
            self._process(kept, keys, targets, asked, self._reached, late=True)
        else:
            self._pending.keep(PendingEvent(event.timestamp, event.id, self._serial, kept, keys, targets, asked))

    def advance(self, now_ns: int, final: bool = False) -> list[UnifiedEvent]:
        """Let event time go on to `now_ns` at least (0: as far as events were seen); returns the findings that are due.

        With `final` nothing more comes: every event is taken and every group closed.
        """
        self._advance(now_ns, final)
        return self._teller.take()

    def _advance(self, now_ns: int, final: bool) -> None:
        self._clock = max(self._seen, now_ns)
        watermark = _NEVER if final else self._clock - self._lateness
        due, early = self._pending.due(watermark, self._max_facts)
        if early:
            self._count("correlation_evicted", early, reason="waiting")
        self._take_due(due)
        self._fire_timers(watermark)
        if not final:
            self._reached = max(self._reached, watermark)
        self._forget()

    def _take_due(self, due: list[PendingEvent]) -> None:
        """Take events in their order. One that something fails on is not taken again; those behind it are, the next time."""
        last_id, taken, timers = "", 0, self._teller.timers
        try:
            for at, identity, _, event, keys, targets, asked in due:
                taken += 1
                if identity == last_id:
                    continue
                last_id = identity
                if timers and timers[0][0] < at:
                    self._fire_timers(at)
                self._reached = max(self._reached, at)
                self._process(event, keys, targets, asked, at)
        except BaseException:
            self._pending.put_back(due[taken:])
            raise

    # --- Facts and groups ---------------------------------------------------------------------------------------------------

    def _process(
        self, event: UnifiedEvent, keys: Keys, targets: tuple[Key, ...], told: Told, now: int, late: bool = False
    ) -> None:
        self._now = now
        witness = Witness(event, keys)
        if keys.of(ADDRESS_ALONE):
            news = self._book.observe(keys)
            if news:
                self._learnt(news, keys)
        placed = []
        for kind, asked in told:
            fact, is_new = self._facts.place(kind, witness, targets)
            if asked.uses:
                placed.append((fact, asked))
            if not is_new:
                for group in fact.groups:
                    self._witnessed(group, fact)
        for fact, asked in placed:
            self._offer(fact, asked, event, late)
            fact.keys.rest()
        if self._touched:
            self._evaluate(now)

    def _learnt(self, addresses: tuple[Key, ...], owner: tuple[Key, ...]) -> None:
        """Let groups be found by addresses that only now are known to be those of what they are about."""
        if not self._indexes.by_target:
            return
        for state in self._states:
            for group in state.reached(owner):
                group.index(state.by_target, addresses)
                found = [
                    (use.aim, fact)
                    for use, fact in self._waiting.under(addresses, state.place, self._now)
                    if use.aim.by_address
                ]
                self._gather(group, sorted(found, key=lambda one: in_time(one[1])))

    def _witnessed(self, group: Group, fact: Fact) -> None:
        group.witnessed(fact)
        if fact is group.opener:
            self._state_of(group).opened(group)
        self._touched[group.serial] = group

    def _state_of(self, group: Group) -> RuleState:
        return self._states[self._rank[id(group.rule)][1]]

    def _offer(self, fact: Fact, asked: Asked, event: UnifiedEvent, late: bool) -> None:
        """Let a fact join the groups that it belongs to, or open one, or wait for what does."""
        targets = self._book.owners(fact.targets) if fact.targets else ()
        groupings = asked.groupings or asked.prepare()
        near, far = self._indexes.around(fact.keys.of(asked.ranks), targets, groupings)
        found: list[Use] = []
        before: Grouping | None = None
        has_acted, slid = False, self._slid  # what is near holds for other rules than the one, until a window begins anew
        for use in asked.uses if near or far else asked.active:
            aim: Aim = use.aim
            if has_acted and (aim.grouping is before or self._slid != slid):
                near, far = self._indexes.around(fact.keys.of(asked.ranks), targets, groupings)
                has_acted, slid = False, self._slid
            before = aim.grouping
            around = far if aim.by_address else near
            groups = aim.groups(fact, targets) if aim.by_attributes else aim.among(around, fact) if before in around else ()
            if groups:
                found.append(use)
                if not use.slow or use.takes(event):
                    has_acted = True
                    self._join_all(aim, groups, fact)
            elif aim.is_root and not late and (not use.slow or use.takes(event)):
                has_acted = True
                self._open_group(aim, fact)
        waits = waits_of(asked, tuple(found))
        if waits.uses and not late:
            self._waiting.keep(fact, waits, targets)
            if waits.patient is not None:
                self._patient.keep(fact, waits.patient, targets)

    def _join_all(self, aim: Aim, groups: tuple[Group, ...], fact: Fact) -> None:
        for group in groups:
            if not group.is_open:
                continue
            full = group.overflow
            self._join(aim, group, fact)
            if group.overflow == full:
                continue
            if group.is_fired:
                self._left_out += 1
            else:  # what it holds does not suffice: what it would need may still come
                self._slide(group)
                others = aim.groups(fact, self._book.owners(fact.targets))
                for other in others:
                    self._join(aim, other, fact)
                if not others and aim.is_root:
                    self._open_group(aim, fact)

    def _join(self, aim: Aim, group: Group, fact: Fact) -> None:
        if group.add(aim.alias, fact):
            aim.state.joined(group, aim.alias, fact, self._book)
        if group.is_changed and group.update_due is None:  # otherwise it is told of then, whatever else comes
            self._touched[group.serial] = group

    def _open_group(self, aim: Aim, fact: Fact, left: Sequence[tuple[Aim, Fact]] | None = None) -> None:
        """Open a group for what can be the root cause, with what waited for it, or what is left of a window before."""
        state = aim.state
        keys = state.grouping.opening_keys(aim.alias, fact)
        if not keys:
            return
        if len(self._open) >= self._max_open:
            _, oldest = self._open.popitem(last=False)
            self._count("correlation_evicted", reason="open")
            self._close(oldest, max(self._reached, oldest.opener.timestamp), is_early=True)
        self._serial += 1
        group = Group(state.grouping, aim.alias, fact, keys[0], self._serial, self._tolerance)
        self._open[group.serial] = group
        self._teller.opened(group)
        group.add(aim.alias, fact)
        state.opened(group)
        self._touched[group.serial] = group
        found = self._waiting_for(group, state) if left is None else left
        if found:
            self._gather(group, sorted(found, key=lambda one: (in_time(one[1]), one[0].alias)))

    def _waiting_for(self, group: Group, state: RuleState) -> list[tuple[Aim, Fact]]:
        if not state.grouping.waits:
            return []
        keys = [key for _, key in group.indexed]
        found = self._waiting.under(keys, state.place, self._now) + self._patient.under(keys, state.place, self._now)
        return [(use.aim, fact) for use, fact in found if any(use.takes(one.event) for one in fact.witnesses)]

    def _gather(self, group: Group, found: list[tuple[Aim, Fact]]) -> None:
        """Let facts join that belong to a group by what opened it, or by what so joined."""
        for _ in range(DEEPEST + 1):
            left = []
            for aim, fact in found:
                targets = self._book.owners(fact.targets)
                if group.fits(aim.alias, fact) and aim.leads_to(group, fact, targets):
                    self._join(aim, group, fact)
                else:
                    left.append((aim, fact))
            if not left or len(left) == len(found):
                return
            found = left

    def _slide(self, group: Group) -> None:
        """Begin a window anew that has ended, or is full, without a conclusion: at the next fact that can be the cause."""
        state = self._state_of(group)
        opener, began = group.opener, in_time(group.opener)
        entries = [(state.aims[alias], fact) for alias, fact in group.entries()[-MOST_KEPT:] if fact is not opener]
        self._open.pop(group.serial, None)
        group.close()
        for aim, fact in entries:
            if aim.is_root and in_time(fact) > began and not any(one.rule is group.rule for one in fact.groups):
                self._slid += 1
                self._open_group(aim, fact, [one for one in entries if one[1] is not fact])

    def _evaluate(self, now: int) -> None:
        """Tell what is to be told of the groups that have grown: rules that suppress others first."""
        touched = list(self._touched.values())
        self._touched.clear()
        if len(touched) > 1:
            touched.sort(key=lambda group: (self._rank[id(group.rule)], group.serial))
        for group in touched:
            if group.is_open:
                self._teller.look(group, now)

    # --- Time ---------------------------------------------------------------------------------------------------------------

    def _fire_timers(self, until: int) -> None:
        """Do what is due before a moment: update findings, and close groups whose window has ended."""
        timers = self._teller.timers
        while timers and timers[0][0] < until:
            due, _, group = heappop(timers)
            if not group.is_open:
                continue
            if due >= group.end_ns:
                self._close(group, due)
                self._evaluate(due)
            else:
                self._teller.update(group, due)

    def _close(self, group: Group, now: int, is_early: bool = False) -> None:
        self._open.pop(group.serial, None)
        group.ended = not is_early and self._clock >= group.end_ns
        self._teller.end(group, now)
        if group.ended and not group.is_fired and not group.superseded_by:
            self._slide(group)
        else:
            group.close()

    def _forget(self) -> None:
        now = self._reached
        early = self._facts.forget(now) + self._waiting.forget(now) + self._patient.forget(now) + self._left_out
        self._left_out = 0
        if early:
            self._count("correlation_evicted", early, reason="facts")
        self._selection.tell_errors(self._counters)

    def _count(self, name: str, amount: int = 1, **attributes: str) -> None:
        if self._counters is not None:
            self._counters.add(name, amount, **attributes)
