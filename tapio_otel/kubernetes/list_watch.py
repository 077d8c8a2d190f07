"""Keep up with the objects of one resource: list them, watch from there, and begin again whatever breaks.

Guarantees: what a consumer is given is in order and without gaps; what cannot be continued (410: the server has forgotten) is
listed anew and replaces what was known. A change may be told twice where the consumer raised in the middle of it. A server that
is down, slow, out of its mind or of another opinion about permissions is reported and asked again after a pause, never in a
busy loop. Lists are read in pages, consistent ones (from the server's cache since Kubernetes 1.31).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tapio_otel.component import CounterSink
from tapio_otel.kubernetes.answers import Change, Reader, Told, Trim, read_version
from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.failures import MALFORMED, QUIET, UNREACHABLE, ApiFailure, Request
from tapio_otel.kubernetes.pauses import DEFAULT_PAUSES, Pauses
from tapio_otel.kubernetes.resources import Resource, Selection

__all__ = ["Change", "Consumer", "ListWatch", "identity"]

_LOG: Final = logging.getLogger(__name__)
ENDED: Final = "Ended"
"""The reason of a watch that ends as soon as it is open."""
FRUITLESS: Final = 3
"""After so many watches in a row that said nothing of use, the resourceVersion itself is doubted: the objects are listed."""


class Consumer(Protocol):
    """Take what a ListWatch learns. While it waits, nothing is read: that is the backpressure."""

    async def listed(self, objects: list[Any], version: str, namespace: str) -> None:
        """Take the whole current state of (one namespace of) the selection; it replaces what was known of that."""

    async def changed(self, changes: list[Change], version: str, namespace: str) -> None:
        """Take changes in order, as many as arrived together; none at all where the server only told its version."""


def identity(raw: dict[str, Any]) -> Any:
    """Return an object whole."""
    return raw


class ListWatch:
    """Tell a consumer of the objects of a selection and of every change of them.

    `trim` makes of each object, which always has apiVersion and kind, what the consumer is given. `resume` has versions by
    namespace ("" for all) from which to watch without a list. `fallback` is used where the server does not know `resource`.
    `report` is given what is wrong in one line, or None. Counted: `lists`, `watches`, `watch_events`, and `watch_failures` by
    reason.
    """

    def __init__(
        self,
        client: KubernetesClient,
        resource: Resource,
        selection: Selection,
        consumer: Consumer,
        *,
        trim: Trim = identity,
        page_size: int = 500,
        resume: Mapping[str, str] | None = None,
        report: Callable[[str | None], None] = lambda _problem: None,
        counters: CounterSink | None = None,
        fallback: Resource | None = None,
        pauses: Pauses = DEFAULT_PAUSES,
    ) -> None:
        self.client, self.consumer, self.selection = client, consumer, selection
        self.resource, self.page_size, self.pauses = resource, page_size, pauses
        self.synced = asyncio.Event()
        """Set once each namespace was listed, resumed, or refused by the server: for now there is no more to come."""
        self._wanted, self._fallback = resource, fallback
        self._report, self._counters, self._trim = report, counters, trim
        self._reader: tuple[Resource, Reader] | None = None
        self._problems: dict[str, str] = {}
        namespaces = selection.namespaces or ("",)
        self._unsettled = set(namespaces)
        self._places = [_Place(self, namespace, (resume or {}).get(namespace, "")) for namespace in namespaces]

    @property
    def versions(self) -> dict[str, str]:
        """Return the resourceVersion reached, by namespace; one that was not listed yet is left out."""
        return {place.namespace: place.version for place in self._places if place.version}

    async def run(self) -> None:
        """Go on until cancelled; raises only what the consumer does. May be run again, and continues where it was."""
        try:
            async with asyncio.TaskGroup() as group:
                for place in self._places:
                    group.create_task(place.run())
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    def reader(self, resource: Resource) -> Reader:
        """Return what reads the objects of a resource."""
        if self._reader is None or self._reader[0] != resource:
            self._reader = resource, Reader(resource, self._trim)
        return self._reader[1]

    def count(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Add to a counter."""
        if self._counters is not None and amount:
            self._counters.add(name, amount, resource=self.resource.plural, **attributes)

    def settle(self, namespace: str) -> None:
        """Note that all there is for now has come from this namespace."""
        self._unsettled.discard(namespace)
        if not self._unsettled:
            self.synced.set()

    def tell(self, namespace: str, problem: str | None) -> None:
        """Report when what is wrong has changed."""
        if self._problems.get(namespace) == problem:
            return
        if problem is None:
            del self._problems[namespace]
        else:
            self._problems[namespace] = problem
        self._report("; ".join(dict.fromkeys(self._problems.values())) or None)

    def change_resource(self, unknown: Resource) -> bool:
        """Go from the wanted resource to the fallback or, where that is unknown too, back; tell whether to ask at once."""
        if self.resource != unknown:  # another namespace has found out before
            return True
        if self._fallback is None:
            return False
        self.resource = self._fallback if unknown == self._wanted else self._wanted
        return self.resource == self._fallback


