"""What goes where: an event's entity, attributes and labels as OTLP resource and record attributes.

Both encodings, protobuf and JSON, take their content from here, so that they cannot differ. Runs once for each origin and
source, not once for each event.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from tapio_otel.event import UNKNOWN_ENTITY, EntityReference, EntityType, Origin, Source, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.otlp import semconv, service_identity
from tapio_otel.otlp.semconv import Convention, convention

Attributes = dict[str, Any]

_SERVICE_NAMES: Final = (
    *(f"k8s.{kind}.name" for kind in semconv.WORKLOAD_KINDS),
    *(semconv.K8S_POD_NAME, semconv.K8S_CONTAINER_NAME, semconv.CONTAINER_NAME),
)
"""Resource attributes that name the service, best first."""
JOURNAL_LABELS: Final = frozenset(("unit", "hostname", "exe", "cmdline"))
_SYSLOG_IDENTIFIER: Final = "SYSLOG_IDENTIFIER"
_CONTAINER_RUNTIME_NAME: Final = "container.runtime.name"
_OWNER_KIND, _OWNER_NAME = "owner_kind", "owner_name"
_MACHINE_ID: Final = "/etc/machine-id"

_POD_UID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")
_KUBERNETES_UID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CONTAINER_UID: Final = re.compile(r"[0-9a-f]{64}")
_SHORT_ID: Final = 12
"""How many digits of its id runtimes show for a container."""
_TRAITS: Final = {EntityType.CONTAINER.value: "runtime", EntityType.POD.value: "qos"}
"""Attributes of entities that never change, and so belong to the resource, by the type of entity that has them."""

RESOURCE_SOURCES: Final = frozenset((_SYSLOG_IDENTIFIER, _OWNER_KIND, _OWNER_NAME, "syslog_identifier"))
"""Keys of record attributes that the resource is derived from as well."""


class Mapped(NamedTuple):
    """Hold what the events of one origin and source say in common."""

    resource: Attributes
    attributes: Attributes
    flags: int


class _Named(NamedTuple):
    """Name an entity; what it is called in OTLP depends on nothing else. `trait` is its attribute of `_TRAITS`."""

    type: str
    name: str
    namespace: str
    uid: str
    trait: str = ""


_UNKNOWN: Final = _Named(UNKNOWN_ENTITY.type, UNKNOWN_ENTITY.name, UNKNOWN_ENTITY.namespace, UNKNOWN_ENTITY.uid)


class Described(NamedTuple):
    """Hold what an entity and its parents contribute to the resource, and whose Kubernetes labels its events carry."""

    resource: Attributes
    kind: str


def host_resource(machine_id: str = _MACHINE_ID) -> Attributes:
    """Describe the machine this runs on, as resource attributes."""
    resource: Attributes = {semconv.HOST_NAME: socket.gethostname(), semconv.OS_TYPE: "linux"}
    try:
        resource[semconv.HOST_ID] = Path(machine_id).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return resource  # a container without a machine id has none to tell
    return resource


def map_origin(origin: Origin, source: str, base: Mapping[str, Any]) -> Mapped:
    """Return the resource (laid over `base`) and the record attributes of events with this origin (or view of an event)."""
    values = origin.attributes
    flags = valid_flags(values.get(semconv.TRACE_FLAGS))
    hidden = [semconv.EMIT_TRACE] if flags is None else [semconv.EMIT_TRACE, semconv.TRACE_FLAGS]
    if flags is not None or semconv.EMIT_TRACE in values:
        values = {key: value for key, value in values.items() if key not in hidden}
    resource, attributes = _split(values, source)
    entity = origin.entity
    described = describe(entity, source)
    _take_owner(resource, origin.attributes)
    _complete(resource, origin, described)
    attributes[semconv.TAPIO_SOURCE] = source
    trait = _TRAITS.get(entity.type)
    for key, value in entity.attributes.items():
        if key != trait or not isinstance(value, str):
            attributes.setdefault(f"{semconv.TAPIO_ENTITY}{key}", value)
    _add_labels(origin, described.kind, attributes)
    return Mapped(_laid_over(base, resource), attributes, flags or 0)


def _complete(resource: Attributes, origin: Origin, described: Described) -> None:
    """Add what the entity tells, and what service that is."""
    in_pod = described.kind == "pod"
    for name, value in described.resource.items():
        resource.setdefault(name, value)
    image = resource.get(semconv.CONTAINER_IMAGE_NAME)
    service_identity.split_image(resource)
    if in_pod:
        service_identity.take_annotations(resource, origin.annotations)
        service_identity.take_labels(resource, origin.labels)
        service_identity.complete(resource, image if isinstance(image, str) else "")
    if semconv.SERVICE_NAME not in resource and (service := _service_name(origin, resource)):
        resource[semconv.SERVICE_NAME] = service


def _laid_over(base: Mapping[str, Any], resource: Attributes) -> Attributes:
    """Return the resource over what describes this machine; of another machine, this one's id is not the id."""
    own = base.get(semconv.HOST_NAME)
    if own is not None and semconv.HOST_ID in base and resource.get(semconv.HOST_NAME, own) != own:
        base = {name: value for name, value in base.items() if name != semconv.HOST_ID}
    return {**base, **resource}


