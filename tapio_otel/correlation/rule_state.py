"""What the engine keeps for one rule: its open groups by their keys, and the facts that wait for their cause."""

from __future__ import annotations

from collections import deque

from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.group import Group, Grouping, in_time
from tapio_otel.correlation.lineage import AddressBook, Key
from tapio_otel.correlation.rule import ADDRESS, ANY, EARLIEST, Rule


class RuleState:
    """Hold the open groups of one rule by their keys, and the facts that wait for their cause."""

    def __init__(self, rule: Rule, tolerance_ns: int) -> None:
        self.rule = rule
        self.grouping = Grouping(rule)
        self.by_key: dict[Key, Group] = {}
        self.by_target: dict[Key, Group] = {}
        self.roots = frozenset(rule.root_aliases)
        self.waits = rule.root != (EARLIEST,)
        self.patience = max(tolerance_ns, *(selector.before_ns for selector in rule.facts.values()))
        self.waiting: dict[Key, deque[tuple[str, Fact]]] = {}
        self.waiting_since: deque[tuple[int, list[Key]]] = deque()

    def keys(self, alias: str, fact: Fact, book: AddressBook) -> list[Key]:
        """Return the keys by which a fact finds its group."""
        join = self.rule.facts[alias].join
        if join == ADDRESS:
            return list(book.owners(fact.targets))
        return [(ANY,)] if join == ANY else self.grouping.keys(alias, fact)

    def index(self, alias: str) -> dict[Key, Group]:
        """Return where facts of an alias look for their group."""
        return self.by_target if self.rule.facts[alias].join == ADDRESS else self.by_key

    def wait(self, alias: str, fact: Fact, keys: list[Key]) -> None:
        """Keep a fact whose cause may still come."""
        for key in keys:
            facts = self.waiting.get(key)
            if facts is None:
                facts = self.waiting[key] = deque()
            facts.append((alias, fact))
        self.waiting_since.append((fact.timestamp, keys))

    def forget(self, now_ns: int, limit: int) -> int:
        """Let go of facts that waited long enough; returns how many had to go early."""
        early = 0
        since = self.waiting_since
        while since and (since[0][0] + self.patience < now_ns or len(since) > limit):
            waited, keys = since.popleft()
            early += waited + self.patience >= now_ns
            for key in keys:
                facts = self.waiting.get(key)
                if facts is not None:
                    facts.popleft()
                    if not facts:
                        del self.waiting[key]
        return early

    def waiting_for(self, group: Group) -> list[tuple[str, Fact]]:
        """Return the facts that waited for what opened a group, in the order of time."""
        found: dict[tuple[str, int], tuple[str, Fact]] = {}
        for index, key in group.indexed:
            for alias, fact in self.waiting.get(key, ()):
                if self.index(alias) is index:
                    found[alias, id(fact)] = (alias, fact)
        return sorted(found.values(), key=lambda one: (in_time(one[1]), one[0]))
