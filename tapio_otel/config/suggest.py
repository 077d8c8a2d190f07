"""Suggestions for words that are not known: what was probably meant, else what there is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `word`, forgiving case, dashes and camelCase."""
    names = list(known)
    snake = _CAMEL.sub("_", word[:100]).replace("-", "_").lower()
    near = get_close_matches(snake, names, 1) or get_close_matches(word[:100], names, 1)
    return near[0] if near else None


def suggestion(word: str, known: Iterable[str], what: str) -> str:
    """Return `did you mean 'x'?`, or a list of what is known, introduced by `what`."""
    names = sorted(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"{what} {', '.join(names)}" if names else f"{what} none"
