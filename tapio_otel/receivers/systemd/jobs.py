"""The types of jobs: signals name a job by its number only, so systemd is asked, or it is told by what the job did."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from tapio_otel.receivers.systemd.connection import CallFailed, Connection, ConnectionLost, tolerated
from tapio_otel.receivers.systemd.properties import ENDED, MANAGER
from tapio_otel.receivers.systemd.transition import RESTARTING, Transition

MANY: Final = 16
"""From how many new jobs on they are listed all at once."""
LIMIT: Final = 4096
JOB: Final = "org.freedesktop.systemd1.Job"
_STOPPING: Final = frozenset(("deactivating", "inactive", "failed"))
_UP: Final = frozenset(("activating", "active", "deactivating"))


class JobTypes:
    """Find the types of jobs; `settle` is called with `job:ID` once a type is known or never will be."""

    def __init__(self, connection: Connection, settle: Callable[[str], None]) -> None:
        self._connection = connection
        self._settle = settle
        self._types: dict[int, str] = {}
        self._asked: dict[int, str] = {}
        self._did: dict[int, list[str]] = {}
        self._new: deque[int] = deque()
        self._some = asyncio.Event()

    def ask(self, job: int, path: str) -> None:
        """Take note of a new job."""
        self._asked[job] = path
        self._new.append(job)
        self._some.set()

    def is_asked(self, job: int) -> bool:
        """Tell whether a job's type is about to be known."""
        return job in self._asked

    def take_part(self, transition: Transition) -> None:
        """Take note of what a job has done: one that stopped a unit and then started it is a restart."""
        deed, did = _deed(transition), self._did.get(transition.job, [])
        if deed and deed not in did:
            _keep(self._did, transition.job, [*did, deed])

    def type_of(self, transition: Transition) -> str:
        """Return the type of a transition's job; where it ended too soon to be asked, by what it did."""
        did = self._did.get(transition.job, [])
        known = self._types.get(transition.job, "")
        if known and known != "start":
            return known
        if "restart" in did or (did[:1] == ["stop"] and (known or "start" in did)):
            return "restart"  # systemd makes a start of it once the unit is stopped
        return known or (did[0] if did else "start")

    async def run(self) -> None:
        """Ask for the types of new jobs, for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            await asyncio.sleep(0)  # all that was read is looked at first
            jobs = list(self._new)
            self._new.clear()
            try:
                with tolerated(ConnectionLost, TimeoutError):  # types are told by what the jobs do
                    await (self._list(jobs) if len(jobs) >= MANY else self._ask(jobs))
            finally:
                for job in jobs:
                    self._asked.pop(job, None)
                    self._settle(f"job:{job}")

    async def _ask(self, jobs: list[int]) -> None:
        await asyncio.gather(*(self._ask_one(job) for job in jobs))

    async def _ask_one(self, job: int) -> None:
        with tolerated(CallFailed, TimeoutError):  # it ended already
            _keep(self._types, job, str(await self._connection.get(self._asked[job], JOB, "JobType")))

    async def _list(self, jobs: list[int]) -> None:
        wanted = set(jobs)
        try:
            (listed,) = await self._connection.call("ListJobs", interface=MANAGER)
        except CallFailed:
            return
        for one in listed:
            if one[0] in wanted:
                _keep(self._types, one[0], str(one[2]))


def _keep(known: dict[int, Any], job: int, value: Any) -> None:
    known[job] = value
    if len(known) > LIMIT:
        del known[next(iter(known))]


def _deed(transition: Transition) -> str:
    """Return the type of job that makes such a transition; empty where several do.

    A start that fails goes through `deactivating` as a stop does, but it began with the unit's start.
    """
    before, state = transition.previous_active, transition.state
    if "reloading" in {state.active, before}:
        return "reload"
    if transition.previous_sub in RESTARTING:
        return "restart"
    if before in ENDED:
        return "start" if state.active in _UP or (before, state.active) == ("inactive", "failed") else ""
    if before == "activating":
        return "stop" if state.active == "deactivating" else ""
    return "stop" if state.active in _STOPPING else ""
