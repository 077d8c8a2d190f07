"""The journal's terms turned into the event model's: severity, entity and its lineage, labels, title.

What an event is about, in this order:

1. The container whose output it is, by the fields of the docker and podman log drivers. Parent: the unit that wrote it.
2. The unit a message speaks of, where the speaker is to be believed: PID 1 about `UNIT=`, root about `COREDUMP_UNIT=` and
   `OBJECT_SYSTEMD_UNIT=`, and a user's own service manager about units of that user. These are journalctl's own rules.
3. The container or else the pod in whose cgroup the writer was, as what the kernel tells of it is about: named by its id,
   parent the pod where the cgroup's path tells it.
4. The unit that wrote it. A user's unit has the uid `<system unit>/<user unit>`, as the same name exists for every user.
5. The process that wrote it, `process-<pid>-<start>`: start in clock ticks since boot while the process can be asked, else the
   boot id, within which one pid seldom names two processes.
6. The node: the kernel's messages, and all that names no writer.

The parent of a unit, a pod or a process is the node. All of it is computed once for each origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from tapio_otel.entities import parse_cgroup_path
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent

TITLE_LENGTH: Final = 200
SEVERITIES: Final = {
    b"0": Severity.EMERGENCY,
    b"1": Severity.ALERT,
    b"2": Severity.CRITICAL,
    b"3": Severity.ERROR,
    b"4": Severity.WARNING,
    b"5": Severity.NOTICE,
    b"6": Severity.INFO,
    b"7": Severity.DEBUG,
}
LABELS: Final = {"unit": "_SYSTEMD_UNIT", "hostname": "_HOSTNAME", "exe": "_EXE", "cmdline": "_CMDLINE"}
_CACHED: Final = "normalizers.journald"
_PLAIN: Final = Severity.INFO
_SHORT_ID: Final = 12
"""How many digits of its id stand for a container without a name, as runtimes show it."""


def normalize(events: list[UnifiedEvent]) -> None:
    """Complete journal events in place.

    What has no raw form stays as it is: events that were normalized before, and those that tell of a gap.
    """
    severities, plain = SEVERITIES, _PLAIN
    for event in events:
        priority = event.raw
        if priority is None:
            continue
        event.raw = None
        origin = event.shared
        if origin is None:
            _normalize_detached(event, priority)
            continue
        normal = origin.cache.get(_CACHED)
        if normal is None:
            normal = origin.cache[_CACHED] = _normal_origin(origin)
        event.shared = normal
        try:
            event.severity = severities.get(priority, plain)
        except TypeError:  # a repeated PRIORITY
            event.severity = _worst(priority)
        text = event.description
        if "\n" in text:
            event.title = first_line(text)


def first_line(text: str) -> str:
    """Return the first line that says something, up to 200 characters."""
    for line in text.lstrip().splitlines()[:1]:
        return line.rstrip()[:TITLE_LENGTH]
    return ""


def _normalize_detached(event: UnifiedEvent, priority: Any) -> None:
    """Do what can be done for an event that a plugin took away from its origin."""
    event.severity = _worst([priority] if isinstance(priority, bytes) else priority)
    event.title = event.title if event.title and "\n" not in event.title else first_line(event.description)


def _worst(priorities: Any) -> Severity:
    return max((SEVERITIES.get(one, _PLAIN) for one in priorities), default=_PLAIN)


def _normal_origin(origin: Origin) -> Origin:
    record = _texts(origin.record)
    labels = {label: record[name] for label, name in LABELS.items() if record.get(name)}
    normal = Origin(entity_of(record), origin.attributes, labels, origin.annotations, origin.record)
    normal.cache[_CACHED] = normal  # normalizing twice changes nothing
    return normal


def _texts(record: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {name: value.decode() for name, value in record.items()}
    except (UnicodeDecodeError, AttributeError):
        return {name: _text(value) for name, value in record.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def entity_of(record: Mapping[str, str]) -> EntityReference:
    """Return what the entries of an origin are about."""
    node = _node(record.get("_HOSTNAME", ""), record.get("_MACHINE_ID", ""))
    if "CONTAINER_ID_FULL" in record or "CONTAINER_ID" in record or "CONTAINER_NAME" in record:
        container = _container(record, _writer(record, node) or node)
        if container is not None:
            return container
    return _subject(record, node) or _workload(record, node) or _writer(record, node) or _process(record, node) or node


@lru_cache(maxsize=256)
def _node(host: str, machine: str) -> EntityReference:
    return EntityReference("node", host or machine or "unknown", uid=machine)


def _writer(record: Mapping[str, str], node: EntityReference) -> EntityReference | None:
    """Return the unit that wrote."""
    system, user = record.get("_SYSTEMD_UNIT", ""), record.get("_SYSTEMD_USER_UNIT", "")
    if not system:
        return None
    attributes = _unit_attributes(record)
    return _within(system, user, node, attributes) if user else _unit(system, node, attributes)


def _container(record: Mapping[str, str], parent: EntityReference) -> EntityReference | None:
    uid = record.get("CONTAINER_ID_FULL") or record.get("CONTAINER_ID") or ""
    name = record.get("CONTAINER_NAME", "")
    if not uid and not name:
        return None
    image = record.get("IMAGE_NAME", "")
    return EntityReference(
        "container", name or uid[:_SHORT_ID], uid=uid, parent=parent, attributes={"image": image} if image else {}
    )


def _workload(record: Mapping[str, str], node: EntityReference) -> EntityReference | None:
    """Return the container or pod of the writer's cgroup, equal to what an `EntityMapper` makes of the path."""
    path = record.get("_SYSTEMD_CGROUP") or record.get("_SYSTEMD_UNIT", "")
    found = parse_cgroup_path(path)
    pod = None
    if found.pod_uid:
        qos = {"qos": found.qos} if found.qos else {}
        pod = EntityReference("pod", found.pod_uid, uid=found.pod_uid, parent=node, attributes=qos)
    if not found.container_id:
        return pod
    uid, runtime = found.container_id, {"runtime": found.runtime} if found.runtime else {}
    return EntityReference("container", uid[:_SHORT_ID], uid=uid, parent=pod or node, attributes=runtime)


