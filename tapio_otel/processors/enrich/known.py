"""What is known of what an event is about: its pod and container, its node, its unit, and whether that is on this machine.

Everything is a dictionary hit, but for processes: which container one is in, /proc tells, once for each process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tapio_otel.entities import EntityMapper
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import UNKNOWN_ENTITY, EntityReference, EntityType
from tapio_otel.event import EventType, Source
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes.nodes import Node
from tapio_otel.kubernetes.pods import Container, Pod

SOURCE_ADDRESS: Final = ("src_ip", "source.address")
DESTINATION_ADDRESS: Final = ("dst_ip", "destination.address")
_CONTAINER_IDS: Final = ("container_id", "CONTAINER_ID_FULL", "container.id")
_POD_UIDS: Final = ("pod_uid", "k8s.pod.uid")
_POD_NAMES: Final = (("namespace", "pod_name"), ("k8s.namespace.name", "k8s.pod.name"))
_POD_IPS: Final = ("pod_ip", "k8s.pod.ip")
HINTS: Final = (*_CONTAINER_IDS, *_POD_UIDS, *[key for pair in _POD_NAMES for key in pair], *_POD_IPS)
"""Attributes that say which pod or container a process or node speaks for."""
_OF_A_FLOW: Final = frozenset((EventType.NETWORK_DROP, EventType.TCP_RETRANSMIT, EventType.TCP_RESET))
_WORKLOADS: Final = frozenset((EntityType.CONTAINER.value, EntityType.POD.value))
_VAGUE: Final = frozenset((EntityType.NODE.value, EntityType.PROCESS.value))
_PROCESSES: Final = 4096
_FOUND_NOTHING: Final = 30.0
"""Seconds until /proc is asked again about a process that was in no container."""

Found = tuple[Pod | None, Container | None]
_NOTHING: Final[Found] = (None, None)


class Known(NamedTuple):
    """Hold what is known; `stamp` differs as soon as any of it does."""

    entity: EntityReference
    pod: Pod | None
    container: Container | None
    node: Node | None
    namespace: str
    unit: str
    here: bool
    stamp: tuple[Any, ...]


class Knowledge:
    """Find what is known of entities; `node_name` is what Kubernetes calls this machine, if it has been told."""

    def __init__(
        self, entities: EntityMapper, cluster: ClusterCache, node_name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entities = entities
        self._cluster = cluster
        self._node_name = node_name
        self._clock = clock
        self._processes: Bounded[str, tuple[EntityReference | None, float]] = Bounded(_PROCESSES)

    def of(self, entity: EntityReference, attributes: Mapping[str, Any], source: str) -> Known:
        """Return what is known of an entity that an event with these attributes is about."""
        chain = entity.lineage()
        at = next((index for index, one in enumerate(chain) if one.type in _WORKLOADS), None)
        if at is None and entity.type in _VAGUE:
            entity, at = self._sharper(entity, attributes), 0
            chain = entity.lineage()
        pod, container = self._workload(chain[at]) if at is not None else _NOTHING
        if at is not None and pod is not None:
            named = self._named(chain[at], pod, container)
            entity = named if at == 0 else _rebuilt(chain[:at], named)
        return self._known(entity, pod, container, source)

    def of_flow(self, entity: EntityReference, type: str, attributes: Mapping[str, Any]) -> EntityReference:
        """Return the pod of this machine at an end of a flow that the kernel tells of without knowing whose it is."""
        if type not in _OF_A_FLOW or entity.type != EntityType.NODE:
            return entity
        for keys in (SOURCE_ADDRESS, DESTINATION_ADDRESS):
            pod = self._cluster.pod_by_ip(_first(attributes, keys))
            if pod is not None and self._is_here(pod.entity, pod.node_place, ""):
                return pod.entity
        return entity

    def _sharper(self, entity: EntityReference, attributes: Mapping[str, Any]) -> EntityReference:
        """Return the container or pod that a process is in, or that attributes name."""
        if entity.type == EntityType.PROCESS and (found := self._of_process(entity.uid)) is not None:
            return found
        if container_id := _first(attributes, _CONTAINER_IDS):
            return self._cluster.container(container_id) or entity
        if uid := _first(attributes, _POD_UIDS):
            return self._cluster.pod(uid) or entity
        pod = None
        if ip := _first(attributes, _POD_IPS):
            pod = self._cluster.pod_by_ip(ip)
        for namespace, name in _POD_NAMES:
            if pod is None and attributes.get(name):
                pod = self._cluster.pod_by_name(str(attributes.get(namespace, "")), str(attributes[name]))
        return pod.entity if pod is not None else entity

    def _of_process(self, uid: str) -> EntityReference | None:
        """Return the container of `process-<pid>-<start>`, as the cgroup of that process tells."""
        kept, until = self._processes.get(uid, (None, 0.0))
        if kept is None and self._clock() >= until:
            _, _, rest = uid.partition("-")
            pid, _, start = rest.partition("-")
            found = None
            if _is_number(pid) and _is_number(start):
                found = self._entities.of_pid(int(pid), int(start))
            kept = found if found is not None and found.type in _WORKLOADS else None
            self._processes.keep(uid, (kept, self._clock() + _FOUND_NOTHING))
        return kept

    def _workload(self, entity: EntityReference) -> Found:
        """Return the pod of a container or pod, and the container."""
        cluster = self._cluster
        if entity.type == EntityType.CONTAINER:
            found = cluster.pod_of_container(entity.uid)
            if found is not None:
                return found
            above = next((one for one in entity.lineage() if one.type == EntityType.POD), None)
            pod = self._pod(above) if above is not None else None
            return (pod, pod.containers.get(entity.name)) if pod is not None else _NOTHING
        return (self._pod(entity), None) if entity.type == EntityType.POD else _NOTHING

    def _pod(self, entity: EntityReference) -> Pod | None:
        cluster, uid = self._cluster, entity.uid
        pod = cluster.pod_by_uid(uid) or cluster.pod_of_static_uid(uid)
        if pod is None and entity.namespace and uid == entity.name:
            pod = cluster.pod_by_name(entity.namespace, entity.name)
        return pod

    def _named(self, entity: EntityReference, pod: Pod, container: Container | None) -> EntityReference:
        """Return the same container or pod with its name and its whole lineage."""
        if entity.type == EntityType.POD:
            return pod.entity
        found = self._cluster.container(entity.uid)
        if found is not None:
            return found
        name = container.name if container is not None else entity.name
        return EntityReference(entity.type, name, pod.namespace, entity.uid, pod.entity, entity.attributes)

    def _known(self, entity: EntityReference, pod: Pod | None, container: Container | None, source: str) -> Known:
        chain = entity.lineage()
        place = pod.node_place if pod is not None else None
        here = self._is_here(entity, place, source)
        if place is None:
            place = self._node(chain, here)
        node = place if place is not None and place.uid else None
        namespace = pod.namespace if pod is not None else next((one.namespace for one in chain if one.namespace), "")
        if not namespace and entity.type == EntityType.NAMESPACE:
            namespace = entity.name
        unit = next((one.uid for one in chain if one.type == EntityType.SYSTEMD_UNIT), "")
        labels = self._cluster.namespace(namespace) if namespace else None
        of_pod = (pod.uid, pod.generation) if pod is not None else None
        of_node = (node.uid, node.generation) if node is not None else None
        stamp = (entity, of_pod, container, of_node, labels, here)
        return Known(entity, pod, container, node, namespace, unit, here, stamp)

    def _node(self, chain: list[EntityReference], here: bool) -> Node | None:
        """Return the node that Kubernetes knows."""
        for one in chain:
            if one.type == EntityType.NODE and (found := self._cluster.node(one.name)) is not None:
                return found
        return self._cluster.node(self._node_name) if here and self._node_name else None

    def _is_here(self, entity: EntityReference, place: Node | None, source: str) -> bool:
        """Tell whether this is on the machine that the agent runs on; what names no machine is, unless the API told it."""
        machine = self._entities.node
        if place is not None:
            return place.name in {self._node_name, machine.name} or place.machine_id == machine.uid
        nodes = [one for one in entity.lineage() if one.type == EntityType.NODE and one != UNKNOWN_ENTITY]
        if not nodes:
            return source != Source.KUBERNETES
        return any(one.uid == machine.uid or one.name in {self._node_name, machine.name} for one in nodes)


def _rebuilt(below: list[EntityReference], parent: EntityReference) -> EntityReference:
    """Return the entities that lie below one that is better known now, the nearest first."""
    for one in reversed(below):
        parent = EntityReference(one.type, one.name, one.namespace, one.uid, parent, one.attributes)
    return parent


def _first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = attributes.get(key)
        if value and isinstance(value, str):
            return value
    return ""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
