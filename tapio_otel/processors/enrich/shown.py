"""Choices of labels and annotations by include lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_EVERYTHING: Final = "*"


class Choice:
    """Choose by names in which `*` stands for anything."""

    def __init__(self, names: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(names))
        self._all = _EVERYTHING in wanted
        self._exact = frozenset(one for one in wanted if "*" not in one)
        forms = [".*".join(map(re.escape, one.split("*"))) for one in wanted if "*" in one]
        self._form = re.compile("|".join(forms), re.DOTALL) if forms else None

    def __bool__(self) -> bool:
        return bool(self._all or self._exact or self._form)

    def of(self, words: Mapping[str, str]) -> Mapping[str, str]:
        """Return those that are chosen."""
        if self._all or not words:
            return words
        exact, form = self._exact, self._form
        if form is None:
            return {name: text for name, text in words.items() if name in exact}
        return {name: text for name, text in words.items() if name in exact or form.fullmatch(name)}


def beginnings(names: Iterable[str]) -> set[str]:
    """Return names that choose as much or more, a `*` being at the end only: as a `ClusterCache` takes them."""
    return {f"{head}*" if star else head for head, star, _ in (name.partition("*") for name in names)}
