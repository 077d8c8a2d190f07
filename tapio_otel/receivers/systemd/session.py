"""One connection's work: subscribe, list, follow the signals, and ask for what they do not tell.

Signals are taken as they are read; what they do not tell is asked (`questions`), and the events that lack it wait (`outbox`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tapio_otel.receivers.systemd.cgroup import cgroup_of
from tapio_otel.receivers.systemd.connection import (
    MANAGER_PATH,
    PROPERTIES,
    QUERY_ERRORS,
    SYSTEMD,
    CallFailed,
    Connection,
    tolerated,
)
from tapio_otel.receivers.systemd.jobs import JobTypes
from tapio_otel.receivers.systemd.outbox import Outbox
from tapio_otel.receivers.systemd.properties import (
    INTERFACE_OF,
    INTERFACES,
    MANAGER,
    UNIT,
    UNIT_PATH,
    WITH_RESULT,
    Statics,
    unit_of_path,
)
from tapio_otel.receivers.systemd.questions import LOOKERS, UnitQuestions
from tapio_otel.receivers.systemd.selection import UnitSelection
from tapio_otel.receivers.systemd.statics_cache import StaticsCache
from tapio_otel.receivers.systemd.tracker import Listed, Tracker
from tapio_otel.receivers.systemd.transition import Kind, Transition

LIST_PAUSE: Final = 1.0
"""Seconds after which units are listed again where that failed."""
ALREADY_SUBSCRIBED: Final = "org.freedesktop.systemd1.AlreadySubscribed"


class Session:
    """Follow one connection; fills the outbox and calls `wake` when there may be something in it to take."""

    def __init__(
        self,
        connection: Connection,
        tracker: Tracker,
        selection: UnitSelection,
        cache: StaticsCache,
        wake: Callable[[], None],
    ) -> None:
        self.outbox = Outbox()
        self.user_manager = ""
        """The cgroup of the service manager, which tells whose it is."""
        self.manager_started = 0
        """When the service manager was started, in microseconds of the monotonic clock."""
        self.failure: Exception | None = None
        self._connection = connection
        self._tracker = tracker
        self._selection = selection
        self._cache = cache
        self._wake = wake
        self._jobs = JobTypes(connection, self._settle)
        self._owner: str | None = None
        self._questions = UnitQuestions(connection, tracker, cache, self._settle, self._put, self.check)
        self._told_since: set[str] | None = None
        """Units that signals have told of since they were listed last; None while no list is under way."""
        self._list_again = asyncio.Event()

    async def subscribe(self, initial: Callable[[str], bool]) -> None:
        """Register for signals and find out what there is; `initial` tells by the active state which units to tell of.

        Raises `CallFailed`, `ConnectionLost` or TimeoutError.
        """
        if self._connection.has_bus:
            await self._match()
        self.user_manager = str(await self._connection.get(MANAGER_PATH, MANAGER, "ControlGroup"))
        self.manager_started = int(await self._connection.get(MANAGER_PATH, MANAGER, "UserspaceTimestampMonotonic"))
        if self._tracker.has_baseline:
            self._tracker.interrupted()
        else:
            now = time.time_ns() // 1000
            self._tracker.baseline(await self._list(), now, initial)
        await self._register()
        await self._compare()
        for unit in self._tracker.units():
            self._questions.ask(unit)

    async def follow(self) -> None:
        """Answer the questions that the signals raise; returns when the connection is lost."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._questions.run()) for _ in range(LOOKERS)]
            tasks.append(group.create_task(self._jobs.run()))
            tasks.append(group.create_task(self._relist()))
            await asyncio.shield(self._connection.lost)
            for task in tasks:
                task.cancel()

    def check(self) -> None:
        """Compare once more with what systemd lists: a bus drops signals for a client that does not read for long."""
        self._list_again.set()

    def on_signal(self, message: Any) -> None:
        """Take one signal; whatever goes wrong ends the session instead of the library's reading."""
        try:
            self._take(message)
        except Exception as error:
            self.failure = error
            self._wake()

    # signals

    def _take(self, message: Any) -> None:
        member, body = message.member, message.body
        if message.sender == "org.freedesktop.DBus":
            if member == "NameOwnerChanged" and body[0] == SYSTEMD:
                self._owner_changed(body[2])
            return
        if self._owner is not None and message.sender != self._owner:
            return  # a signal that somebody else sent to this connection
        if not self._tracker.has_baseline:
            return  # told before it was listed; what it changes is in the list, or found by the second one
        if member == "PropertiesChanged":
            self._properties_changed(message.path, body[0], body[1])
        elif member in {"JobNew", "JobRemoved"}:
            self._job(member, body)
        elif member == "UnitNew":
            if self._selection.selects(body[0]):
                self._note(body[0])
                self._tracker.unit_new(body[0])
        elif member == "UnitRemoved":
            self._unit_removed(body[0])
        elif member == "Reloading":
            self._reloading(body[0])

    def _properties_changed(self, path: str, interface: str, changed: dict[str, Any]) -> None:
        unit = unit_of_path(path)
        if not unit or not self._selection.selects(unit):
            return
        if interface == UNIT:
            self._note(unit)
            transition = self._tracker.unit_changed(unit, changed)
            if transition is not None:
                self._put(transition)
        elif interface in INTERFACES:
            self._tracker.type_changed(unit, changed)

    def _job(self, member: str, body: list[Any]) -> None:
        job, path, unit = body[0], body[1], body[2]
        if not self._selection.selects(unit):
            return
        if member == "JobNew":
            self._jobs.ask(job, path)
            if unit in self._tracker and not self._cache.has_file(unit):
                self._questions.ask_statics(unit)  # some are gone by the time their first transition comes
            return
        self._job_removed(job, unit, body[3])

    def _job_removed(self, job: int, unit: str, result: str) -> None:
        for transition in self.outbox.waits_for(f"end:{job}"):
            transition.job_result = result
        self._settle(f"end:{job}")
        failed = self._tracker.job_removed(job, unit, result)
        if failed is not None:
            self._put(failed)

    def _unit_removed(self, unit: str) -> None:
        if self._tracker.unit_removed(unit):
            self._note(unit)
            self._questions.unit_removed(unit, wanted=bool(self.outbox.waits_for(f"unit:{unit}")))

    def _reloading(self, active: bool) -> None:
        self._tracker.reloading = active
        self._cache.invalidate()
        if not active:
            self._list_again.set()

    def _owner_changed(self, owner: str) -> None:
        """Take note that systemd left or joined the bus, as it does when it executes itself anew."""
        self._owner = owner
        self._cache.invalidate()
        self._tracker.interrupted()
        if owner:
            self._list_again.set()

    # the outbox

    def _put(self, transition: Transition) -> None:
        unit, now = transition.unit, asyncio.get_running_loop().time()
        waits = []
        if transition.job:
            self._jobs.take_part(transition)
        if not self._cache.knows(unit, transition.state) and unit in self._tracker:
            self._questions.ask_statics(unit)
            waits.append(f"unit:{unit}")
        if cause := self._questions.ask_cause(transition):
            waits.append(cause)
        if transition.job and self._jobs.is_asked(transition.job):
            waits.append(f"job:{transition.job}")
        if transition.job and transition.state.active == "failed" and transition.kind is Kind.STATE:
            waits.append(f"end:{transition.job}")
        self.outbox.put(transition, waits, now)
        self._wake()

    def complete(self, transition: Transition) -> Statics:
        """Add what is known of a transition's job and cause; returns what seldom changes of its unit."""
        if transition.job:
            transition.job_type = self._jobs.type_of(transition)
        self._questions.explain(transition)
        found, state = self._cache.get(transition.unit), transition.state
        has_run = transition.kind is Kind.STATE or not state.ended
        if found.control_group or not found.slice or not has_run:
            return found
        return replace(found, control_group=cgroup_of(transition.unit, found.slice, self.user_manager))

    def _settle(self, name: str) -> None:
        if self.outbox.settle(name):
            self._wake()

    # questions

    async def _match(self) -> None:
        rules = [
            f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',path='{MANAGER_PATH}'",
            f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{SYSTEMD}'",
        ]
        interfaces = [UNIT, *(INTERFACE_OF[one] for one in sorted(self._selection.types & WITH_RESULT))]
        rules += [
            f"type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',member='PropertiesChanged',"
            f"path_namespace='{UNIT_PATH.rstrip('/')}',arg0='{interface}'"
            for interface in interfaces
        ]
        for rule in rules:
            await self._connection.call_bus("AddMatch", "s", [rule])
        self._owner = (await self._connection.call_bus("GetNameOwner", "s", [SYSTEMD]))[0]

    async def _list(self) -> list[Listed]:
        (units,) = await self._connection.call("ListUnits", interface=MANAGER)
        return [Listed(unit[0], unit[3], unit[4]) for unit in units if self._selection.selects(unit[0])]

    async def _compare(self) -> None:
        """Look at every unit that may have changed unseen."""
        since: set[str] = set()
        self._told_since = since
        try:
            suspects, transitions = self._tracker.snapshot(await self._list(), since)
        finally:
            self._told_since = None
        for transition in transitions:
            self._put(transition)
        for unit in suspects:
            self._questions.ask(unit)

    def _note(self, unit: str) -> None:
        """Take note that what is known of a unit may be newer than a list under way."""
        if self._told_since is not None and not self._tracker.reloading:
            self._told_since.add(unit)

    async def _register(self) -> None:
        """Have systemd send signals; it remembers who asked for them when it executes itself anew."""
        try:
            await self._connection.call("Subscribe", interface=MANAGER)
        except CallFailed as error:
            if error.name != ALREADY_SUBSCRIBED:
                raise

    async def _relist(self) -> None:
        while True:
            await self._list_again.wait()
            self._list_again.clear()
            done = False
            with tolerated(*QUERY_ERRORS):
                await self._register()
                await self._compare()
                done = True
            if not done:
                self._list_again.set()
                await asyncio.sleep(LIST_PAUSE)
