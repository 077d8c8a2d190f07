"""Followers: take what the API tells of one resource, and hand on what is worth telling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from tapio_otel.component import CounterSink
from tapio_otel.event import UnifiedEvent
from tapio_otel.kubernetes.list_watch import Change
from tapio_otel.receivers.kubernetes.events import version_of
from tapio_otel.receivers.kubernetes.outlet import Outlet
from tapio_otel.receivers.kubernetes.position import EVENTS, Reached
from tapio_otel.receivers.kubernetes.throttle import Throttle, Trimmed
from tapio_otel.receivers.kubernetes.times import nanoseconds
from tapio_otel.receivers.kubernetes.told import INITIAL, RECONCILED, Circumstances

_SLACK: Final = 2_000_000_000
"""Nanoseconds by which the clocks of a cluster may differ when only times tell what is new. What is told twice has one id."""


class EventFollower:
    """Tell each Kubernetes event once, and its repetitions as the throttle lets them."""

    def __init__(
        self,
        outlet: Outlet,
        throttle: Throttle,
        make: Callable[[Trimmed, int], UnifiedEvent],
        wanted: Callable[[Trimmed], bool],
        from_beginning: bool,
        counters: CounterSink,
    ) -> None:
        self._outlet, self._throttle = outlet, throttle
        self._make, self._wanted, self._from_beginning = make, wanted, from_beginning
        self._counters = counters
        self._held = asyncio.Event()
        self._replaced = 0
        outlet.held = lambda: throttle.held

    async def listed(self, objects: list[Trimmed], version: str, namespace: str) -> None:
        """Tell what came after the position, in order; without one what is configured."""

        def told() -> list[Trimmed]:
            reached = self._outlet.position.of(EVENTS, namespace)
            found = [one for one in objects if self._is_new(one, reached, version) and self._wanted(one)]
            found.sort(key=version_of)
            return [event for one in found for event in self._throttle.take(one, repeats=False)]

        await self._send(told, namespace, version)

    async def changed(self, changes: list[Change], version: str, namespace: str) -> None:
        """Tell what is new, and what has occurred again if it is time to."""

        def told() -> list[Trimmed]:
            take, wanted = self._throttle.take, self._wanted
            # Events go away by themselves after an hour: that is no news.
            came = [one for one in changes if one.type != "DELETED" and wanted(one.object)]
            return [event for one in came for event in take(one.object, repeats=one.type == "MODIFIED")]

        await self._send(told, namespace, version)

    async def release(self) -> None:
        """Tell what was held back when its time has come, until cancelled."""
        while True:
            self._held.clear()
            wait = self._throttle.wait()
            try:
                async with asyncio.timeout(wait):
                    await self._held.wait()
            except TimeoutError:
                await self._send(self._throttle.due)

    def _is_new(self, event: Trimmed, reached: Reached | None, version: str) -> bool:
        if reached is None:
            return self._from_beginning
        if version.isdecimal() and 0 < reached.number <= int(version):
            return version_of(event) > reached.number
        return nanoseconds(event.get("last")) >= reached.time - _SLACK  # the cluster was restored: its versions are others

    async def _send(self, told: Callable[[], list[Trimmed]], namespace: str = "", version: str = "") -> None:
        def make() -> list[UnifiedEvent]:
            observed = time.time_ns()
            return [self._make(one, observed) for one in told()]

        await self._outlet.send(make, EVENTS, namespace, version)
        replaced = self._throttle.replaced
        if replaced > self._replaced:
            self._counters.add("dropped", replaced - self._replaced, reason="repeated")
            self._replaced = replaced
        if self._throttle.held:
            self._held.set()


class Versioned(Protocol):
    """Any object that is kept as one version of it says."""

    @property
    def uid(self) -> str:
        """Return what tells it from all others."""


V = TypeVar("V", bound=Versioned)
V_contra = TypeVar("V_contra", bound=Versioned, contravariant=True)


class Changes(Protocol[V_contra]):
    """Tell changes of one kind of object."""

    def between(self, before: V_contra | None, after: V_contra, found: Circumstances) -> Iterator[UnifiedEvent]:
        """Yield the events of a change."""

    def deleted(self, one: V_contra, found: Circumstances) -> UnifiedEvent:
        """Return the event of an object that is gone."""

    def learn(self, one: V_contra) -> None:
        """Remember what an object is called, whether anything is told of it or not."""

    def is_unwell(self, one: V_contra) -> bool:
        """Tell whether an object should not stay as it is."""


class StateFollower(Generic[V]):
    """Tell the changes of pods or nodes by comparing each with what was known of it."""

    def __init__(self, outlet: Outlet, resource: str, changes: Changes[V], initial: str) -> None:
        self._outlet, self._resource, self._changes, self._initial = outlet, resource, changes, initial
        self._known: dict[str, dict[str, V]] = {}

    def recall(self, objects: list[V], namespace: str) -> None:
        """Take what was known at the position."""
        self._known[namespace] = {one.uid: one for one in objects}
        self._learn(objects)

    async def listed(self, objects: list[V], version: str, namespace: str) -> None:
        """Tell what is other than it was known; without that, what the objects themselves say has changed since."""
        before = self._known.get(namespace)
        self._known[namespace] = after = {one.uid: one for one in objects}
        self._learn(objects)

        def make() -> list[UnifiedEvent]:
            return list(self._differences(before, after, namespace))

        await self._outlet.send(make, self._resource, namespace, version)

    async def changed(self, changes: list[Change], version: str, namespace: str) -> None:
        """Tell what changed."""
        known = self._known.setdefault(namespace, {})

        def make() -> list[UnifiedEvent]:
            found = Circumstances(time.time_ns())
            events: list[UnifiedEvent] = []
            for change, one in changes:
                if change == "DELETED":
                    known.pop(one.uid, None)
                    events.append(self._changes.deleted(one, found))
                else:
                    events += self._changes.between(known.get(one.uid), one, found)
                    known[one.uid] = one
            return events

        await self._outlet.send(make, self._resource, namespace, version)

    def _learn(self, objects: list[V]) -> None:
        for one in objects:
            self._changes.learn(one)

    def _differences(self, before: dict[str, V] | None, after: dict[str, V], namespace: str) -> Iterator[UnifiedEvent]:
        now = time.time_ns()
        reached = self._outlet.position.of(self._resource, namespace)
        if before is not None:
            found = Circumstances(now, RECONCILED)
            yield from [self._changes.deleted(one, found) for uid, one in before.items() if uid not in after]
        elif reached is not None:
            found = Circumstances(now, RECONCILED, reached.time - _SLACK)
        else:
            found = Circumstances(now, INITIAL)
        for uid, one in after.items():
            if (
                found.mark != INITIAL
                or self._initial == "all"
                or (self._initial == "unhealthy" and self._changes.is_unwell(one))
            ):
                yield from self._changes.between((before or {}).get(uid), one, found)
