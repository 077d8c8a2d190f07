"""What seldom changes of units, kept beyond their unloading: a unit that runs every minute is asked about once."""

from __future__ import annotations

from typing import Final

from tapio_otel.receivers.systemd.properties import WITH_CGROUP, Statics, UnitState, type_of

LIMIT: Final = 8192
_NOTHING: Final = Statics()


class StaticsCache:
    """Keep the statics of the units that were last asked about, until units are reloaded."""

    def __init__(self) -> None:
        self._known: dict[str, Statics] = {}
        self._stale: dict[str, Statics] = {}

    def get(self, unit: str) -> Statics:
        """Return a unit's statics, those of before the last reload where there are no newer ones."""
        return self._known.get(unit) or self._stale.get(unit, _NOTHING)

    def knows(self, unit: str, state: UnitState) -> bool:
        """Tell whether there is nothing to ask: a unit gets its cgroup when it starts, so then it is asked again."""
        known = self._known.get(unit)
        if known is None:
            return False
        return bool(known.control_group) or state.ended or type_of(unit) not in WITH_CGROUP

    def put(self, unit: str, found: Statics) -> None:
        """Keep what was answered; a cgroup that was there before stays, as it is gone by the time a unit has ended."""
        before = self.get(unit)
        if not found.control_group and before.slice == found.slice:
            found = Statics(found.load_state, found.fragment_path, found.unit_file_state, found.slice, before.control_group)
        self._known.pop(unit, None)
        self._known[unit] = found
        if len(self._known) > LIMIT:
            del self._known[next(iter(self._known))]

    def invalidate(self) -> None:
        """Take note that units are reloaded: what is known may have changed."""
        self._stale, self._known = {**self._stale, **self._known}, {}
        for unit in list(self._stale)[:-LIMIT]:
            del self._stale[unit]