class _Place:
    """Follow the selection in one namespace, or in all."""

    def __init__(self, watch: ListWatch, namespace: str, version: str) -> None:
        self._watch, self.namespace, self.version = watch, namespace, version
        self._client, self._pauses = watch.client, watch.pauses
        self._failures = self._fruitless = 0
        self._progressed = False
        self._doubtful = bool(version)
        """Whether the version may be of another history: the cluster may have been restored or replaced meanwhile."""

    async def run(self) -> None:
        while True:
            resource = self._watch.resource
            self._progressed = False
            try:
                if self.version and self._doubtful:
                    await self._check_history(resource)
                if not self.version:
                    await self._list(resource)
                await self._follow(resource)
            except ApiFailure as failure:
                await self._pause(failure, resource)

    async def _check_history(self, resource: Resource) -> None:
        path = resource.path(self.namespace)
        now = read_version(await self._client.get(path, limit="1"), Request.of("GET", path))
        if _number(self.version) > _number(now):
            _LOG.warning("the cluster is older than what was remembered of its %s: they are listed anew", resource)
            self.version = ""
        self._doubtful = False

    async def _list(self, resource: Resource) -> None:
        try:
            objects, version = await self._pages(resource, self._watch.page_size)
        except _ContinuationExpired:
            objects, version = await self._pages(resource, 0)
        await self._watch.consumer.listed(objects, version, self.namespace)
        self.version, self._doubtful = version, False
        self._watch.count("lists")

    async def _pages(self, resource: Resource, size: int) -> tuple[list[Any], str]:
        path, reader = resource.path(self.namespace), self._watch.reader(resource)
        request = Request.of("GET", path)
        objects: list[Any] = []
        more = ""
        while True:
            params = self._selectors() | ({"limit": str(size)} if size else {}) | ({"continue": more} if more else {})
            try:
                page = reader.page(await self._client.read(path, **params), request)
            except ApiFailure as failure:
                if failure.expired and more:
                    raise _ContinuationExpired from failure
                raise
            objects += page.objects
            self._untrimmed(page.untrimmed)
            more = page.more
            if not more:
                return objects, page.version

    async def _follow(self, resource: Resource) -> None:
        path, reader = resource.path(self.namespace), self._watch.reader(resource)
        request = Request.of("GET", path, watch=True)
        params = self._selectors() | {
            "resourceVersion": self.version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._pauses.watch_seconds()),
        }
        async with self._client.stream(path, **params) as batches:
            self._watch.count("watches")
            self._watch.settle(self.namespace)
            steady = asyncio.get_running_loop().call_later(self._pauses.steady, self._progress)
            try:
                async for lines in batches:
                    await self._take(reader.lines(lines, request))
            finally:
                steady.cancel()
        if not self._progressed:
            raise ApiFailure(0, ENDED, f"cannot {request}: the server ends the watch as soon as it is open")

    async def _take(self, told: Told) -> None:
        if told.version:
            await self._watch.consumer.changed(told.changes, told.version, self.namespace)
            self.version = told.version
            self._watch.count("watch_events", len(told.changes))
            self._progress()
        self._untrimmed(told.untrimmed)
        if told.failure is not None:
            raise told.failure

    def _progress(self) -> None:
        self._progressed = True
        self._failures = self._fruitless = 0
        self._watch.tell(self.namespace, None)

    async def _pause(self, failure: ApiFailure, resource: Resource) -> None:
        """Draw the consequences of a failure, report it, and wait."""
        self._watch.count("watch_failures", reason=failure.reason)
        was_well, self._failures = self._progressed, self._failures + 1
        self._fruitless += failure.reason in (ENDED, MALFORMED)
        self._doubtful = self._doubtful or failure.reason == UNREACHABLE
        if failure.expired or failure.status in (400, 422) or self._fruitless >= FRUITLESS:
            self.version, self._fruitless = "", 0
        if failure.reason == QUIET or (failure.expired and self._failures == 1):
            return  # began anew at once: what is wrong, if anything is, the next answer tells
        if failure.missing and self._watch.change_resource(resource):
            return
        if failure.forbidden or failure.missing:
            self._watch.settle(self.namespace)
            pause = self._pauses.after_refusal()
        else:
            pause = self._pauses.after(self._failures)
        if not was_well:  # a watch that was well may break: the next attempt tells whether something is wrong
            self._watch.tell(self.namespace, failure.message)
        await asyncio.sleep(max(pause, min(failure.retry_after or 0.0, self._pauses.longest_asked)))

    def _selectors(self) -> dict[str, str]:
        selection = self._watch.selection
        selectors = {"fieldSelector": selection.field_selector, "labelSelector": selection.label_selector}
        return {name: text for name, text in selectors.items() if text}

    def _untrimmed(self, count: int) -> None:
        self._watch.count("watch_failures", count, reason="untrimmed")


class _ContinuationExpired(Exception):
    """Report that the pages of a list took longer than the server remembers."""


def _number(version: str) -> float:
    """Return a resourceVersion as the number that it is since Kubernetes 1.35 by contract, and was before."""
    return int(version) if version.isascii() and version.isdecimal() else math.inf
