"""Pods and their containers, as much of them as events may show: some hundred bytes of each instead of its whole object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.nodes import Namespace, Node
from tapio_otel.kubernetes.objects import NONE, Choice, Pool, Words, object_of
from tapio_otel.kubernetes.workloads import Owner, OwnerNames, Owners, with_owners

_OVER: Final = frozenset(("Succeeded", "Failed"))
"""Phases of pods whose addresses may have been given to others."""
_QOS: Final = {name: {"qos": name.lower()} for name in ("Guaranteed", "Burstable", "BestEffort")}
_CONTAINERS: Final = (
    ("initContainers", "initContainerStatuses", "init"),
    ("containers", "containerStatuses", "app"),
    ("ephemeralContainers", "ephemeralContainerStatuses", "ephemeral"),
)
_MIRROR: Final = "kubernetes.io/config.mirror"
_HASH: Final = "kubernetes.io/config.hash"
_CONTENT: Final = (
    *("phase", "containers", "ips", "labels", "annotations", "owners", "node", "start", "qos_class", "host_network"),
    *("name", "namespace", "service_account", "priority_class", "static_uid"),
)
"""What a pod's object says of it, beside its UID."""
NAMING: Final = frozenset(("name", "namespace", "node", "owners", "qos_class"))
"""What a pod's entity is made of."""


class Container(Struct, frozen=True, gc=False):
    """Describe a container; `id` is the runtime's, without `containerd://`, empty until there is one.

    `image` is what the specification names, `image_id` what was found by that, `state` waiting, running or terminated, `kind`
    init, app or ephemeral, `runtime` containerd, cri-o or docker. `last_id` is the id of the one it replaced when restarted.
    """

    name: str
    id: str = ""
    image: str = ""
    image_id: str = ""
    restart_count: int = 0
    state: str = "waiting"
    kind: str = "app"
    runtime: str = ""
    last_id: str = ""


@dataclass(slots=True, eq=False)
class Pod:
    """Describe a pod; texts are empty where nobody told. It changes in place for as long as its UID is the same.

    `owners` are the nearest first. `start` is RFC 3339 text: when the kubelet first saw it, before that when it was created.
    `static_uid` is what the cgroups of a static pod are named by.
    """

    name: str
    namespace: str
    uid: str
    labels: Words = field(default_factory=lambda: NONE)
    annotations: Words = field(default_factory=lambda: NONE)
    owners: Owners = ()
    node: str = ""
    host_network: bool = False
    service_account: str = ""
    priority_class: str = ""
    phase: str = ""
    qos_class: str = ""
    start: str = ""
    ips: tuple[str, ...] = ()
    containers: dict[str, Container] = field(default_factory=dict)
    static_uid: str = ""

    deleted_at: float | None = None
    """The cache's clock when it was deleted."""
    services: tuple[str, ...] = ()
    """Of a deleted pod: the services that led to it."""
    node_place: Node | None = None
    namespace_place: Namespace | None = None
    changed: int = 0
    """The cache's generation when anything of it, but not of its places, changed last."""
    _entity: EntityReference | None = None
    _above: EntityReference | None = None

    @property
    def generation(self) -> int:
        """Return the cache's generation when anything of it, its node or its namespace changed last."""
        node, namespace = self.node_place, self.namespace_place
        return max(self.changed, node.generation if node else 0, namespace.generation if namespace else 0)

    @property
    def ip(self) -> str:
        """Return its first address."""
        return self.ips[0] if self.ips else ""

    @property
    def own_ips(self) -> tuple[str, ...]:
        """Return the addresses that are not its node's."""
        return () if self.host_network else self.ips

    @property
    def owner(self) -> Owner | None:
        """Return the workload that users know: the Deployment rather than its ReplicaSet."""
        return self.owners[-1] if self.owners else None

    @property
    def claim(self) -> tuple[bool, bool, str, str]:
        """Return how good its claim to a name or an address is: what is alive before what is over, then the youngest."""
        return (self.deleted_at is None, self.phase not in _OVER, self.start, self.uid)

    @property
    def entity(self) -> EntityReference:
        """Return the pod below its owners and its node, the same object until any of that changes."""
        place = self.node_place
        above = place.entity if place is not None else None
        entity = self._entity
        if entity is not None and above is self._above:
            return entity
        self._above = above
        parent = with_owners(self.owners, self.namespace, above)
        entity = EntityReference("pod", self.name, self.namespace, self.uid, parent, _QOS.get(self.qos_class))
        self._entity = entity
        return entity

    def differences(self, other: Pod) -> list[str]:
        """Return what another view of the same pod says otherwise."""
        return [part for part in _CONTENT if getattr(self, part) != getattr(other, part)]

    def take(self, other: Pod, differences: list[str]) -> None:
        """Become like another view of the same pod."""
        for part in differences:
            setattr(self, part, getattr(other, part))
        if not NAMING.isdisjoint(differences):
            self._entity = None


