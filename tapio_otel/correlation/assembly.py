"""Assembly: events become facts, facts join groups or open them, and windows that did not conclude slide on.

The engine tells in which order events are taken and when windows end; here is what comes of each. An event costs lookups by its
keys, whatever the number of facts and groups: one index leads to the groups of all rules.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from tapio_otel.component import CounterSink
from tapio_otel.correlation.address_book import AddressBook
from tapio_otel.correlation.facts import Fact, Facts, Witness
from tapio_otel.correlation.group import DEEPEST, MOST_KEPT, Group, in_time
from tapio_otel.correlation.group_index import GroupIndexes
from tapio_otel.correlation.grouping import Grouping
from tapio_otel.correlation.keys import ADDRESS_ALONE, Key, Keys
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.rule_state import Aim, RuleState, waits_of
from tapio_otel.correlation.selection import Asked, Selection, Told, Use
from tapio_otel.correlation.telling import Teller
from tapio_otel.correlation.waiting import Waiting
from tapio_otel.event import UnifiedEvent


class Assembly:
    """Assemble facts and groups; `clock` and `reached` are the engine's moments of event time, in nanoseconds."""

    def __init__(
        self,
        rules: Sequence[Rule],
        selection: Selection,
        teller: Teller,
        *,
        tolerance_ns: int,
        max_facts: int,
        max_open: int,
        counters: CounterSink | None,
    ) -> None:
        self._teller, self._counters = teller, counters
        self._tolerance, self._max_facts, self._max_open = tolerance_ns, max_facts, max_open
        self._indexes = GroupIndexes()
        self.states = [RuleState(rule, place, tolerance_ns, self._indexes) for place, rule in enumerate(rules)]
        for use in selection.uses:
            use.aim = self.states[use.rule].aims[use.alias]
        longest = max((one.before_ns for rule in rules for one in rule.facts.values()), default=0)
        self._longest = max(longest, tolerance_ns)
        self._book = AddressBook()
        self.open: OrderedDict[int, Group] = OrderedDict()
        """The groups whose window has not ended, in the order of opening."""
        self._touched: dict[int, Group] = {}
        self._serial = self._left_out = self._slid = 0

    def begin(self, moment: int) -> None:
        """Begin with nothing that happened."""
        self.clock = self.reached = self._now = moment
        self.facts = Facts(self._max_facts)
        self.waiting = Waiting(self._tolerance, self._max_facts)
        self.patient = Waiting(self._longest, self._max_facts)

    def take(self, event: UnifiedEvent, keys: Keys, targets: tuple[Key, ...], told: Told, now: int, late: bool = False) -> None:
        """Make facts of an event at a moment, and let them join what they belong to; `told` says of which classes, for whom."""
        self._now = now
        witness = Witness(event, keys)
        if keys.of(ADDRESS_ALONE):
            news = self._book.observe(keys)
            if news:
                self._learnt(news, keys)
        placed = []
        for kind, asked in told:
            fact, is_new = self.facts.place(kind, witness, targets)
            if asked.uses:
                placed.append((fact, asked))
            if not is_new:
                for group in fact.groups:
                    self._witnessed(group, fact)
        for fact, asked in placed:
            self._offer(fact, asked, event, late)
            fact.keys.rest()
        if self._touched:
            self.evaluate(now)

    def _learnt(self, addresses: tuple[Key, ...], owner: tuple[Key, ...]) -> None:
        """Let groups be found by addresses that only now are known to be those of what they are about."""
        if not self._indexes.by_target:
            return
        for state in self.states:
            for group in state.reached(owner):
                state.reach(group, addresses)
                found = [
                    (use.aim, fact) for use, fact in self.waiting.under(addresses, state.place, self._now) if use.aim.by_address
                ]
                self._gather(group, sorted(found, key=lambda one: in_time(one[1])))

    def _witnessed(self, group: Group, fact: Fact) -> None:
        group.witnessed(fact)
        if fact is group.opener:
            state = self._state_of(group)
            state.opened(group, state.grouping.opening_keys(group.alias, fact))
        self._touch(group)

    def _touch(self, group: Group) -> None:
        """Note that a group has grown, where there may be something to tell of it."""
        if group.events >= group.rule.min_events:
            self._touched[group.serial] = group

    def _state_of(self, group: Group) -> RuleState:
        return self.states[group.grouping.turn[1]]

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
            self.waiting.keep(fact, waits, targets)
            if waits.patient is not None:
                self.patient.keep(fact, waits.patient, targets)

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
            self._touch(group)

    def _open_group(self, aim: Aim, fact: Fact, left: Sequence[tuple[Aim, Fact]] | None = None) -> None:
        """Open a group for what can be the root cause, with what waited for it, or what is left of a window before."""
        state = aim.state
        keys = state.grouping.opening_keys(aim.alias, fact)
        if not keys:
            return
        if len(self.open) >= self._max_open:
            _, oldest = self.open.popitem(last=False)
            self._count("correlation_evicted", reason="open")
            self.close(oldest, max(self.reached, oldest.opener.timestamp), is_early=True)
        self._serial += 1
        group = Group(state.grouping, aim.alias, fact, keys[0], self._serial, self._tolerance)
        self.open[group.serial] = group
        self._teller.opened(group)
        group.add(aim.alias, fact)
        state.opened(group, keys)
        self._touch(group)
        found = self._waiting_for(group, state) if left is None else left
        if found:
            self._gather(group, sorted(found, key=lambda one: (in_time(one[1]), one[0].alias)))

    def _waiting_for(self, group: Group, state: RuleState) -> list[tuple[Aim, Fact]]:
        if not state.has_waiting:
            return []
        keys = [*group.keys, *group.reached_by]
        found = self.waiting.under(keys, state.place, self._now) + self.patient.under(keys, state.place, self._now)
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
        self.open.pop(group.serial, None)
        group.close(self._indexes)
        for aim, fact in entries:
            if aim.is_root and in_time(fact) > began and not any(one.rule is group.rule for one in fact.groups):
                self._slid += 1
                self._open_group(aim, fact, [one for one in entries if one[1] is not fact])

    def evaluate(self, now: int) -> None:
        """Tell what is to be told of the groups that have grown: rules that suppress others first."""
        touched = list(self._touched.values())
        self._touched.clear()
        if len(touched) > 1:
            touched.sort(key=_turn)
        for group in touched:
            if group.is_open:
                self._teller.look(group, now)

    def close(self, group: Group, now: int, is_early: bool = False) -> None:
        """End a group's window, before its time if `is_early`: tell what is to be told, or begin a window anew."""
        self.open.pop(group.serial, None)
        group.ended = not is_early and self.clock >= group.end_ns
        self._teller.end(group, now)
        if group.ended and not group.is_fired and not group.superseded_by:
            self._slide(group)
        else:
            group.close(self._indexes)

    def forget(self) -> None:
        """Let go of what is too old to matter, and count what had to go early."""
        now = self.reached
        early = self.facts.forget(now) + self.waiting.forget(now) + self.patient.forget(now) + self._left_out
        self._left_out = 0
        if early:
            self._count("correlation_evicted", early, reason="facts")

    def _count(self, name: str, amount: int = 1, **attributes: str) -> None:
        if self._counters is not None:
            self._counters.add(name, amount, **attributes)


def _turn(group: Group) -> tuple[tuple[bool, int], int]:
    """Return what orders groups that have grown: their rules, then the order of opening."""
    return group.grouping.turn, group.serial
