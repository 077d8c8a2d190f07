"""The cache of a cluster's metadata: what the name, address or id of a pod, container, service or node stands for.

It is fed by watches, and remembers for a while what has been deleted. Finding something is a dictionary hit and never asks
anybody. It answers what an `EntityMapper` wants to know of names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from tapio_otel.component import CounterSink
from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.list_watch import Change, Consumer, ListWatch
from tapio_otel.kubernetes.nodes import Namespace, Node, Places, TrimPlaces
from tapio_otel.kubernetes.objects import NONE, Choice, Pool, Stamps, Words
from tapio_otel.kubernetes.pod_index import Clock, PodIndex
from tapio_otel.kubernetes.pods import Container, Pod, TrimPods
from tapio_otel.kubernetes.resources import ENDPOINT_SLICES, NAMESPACES, NODES, PODS, SERVICES, Resource, Selection
from tapio_otel.kubernetes.services import Service, ServiceMap, Services, TrimServices

EVERYTHING: Final = ("pods", "nodes", "namespaces", "services", "endpointslices")
"""What can be wanted of a cluster, by the API's names."""
_PAGE: Final = 100
"""Objects in a page of a list. A page is decoded whole, in which a pod takes some fifty kilobytes instead of the two kept."""
_SWEEP: Final = 30.0
"""Seconds between two looks for what has been remembered long enough, at most."""
T_contra = TypeVar("T_contra", contravariant=True)


class Store(Protocol[T_contra]):
    """Hold all objects of one kind."""

    def replace(self, found: Iterable[T_contra], namespace: str = "", /) -> None:
        """Take all objects that there are, in one namespace or in all."""

    def put(self, found: T_contra, /) -> None:
        """Take an object as it is now."""

    def remove(self, found: T_contra, /) -> None:
        """Take an object as it was when it was deleted."""


class Feed(NamedTuple):
    """Say what is listed and watched, how an object is trimmed, and who takes it."""

    resource: Resource
    selection: Selection
    trim: Callable[[dict[str, Any]], Any]
    consumer: Consumer


class Feeding:
    """Put what a watch tells into a store."""

    def __init__(self, store: Store[Any], sweep: Callable[[], None]) -> None:
        self._store = store
        self._sweep = sweep

    async def listed(self, objects: list[Any], version: str, namespace: str) -> None:  # noqa: ARG002 - the protocol's
        """Take the whole state."""
        self._store.replace(objects, namespace)
        self._sweep()

    async def changed(self, changes: list[Change], version: str, namespace: str) -> None:  # noqa: ARG002 - the protocol's
        """Take changes in their order."""
        put, remove = self._store.put, self._store.remove
        for kind, found in changes:
            if kind == "DELETED":
                remove(found)
            else:
                put(found)
        self._sweep()


