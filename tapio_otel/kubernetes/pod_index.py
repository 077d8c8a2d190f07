"""The index of pods: by UID, name, address and container, with those that were deleted a while ago.

What happened in a pod is often told after its end: by the journal, by the kernel, by the kubelet. Deleted pods, and containers
that a restart replaced, are therefore remembered for `ttl` seconds. At most `limit` pods are kept; the deleted go first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from msgspec import structs

from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.nodes import Namespace, Node, Places
from tapio_otel.kubernetes.objects import Claims, Stamps
from tapio_otel.kubernetes.pods import NAMING, Container, Pod

Clock = Callable[[], float]
_NEVER: Final = float("inf")


class Held:
    """Hold a container together with its pod; `until` is the clock when one that was replaced is forgotten."""

    __slots__ = ("_entity", "container", "pod", "until")

    def __init__(self, pod: Pod, container: Container) -> None:
        self.pod = pod
        self.container = container
        self.until = _NEVER
        self._entity: EntityReference | None = None

    @property
    def entity(self) -> EntityReference:
        """Return the container below its pod, the same object until any of that changes."""
        above, entity = self.pod.entity, self._entity
        if entity is not None and entity.parent is above:
            return entity
        one = self.container
        self._entity = entity = EntityReference("container", one.name, self.pod.namespace, one.id, above, _runtime(one.runtime))
        return entity

    def take(self, container: Container) -> None:
        """Hold a newer view of the container."""
        if (container.name, container.runtime) != (self.container.name, self.container.runtime):
            self._entity = None
        self.container = container


class PodIndex:
    """Hold pods and find them. `services_of` tells the services that lead to a pod, which a deleted one keeps."""

    def __init__(
        self,
        nodes: Places[Node],
        namespaces: Places[Namespace],
        services_of: Callable[[Pod], tuple[str, ...]],
        stamps: Stamps,
        ttl: float,
        limit: int,
        clock: Clock,
    ) -> None:
        self.evicted = 0
        self._nodes, self._namespaces, self._services_of, self._stamps = nodes, namespaces, services_of, stamps
        self._ttl, self._limit, self._clock = ttl, limit, clock
        self._pods: dict[str, Pod] = {}
        self._names: dict[str, Claims[Pod]] = {}
        self._ips: Claims[Pod] = Claims()
        self._static: Claims[Pod] = Claims()
        self._containers: dict[str, Held] = {}
        self._deleted: dict[str, Pod] = {}
        self._replaced: dict[str, Held] = {}

    # --- finding --------------------------------------------------------------------------------------------------------

    def by_uid(self, uid: str) -> Pod | None:
        """Return the pod of a UID."""
        return self._pods.get(uid)

    def by_name(self, namespace: str, name: str) -> Pod | None:
        """Return the pod of a name."""
        there = self._names.get(namespace)
        return there.get(name) if there is not None else None

    def by_ip(self, ip: str) -> Pod | None:
        """Return the pod that has or had an address of its own."""
        return self._ips.get(ip)

    def by_static_uid(self, uid: str) -> Pod | None:
        """Return the static pod whose cgroups are named by this."""
        return self._static.get(uid)

    def held(self, container_id: str) -> Held | None:
        """Return a container with its pod."""
        return self._containers.get(container_id)

    def __len__(self) -> int:
        return len(self._pods)

    @property
    def remembered(self) -> int:
        """Return how many of the pods are deleted."""
        return len(self._deleted)

    # --- keeping up -----------------------------------------------------------------------------------------------------

    def replace(self, pods: Iterable[Pod], namespace: str = "") -> None:
        """Take all pods that there are, in one namespace or in all."""
        present = {pod.uid: pod for pod in pods}
        for pod in [one for one in self._pods.values() if namespace in {"", one.namespace} and one.uid not in present]:
            self.remove(pod)
        for pod in present.values():
            self.put(pod)

    def put(self, found: Pod) -> None:
        """Take a pod as it is now."""
        pod = self._pods.get(found.uid)
        if pod is None:
            self._add(found)
            return
        if pod.deleted_at is not None:
            pod.deleted_at = None
            del self._deleted[pod.uid]
            pod.changed = self._stamps.next(renamed=True)
        if differences := pod.differences(found):
            self._update(pod, found, differences)

    def remove(self, found: Pod) -> None:
        """Take a pod as it was when it was deleted."""
        pod = self._pods.get(found.uid)
        if pod is None or pod.deleted_at is None:
            self.put(found)
            pod = self._pods[found.uid]
            pod.services = self._services_of(pod)
            pod.deleted_at = self._clock()
            pod.changed = self._stamps.next(renamed=True)
            self._deleted[pod.uid] = pod

    def touch(self, pod: Pod) -> None:
        """Count a change of something that is known of a pod elsewhere."""
        pod.changed = self._stamps.next()

    def sweep(self) -> None:
        """Forget what was deleted or replaced long enough ago."""
        now = self._clock()
        while self._replaced:  # the oldest is the first; this is done for each batch of changes, so nothing is copied
            oldest = next(iter(self._replaced))
            if self._replaced[oldest].until > now:
                break
            self._forget_container(oldest)
        due = now - self._ttl
        while self._deleted:
            pod = next(iter(self._deleted.values()))
            if pod.deleted_at is None or pod.deleted_at > due:
                break
            self._forget(pod)

    def _add(self, pod: Pod) -> None:
        if len(self._pods) >= self._limit:
            self._forget(next(iter(self._deleted.values() or self._pods.values())))
            self.evicted += 1
        pod.node_place = self._nodes.named(pod.node) if pod.node else None
        pod.namespace_place = self._namespaces.named(pod.namespace)
        pod.changed = self._stamps.next(renamed=True)
        self._pods[pod.uid] = pod
        self._claim(pod)
        for container_id, container in _ids(pod.containers).items():
            self._containers[container_id] = Held(pod, container)

    def _update(self, pod: Pod, found: Pod, differences: list[str]) -> None:
        renamed = not NAMING.isdisjoint(differences)
        claims = renamed or not {"ips", "host_network", "static_uid"}.isdisjoint(differences)
        before = pod.containers
        if claims:
            self._disclaim(pod)
        pod.take(found, differences)
        if claims:
            self._claim(pod)
        if "node" in differences:
            pod.node_place = self._nodes.named(pod.node) if pod.node else None
        if "containers" in differences:
            renamed |= self._hold(pod, before)
        pod.changed = self._stamps.next(renamed)

    def _claim(self, pod: Pod) -> None:
        there = self._names.get(pod.namespace)
        if there is None:
            there = self._names[pod.namespace] = Claims()
        there.add(pod.name, pod)
        for ip in pod.own_ips:
            self._ips.add(ip, pod)
        if pod.static_uid:
            self._static.add(pod.static_uid, pod)

    def _disclaim(self, pod: Pod) -> None:
        there = self._names[pod.namespace]
        there.remove(pod.name, pod)
        if not there:
            del self._names[pod.namespace]
        for ip in pod.own_ips:
            self._ips.remove(ip, pod)
        if pod.static_uid:
            self._static.remove(pod.static_uid, pod)

    def _hold(self, pod: Pod, before: dict[str, Container]) -> bool:
        """Hold the containers that a pod has now; tells whether any of them is another than before."""
        was: dict[str, Container] = {}
        for name, one in before.items():
            if pod.containers.get(name) == one:
                pod.containers[name] = one  # what is equal is kept once
            else:
                was[name] = one
        known = _ids(was)
        found = _ids({name: one for name, one in pod.containers.items() if one is not before.get(name)})
        for container_id, container in found.items():
            held = self._containers.pop(container_id, None)  # put in again, so that the id is kept once
            if held is None or held.pod is not pod:
                held = Held(pod, container)
            held.take(container)
            self._containers[container_id] = held
            self._replaced.pop(container_id, None)
        for gone in known.keys() - found.keys():
            self._replace(gone, pod)
        return known.keys() != found.keys()

    def _replace(self, container_id: str, pod: Pod) -> None:
        held = self._containers.get(container_id)
        if held is None or held.pod is not pod:
            return
        held.take(structs.replace(held.container, state="terminated"))
        held.until = self._clock() + self._ttl
        self._replaced[container_id] = held
        if len(self._replaced) > self._limit:
            self._forget_container(next(iter(self._replaced)))

    def _forget(self, pod: Pod) -> None:
        self._disclaim(pod)
        del self._pods[pod.uid]
        self._deleted.pop(pod.uid, None)
        self._stamps.next(renamed=True)
        for container_id in _ids(pod.containers):
            if (held := self._containers.get(container_id)) is not None and held.pod is pod:
                del self._containers[container_id]

    def _forget_container(self, container_id: str) -> None:
        held = self._replaced.pop(container_id)
        if self._containers.get(container_id) is held:
            del self._containers[container_id]
            self._stamps.next(renamed=True)


@lru_cache(maxsize=64)
def _runtime(name: str) -> dict[str, str] | None:
    """Return the attributes that containers of one runtime share."""
    return {"runtime": name} if name else None


def _ids(containers: dict[str, Container]) -> dict[str, Container]:
    """Return containers by id, those they replaced as well: the API tells the last one of each."""
    found: dict[str, Container] = {}
    for one in containers.values():
        if one.last_id and one.last_id != one.id:
            count = max(one.restart_count - 1, 0)
            found[one.last_id] = structs.replace(one, id=one.last_id, last_id="", state="terminated", restart_count=count)
    for one in containers.values():
        if one.id:
            found[one.id] = one
    return found
