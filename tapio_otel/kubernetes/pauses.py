"""How long to wait before the API is asked again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pauses:
    """Hold the times of a ListWatch, in seconds."""

    shortest: float = 0.5
    """Before the first further attempt; doubled with each."""
    longest: float = 30.0
    refused: float = 60.0
    """After an answer that somebody must change something for: a missing permission, an unknown resource."""
    longest_asked: float = 300.0
    """Most of what a server may ask to wait, so that one wrong number does not silence the agent."""
    steady: float = 5.0
    """A watch that stays open for so long is well, even when nothing was heard."""
    watch: tuple[int, int] = (300, 600)
    """How long the server keeps a watch open: a random time, so that not all are begun anew at once."""

    def after(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row: with jitter, so that agents do not ask in step."""
        return random.uniform(0.5, 1.0) * min(2 * self.shortest * 2.0 ** min(failures - 1, 30), self.longest)  # noqa: S311

    def after_refusal(self) -> float:
        """Return how long to wait after a refusal."""
        return random.uniform(0.5, 1.0) * self.refused  # noqa: S311

    def watch_seconds(self) -> int:
        """Return for how long to watch."""
        return random.randint(*self.watch)  # noqa: S311


DEFAULT_PAUSES: Final = Pauses()
