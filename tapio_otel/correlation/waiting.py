"""Facts that wait for their cause: by another clock it may be told to have happened a little later.

One store for all rules: a fact is kept once under each key by which any rule would look for its group. When a group is opened,
the rule asks for what waits under the group's keys. What has waited long enough is let go; so is the oldest of what waits
under one key, or at all, when there is too much. What nobody has asked for since it came is not sorted by keys yet: in a storm
most of it never is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.keys import Key, Keys
from tapio_otel.correlation.rule_state import Waits
from tapio_otel.correlation.selection import Use

_MOST_OF_KEY: Final = 256
_Entry = tuple[Fact, Sequence[Use]]


class Waiting:
    """Keep facts for `patience_ns` of event time, with who asks for them."""

    def __init__(self, patience_ns: int, limit: int) -> None:
        self._patience, self._limit = patience_ns, limit
        self._by_key: dict[Key, Any] = {}
        """Under each key the one entry, as mostly, or a list of several: most of the memory would else be lists of one."""
        self._since: deque[tuple[int, tuple[Key, ...]]] = deque()
        self._fresh: deque[tuple[Fact, Waits, Keys, tuple[Key, ...]]] = deque()
        """What is not under its keys yet; it came after all that is."""

    def __len__(self) -> int:
        return len(self._since) + len(self._fresh)

    def keep(self, fact: Fact, waits: Waits, targets: tuple[Key, ...]) -> None:
        """Keep a fact under the keys that it has now."""
        keys, further = fact.keys, waits.further(fact, targets)
        if further or keys.of(waits.ranks):
            self._fresh.append((fact, waits, keys, further))

    def _sort(self) -> None:
        by_key, since = self._by_key, self._since
        for fact, waits, keys, further in self._fresh:
            entry, found = (fact, waits.uses), waits.keys(keys, further)
            keys.rest()
            for key in found:
                facts = by_key.get(key)
                if facts is None:
                    by_key[key] = entry
                elif facts.__class__ is tuple:
                    by_key[key] = [facts, entry]
                else:
                    facts.append(entry)
                    if len(facts) > 2 * _MOST_OF_KEY:
                        del facts[:_MOST_OF_KEY]
            since.append((fact.timestamp, found))
        self._fresh.clear()

    def under(self, keys: Sequence[Key], rule: int, now_ns: int) -> list[tuple[Use, Fact]]:
        """Return what waits under any of these keys at a moment, and is asked for by a rule."""
        if self._fresh:
            self._sort()
        if not self._by_key:
            return []
        found: dict[tuple[int, str], tuple[Use, Fact]] = {}
        by_key, oldest = self._by_key, now_ns - self._patience
        for key in keys:
            entries = by_key.get(key)
            for fact, uses in () if entries is None else (entries,) if entries.__class__ is tuple else entries[-_MOST_OF_KEY:]:
                if fact.timestamp < oldest:  # whether it was let go already may not matter
                    continue
                for use in uses:
                    if use.rule == rule:
                        found[id(fact), use.alias] = (use, fact)
        return list(found.values())

    def forget(self, now_ns: int) -> int:
        """Let go of what has waited long enough; returns how many had to go early."""
        early, since, fresh = 0, self._since, self._fresh
        oldest = now_ns - self._patience
        while since and (since[0][0] < oldest or len(since) + len(fresh) > self._limit):
            waited, keys = since.popleft()
            early += waited >= oldest
            self._drop(waited, keys)
        while fresh and not since and (fresh[0][0].timestamp < oldest or len(fresh) > self._limit):
            early += fresh.popleft()[0].timestamp >= oldest
        return early

    def _drop(self, waited: int, keys: tuple[Key, ...]) -> None:
        """Let go of what has waited under keys for as long as from a moment."""
        by_key = self._by_key
        for key in keys:
            facts = by_key.get(key)
            if facts is None:
                continue
            if facts.__class__ is tuple:
                if facts[0].timestamp <= waited:
                    del by_key[key]
                continue
            gone, count = 0, len(facts)
            while gone < count and facts[gone][0].timestamp <= waited:
                gone += 1
            if gone == count:
                del by_key[key]
            elif gone:
                del facts[:gone]
