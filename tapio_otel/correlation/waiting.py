"""Facts that wait for their cause: by another clock it may be told to have happened a little later.

One store for all rules: a fact is kept once under each key by which any rule would look for its group. When a group is opened,
the rule asks for what waits under the group's keys. What has waited long enough is let go; so is the oldest of what waits
under one key, or at all, when there is too much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.lineage import Key
from tapio_otel.correlation.selection import Use

_MOST_OF_KEY: Final = 256
_Entry = tuple[Fact, Sequence[Use]]
_NOTHING: Final[list[_Entry]] = []


class Waiting:
    """Keep facts for `patience_ns` of event time, with who asks for them."""

    def __init__(self, patience_ns: int, limit: int) -> None:
        self._patience, self._limit = patience_ns, limit
        self._by_key: dict[Key, list[_Entry]] = {}
        self._since: deque[tuple[int, tuple[Key, ...]]] = deque()

    def __len__(self) -> int:
        return len(self._since)

    def keep(self, fact: Fact, uses: Sequence[Use], keys: Iterable[Key]) -> None:
        """Keep a fact under keys."""
        by_key, entry, found = self._by_key, (fact, uses), tuple(keys)
        for key in found:
            facts = by_key.get(key)
            if facts is None:
                by_key[key] = [entry]
            else:
                facts.append(entry)
                if len(facts) > 2 * _MOST_OF_KEY:
                    del facts[:_MOST_OF_KEY]
        self._since.append((fact.timestamp, found))

    def under(self, keys: Sequence[Key], rule: int, now_ns: int) -> list[tuple[Use, Fact]]:
        """Return what waits under any of these keys at a moment, and is asked for by a rule."""
        found: dict[tuple[int, str], tuple[Use, Fact]] = {}
        by_key, oldest = self._by_key, now_ns - self._patience
        for key in keys:
            for fact, uses in by_key.get(key, _NOTHING)[-_MOST_OF_KEY:]:
                if fact.timestamp < oldest:  # whether it was let go already may not matter
                    continue
                for use in uses:
                    if use.rule == rule:
                        found[id(fact), use.alias] = (use, fact)
        return list(found.values())

    def forget(self, now_ns: int) -> int:
        """Let go of what has waited long enough; returns how many had to go early."""
        early, since, by_key = 0, self._since, self._by_key
        oldest = now_ns - self._patience
        while since and (since[0][0] < oldest or len(since) > self._limit):
            waited, keys = since.popleft()
            early += waited >= oldest
            for key in keys:
                facts = by_key.get(key)
                if facts is None:
                    continue
                gone, count = 0, len(facts)
                while gone < count and facts[gone][0].timestamp <= waited:
                    gone += 1
                if gone == count:
                    del by_key[key]
                elif gone:
                    del facts[:gone]
        return early