class ClusterCache:
    """Know the pods, containers, services, nodes and namespaces of a cluster. For the event loop's thread.

    Deleted pods and containers that were replaced are remembered for `tombstone_ttl` seconds; at most `max_pods` are kept,
    `evicted` counts those that were forgotten too early. `labels` and `annotations` name what is kept of them, a `*` at the end
    standing for anything.
    """

    def __init__(
        self,
        tombstone_ttl: float = 300.0,
        *,
        max_pods: int = 200_000,
        labels: Iterable[str] = ("*",),
        annotations: Iterable[str] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        self._pause = min(tombstone_ttl / 4, _SWEEP)
        self._stamps = stamps = Stamps()
        self._watches: asyncio.Future[list[ListWatch]] | None = None
        pool, wanted_labels, wanted_annotations = Pool(), Choice(labels), Choice(annotations)
        self._trim_pods = TrimPods(pool, wanted_labels, wanted_annotations)
        self._trim_places = TrimPlaces(pool, wanted_labels, wanted_annotations)
        self._trim_services = TrimServices(pool, wanted_labels)
        self._nodes: Places[Node] = Places(Node, stamps)
        self._namespaces: Places[Namespace] = Places(Namespace, stamps)
        self._services = Services(stamps)
        self._service_map = ServiceMap(self._touched)
        self._pods = PodIndex(self._nodes, self._namespaces, self._service_map.of, stamps, tombstone_ttl, max_pods, clock)

    # --- finding: dictionary hits ---------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Return a number that goes up whenever anything of what is known changes."""
        return self._stamps.generation

    @property
    def version(self) -> int:
        """Return a number that goes up whenever `container` or `pod` may answer otherwise than before."""
        return self._stamps.version

    @property
    def evicted(self) -> int:
        """Return how many pods were forgotten because there were too many."""
        return self._pods.evicted

    def container(self, container_id: str) -> EntityReference | None:
        """Return a container below its pod, owners and node."""
        held = self._pods.held(container_id)
        return held.entity if held is not None else None

    def pod(self, uid: str) -> EntityReference | None:
        """Return a pod below its owners and node, by its UID or the one that its cgroups are named by."""
        pod = self._pods.by_uid(uid) or self._pods.by_static_uid(uid)
        return pod.entity if pod is not None else None

    def pod_by_uid(self, uid: str) -> Pod | None:
        """Return the pod of a UID."""
        return self._pods.by_uid(uid)

    def pod_by_name(self, namespace: str, name: str) -> Pod | None:
        """Return the pod of a name; of several, that which lives or has lived last."""
        return self._pods.by_name(namespace, name)

    def pod_by_ip(self, ip: str) -> Pod | None:
        """Return the pod that has an address of its own; of several, that which lives or has lived last."""
        return self._pods.by_ip(ip)

    def pod_of_container(self, container_id: str) -> tuple[Pod, Container] | None:
        """Return a container, with its pod, by its whole id; one that was replaced is terminated."""
        held = self._pods.held(container_id)
        return (held.pod, held.container) if held is not None else None

    def pod_of_static_uid(self, uid: str) -> Pod | None:
        """Return a static pod by the UID that its cgroups are named by (its mirror in the API has another)."""
        return self._pods.by_static_uid(uid)

    def service_by_ip(self, ip: str) -> Service | None:
        """Return the service that has an address."""
        return self._services.by_ip(ip)

    def services_of(self, pod: Pod) -> tuple[str, ...]:
        """Return the names of the services that lead to a pod, or led to a deleted one, sorted."""
        return self._service_map.of(pod) if pod.deleted_at is None else pod.services

    def node(self, name: str) -> Node | None:
        """Return a node."""
        return self._nodes.get(name)

    def namespace(self, name: str) -> Words:
        """Return the labels of a namespace, none if it is unknown."""
        place = self._namespaces.get(name)
        return place.labels if place is not None else NONE

    @property
    def sizes(self) -> dict[str, int]:
        """Return how many objects of each kind are known, and how many of the pods are deleted."""
        return {
            "pods": len(self._pods),
            "deleted_pods": self._pods.remembered,
            "nodes": len(self._nodes),
            "namespaces": len(self._namespaces),
            "services": len(self._services),
            "endpointslices": len(self._service_map),
        }

    # --- keeping up -----------------------------------------------------------------------------------------------------

    def watches(self, wanted: Iterable[str] = EVERYTHING, *, namespaces: tuple[str, ...] = (), node: str = "") -> list[Feed]:
        """Return what has to be watched so that what is wanted (of `EVERYTHING`) is known.

        With `namespaces`, only what is in these; with `node`, only the pods of that node and itself. Raises ValueError where
        what is wanted is none of `EVERYTHING`.
        """
        wanted = tuple(wanted)
        pods = Selection(namespaces, field_selector=f"spec.nodeName={node}" if node else "")
        nodes = Selection(field_selector=f"metadata.name={node}" if node else "")
        known = {
            "pods": self._feed(PODS, pods, self._trim_pods, self._pods),
            "nodes": self._feed(NODES, nodes, self._trim_places.node, self._nodes),
            "namespaces": self._feed(NAMESPACES, Selection(), self._trim_places.namespace, self._namespaces),
            "services": self._feed(SERVICES, Selection(namespaces), self._trim_services.service, self._services),
            "endpointslices": self._feed(ENDPOINT_SLICES, Selection(namespaces), self._trim_services.slice, self._service_map),
        }
        if unknown := [one for one in wanted if one not in known]:
            raise ValueError(f"nothing is known of {unknown[0]!r} in a cluster: want any of {', '.join(known)}")
        return [known[one] for one in dict.fromkeys(wanted)]

    def _feed(
        self, resource: Resource, where: Selection, trim: Callable[[dict[str, Any]], T_contra], store: Store[T_contra]
    ) -> Feed:
        return Feed(resource, where, trim, Feeding(store, self.sweep))

    async def run(
        self,
        client: KubernetesClient,
        feeds: Iterable[Feed] | None = None,
        *,
        report: Callable[[str | None], None] = lambda _problem: None,
        counters: CounterSink | None = None,
    ) -> None:
        """Keep up with the cluster until cancelled; `feeds` are what `watches` returned, by default everything.

        May be run again, which lists everything anew and keeps what is remembered of deleted pods.

        `report` is told a problem, that of the first kind of objects that has one, and None when there is none any more.
        """
        telling = partial(_report, report, {})
        watches = [
            ListWatch(
                client,
                feed.resource,
                feed.selection,
                feed.consumer,
                trim=feed.trim,
                page_size=_PAGE,
                report=partial(telling, feed.resource.plural),
                counters=counters,
            )
            for feed in (self.watches() if feeds is None else feeds)
        ]
        self._started.set_result(watches)
        try:
            async with asyncio.TaskGroup() as tasks:
                for watch in watches:
                    tasks.create_task(watch.run())
                await self._sweep_forever()
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            self._watches = None

    async def synced(self) -> None:
        """Wait until all that `run` watches has been listed once."""
        for watch in await asyncio.shield(self._started):
            await watch.synced.wait()

    def sweep(self) -> None:
        """Forget what was deleted long enough ago."""
        self._pods.sweep()

    @property
    def _started(self) -> asyncio.Future[list[ListWatch]]:
        if self._watches is None:
            self._watches = asyncio.get_running_loop().create_future()
        return self._watches

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            self.sweep()

    def _touched(self, pod: str) -> None:
        """Count a change of the services that lead to a pod, named by its UID or by namespace and name."""
        found = self._pods.by_name(*pod.split("/", 1)) if "/" in pod else self._pods.by_uid(pod)
        if found is not None and found.deleted_at is None:
            self._pods.touch(found)


def _report(report: Callable[[str | None], None], problems: dict[str, str], kind: str, problem: str | None) -> None:
    if problem is None:
        problems.pop(kind, None)
    else:
        problems[kind] = problem
    report(next(iter(problems.values()), None))
