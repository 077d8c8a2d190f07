"""Names from the container runtime: pods and containers of this machine before the API tells of them, or without any API.

The runtime is asked again and again, beside the events: every `interval`, and within a second when an event names a container
or pod that nobody knows. Finding something is a dictionary hit. What is gone is remembered for a while, as late events tell of
it. Without an answer, what is known stays in use and the problem is reported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from tapio_otel.component import ComponentError
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes.cri_messages import RuntimeContainer, Sandbox
from tapio_otel.kubernetes.cri_pods import by_sandbox, container_of, pod_of
from tapio_otel.kubernetes.cri_socket import RuntimeSocket, RuntimeState
from tapio_otel.kubernetes.nodes import Node
from tapio_otel.kubernetes.objects import Choice, Stamps
from tapio_otel.kubernetes.pod_index import Clock, Held
from tapio_otel.kubernetes.pods import NAMING, Container, Pod

_SHORTEST: Final = 1.0
"""Seconds between two questions, at least."""
_TRIES: Final = 3
"""How often the runtime is asked at once for one unknown id: what it does not know then is of another runtime."""
_ASKED: Final = 4096
_KEPT: Final = 8192
"""Pods, and containers, that are kept at most: a node has some hundreds."""


class RuntimePods:
    """Know the pods of one runtime. For the event loop's thread.

    `machine` is this machine as an entity, `node` what Kubernetes calls it, if that is known. `annotations` name those that are
    kept, a `*` at the end standing for anything.
    """

    def __init__(
        self,
        path: str,
        machine: EntityReference,
        node: str = "",
        *,
        annotations: Iterable[str] = (),
        interval: float = 30.0,
        tombstone_ttl: float = 300.0,
        limit: int = _KEPT,
        clock: Clock = time.monotonic,
    ) -> None:
        self.synced = asyncio.Event()
        self._socket = RuntimeSocket(path)
        self._stamps = Stamps()
        self._place = Node(node, hostname=machine.name, machine_id=machine.uid) if node else Node(machine.name, _entity=machine)
        self._node, self._annotations = node, Choice(annotations)
        self._interval, self._ttl, self._limit, self._clock = interval, tombstone_ttl, limit, clock
        self._pods: dict[str, Pod] = {}
        self._seen: dict[str, Any] = {}
        self._containers: dict[str, Held] = {}
        self._sandboxes: frozenset[str] = frozenset()
        self._gone: dict[str, float] = {}
        self._asked: Bounded[str, int] = Bounded(_ASKED)
        self._reads = 0
        self._wanted = asyncio.Event()

    # --- finding: dictionary hits ---------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Return a number that goes up whenever anything of what is known changes."""
        return self._stamps.generation

    @property
    def version(self) -> int:
        """Return a number that goes up whenever an id may have another name than before."""
        return self._stamps.version

    def held(self, container_id: str) -> Held | None:
        """Return a container with its pod; an unknown one is asked for."""
        found = self._containers.get(container_id)
        if found is None and container_id not in self._sandboxes:
            self._want(container_id)
        return found

    def pod_by_uid(self, uid: str) -> Pod | None:
        """Return a pod by the UID that its cgroups are named by; an unknown one is asked for."""
        found = self._pods.get(uid)
        if found is None:
            self._want(uid)
        return found

    def __len__(self) -> int:
        return len(self._pods)

    # --- keeping up -----------------------------------------------------------------------------------------------------

    async def run(self, report: Callable[[str | None], None] = lambda _problem: None) -> None:
        """Keep up with the runtime until cancelled; `report` is told what is wrong, and None when it is well again."""
        try:
            while True:
                self._wanted.clear()
                try:
                    self.take(await self._socket.read())
                except ComponentError as error:
                    report(f"names from the container runtime are missing: {error}")
                else:
                    report(None)
                    self.synced.set()
                await asyncio.sleep(_SHORTEST)
                await self._wait(self._interval - _SHORTEST)
        finally:
            await self._socket.close()

    def take(self, state: RuntimeState) -> None:
        """Take all that the runtime has now."""
        self._reads += 1
        self._sandboxes = frozenset(one.id for one in state.sandboxes)
        containers = by_sandbox(state.containers)
        pods: dict[str, tuple[Sandbox, list[RuntimeContainer]]] = {}
        for sandbox in sorted(state.sandboxes, key=lambda one: one.created):
            if sandbox.uid:
                before = pods.get(sandbox.uid)
                pods[sandbox.uid] = (sandbox, [*(before[1] if before else ()), *containers.get(sandbox.id, ())])
        for uid, told in list(pods.items())[-self._limit :]:
            if self._seen.get(uid) != told:
                self._seen[uid] = told
                self._put(*told, state.name)
        present = {one.id for _, ours in pods.values() for one in ours}
        self._note_gone([*pods, *present])
        self._sweep()

    def _put(self, sandbox: Sandbox, containers: list[RuntimeContainer], runtime: str) -> None:
        found = pod_of(sandbox, containers, runtime, self._place, self._node, self._annotations)
        pod = self._pods.get(found.uid)
        if pod is None:
            pod = self._pods[found.uid] = found
            renamed = True
        else:
            differences = pod.differences(found)
            pod.take(found, differences)
            renamed = not NAMING.isdisjoint(differences)
        for one in containers:
            renamed |= self._hold(pod, container_of(one, runtime))
        pod.changed = self._stamps.next(renamed)

    def _hold(self, pod: Pod, container: Container) -> bool:
        """Hold a container; tells whether its id had no name before, or another."""
        held = self._containers.get(container.id)
        if held is None or held.pod is not pod:
            self._containers[container.id] = Held(pod, container)
            return True
        renamed = held.container.name != container.name
        held.take(container)
        return renamed

    def _note_gone(self, present: list[str]) -> None:
        """Begin to forget what the runtime does not have any more."""
        here, until = set(present), self._clock() + self._ttl
        for known in (*self._pods, *self._containers):
            if known in here:
                self._gone.pop(known, None)
            elif known not in self._gone:
                self._gone[known] = until

    def _sweep(self) -> None:
        """Forget what went long enough ago; the eldest earlier when there is too much."""
        now = self._clock()
        crowd = max(len(self._pods), len(self._containers)) - self._limit
        for known, until in list(self._gone.items()):
            if until > now and crowd <= 0:
                break
            crowd -= 1
            del self._gone[known]
            self._seen.pop(known, None)
            self._pods.pop(known, None)
            self._containers.pop(known, None)
            self._stamps.next(renamed=True)

    # --- asking for what is unknown -------------------------------------------------------------------------------------

    def _want(self, unknown: str) -> None:
        first = self._asked.get(unknown)
        if first is None:
            first = self._asked.keep(unknown, self._reads)
        if self._reads - first < _TRIES:
            self._wanted.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._wanted.wait()
        except TimeoutError:
            return


