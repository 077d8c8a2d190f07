"""Entities: the things that events are about, each with its lineage."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final


class EntityType(StrEnum):
    """Name the kinds of thing an event can be about."""

    POD = "pod"
    CONTAINER = "container"
    NODE = "node"
    SERVICE = "service"
    PROCESS = "process"
    SYSTEMD_UNIT = "systemd_unit"
    NAMESPACE = "namespace"
    NETWORK_INTERFACE = "network_interface"
    DEVICE = "device"
    MOUNT = "mount"


_NO_ATTRIBUTES: Final[Mapping[str, str]] = {}


class EntityReference:
    """Identify the thing an event is about, and through `parent` its lineage. Immutable: share it freely.

    `uid` is unique among entities of the type: a pod's UID, a container's ID, `process-<pid>-<start>` for a process.
    """

    __slots__ = ("attributes", "name", "namespace", "parent", "type", "uid")

    def __init__(
        self,
        type: str,
        name: str,
        namespace: str = "",
        uid: str = "",
        parent: EntityReference | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self.type = str(type)
        self.name = name
        self.namespace = namespace
        self.uid = uid or name
        self.parent = parent
        self.attributes: Mapping[str, str] = attributes or _NO_ATTRIBUTES

    def lineage(self) -> list[EntityReference]:
        """Return this entity and its parents, nearest first."""
        chain: list[EntityReference] = []
        entity: EntityReference | None = self
        while entity is not None:
            chain.append(entity)
            entity = entity.parent
        return chain

    def _key(self) -> tuple[Any, ...]:
        return (self.type, self.name, self.namespace, self.uid, self.parent, dict(self.attributes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EntityReference) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.type, self.namespace, self.uid, frozenset(self.attributes.items())))

    def __repr__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"EntityReference({self.type}/{where}{self.name}, uid={self.uid!r})"


UNKNOWN_ENTITY: Final = EntityReference("node", "unknown")


@cache
def this_node() -> EntityReference:
    """Return the node this runs on: what an event is about whose receiver names nothing else."""
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, ValueError):
        machine = ""  # a container without a machine id has none to tell
    return EntityReference("node", socket.gethostname(), uid=machine)
