"""The focus: the entity a timeline is about, and which lineage keys name it.

A focus is written `TYPE/[NAMESPACE/]NAME`, such as `pod/prod/web-0`, `unit/web.service`, `unit/node-1/web.service`,
`node/node-1`, `deployment/prod/web`, `service/prod/db`, `address/10.1.2.3:5432`, `process/4242`. What exists on every machine
may be written with the machine's name, or without for all machines. Further names of it (the pod's UID and address, the unit's
processes and runs) are learnt from the events that bear the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tapio_otel.correlation.lineage import Key
from tapio_otel.entity import EntityReference, EntityType

_UNITS: Final = frozenset(("unit", "systemd_unit"))
_ON_MACHINE: Final = {
    **{"unit": "unit", "systemd_unit": "unit", "device": "device", "mount": "mount", "process": "process", "cgroup": "cgroup"},
    **{"interface": "interface", "network_interface": "interface"},
}
_NAMED: Final = {"pod": "pod_name", "service": "service"}
_ALONE: Final = {"container": "container", "node": "node", "namespace": "namespace", "invocation": "invocation"}
_OWNERS: Final = frozenset(("deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob"))
_ALIASES: Final = {
    "pod_name": ("pod_name", "pod", "address"),
    "pod": ("pod_name", "pod", "address"),
    "unit": ("unit", "invocation", "process", "address"),
    "container": ("container", "process"),
}
"""By the rank of a focus: which keys of an event that bears its name are further names of it."""
_ANCESTORS: Final = frozenset(("owner", "service", "node"))
KINDS: Final = tuple(sorted((*_ON_MACHINE, *_NAMED, *_ALONE, *_OWNERS, "address")))


class FocusError(ValueError):
    """Report a focus that cannot be understood: what was found, what to write."""


@dataclass(frozen=True, slots=True)
class Focus:
    """Name an entity by keys. `host` is empty where any machine is meant."""

    text: str
    keys: tuple[Key, ...]
    any_host: bool = False

    @classmethod
    def parse(cls, text: str) -> Focus:
        """Return the focus that a text names; raises `FocusError`."""
        kind, _, rest = text.partition("/")
        if not kind or not rest:
            raise FocusError(f"{text!r} is no entity: write TYPE/NAME or TYPE/NAMESPACE/NAME, such as pod/prod/web-0")
        if kind in _ON_MACHINE:
            return cls._on_machine(text, kind, rest)
        if kind in _ALONE:
            return cls(text, ((_ALONE[kind], rest),))
        if kind == "address":
            return cls(text, (_address(rest),))
        namespace, _, name = rest.partition("/")
        if kind not in _NAMED and kind not in _OWNERS:
            raise FocusError(f"{text!r}: there is no type {kind!r}: use one of {', '.join(KINDS)}")
        if not namespace or not name:
            raise FocusError(f"{text!r} lacks a namespace: write {kind}/NAMESPACE/NAME, such as {kind}/prod/{rest}")
        return cls(text, ((_NAMED[kind], namespace, name) if kind in _NAMED else ("owner", namespace, kind, name),))

    @classmethod
    def _on_machine(cls, text: str, kind: str, rest: str) -> Focus:
        host, name = "", rest
        if kind in _UNITS or (kind in {"process", "interface", "network_interface"} and "/" in rest):
            host, _, name = rest.rpartition("/")
        value: int | str = int(name) if kind == "process" and name.isdecimal() else name
        return cls(text, ((_ON_MACHINE[kind], value, host),), any_host=not host)

    @classmethod
    def of(cls, entity: EntityReference) -> Focus:
        """Return the focus on an entity of an event."""
        text = "/".join(filter(None, (entity.type, entity.namespace, entity.name)))
        if entity.type == EntityType.CONTAINER:
            return cls(text, (("container", entity.uid),))
        if entity.type == EntityType.PROCESS:
            pid = entity.uid.split("-")[1:2]
            return cls(text, (("process", int(pid[0]) if pid and pid[0].isdecimal() else entity.uid, ""),), any_host=True)
        if entity.type == EntityType.SYSTEMD_UNIT:
            node = next((one.name for one in entity.lineage() if one.type == EntityType.NODE), "")
            return cls(text, (("unit", entity.uid, node),), any_host=not node)
        found = cls.parse(text)
        known_uid = entity.type == EntityType.POD and entity.uid not in {entity.name, f"{entity.namespace}/{entity.name}"}
        return cls(text, (*found.keys, ("pod", entity.uid))) if known_uid else found

    def names(self, key: Key) -> bool:
        """Tell whether a key names this focus."""
        if not self.any_host:
            return key in self.keys
        mine = self.keys[0]
        return bool(key[0] == mine[0] and key[1] == mine[1])

    def aliases(self, keys: Iterable[Key]) -> list[Key]:
        """Return further names of this focus among the keys of an event that bears its name."""
        ranks = _ALIASES.get(self.keys[0][0], ())
        return [key for key in keys if key[0] in ranks and (key[0] != self.keys[0][0] or self.names(key))]

    def ancestors(self, keys: Iterable[Key]) -> list[Key]:
        """Return what this focus belongs to, among the keys of an event that bears its name: owner, service, node."""
        return [key for key in keys if key[0] in _ANCESTORS and not self.names(key)]


def _address(text: str) -> Key:
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        return ("address", host.strip("[]"), int(port))
    return ("address", text.strip("[]"))
