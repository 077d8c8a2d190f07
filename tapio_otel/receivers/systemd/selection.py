"""Which units the configuration selects."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

from tapio_otel.receivers.systemd.config import UNIT_TYPES, SystemdConfig
from tapio_otel.receivers.systemd.properties import type_of


class UnitSelection:
    """Tell whether a unit is selected; remembers its last answers."""

    def __init__(self, config: SystemdConfig) -> None:
        self.types = frozenset(config.unit_types or UNIT_TYPES)
        self._wanted = _any_of(config.units or ["*"])
        self._unwanted = _any_of(config.exclude_units) if config.exclude_units else None
        self.selects = lru_cache(maxsize=4096)(self._selects)

    def _selects(self, unit: str) -> bool:
        if type_of(unit) not in self.types or not self._wanted.match(unit):
            return False
        return self._unwanted is None or not self._unwanted.match(unit)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns))
