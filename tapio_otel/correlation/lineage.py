"""Lineage keys: hashable names of everything that an event is about, so that events of different sources can be joined.

A key is a tuple whose first member is its rank: `("process", 4242, "node-1")`, `("unit", "web.service", "node-1")`,
`("pod", uid)`, `("owner", "prod", "deployment", "web")`, `("address", "10.1.2.3", 5432)`… What exists once on each machine has
the machine's name in its key. `keys_of` tells what an event is about, `targets_of` what it failed to reach; both in the same
terms, so that a target of one event is found among the keys of another.

A unit counts only as long as nothing nearer is contained: of a container's log, which Docker's unit wrote, the container is the
subject and docker.service is not; of a user's unit that unit, and not the user's service manager.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tapio_otel.correlation.addresses import address_keys, end_keys
from tapio_otel.correlation.block_device import with_disk
from tapio_otel.correlation.keys import RANKS, Keys, kept, made
from tapio_otel.correlation.keys import Key as Key
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entities.cgroup_path import parse_cgroup_path
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import UnifiedEvent

_TARGETING: Final = frozenset(
    (
        "dst_ip",
        "server_ip",
        "host",
        "target",
        "src_ip",
        "destination.k8s.pod.uid",
        "destination.k8s.namespace.name",
        "target_unit",
        "target_container",
    )
)
"""Attributes of which one is there where an event says what it failed to reach."""
_PLACE: Final = {rank: place for place, rank in enumerate(RANKS)}
_CACHED: Final = "correlation.keys"
_KEPT: Final = 8192
_MACHINE_WIDE: Final = {"network_interface": "interface", "device": "device", "mount": "mount"}
MACHINE_BOUND: Final = frozenset((*_MACHINE_WIDE, EntityType.SYSTEMD_UNIT, EntityType.PROCESS))
"""Types of entity whose names tell them apart on one machine only."""
_CONTAINED: Final = frozenset((EntityType.CONTAINER, EntityType.POD))
_SERVICE_DOMAIN: Final = ".svc"


def keys_of(event: UnifiedEvent) -> Keys:
    """Return the keys of what an event is about, nearest first, without repeats."""
    origin = event.shared
    if origin is None:
        entity, own = event.entity, event.attributes
    else:
        entity, own = origin.entity, event.own
        cached = origin.cache.get(_CACHED)
        if cached is None:
            cached = origin.cache[_CACHED] = kept(_merged(_entity_keys(entity), origin.attributes))
        return _merged(cached, own) if own else cached
    return _merged(_entity_keys(entity), own)


def keys_of_writer(event: UnifiedEvent) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """Return the keys of an event's entity, and these with what else its origin says: nothing that was read from a text.

    Of an event without an origin, as a recorded one is, all attributes count.
    """
    origin = event.shared
    if origin is None:
        named = _entity_keys(event.entity)
        return named, _merged(named, event.attributes)
    named, found = _entity_keys(origin.entity), origin.cache.get(_CACHED)
    if found is None:
        found = origin.cache[_CACHED] = kept(_merged(named, origin.attributes))
    return named, found


def targets_of(event: UnifiedEvent) -> tuple[Key, ...]:
    """Return the keys of what an event failed to reach: addresses, pods, services."""
    shared = event.shared
    own = event.attributes if shared is None else event.own
    if _TARGETING.isdisjoint(own):
        if shared is None or _TARGETING.isdisjoint(shared.attributes):
            return ()
        own = {**shared.attributes, **own}
    get = own.get
    found: list[Key] = []
    is_answer = event.type == "tcp_reset" and get("direction") == "received"  # by who was to be reached
    end = "source" if is_answer else "destination"
    uid, namespace = get(f"{end}.k8s.pod.uid"), get(f"{end}.k8s.namespace.name")
    pod, service = get(f"{end}.k8s.pod.name"), get(f"{end}.k8s.service.name")
    is_pod = isinstance(uid, str) and uid != ""
    if is_pod:
        found.append(("pod", uid))
        found += [("pod_name", namespace, pod)] if isinstance(namespace, str) and isinstance(pod, str) else []
    if namespace and isinstance(namespace, str) and isinstance(service, str):
        found.append(("service", namespace, service))
    if unit := get("target_unit"):  # who listened there, by `listeners`
        found.append(("unit", unit, host_of(event)))
    if container := get("target_container"):
        found.append(("container", container))
    if is_pod:  # whose address it was then is known; the address alone may be another's by now
        return tuple(found)
    if is_answer:
        ip, port = get("src_ip"), get("src_port")
    else:
        ip, port = get("dst_ip") or get("server_ip"), get("dst_port") or get("server_port")
    ends = end_keys(ip, port)
    if ends is None:
        ends = tuple(address_keys(ip, port, host_of(event)))
    name = get("host") or get("target")
    if isinstance(name, str) and name:
        return tuple(dict.fromkeys((*found, *ends, *_named(name, get("port"), event))))
    return tuple(dict.fromkeys((*found, *ends))) if found else ends


def host_of(event: UnifiedEvent) -> str:
    """Return the name of the machine that an event is about, empty where it is not known."""
    return machine_of(event.entity)


_entities: Bounded[int, tuple[EntityReference, Keys]] = Bounded(_KEPT)


def _entity_keys(entity: EntityReference) -> Keys:
    """Return the keys of an entity and its parents; most events share the entities that the mapper keeps."""
    known = _entities.get(id(entity))
    if known is not None and known[0] is entity:
        return known[1]
    keys = kept(_sorted(list(_of_entity(entity))))
    _entities.keep(id(entity), (entity, keys))
    return keys


def machine_of(entity: EntityReference) -> str:
    """Return the name of the machine that an entity is on, empty where it is not known."""
    last: EntityReference | None = entity
    name = ""
    while last is not None:
        if last.type == EntityType.NODE:
            name = last.name
        last = last.parent
    return "" if name == "unknown" else name


def _of_entity(entity: EntityReference) -> Iterator[Key]:
    host, contained, has_unit = machine_of(entity), False, False
    for one in entity.lineage():
        if one.namespace and one.type != EntityType.NAMESPACE:
            yield ("namespace", one.namespace)
        if one.type == EntityType.SYSTEMD_UNIT:
            if not contained and not has_unit:
                yield ("unit", one.uid, host)
                yield from _unit_details(one, host)
            has_unit = True
        else:
            yield from _of_one(one, host)
        contained |= one.type in _CONTAINED


def _unit_details(unit: EntityReference, host: str) -> Iterator[Key]:
    invocation, cgroup = unit.attributes.get("invocation_id"), unit.attributes.get("cgroup")
    if invocation:
        yield ("invocation", invocation)
    if cgroup:
        yield ("cgroup", cgroup, host)


def _of_one(one: EntityReference, host: str) -> Iterator[Key]:  # noqa: PLR0912 - one line for each type
    if one.type == EntityType.NODE:
        if one.name != "unknown":
            yield ("node", one.name)
    elif one.type == EntityType.PROCESS:
        parts = one.uid.split("-")
        if len(parts) > 1 and parts[1].isdecimal():
            yield ("process", int(parts[1]), host)
        else:
            yield ("process", one.uid, host)
    elif one.type == EntityType.CONTAINER:
        yield ("container", one.uid)
    elif one.type == EntityType.POD:
        if one.uid != one.name:
            yield ("pod_name", one.namespace, one.name)
        yield ("pod", one.uid) if one.uid != one.name or not one.namespace else ("pod_name", one.namespace, one.name)
    elif one.type == EntityType.SERVICE:
        yield ("service", one.namespace, one.name)
    elif one.type == EntityType.NAMESPACE:
        yield ("namespace", one.name)
    elif one.type in _MACHINE_WIDE:
        rank = _MACHINE_WIDE[one.type]
        yield from ((rank, name, host) for name in (with_disk(one.name) if rank == "device" else (one.name,)))
    else:
        yield ("owner", one.namespace, one.type, one.name)
    for name in ("pod_ip", "ip", "cluster_ip"):
        if one.attributes.get(name):
            yield from address_keys(one.attributes[name], None, host)


def _sorted(keys: list[Key]) -> Keys:
    return made(sorted(dict.fromkeys(keys), key=_place))


def _place(key: Key) -> int:
    return _PLACE[key[0]]


_NAMES: Final = (
    *("pid", "main_pid", "invocation_id", "INVOCATION_ID", "USER_INVOCATION_ID", "container_id", "terminated_container_id"),
    *("cgroup", "pod_uid", "k8s.pod.uid", "pod_name", "k8s.pod.name", "pod_ip", "k8s.pod.ip", "device", "mount_point"),
    *("interface", "owner_name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.job.name"),
    *("tapio.k8s.services", "k8s.node.name", "node_name", "namespace", "k8s.namespace.name", "state", "listen_port"),
    *("k8s.container.name",),
)
"""Attributes that name something an event is about."""
_TELLING: Final = frozenset(_NAMES)


def _merged(keys: Keys, attributes: Mapping[str, Any]) -> Keys:
    if _TELLING.isdisjoint(attributes):
        return keys
    told = [name for name in attributes if name in _TELLING]
    if len(told) > 1:
        told.sort(key=_NAMES.index)
    namespace = next((key[1] for key in keys if key[0] == "namespace"), "")
    host = next((key[1] for key in reversed(keys) if key[0] == "node"), "")
    more: list[Key] = []
    for name in told:
        more += _of_attribute(name, attributes, namespace, host)
    fresh = [key for key in more if key not in keys]
    return _sorted([*keys, *fresh]) if fresh else keys


def _of_attribute(  # noqa: PLR0912 - one line for each attribute
    name: str, attributes: Mapping[str, Any], namespace: str, host: str
) -> Iterator[Key]:
    value = attributes[name]
    if name == "tapio.k8s.services":
        yield from (("service", _within(attributes, namespace), str(one).rpartition("/")[2]) for one in _texts(value))
    if not value or value.__class__ not in _PLAIN:
        return
    if name in {"pid", "main_pid"}:
        if value != 1:  # what the service manager writes is about its units
            yield ("process", value, host)
    elif name in _ALONE:
        yield (_ALONE[name], value)
    elif name == "device":
        yield from (("device", one, host) for one in with_disk(str(value).removeprefix("/dev/")))
    elif name in _ON_MACHINE:
        yield (_ON_MACHINE[name], value, host)
    elif name == "cgroup":
        yield from _of_cgroup(str(value), host)
    elif name in {"pod_name", "k8s.pod.name"}:
        if within := _within(attributes, namespace):
            yield ("pod_name", within, value)
    elif name in {"namespace", "k8s.namespace.name"}:
        yield ("namespace", value)
    elif name == "owner_name":
        yield ("owner", _within(attributes, namespace), str(attributes.get("owner_kind", "")).lower(), value)
    elif name in _OWNERS:
        yield ("owner", _within(attributes, namespace), _OWNERS[name], value)
    elif name in {"pod_ip", "k8s.pod.ip"}:
        yield from address_keys(value, None, host)
    elif name == "state" and value in _CONNECTED:
        yield from _own_end(attributes, host)
    elif name == "listen_port":
        yield from address_keys(attributes.get("listen_ip") or "127.0.0.1", value, host)


def _own_end(attributes: Mapping[str, Any], host: str) -> Iterator[Key]:
    """Yield the address of a connection's own end, with its port: all of a machine may have the address alone."""
    end = "dst" if attributes.get("direction") == "received" else "src"
    if "network_namespace" in attributes or "direction" in attributes:  # what a kernel tells of its own sockets
        yield from (
            key for key in address_keys(attributes.get(f"{end}_ip"), attributes.get(f"{end}_port"), host) if len(key) == 3
        )


