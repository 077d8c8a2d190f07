"""What all cached objects have in common: words kept once, choices of labels, stamps, claims to one name or address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar, cast

_POOL: Final = 1 << 16
"""How many different words are kept once. A pool that is full begins anew: words are then shared less, none is lost."""
LONGEST: Final = 1024
"""Characters kept of one annotation: some are whole manifests."""

Words = Mapping[str, str]
NONE: Final[Words] = {}
"""No labels; nobody writes into it."""


class Stamps:
    """Count changes, so that whoever has computed something of what is known sees whether it still holds.

    `generation` goes up with every change, `version` only when a name or an entity may be another than before.
    """

    __slots__ = ("generation", "version")

    def __init__(self) -> None:
        self.generation = 0
        self.version = 0

    def next(self, renamed: bool = False) -> int:
        """Count a change and return the new generation."""
        self.version += renamed
        self.generation += 1
        return self.generation


class Pool:
    """Keep equal words, and equal labels of siblings, as one object each: thousands of pods repeat the same ones."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._siblings: dict[str, Words] = {}

    def word(self, word: str) -> str:
        """Return the kept word that equals this one."""
        kept = self._words.get(word)
        if kept is not None:
            return kept
        if len(self._words) >= _POOL:
            self._words.clear()
        self._words[word] = word
        return word

    def like(self, sibling: str, words: Words | None) -> Words:
        """Return the labels that the last of these siblings (pods of one owner, say) had, if these are equal."""
        if not words:
            return NONE
        kept = self._siblings.get(sibling)
        if kept is not None and kept == words:
            return kept
        word = self.word
        kept = {word(name): word(text) for name, text in words.items()}
        if len(self._siblings) >= _POOL:
            self._siblings.clear()
        self._siblings[sibling] = kept
        return kept


class Choice:
    """Choose labels or annotations: by whole names, or by beginnings of names, written with a `*` at the end."""

    def __init__(self, patterns: Iterable[str]) -> None:
        found = tuple(patterns)
        self._names = frozenset(one for one in found if not one.endswith("*"))
        self._beginnings = tuple([one[:-1] for one in found if one.endswith("*")])
        self._everything = "" in self._beginnings
        self._nothing = not found

    def pick(self, words: Words | None) -> Words:
        """Return those that are chosen, long ones shortened."""
        if not words or self._nothing:
            return NONE
        if self._everything and max(map(len, words.values())) <= LONGEST:
            return words
        names, beginnings = self._names, self._beginnings
        return {name: text[:LONGEST] for name, text in words.items() if name in names or name.startswith(beginnings)}


class Claimant(Protocol):
    """Anything several of which may ask for one name, usually one after the other."""

    @property
    def claim(self) -> Any:
        """Return how good the claim is; the greatest wins."""


C = TypeVar("C", bound=Claimant)


class Claims(Generic[C]):
    """Say whose a name or an address is, while those that had it before are still remembered."""

    __slots__ = ("_claimants",)

    def __init__(self) -> None:
        self._claimants: dict[str, C | tuple[C, ...]] = {}

    def add(self, key: str, claimant: C) -> None:
        """Let one more claim a key."""
        others = self._all(key)
        if claimant not in others:
            self._claimants[key] = (*others, claimant) if others else claimant

    def remove(self, key: str, claimant: C) -> None:
        """Let go of a claim; safe when there is none."""
        left = tuple([one for one in self._all(key) if one is not claimant])
        if left:
            self._claimants[key] = left if len(left) > 1 else left[0]
        else:
            self._claimants.pop(key, None)

    def get(self, key: str) -> C | None:
        """Return the one whose claim is the best now."""
        found = self._claimants.get(key)
        return max(found, key=_claim) if isinstance(found, tuple) else found

    def _all(self, key: str) -> tuple[C, ...]:
        found = self._claimants.get(key)
        return found if isinstance(found, tuple) else () if found is None else (found,)

    def __len__(self) -> int:
        return len(self._claimants)


def _claim(claimant: Claimant) -> Any:
    return claimant.claim


def object_of(raw: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return a part of an object that may be absent or null."""
    return cast("dict[str, Any]", raw.get(part) or {})
