"""What seldom changes of units, kept beyond their unloading: a unit that runs every minute is asked about once."""

from __future__ import annotations

from typing import Final

from tapio_otel.receivers.systemd.cgroup import cgroup_of
from tapio_otel.receivers.systemd.properties import WITH_CGROUP, Statics, UnitState, type_of

LIMIT: Final = 8192
_NOTHING: Final = Statics()
_STATES_OF_TEMPLATES: Final = frozenset(("static", "generated", "transient"))
"""States of unit files that cannot differ between the instances of a template, as `enabled` can."""


def template_of(unit: str) -> str:
    """Return the name of an instance's template (`web@.service` for `web@1.service`); empty for other units."""
    name, at, instance = unit.partition("@")
    return f"{name}@.{type_of(unit)}" if at and not instance.startswith(".") else ""


class StaticsCache:
    """Keep the statics of the units that were last asked about, until units are reloaded."""

    def __init__(self) -> None:
        self._known: dict[str, Statics] = {}
        self._stale: dict[str, Statics] = {}
        self._of_template: dict[str, Statics] = {}

    def get(self, unit: str) -> Statics:
        """Return a unit's statics: those of before the last reload where there are no newer ones, else its template's."""
        return self._known.get(unit) or self._stale.get(unit) or self._of_template.get(template_of(unit), _NOTHING)

    def has_file(self, unit: str) -> bool:
        """Tell whether all that a unit has before it starts is known."""
        return unit in self._known

    def knows(self, unit: str, state: UnitState) -> bool:
        """Tell whether there is nothing to ask: a unit gets its cgroup when it starts, so then it is asked again."""
        known = self._known.get(unit)
        if known is None:
            return False
        found = known.control_group or cgroup_of(unit, known.slice, "")
        return bool(found) or state.ended or type_of(unit) not in WITH_CGROUP

    def put(self, unit: str, found: Statics) -> None:
        """Keep what was answered; a cgroup that was there before stays, as it is gone by the time a unit has ended."""
        before = self.get(unit)
        if not found.control_group and before.slice == found.slice:
            found = Statics(found.load_state, found.fragment_path, found.unit_file_state, found.slice, before.control_group)
        self._known.pop(unit, None)
        self._known[unit] = found
        if len(self._known) > LIMIT:
            del self._known[next(iter(self._known))]
        self._put_template(unit, found)

    def _put_template(self, unit: str, found: Statics) -> None:
        """Keep what all instances of a template share, if the unit is one."""
        template = template_of(unit)
        if not template or found.fragment_path.rpartition("/")[2] != template:
            return
        state = found.unit_file_state if found.unit_file_state in _STATES_OF_TEMPLATES else ""
        instance = unit[len(template.partition("@")[0]) + 1 : unit.rindex(".")]
        own_slice = found.slice if instance not in found.slice else ""
        self._of_template[template] = Statics(found.load_state, found.fragment_path, state, own_slice)
        if len(self._of_template) > LIMIT:
            del self._of_template[next(iter(self._of_template))]

    def invalidate(self) -> None:
        """Take note that units are reloaded: what is known may have changed."""
        self._stale, self._known = {**self._stale, **self._known}, {}
        for unit in list(self._stale)[:-LIMIT]:
            del self._stale[unit]