class TrimPods:
    """Take what is kept of a pod out of its object."""

    def __init__(self, pool: Pool, labels: Choice, annotations: Choice) -> None:
        self._pool = pool
        self._labels = labels
        self._annotations = annotations
        self._owners = OwnerNames()

    def __call__(self, raw: dict[str, Any]) -> Pod:
        """Return a pod by its object."""
        word = self._pool.word
        metadata, spec, status = raw["metadata"], object_of(raw, "spec"), object_of(raw, "status")
        namespace = word(metadata["namespace"])
        owners = self._owners.of(metadata)
        sibling = owners[0].uid if owners else namespace
        annotations = metadata.get("annotations") or NONE
        return Pod(
            metadata["name"],
            namespace,
            metadata["uid"],
            self._pool.like(sibling, self._labels.pick(metadata.get("labels"))),
            self._pool.like(f"{sibling}*", self._annotations.pick(annotations)),
            owners,
            word(spec.get("nodeName") or ""),
            spec.get("hostNetwork") is True,
            word(spec.get("serviceAccountName") or ""),
            word(spec.get("priorityClassName") or ""),
            word(status.get("phase") or ""),
            word(status.get("qosClass") or ""),
            status.get("startTime") or metadata.get("creationTimestamp") or "",
            _addresses(status),
            _containers(spec, status, word),
            annotations[_HASH] if _MIRROR in annotations and annotations.get(_HASH) == annotations[_MIRROR] else "",
        )


def _addresses(status: dict[str, Any]) -> tuple[str, ...]:
    if addresses := status.get("podIPs"):
        return tuple([one["ip"] for one in addresses])
    return (status["podIP"],) if status.get("podIP") else ()


def _containers(spec: dict[str, Any], status: dict[str, Any], word: Callable[[str], str]) -> dict[str, Container]:
    found: dict[str, Container] = {}
    for listed, statuses, kind in _CONTAINERS:
        if not (containers := spec.get(listed)):
            continue
        known = {one["name"]: one for one in status.get(statuses) or ()}
        for one in containers:
            name = word(one["name"])
            found[name] = _container(name, word(one.get("image") or ""), known.get(name), kind, word)
    return found


def _container(name: str, image: str, status: dict[str, Any] | None, kind: str, word: Callable[[str], str]) -> Container:
    if status is None:
        return Container(name, "", image, kind=kind)
    runtime, _, identifier = (status.get("containerID") or "").rpartition("://")
    count = status.get("restartCount") or 0
    state = next(iter(status.get("state") or ()), "waiting")
    last = _last_id(status) if count else ""
    return Container(name, identifier, image, word(status.get("imageID") or ""), count, state, kind, word(runtime), last)


def _last_id(status: dict[str, Any]) -> str:
    last: str = object_of(object_of(status, "lastState"), "terminated").get("containerID") or ""
    return last.rpartition("://")[2]