def _subject(record: Mapping[str, str], node: EntityReference) -> EntityReference | None:
    """Return the unit that a message of a service manager, or of root, speaks of."""
    owner = record.get("_UID", "")
    unit = record.get("UNIT", "") if record.get("_PID") == "1" else ""
    if owner == "0":
        unit = unit or record.get("COREDUMP_UNIT", "") or record.get("OBJECT_SYSTEMD_UNIT", "")
        user_unit = record.get("COREDUMP_USER_UNIT", "") or record.get("OBJECT_SYSTEMD_USER_UNIT", "")
        if user_unit and unit:
            return _within(unit, user_unit, node, {})
    if unit:
        return _unit(unit, node, {})
    if record.get("USER_UNIT") and owner not in {"", "0"} and record.get("_SYSTEMD_UNIT", "") == f"user@{owner}.service":
        return _within(f"user@{owner}.service", record["USER_UNIT"], node, {})
    return None


def _unit(name: str, node: EntityReference, attributes: Mapping[str, str]) -> EntityReference:
    return EntityReference("systemd_unit", name, parent=node, attributes=attributes)


def _within(system: str, name: str, node: EntityReference, attributes: dict[str, str]) -> EntityReference:
    manager = _unit(system, node, {})
    return EntityReference("systemd_unit", name, uid=f"{system}/{name}", parent=manager, attributes=attributes)


def _unit_attributes(record: Mapping[str, str]) -> dict[str, str]:
    slice_name = record.get("_SYSTEMD_USER_SLICE") if record.get("_SYSTEMD_USER_UNIT") else record.get("_SYSTEMD_SLICE")
    found = {
        "invocation_id": record.get("_SYSTEMD_INVOCATION_ID"),
        "slice": slice_name or record.get("_SYSTEMD_SLICE"),
        "cgroup": record.get("_SYSTEMD_CGROUP"),
    }
    return {name: value for name, value in found.items() if value}


def _process(record: Mapping[str, str], node: EntityReference) -> EntityReference | None:
    pid = record.get("_PID", "")
    if not pid or record.get("_TRANSPORT") == "kernel":
        return None
    start = record.get("process_start") or record.get("_BOOT_ID", "unknown")
    name = record.get("_COMM") or record.get("SYSLOG_IDENTIFIER") or f"pid-{pid}"  # no _COMM: it ended before journald looked
    return EntityReference("process", name, uid=f"process-{pid}-{start}", parent=node)
