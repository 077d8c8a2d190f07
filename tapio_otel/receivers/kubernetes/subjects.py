"""The entities that events of a cluster are about, as far as the receiver has seen them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.kubernetes.workloads import Owners, with_owners

_KEPT: Final = 32_768
"""Pods and nodes remembered, those that are gone among them."""


class Subjects:
    """Make entities; pods and nodes that were seen lend their lineage to events that only name them."""

    def __init__(self) -> None:
        self._pods: Bounded[str, EntityReference] = Bounded(_KEPT)
        self._nodes: Bounded[str, EntityReference] = Bounded(_KEPT)
        self._parents: Bounded[tuple[Owners, str, str], EntityReference | None] = Bounded(_KEPT)

    def node(self, name: str, uid: str = "") -> EntityReference:
        """Return a node; its UID is learnt when it is told."""
        known = self._nodes.get(name)
        if known is None or (uid and known.uid != uid):
            known = self._nodes.keep(name, EntityReference(EntityType.NODE, name, uid=uid))
        return known

    def pod(self, uid: str, name: str, namespace: str, owners: Owners, node: str) -> EntityReference:
        """Return a pod with its owners and its node."""
        above = self.node(node) if node else None
        known = self._pods.get(uid)
        if known is not None and known.parent is not None and known.lineage()[-1] is above:
            return known
        return self._pods.keep(
            uid, EntityReference(EntityType.POD, name, namespace, uid, self._above(owners, namespace, above))
        )

    def knows_pod(self, uid: str) -> bool:
        """Tell whether a pod was seen."""
        return uid in self._pods

    def named(self, reference: Mapping[str, str], host: str = "") -> EntityReference:
        """Return what an event names as its object; `host` is the node that reported it, if one did."""
        kind, name, uid = reference.get("kind", ""), reference.get("name", ""), reference.get("uid", "")
        namespace = reference.get("namespace", "")
        if kind == "Pod":
            return self._pods.get(uid) or EntityReference(EntityType.POD, name, namespace, uid, self._host(host))
        if kind == "Node":
            return self.node(name, "" if uid == name else uid)  # kubelets give the name in the place of the UID
        if kind == "Namespace":
            return EntityReference(EntityType.NAMESPACE, name, uid=uid)
        return EntityReference(kind.lower() or "object", name, namespace, uid or f"{namespace}/{name}")

    def _above(self, owners: Owners, namespace: str, node: EntityReference | None) -> EntityReference | None:
        """Return the parent of pods: one object for all of one owner on one node."""
        if not owners:
            return node
        key = (owners, namespace, node.uid if node is not None else "")
        return self._parents.get(key) or self._parents.keep(key, with_owners(owners, namespace, node))

    def _host(self, host: str) -> EntityReference | None:
        return self.node(host) if host else None