def record_uid(event: UnifiedEvent) -> str:
    """Return the id of an event's record: a finding that is told again is another record, and nobody's repeat."""
    revision = event.get("revision")
    return event_id(event.id, "revision", revision) if isinstance(revision, int) and revision > 0 else event.id


def valid_flags(value: Any) -> int | None:
    """Return the value when it can be a log record's flags, else None."""
    return value if type(value) is int and 0 <= value <= 0xFFFFFFFF else None


def _split(values: Mapping[str, Any], source: str) -> tuple[Attributes, Attributes]:
    resource: Attributes = {}
    attributes: Attributes = {}
    conventions = _conventions(tuple(map(str, values)), source)
    for (name, of_resource, convert), value in zip(conventions, values.values(), strict=True):
        (resource if of_resource else attributes)[name] = convert(value) if convert else value
    return resource, attributes


@lru_cache(maxsize=1024)
def _conventions(keys: tuple[str, ...], source: str) -> list[Convention]:
    return [convention(key, source) for key in keys]


def describe(entity: EntityReference, source: str = "") -> Described:
    """Return what an entity and its parents are called, the nearest of each kind."""
    chain = tuple([_named(one) for one in entity.lineage()])
    return _describe(chain, source == Source.KUBERNETES or any(one.type == EntityType.POD and one.namespace for one in chain))


def _named(entity: EntityReference) -> _Named:
    trait = entity.attributes.get(_TRAITS.get(entity.type, ""), "")
    return _Named(entity.type, entity.name, entity.namespace, entity.uid, trait if isinstance(trait, str) else "")


@lru_cache(maxsize=1024)
def _describe(chain: tuple[_Named, ...], in_cluster: bool) -> Described:
    entity = chain[0]
    names: Attributes = {}
    in_pod = any(member.type == EntityType.POD for member in chain)
    for member in chain:
        if member.type == EntityType.CONTAINER:
            found = _container(member, in_pod)
        elif member.type == EntityType.NODE:
            found = _node(member, in_cluster)
        else:
            found = _DESCRIBE.get(member.type, _workload)(member)
        for name, value in found.items():
            if value:
                names.setdefault(name, value)
    if entity != _UNKNOWN:
        for part in ("type", "name", "namespace", "uid"):
            if value := getattr(entity, part):
                names.setdefault(semconv.TAPIO_ENTITY + part, value)
    return Described(names, _labelled_kind(entity, in_pod, in_cluster))


def _container(entity: _Named, in_pod: bool) -> Attributes:
    """Name a container; the beginning of its id, or the id, is no name."""
    is_id = bool(_CONTAINER_UID.fullmatch(entity.uid))
    named = not (is_id and len(entity.name) >= _SHORT_ID and entity.uid.startswith(entity.name))
    return {
        semconv.K8S_CONTAINER_NAME if in_pod else semconv.CONTAINER_NAME: entity.name if named else "",
        semconv.CONTAINER_ID: entity.uid if is_id or entity.uid != entity.name else "",
        semconv.K8S_NAMESPACE_NAME: entity.namespace,
        _CONTAINER_RUNTIME_NAME: entity.trait,
    }


def _pod(entity: _Named) -> Attributes:
    """Name a pod; one whose name is its UID has a name that nobody knows, one without a UID has its name for it."""
    same = entity.uid == entity.name
    is_uid = same and bool(_POD_UID.fullmatch(entity.uid))
    return {
        semconv.K8S_POD_NAME: "" if is_uid else entity.name,
        semconv.K8S_POD_UID: entity.uid if is_uid or not same else "",
        semconv.K8S_NAMESPACE_NAME: entity.namespace,
        semconv.K8S_POD_QOS_CLASS: semconv.quality_of_service(entity.trait),
    }