_PLAIN: Final = frozenset((str, int))


def _within(attributes: Mapping[str, Any], namespace: str) -> str:
    found = attributes.get("k8s.namespace.name") or attributes.get("namespace")
    return found if isinstance(found, str) else namespace


def _texts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) and value else []


_CONNECTED: Final = frozenset(("ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2", "LAST_ACK", "CLOSING", "CLOSE"))
"""States in which an end of a connection is somebody's; in others the kernel answers for nobody."""
_ALONE: Final = {
    **dict.fromkeys(("invocation_id", "INVOCATION_ID", "USER_INVOCATION_ID"), "invocation"),
    **dict.fromkeys(("container_id", "terminated_container_id"), "container"),
    **dict.fromkeys(("pod_uid", "k8s.pod.uid"), "pod"),
    **dict.fromkeys(("k8s.node.name", "node_name"), "node"),
}
_ON_MACHINE: Final = {"mount_point": "mount", "interface": "interface"}
_OWNERS: Final = {f"k8s.{kind}.name": kind for kind in ("deployment", "statefulset", "daemonset", "job")}


def _of_cgroup(path: str, host: str) -> Iterator[Key]:
    if path in {"", "/"}:
        return
    found = parse_cgroup_path(path)
    yield ("cgroup", path, host)
    if found.container_id:
        yield ("container", found.container_id)
    if found.pod_uid:
        yield ("pod", found.pod_uid)
    elif found.unit and not found.container_id:
        yield ("unit", f"{found.unit}/{found.user_unit}" if found.user_unit else found.unit, host)


def _named(name: str, port: Any, event: UnifiedEvent) -> list[Key]:
    """Return the keys of a host as clients name it: an address, a Kubernetes service or pod, a name."""
    name = name.rstrip(".").lower()
    if name == "localhost" or name[:1].isdigit() or ":" in name:
        return address_keys(name, port, host_of(event))
    parts = name.removesuffix(".cluster.local").removesuffix(_SERVICE_DOMAIN).split(".")
    if len(parts) == 1:
        namespace = next((key[1] for key in keys_of(event) if key[0] == "namespace"), "")
        return [("service", namespace, name)]
    if name.endswith((".svc", ".cluster.local")) or len(parts) == 2:
        found: list[Key] = [("service", parts[-1], parts[-2])]
        return [("pod_name", parts[-1], parts[0]), *found] if len(parts) == 3 else found
    return [("address", name, port)] if port.__class__ is int else [("address", name)]
