"""Names in their order of preference, looked for among the few fields that a body has rather than one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]
"""Values by name in lower case, names of nested objects joined by dots."""

Ranks = Mapping[str, int]
"""Names with their rank, the preferred one first."""


def ranked(*names: str) -> Ranks:
    """Return names with their place as rank."""
    return {name: place for place, name in enumerate(names)}


def present(fields: Fields, names: Ranks) -> list[str]:
    """Return those of the names that are among the fields, the preferred one first."""
    found = [name for name in fields if name in names]
    if len(found) > 1:
        found.sort(key=names.__getitem__)
    return found
