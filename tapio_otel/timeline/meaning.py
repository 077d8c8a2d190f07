"""What an event means for a timeline: a failure, a restart, a recovery, something that users feel; and whom it is about.

Decided by the classes of facts that the rules use, so that a timeline and a finding see the same thing in an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tapio_otel.correlation.class_tests import Test
from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.lineage import Key, host_of, keys_of
from tapio_otel.event import EventType, Severity, UnifiedEvent

_NO_FAILURE: Final = frozenset(
    ("unit_started", "unit_stopped", "unit_restarted", "container_restarted", "deployed", "config_changed", "clock_jump")
)
_RESTART: Final = ("unit_restarted", "container_restarted")
_FELT: Final = ("connection_failed", "http_errors", "probe_failed", "dns_failed", "tls_failed", "pod_not_ready", "timed_out")
_RECOVERED_TYPES: Final = frozenset(("service_recovered", "container_started", "link_up", "backend_up", "node_ready"))
_READY: Final = frozenset(("True", True, "true"))


def _tests(names: Iterator[str]) -> dict[str, list[Test | None]]:
    found: dict[str, list[Test | None]] = {}
    for name in names:
        for type, test in CLASSES[name].types.items():
            found.setdefault(type, []).append(test)
    return found


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


def name_of(subject: Key) -> str:
    """Return a subject as people write it: `pod prod/web-0`, `unit web.service`."""
    rank = subject[0]
    if rank in {"pod_name", "service"}:
        return f"{'pod' if rank == 'pod_name' else rank} {subject[1]}/{subject[2]}"
    if rank == "owner":
        return f"{subject[2]} {subject[1]}/{subject[3]}"
    if len(subject) == 4:  # of what has no rank of its own here: a node, a namespace
        return f"{rank} {'/'.join(filter(None, subject[1:3]))}"
    return f"{rank} {subject[1]}"
