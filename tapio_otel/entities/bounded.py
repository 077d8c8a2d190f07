"""A dict that forgets its oldest entries instead of growing without end."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V]):
    """Hold at most `limit` entries put in by `keep`; when full, the oldest quarter goes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def keep(self, key: K, value: V) -> V:
        """Put an entry in, as the newest, and return its value."""
        self.pop(key, None)
        if len(self) >= self._limit:
            for old in list(islice(self, max(self._limit // 4, 1))):
                del self[old]
        self[key] = value
        return value
