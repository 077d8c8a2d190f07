"""The questions about units: what signals do not tell of them, asked of a few at a time.

Questions are sent once all that was read has been looked at. A unit that has been unloaded meanwhile would be loaded again by
the question, and unloaded, and so on: it is asked about only where an event waits for the answer and nothing else tells it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tapio_otel.receivers.systemd.connection import PROPERTIES, QUERY_ERRORS, Connection, tolerated
from tapio_otel.receivers.systemd.control import CONTROL_PROPERTIES, failed_command, is_unexplained
from tapio_otel.receivers.systemd.properties import (
    INTERFACE_OF,
    RUN_PROPERTIES,
    UNIT,
    WITH_CGROUP,
    WITH_RESULT,
    path_of_unit,
    statics,
    type_of,
)
from tapio_otel.receivers.systemd.statics_cache import StaticsCache
from tapio_otel.receivers.systemd.tracker import Tracker
from tapio_otel.receivers.systemd.transition import ControlExit, Transition

LOOKERS: Final = 16
"""Units that are asked about at the same time."""
GONE_LIMIT: Final = 256
"""Most units in the queue with which one that is gone is asked about all the same."""
CAUSES_LIMIT: Final = 4096
_WITHOUT_FILE: Final = frozenset(("scope", "slice", "device"))


class UnitQuestions:
    """Ask about units; `settle` is called with `unit:NAME` or `cause:…` once there is an answer or never will be.

    `put` takes transitions that an answer brings to light, `check` is called where systemd did not answer in time.
    """

    def __init__(
        self,
        connection: Connection,
        tracker: Tracker,
        cache: StaticsCache,
        settle: Callable[[str], None],
        put: Callable[[Transition], None],
        check: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._tracker = tracker
        self._cache = cache
        self._settle = settle
        self._put = put
        self._check = check
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._asking: dict[str, bool] = {}
        """Units asked about, and whether they were unloaded since."""
        self._gone: set[str] = set()
        self._unexplained: dict[str, list[Transition]] = {}
        self._causes: dict[str, tuple[str, ControlExit]] = {}
        self._some = asyncio.Semaphore(0)

    def ask(self, unit: str) -> None:
        """Ask about a unit, soon and once."""
        if unit not in self._queued:
            self._queued.add(unit)
            self._queue.append(unit)
            self._some.release()

    def ask_statics(self, unit: str) -> None:
        """Ask about a unit unless an answer is on its way."""
        if unit not in self._asking:
            self.ask(unit)

    def ask_cause(self, transition: Transition) -> str:
        """Ask which process is why a service failed; returns the name under which the answer is settled, or an empty one."""
        unit = transition.unit
        if not is_unexplained(transition) or self._known_cause(transition) or unit not in self._tracker:
            return ""
        self._unexplained.setdefault(unit, []).append(transition)
        self.ask(unit)
        return _cause_name(transition)

    def explain(self, transition: Transition) -> None:
        """Add to a transition which control process is its cause, if that is known."""
        if transition.control is None and is_unexplained(transition):
            transition.control = self._known_cause(transition)

    def unit_removed(self, unit: str, wanted: bool) -> None:
        """Take note that a unit was unloaded; `wanted` tells whether an event waits for the answer."""
        if unit in self._asking:
            self._asking[unit] = True
            return
        if unit not in self._queued:
            return
        self._settle_causes(self._unexplained.pop(unit, []))
        if wanted and self._is_worth_loading(unit):
            self._gone.add(unit)
            return
        self._queued.discard(unit)
        self._settle(f"unit:{unit}")

    async def run(self) -> None:
        """Ask, one unit at a time, for ever."""
        while True:
            await self._some.acquire()
            await asyncio.sleep(0)  # all that was read is looked at first
            unit = self._queue.popleft()
            if unit not in self._queued:
                continue  # unloaded since, or asked about by another
            self._queued.discard(unit)
            unexplained = self._unexplained.pop(unit, [])
            try:
                if unit in self._tracker or unit in self._gone:
                    await self._look(unit, unexplained)
            finally:
                self._gone.discard(unit)
                self._settle_causes(unexplained)
                self._settle(f"unit:{unit}")

    async def _look(self, unit: str, unexplained: list[Transition]) -> None:
        self._asking[unit] = unit in self._gone
        try:
            with tolerated(*QUERY_ERRORS):
                try:
                    await self._ask(unit, unexplained)
                except TimeoutError:
                    self._check()
                    raise
        finally:
            self._asking.pop(unit, None)

    async def _ask(self, unit: str, unexplained: list[Transition]) -> None:
        path, names = path_of_unit(unit), self._names(unit, bool(unexplained))
        interface = INTERFACE_OF.get(type_of(unit), UNIT)
        (properties,), *values = await asyncio.gather(
            self._connection.call("GetAll", "s", [UNIT], path=path, interface=PROPERTIES),
            *(self._connection.get(path, interface, name) for name in names),
        )
        found = dict(zip(names, values, strict=True))
        answer, gone = statics(properties, found), self._asking.get(unit, False)
        if answer.load_state == "loaded" or not gone:
            self._cache.put(unit, answer)
        for transition in unexplained:
            self._keep_cause(transition, failed_command(found, transition))
        if not gone:
            changed = self._tracker.looked_at(unit, properties, found)
            if changed is not None:
                self._put(changed)

    def _names(self, unit: str, unexplained: bool) -> list[str]:
        unit_type = type_of(unit)
        names = ["Slice", "ControlGroup"] if unit_type in WITH_CGROUP else []
        if unit_type in WITH_RESULT and self._tracker.is_suspect(unit):
            names += ["Result", *(RUN_PROPERTIES if unit_type == "service" else ())]
        return [*names, *CONTROL_PROPERTIES] if unexplained else names

    def _is_worth_loading(self, unit: str) -> bool:
        """Tell whether a unit that is gone can be asked about: it has a file, and nothing is known of it."""
        if type_of(unit) in _WITHOUT_FILE or unit.startswith("run-"):  # systemd-run's, which have none
            return False
        return len(self._queue) <= GONE_LIMIT and not self._cache.get(unit).fragment_path

    def _known_cause(self, transition: Transition) -> ControlExit | None:
        invocation, cause = self._causes.get(transition.unit, ("", None))
        return cause if invocation == transition.invocation else None

    def _keep_cause(self, transition: Transition, cause: ControlExit | None) -> None:
        if cause is None:
            return
        transition.control = cause
        self._causes.pop(transition.unit, None)
        self._causes[transition.unit] = (transition.invocation, cause)
        if len(self._causes) > CAUSES_LIMIT:
            del self._causes[next(iter(self._causes))]

    def _settle_causes(self, transitions: list[Transition]) -> None:
        for transition in transitions:
            self._settle(_cause_name(transition))


def _cause_name(transition: Transition) -> str:
    return f"cause:{transition.unit}:{transition.state.stamp}:{transition.state.sub}"
