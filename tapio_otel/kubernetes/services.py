"""Services: whose address one is, and which of them lead to a pod.

EndpointSlices tell the latter, whatever a service selects its pods by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.objects import Choice, Claims, Pool, Stamps, Words, object_of
from tapio_otel.kubernetes.pods import Pod

_SERVICE_NAME: Final = "kubernetes.io/service-name"
_HEADLESS: Final = frozenset(("None", ""))


class Service:
    """Describe a service; `ips` are all addresses it is reached by, from inside and outside of the cluster."""

    __slots__ = ("_entity", "ips", "labels", "name", "namespace", "type", "uid")

    def __init__(self, name: str, namespace: str, uid: str, type: str, ips: tuple[str, ...], labels: Words) -> None:
        self.name, self.namespace, self.uid, self.type, self.ips, self.labels = name, namespace, uid, type, ips, labels
        self._entity: EntityReference | None = None

    @property
    def claim(self) -> tuple[str, str]:
        """Return how good its claim to an address is that a load balancer gave to several."""
        return (self.namespace, self.name)

    @property
    def entity(self) -> EntityReference:
        """Return the service as an entity."""
        if self._entity is None:
            self._entity = EntityReference("service", self.name, self.namespace, self.uid)
        return self._entity

    def equals(self, other: Service) -> bool:
        """Tell whether another view of the same service says the same."""
        return (self.uid, self.type, self.ips, self.labels) == (other.uid, other.type, other.ips, other.labels)


class Slice(NamedTuple):
    """Hold which pods a service leads to: their UIDs, or `namespace/name` where the UID was not told."""

    namespace: str
    name: str
    service: str
    pods: frozenset[str]


class Services:
    """Find services by address."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._services: dict[tuple[str, str], Service] = {}
        self._ips: Claims[Service] = Claims()

    def by_ip(self, ip: str) -> Service | None:
        """Return the service that has an address."""
        return self._ips.get(ip)

    def replace(self, services: Iterable[Service], namespace: str = "") -> None:
        """Take all services that there are, in one namespace or in all."""
        present = {(one.namespace, one.name): one for one in services}
        for key in [key for key in self._services if namespace in {"", key[0]} and key not in present]:
            self.remove(self._services[key])
        for one in present.values():
            self.put(one)

    def put(self, found: Service) -> None:
        """Take a service as it is now."""
        key = (found.namespace, found.name)
        before = self._services.get(key)
        if before is not None and before.equals(found):
            return
        if before is not None:
            self.remove(before)
        self._services[key] = found
        for ip in found.ips:
            self._ips.add(ip, found)
        self._stamps.next()

    def remove(self, found: Service) -> None:
        """Let go of a service that is not there any more."""
        service = self._services.pop((found.namespace, found.name), None)
        if service is not None:
            for ip in service.ips:
                self._ips.remove(ip, service)
            self._stamps.next()

    def __len__(self) -> int:
        return len(self._services)


class ServiceMap:
    """Know the services that lead to each pod. `touched` is told the pods for which that has changed."""

    def __init__(self, touched: Callable[[str], None]) -> None:
        self._touched = touched
        self._slices: dict[tuple[str, str], Slice] = {}
        self._services: dict[str, tuple[str, ...]] = {}
        """Services by pod, as often as slices say so."""

    def of(self, pod: Pod) -> tuple[str, ...]:
        """Return the names of the services that lead to a pod, sorted."""
        found = self._services.get(pod.uid, ()) + self._services.get(f"{pod.namespace}/{pod.name}", ())
        return found if len(found) < 2 else tuple(sorted(set(found)))

    def replace(self, slices: Iterable[Slice], namespace: str = "") -> None:
        """Take all slices that there are, in one namespace or in all."""
        present = {(one.namespace, one.name): one for one in slices}
        for key in [key for key in self._slices if namespace in {"", key[0]} and key not in present]:
            self.remove(self._slices[key])
        for one in present.values():
            self.put(one)

    def put(self, found: Slice) -> None:
        """Take a slice as it is now."""
        key = (found.namespace, found.name)
        before = self._slices.get(key)
        self._slices[key] = found
        if before is None:
            self._join(found.service, found.pods)
        elif before.service == found.service:
            self._join(found.service, found.pods - before.pods)
            self._leave(found.service, before.pods - found.pods)
        else:
            self._leave(before.service, before.pods)
            self._join(found.service, found.pods)

    def remove(self, found: Slice) -> None:
        """Let go of a slice that is not there any more."""
        before = self._slices.pop((found.namespace, found.name), None)
        if before is not None:
            self._leave(before.service, before.pods)

    def _join(self, service: str, pods: Iterable[str]) -> None:
        alone = (service,)
        for pod in pods:
            others = self._services.get(pod)
            self._services[pod] = alone if others is None else (*others, service)
            self._touched(pod)

    def _leave(self, service: str, pods: Iterable[str]) -> None:
        for pod in pods:
            left = list(self._services.get(pod, ()))
            if service in left:
                left.remove(service)
            if left:
                self._services[pod] = tuple(left)
            else:
                self._services.pop(pod, None)
            self._touched(pod)

    def __len__(self) -> int:
        return len(self._slices)


class TrimServices:
    """Take what is kept of services and EndpointSlices out of their objects."""

    def __init__(self, pool: Pool, labels: Choice) -> None:
        self._pool = pool
        self._labels = labels

    def service(self, raw: dict[str, Any]) -> Service:
        """Return a service by its object."""
        metadata, spec = raw["metadata"], object_of(raw, "spec")
        ips = dict.fromkeys(spec.get("clusterIPs") or [spec.get("clusterIP") or ""])
        ips |= dict.fromkeys(spec.get("externalIPs") or ())
        ingress = object_of(object_of(raw, "status"), "loadBalancer").get("ingress") or ()
        ips |= dict.fromkeys([one.get("ip") or "" for one in ingress])
        reached = tuple([ip for ip in ips if ip not in _HEADLESS])
        word = self._pool.word
        labels = dict(self._labels.pick(metadata.get("labels")))
        namespace = word(metadata["namespace"])
        return Service(word(metadata["name"]), namespace, metadata["uid"], word(spec.get("type") or ""), reached, labels)

    def slice(self, raw: dict[str, Any]) -> Slice:
        """Return an EndpointSlice by its object."""
        metadata = raw["metadata"]
        namespace = self._pool.word(metadata["namespace"])
        service = self._pool.word(object_of(metadata, "labels").get(_SERVICE_NAME) or "")
        pods = []
        for endpoint in (raw.get("endpoints") or ()) if service else ():
            target = endpoint.get("targetRef")
            if target and target.get("kind") == "Pod":
                pods.append(target.get("uid") or f"{target.get('namespace') or namespace}/{target.get('name')}")
        return Slice(namespace, metadata["name"], service, frozenset(pods))
