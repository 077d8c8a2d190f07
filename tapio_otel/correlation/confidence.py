"""Confidence: how sure a finding is, between 0 and 1, by one formula.

It begins with the rule's own figure, which is what a finding has that only one source tells of each fact, with nothing
missing.

1. For every further source that witnessed the root cause, and for every further one that witnessed the best witnessed impact,
   30 % of what is missing to certainty is added: c = c + (1 - c) * 0.3. At most four are counted.
2. For every alias that the rule calls evidence and that is absent: c = c * 0.85.
3. Where by the sources' clocks a consequence came before its cause (within the tolerance): c = c * 0.95.
4. At most 0.99, to three digits.
"""

from __future__ import annotations

from typing import Final

AGREEMENT: Final = 0.3
MISSING: Final = 0.85
CONTRADICTION: Final = 0.95
HIGHEST: Final = 0.99
MOST_WITNESSES: Final = 4


def confidence(base: float, further_sources: int = 0, missing: int = 0, contradicted: bool = False) -> float:
    """Return how sure a finding is; see the module for what the arguments count."""
    sure = base
    for _ in range(min(further_sources, MOST_WITNESSES)):
        sure += (1 - sure) * AGREEMENT
    sure *= MISSING**missing
    if contradicted:
        sure *= CONTRADICTION
    return round(min(sure, HIGHEST), 3)
