"""Nodes and namespaces: what is known of the places that pods are in.

Pods name them, often before their own objects are seen. A place is therefore made when it is first named and filled in later;
whoever holds it sees that. It is one object for as long as anybody holds it: a pod that is remembered remembers its places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final, Generic, Self, TypeVar
from weakref import WeakValueDictionary

from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.objects import NONE, Choice, Pool, Stamps, Words, object_of

_REGION: Final = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ZONE: Final = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_INSTANCE_TYPE: Final = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_OWN: Final = frozenset(("name", "generation", "_entity"))
"""What a view of a place does not tell, or cannot tell otherwise."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Place:
    """Hold what is known of something whose name is its own in the whole cluster; `uid` is empty while it was only named."""

    name: str
    uid: str = ""
    labels: Words = field(default_factory=lambda: NONE)
    annotations: Words = field(default_factory=lambda: NONE)
    generation: int = 0
    """The cache's when the rest changed last."""

    def take(self, other: Self, stamps: Stamps) -> None:
        """Become like another view of the same place."""
        parts = [one.name for one in fields(self) if one.name not in _OWN]
        changed = [part for part in parts if getattr(self, part) != getattr(other, part)]
        for part in changed:
            setattr(self, part, getattr(other, part))
        if changed:
            self.generation = stamps.next(renamed=True)


@dataclass(slots=True, eq=False)
class Namespace(Place):
    """Hold what is known of a namespace."""


@dataclass(slots=True, eq=False)
class Node(Place):
    """Hold what is known of a node; texts are empty where nobody told.

    `runtime` is with its version (`containerd://2.1.0`), `kernel` and `kubelet` are versions, `ips` are all of its addresses.
    """

    os: str = ""
    os_image: str = ""
    architecture: str = ""
    kernel: str = ""
    kubelet: str = ""
    runtime: str = ""
    machine_id: str = ""
    hostname: str = ""
    ips: tuple[str, ...] = ()
    provider_id: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    _entity: EntityReference | None = None

    @property
    def entity(self) -> EntityReference:
        """Return the node as Kubernetes knows it, the same object until that changes; its parent is the machine."""
        if self._entity is None:
            machine = EntityReference("node", self.hostname or self.name, uid=self.machine_id) if self.machine_id else None
            self._entity = EntityReference("node", self.name, uid=self.uid, parent=machine)
        return self._entity

    def take(self, other: Self, stamps: Stamps) -> None:
        """Become like another view of the same node."""
        before = (self.uid, self.hostname, self.machine_id)
        super(Node, self).take(other, stamps)  # slots make the class anew, which a bare super() would not find
        if before != (self.uid, self.hostname, self.machine_id):
            self._entity = None


P = TypeVar("P", bound=Place)


class Places(Generic[P]):
    """Hold the places of one kind by name."""

    def __init__(self, make: Callable[[str], P], stamps: Stamps) -> None:
        self._make = make
        self._stamps = stamps
        self._held: WeakValueDictionary[str, P] = WeakValueDictionary()
        self._seen: dict[str, P] = {}

    def named(self, name: str) -> P:
        """Return the place of that name, whether anything is known of it or not."""
        place = self._held.get(name)
        if place is None:
            place = self._held[name] = self._make(name)
        return place

    def get(self, name: str) -> P | None:
        """Return the place of that name if it is there, or was and a pod in it is still remembered."""
        place = self._held.get(name)
        return place if place is not None and place.uid else None

    def put(self, found: P) -> None:
        """Take a place that is there."""
        place = self._seen[found.name] = self.named(found.name)
        place.take(found, self._stamps)

    def remove(self, found: P) -> None:
        """Let go of a place that is not there any more."""
        if self._seen.pop(found.name, None) is not None:
            self._stamps.next(renamed=True)

    def replace(self, found: Iterable[P], _namespace: str = "") -> None:
        """Take all places that there are."""
        present = {one.name: one for one in found}
        for gone in [one for name, one in self._seen.items() if name not in present]:
            self.remove(gone)
        for one in present.values():
            self.put(one)

    def __len__(self) -> int:
        return len(self._seen)


class TrimPlaces:
    """Take what is kept of nodes and namespaces out of their objects."""

    def __init__(self, pool: Pool, labels: Choice, annotations: Choice) -> None:
        self._pool = pool
        self._labels = labels
        self._annotations = annotations

    def namespace(self, raw: dict[str, Any]) -> Namespace:
        """Return a namespace by its object."""
        return self._place(Namespace, raw)

    def node(self, raw: dict[str, Any]) -> Node:
        """Return a node by its object."""
        node = self._place(Node, raw)
        word = self._pool.word
        status = object_of(raw, "status")
        system = object_of(status, "nodeInfo")
        node.os = word(system.get("operatingSystem", ""))
        node.os_image = word(system.get("osImage", ""))
        node.architecture = word(system.get("architecture", ""))
        node.kernel = word(system.get("kernelVersion", ""))
        node.kubelet = word(system.get("kubeletVersion", ""))
        node.runtime = word(system.get("containerRuntimeVersion", ""))
        node.machine_id = system.get("machineID", "")
        node.provider_id = object_of(raw, "spec").get("providerID", "")
        labels = object_of(raw["metadata"], "labels")
        node.region, node.zone = word(_first(labels, _REGION)), word(_first(labels, _ZONE))
        node.instance_type = word(_first(labels, _INSTANCE_TYPE))
        addresses = [(one.get("type", ""), one.get("address", "")) for one in status.get("addresses") or ()]
        node.hostname = next((address for kind, address in addresses if kind == "Hostname"), "")
        node.ips = tuple([address for kind, address in addresses if kind.endswith("IP")])
        return node

    def _place(self, kind: Callable[[str], P], raw: dict[str, Any]) -> P:
        metadata = raw["metadata"]
        place = kind(self._pool.word(metadata["name"]))
        place.uid = metadata.get("uid", "")
        place.labels = self._labels.pick(metadata.get("labels"))
        place.annotations = self._annotations.pick(metadata.get("annotations"))
        return place


def _first(labels: Words, names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if name in labels), "")
