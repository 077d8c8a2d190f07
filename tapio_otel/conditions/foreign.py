"""Options of the collector's components that choose by OTTL, which is not the language of conditions here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def refuse_foreign(options: Any, foreign: Collection[str], instead: str) -> Any:
    """Return options as they are; raises ValueError naming those that are foreign here, and saying what to write instead."""
    found = sorted(set(foreign).intersection(options)) if isinstance(options, dict) else []
    if found:
        raise ValueError(f"{' and '.join(f'`{name}`' for name in found)}: {instead}")
    return options
