"""The connection to the cluster and the container runtime: one for all enrich processors of an agent that ask for the same.

It never keeps the agent from starting: while there is no cluster, or none that answers, that is reported, asked again after a
pause, and events pass with what is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from tapio_otel.component import ComponentContext
from tapio_otel.entities import EntityMapper
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.processors.enrich.config import EnrichConfig, KubernetesOptions
from tapio_otel.processors.enrich.enrichers.mesh import MESH_ANNOTATIONS, MESH_LABELS
from tapio_otel.processors.enrich.enrichers.pod import SERVICE_ANNOTATIONS
from tapio_otel.processors.enrich.shown import beginnings

if TYPE_CHECKING:
    from tapio_otel.kubernetes.cri import RuntimePods

Report = Callable[[str, str | None], None]
_SHORTEST, _LONGEST = 1.0, 60.0
"""Seconds between attempts to find a cluster."""
_WANTED: Final = {
    "pod": ("pods",),
    "container": ("pods",),
    "node": ("pods", "nodes"),
    "namespace": ("pods", "namespaces"),
    "services": ("pods", "services", "endpointslices"),
    "mesh": ("pods", "namespaces"),
    "addresses": ("pods", "services"),
}
"""What enrichers need of the cluster."""


class Connection:
    """Keep a `ClusterCache` up to date as long as anybody holds it. For one event loop."""

    def __init__(
        self, options: KubernetesOptions, wanted: Iterable[str], cache: ClusterCache, runtime: RuntimePods | None
    ) -> None:
        self.cache = cache
        self.synced = False
        """Whether all that is wanted of the cluster has been seen once."""
        self._options = options
        self._wanted = tuple(wanted)
        self._runtime = runtime
        self._problems: dict[str, str] = {}
        self._holders: dict[int, Report] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def wanted(self) -> bool:
        """Tell whether there is anybody to ask."""
        return self._options.wanted or self._runtime is not None

    @property
    def active(self) -> bool:
        """Tell whether it is kept up."""
        return bool(self._tasks)

    def hold(self, context: ComponentContext, report: Report) -> None:
        """Begin to keep up, unless somebody holds it already; `report` is told who is asked and what is wrong, or None."""
        self._holders[id(context)] = report
        for part, problem in self._problems.items():
            report(part, problem)
        if self._tasks or not self.wanted:
            return
        if context.entities.names is None:
            context.entities.names = self.cache
        if self._options.wanted:
            self._begin("cluster", self._follow(context))
            self._begin("first sight of the cluster", self._note_sync())
        if self._runtime is not None:
            self._begin("container runtime", self._runtime.run(partial(self._report, "container runtime")))

    async def release(self, context: ComponentContext) -> None:
        """Stop when nobody holds it any more; safe without `hold`."""
        if self._holders.pop(id(context), None) is None or self._holders:
            return
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._problems.clear()
        self.synced = False
        if context.entities.names is self.cache:
            others = list(_CONNECTIONS.get(context.entities, WeakValueDictionary()).values())
            context.entities.names = next((one.cache for one in others if one is not self and one.active), None)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"enrich: {name}"))

    async def _follow(self, context: ComponentContext) -> None:
        """Keep up with the cluster, whatever happens."""
        from tapio_otel.kubernetes.client import KubernetesClient

        pause = _SHORTEST
        options, report = self._options, partial(self._report, "kubernetes")
        feeds = self.cache.watches(self._wanted, namespaces=tuple(options.namespaces), node=options.node)
        while True:
            client = KubernetesClient(options, context.notices)
            try:
                await client.open()
                report(None)  # else what kept it from opening stays in health: its watches tell only what is wrong with them
                await self.cache.run(client, feeds, report=report, counters=context.counters)
            except Exception as error:
                report(f"events go on without names from Kubernetes: {str(error) or type(error).__name__}")
            finally:
                await client.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    async def _note_sync(self) -> None:
        await self.cache.synced()
        self.synced = True

    def _report(self, part: str, problem: str | None) -> None:
        if problem == self._problems.get(part):
            return
        if problem is None:
            del self._problems[part]
        else:
            self._problems[part] = problem
        for report in self._holders.values():
            report(part, problem)


_CONNECTIONS: Final[WeakKeyDictionary[EntityMapper, WeakValueDictionary[str, Connection]]] = WeakKeyDictionary()
"""Gone with the processors that hold them: other options after a reload leave nothing behind of what was known."""


def connection_for(context: ComponentContext, config: EnrichConfig) -> Connection:
    """Return the connection that a configuration asks for, the same one for the same agent; nothing is begun yet."""
    named = set(config.enrichers)
    wanted = dict.fromkeys(kind for name, kinds in _WANTED.items() if name in named for kind in ("pods", *kinds))
    mesh = "mesh" in named
    shown = (config.pod, config.node, config.namespace)
    labels = beginnings([*(MESH_LABELS if mesh else ()), *[name for one in shown for name in one.labels]])
    annotations = beginnings(
        [*SERVICE_ANNOTATIONS, *(MESH_ANNOTATIONS if mesh else ()), *[name for one in shown for name in one.annotations]]
    )
    key = repr((config.kubernetes.model_dump(), tuple(wanted), sorted(labels), sorted(annotations)))
    known = _CONNECTIONS.setdefault(context.entities, WeakValueDictionary())
    connection = known.get(key)
    if connection is None:
        runtime = _runtime_of(context.entities, config.kubernetes, annotations)
        cache = _cache_of(config.kubernetes, labels, annotations, runtime)
        known[key] = connection = Connection(config.kubernetes, wanted or ("pods",), cache, runtime)
    return connection


def _runtime_of(entities: EntityMapper, options: KubernetesOptions, annotations: set[str]) -> RuntimePods | None:
    if not options.cri_socket:
        return None
    from tapio_otel.kubernetes.cri import RuntimePods

    return RuntimePods(
        options.cri_socket, entities.node, options.node, annotations=annotations, tombstone_ttl=options.tombstone_ttl
    )


def _cache_of(options: KubernetesOptions, labels: set[str], annotations: set[str], runtime: RuntimePods | None) -> ClusterCache:
    kept: dict[str, Any] = {"max_pods": options.max_pods, "labels": sorted(labels), "annotations": sorted(annotations)}
    if runtime is None:
        return ClusterCache(options.tombstone_ttl, **kept)
    from tapio_otel.kubernetes.cri import ClusterCacheWithRuntime

    return ClusterCacheWithRuntime(runtime, options.tombstone_ttl, **kept)