def _node(entity: _Named, in_cluster: bool) -> Attributes:
    if entity == _UNKNOWN:
        return {}
    own_uid = entity.uid if entity.uid != entity.name else ""
    if _is_of_kubernetes(entity, in_cluster):
        return {semconv.K8S_NODE_NAME: entity.name, semconv.K8S_NODE_UID: own_uid}
    return {semconv.HOST_NAME: entity.name, semconv.HOST_ID: own_uid}


def _is_of_kubernetes(node: _Named, in_cluster: bool) -> bool:
    """Tell whether a node is one that Kubernetes knows: then its UID is a UUID; a machine id is written without hyphens.

    Of one that a cluster's pod or event only names, nobody knows either.
    """
    return bool(_KUBERNETES_UID.fullmatch(node.uid)) or (in_cluster and node.uid == node.name)


def _process(entity: _Named) -> Attributes:
    kind, _, rest = entity.uid.partition("-")
    pid = rest.partition("-")[0]
    known = kind == "process" and pid.isascii() and pid.isdigit() and len(pid) <= 10
    return {semconv.PROCESS_PID: int(pid)} if known else {}


def _workload(entity: _Named) -> Attributes:
    key = semconv.workload_name_key(entity.type)
    if not key:
        return {}
    uid = entity.uid if _KUBERNETES_UID.fullmatch(entity.uid) else ""
    return {key: entity.name, semconv.workload_uid_key(entity.type): uid, semconv.K8S_NAMESPACE_NAME: entity.namespace}


_DESCRIBE: Final[Mapping[str, Callable[[_Named], Attributes]]] = {
    EntityType.POD: _pod,
    EntityType.PROCESS: _process,
    EntityType.NAMESPACE: lambda entity: {semconv.K8S_NAMESPACE_NAME: entity.name},
    EntityType.SYSTEMD_UNIT: lambda entity: {semconv.SYSTEMD_UNIT_NAME: entity.name},
    EntityType.SERVICE: lambda entity: {semconv.SERVICE_NAME: entity.name, semconv.SERVICE_NAMESPACE: entity.namespace},
}


def _take_owner(resource: Attributes, attributes: Mapping[str, Any]) -> None:
    kind, name = attributes.get(_OWNER_KIND), attributes.get(_OWNER_NAME)
    if isinstance(kind, str) and isinstance(name, str) and name and (key := semconv.workload_name_key(kind)):
        resource.setdefault(key, name)


def _service_name(origin: Origin, resource: Attributes) -> str:
    """Return the workload's name, else the pod's or container's, else the unit's without its suffix, else syslog's."""
    for key in _SERVICE_NAMES:
        if isinstance(name := resource.get(key), str) and name:
            return name
    if isinstance(unit := resource.get(semconv.SYSTEMD_UNIT_NAME), str) and unit:
        return unit.rpartition(".")[0] or unit
    candidates = (origin.attributes.get(_SYSLOG_IDENTIFIER), origin.attributes.get("syslog_identifier"))
    commands = (resource.get(semconv.PROCESS_COMMAND), resource.get(semconv.PROCESS_EXECUTABLE_NAME))
    return next((name for name in (*candidates, *commands) if isinstance(name, str) and name), "")


def _add_labels(origin: Origin, kind: str, attributes: Attributes) -> None:
    for key, text in origin.labels.items():
        own = not kind or key in JOURNAL_LABELS
        attributes.setdefault(f"{semconv.TAPIO_LABEL if own else f'k8s.{kind}.label.'}{key}", text)
    for key, text in origin.annotations.items():
        if kind == "pod" and key.startswith(service_identity.ANNOTATION):
            continue  # the resource has it
        attributes.setdefault(f"k8s.{kind}.annotation.{key}" if kind else f"{semconv.TAPIO_ANNOTATION}{key}", text)


def _labelled_kind(entity: _Named, in_pod: bool, in_cluster: bool) -> str:
    if in_pod:
        return "pod"
    if entity.type == EntityType.NAMESPACE:
        return "namespace"
    return "node" if entity.type == EntityType.NODE and _is_of_kubernetes(entity, in_cluster) else ""