class ClusterCacheWithRuntime(ClusterCache):
    """Know a cluster, and of this machine also what its container runtime tells: the API is asked first."""

    def __init__(self, runtime: RuntimePods, tombstone_ttl: float = 300.0, **options: Any) -> None:
        super().__init__(tombstone_ttl, **options)
        self.runtime = runtime
        self._joined: Bounded[str, Held] = Bounded(_KEPT)

    @property
    def generation(self) -> int:
        """Return a number that goes up whenever anything of what is known changes."""
        return super().generation + self.runtime.generation

    @property
    def version(self) -> int:
        """Return a number that goes up whenever `container` or `pod` may answer otherwise than before."""
        return super().version + self.runtime.version

    def container(self, container_id: str) -> EntityReference | None:
        """Return a container below its pod, owners and node."""
        found = super().container(container_id)
        if found is not None:
            return found
        held = self._of_runtime(container_id)
        return held.entity if held is not None else None

    def pod(self, uid: str) -> EntityReference | None:
        """Return a pod below its owners and node, by its UID or the one that its cgroups are named by."""
        found = super().pod(uid)
        if found is not None:
            return found
        pod = self.runtime.pod_by_uid(uid)
        return pod.entity if pod is not None else None

    def pod_by_uid(self, uid: str) -> Pod | None:
        """Return the pod of a UID."""
        found = super().pod_by_uid(uid)
        return found if found is not None or self.pod_of_static_uid(uid) is not None else self.runtime.pod_by_uid(uid)

    def pod_of_container(self, container_id: str) -> tuple[Pod, Container] | None:
        """Return a container, with its pod, by its whole id."""
        found = super().pod_of_container(container_id)
        if found is not None:
            return found
        held = self._of_runtime(container_id)
        return (held.pod, held.container) if held is not None else None

    def _of_runtime(self, container_id: str) -> Held | None:
        """Return a container that only the runtime knows, in its pod as the API knows that, if it does."""
        held = self.runtime.held(container_id)
        if held is None:
            return None
        uid = held.pod.uid
        pod = super().pod_by_uid(uid) or self.pod_of_static_uid(uid)
        if pod is None:
            return held
        joined = self._joined.get(container_id)
        if joined is None or joined.pod is not pod or joined.container is not held.container:
            joined = self._joined.keep(container_id, Held(pod, held.container))
        return joined
