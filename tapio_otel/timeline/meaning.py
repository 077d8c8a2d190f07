"""What an event means for a timeline: a failure, a restart, a recovery, something that users feel; and whom it is about.

Decided by the classes of facts that the rules use, so that a timeline and a finding see the same thing in an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from tapio_otel.correlation.class_tests import Test
from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.lineage import Key, host_of, keys_of
from tapio_otel.entity import UNKNOWN_ENTITY, EntityReference, EntityType
from tapio_otel.event import EventType, Severity, UnifiedEvent

_NO_FAILURE: Final = frozenset(
    ("unit_started", "unit_stopped", "unit_restarted", "container_restarted", "deployed", "config_changed", "clock_jump")
)
_RESTART: Final = ("unit_restarted", "container_restarted")
_FELT: Final = ("connection_failed", "http_errors", "probe_failed", "dns_failed", "tls_failed", "pod_not_ready", "timed_out")
_RECOVERED_TYPES: Final = frozenset(("service_recovered", "container_started", "link_up", "backend_up", "node_ready"))
_NAMELESS: Final = frozenset(("", None, UNKNOWN_ENTITY.name))
_NUMBERED: Final = frozenset((EntityType.PROCESS.value, EntityType.CONTAINER.value, EntityType.POD.value))
"""Ranks whose subjects are known by a number or an id."""
_READY: Final = frozenset(("True", True, "true"))


def _tests(names: Iterator[str]) -> dict[str, list[Test | None]]:
    found: dict[str, list[Test | None]] = {}
    for name in names:
        for type, test in CLASSES[name].types.items():
            found.setdefault(type, []).append(test)
    return found


_FACTS: Final = _tests(iter(CLASSES))
_FAILURES: Final = _tests(name for name in CLASSES if name not in _NO_FAILURE)
_RESTARTS: Final = _tests(iter(_RESTART))
_FELT_BY_USERS: Final = _tests(iter(_FELT))


def _any(tests: dict[str, list[Test | None]], event: UnifiedEvent) -> bool:
    return any(test is None or test(event) for test in tests.get(event.type, ()))


def is_restart(event: UnifiedEvent) -> bool:
    """Tell whether a unit or container was started again."""
    return _any(_RESTARTS, event)


def is_recovery(event: UnifiedEvent) -> bool:
    """Tell whether something is well (again)."""
    if event.type == EventType.SERVICE_STATE:
        return bool(event.get("current_state") == "active")
    if event.type == EventType.NODE_CONDITION:
        healthy = event.get("condition") == "Ready"
        return bool((event.get("condition_status") in _READY) == healthy)
    if event.type == EventType.POD_STATE:
        return event.get("change") in {"ready", "running"} or (
            event.get("change") == "condition" and event.get("condition") == "Ready" and event.get("condition_status") in _READY
        )
    return event.type in _RECOVERED_TYPES


def is_failure(event: UnifiedEvent) -> bool:
    """Tell whether something does not work: an error or worse, or a fact of a class that is one."""
    if event.type == EventType.CORRELATION or is_recovery(event):
        return False
    return event.severity >= Severity.ERROR or (event.type != EventType.LOG and _any(_FAILURES, event))


def is_felt(event: UnifiedEvent) -> bool:
    """Tell whether those who use the entity notice: it cannot be reached, answers with errors, is not ready."""
    return _any(_FELT_BY_USERS, event)


def is_notable(event: UnifiedEvent) -> bool:
    """Tell whether an event is more than a plain log line: of a type of its own, or a warning or worse."""
    return event.type != EventType.LOG or event.severity >= Severity.WARNING


def is_consequential(event: UnifiedEvent) -> bool:
    """Tell whether an event may matter to what is part of its subject: a warning or worse, a fact of any class, a recovery."""
    if event.severity >= Severity.WARNING:
        return True
    return event.type != EventType.LOG and (_any(_FACTS, event) or is_recovery(event))


def subject_of(event: UnifiedEvent) -> Key:
    """Return the key of the thing that an event is about, the same for all sources: the pod, else the unit, else the entity.

    A container and its processes count as their pod, a process as its unit: what fails and recovers is that.
    """
    by_rank = {key[0]: key for key in reversed(keys_of(event))}
    for rank in ("pod_name", "pod", "unit", "container", "process", "device", "mount", "interface", "owner", "service"):
        if rank in by_rank:
            return by_rank[rank]
    entity = event.entity
    return (entity.type, entity.namespace, entity.name, host_of(event))


def has_name(subject: Key) -> bool:
    """Tell whether a subject can be told from others: the machine of an unknown origin cannot."""
    names = subject[3:4] if subject[0] == "owner" else subject[1:3]
    return any(name not in _NAMELESS for name in names)


def name_of(subject: Key, entity: EntityReference | None = None) -> str:
    """Return a subject as people write it: `pod prod/web-0`, `unit web.service`, `process nginx (42)`.

    `entity` is that of an event about it, which knows names where the subject has only a number; what has no name at all is
    said to have none.
    """
    rank = subject[0]
    if rank in {"pod_name", "service"}:
        return _named("pod" if rank == "pod_name" else rank, subject[1:3])
    if rank == "owner":
        return _named(subject[2], (subject[1], subject[3]))
    if rank in _NUMBERED and entity is not None:
        return _of_entity(subject, entity)
    if len(subject) == 4:  # of what has no rank of its own here: a node, a namespace
        return _named(rank, subject[1:3])
    return _named(rank, subject[1:2])


def _named(type: str, names: Iterable[Any]) -> str:
    text = "/".join(str(name) for name in names if name not in {"", None})
    return f"{type.replace('_', ' ')} {text}" if text else f"{type.replace('_', ' ')} without a name"


def _of_entity(subject: Key, entity: EntityReference) -> str:
    """Return the name that the lineage of an event's entity gives to what is known by an id only."""
    rank, id = subject[:2]
    for one in entity.lineage():
        if one.type != rank or one.name in {"", str(id)}:
            continue
        if rank == EntityType.PROCESS:
            return f"process {one.name} ({id})" if str(id) in one.uid.split("-") else f"process {one.name}"
        if one.uid == id:
            return _named(rank, (one.namespace, one.name))
    return _named(rank, (id,))
