"""Changes of nodes as events."""

from __future__ import annotations

from typing import Any

import pytest

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.normalizers.kubernetes import normalize
from tapio_otel.receivers.kubernetes.nodes import NodeChanges, trim
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.times import nanoseconds
from tapio_otel.receivers.kubernetes.told import INITIAL, RECONCILED, Circumstances
from tests.receivers.kubernetes.objects import NODE_UID, condition, node

READY = condition("Ready", "True", reason="KubeletReady")
CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "2026-11-23T12:00:00Z"}


def told(before: dict[str, Any] | None, after: dict[str, Any], mark: str = "", since: str = "") -> list[UnifiedEvent]:
    """Return the normalized events of a step."""
    changes = NodeChanges(Subjects(), Severities())
    found = Circumstances(5, mark, nanoseconds(since))
    events = list(changes.between(trim(before) if before else None, trim(after), found))
    normalize(events)
    return events


@pytest.mark.parametrize(
    ("before", "after", "severity", "title"),
    [
        (READY, condition("Ready", "False", reason="KubeletNotReady"), Severity.CRITICAL, "Ready True → False"),
        (READY, condition("Ready", "Unknown", reason="NodeStatusUnknown"), Severity.CRITICAL, "Ready True → Unknown"),
        (condition("Ready", "Unknown"), READY, Severity.INFO, "Ready Unknown → True"),
        *(
            (condition(name, "False"), condition(name, "True"), Severity.ERROR, f"{name} False → True")
            for name in ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
        ),
        (condition("DiskPressure", "True"), condition("DiskPressure", "False"), Severity.INFO, "DiskPressure True → False"),
        (
            condition("MemoryPressure", "False"),
            condition("MemoryPressure", "Unknown"),
            Severity.WARNING,
            "MemoryPressure False → Unknown",
        ),
        (
            condition("FrequentReboots", "False"),
            condition("FrequentReboots", "True"),
            Severity.WARNING,
            "FrequentReboots False → True",
        ),
    ],
)
def test_every_condition_is_told_when_it_changes(before: Any, after: Any, severity: Severity, title: str) -> None:
    """Those of Kubernetes, and those that others add."""
    (event,) = told(node(conditions=[before]), node(101, conditions=[after]))
    assert (event.type, event.severity, event.title) == ("node_condition", severity, f"Node node-17: {title}")
    assert (event.entity.type, event.entity.name, event.entity.uid) == ("node", "node-17", NODE_UID)
    assert event.timestamp == nanoseconds("2026-11-23T12:00:00Z")


def test_a_heartbeat_is_no_change() -> None:
    """Kubelets write their conditions every five minutes."""
    later = {**READY, "lastHeartbeatTime": "2026-11-23T14:00:00Z", "message": "kubelet is posting ready status"}
    assert told(node(conditions=[READY]), node(101, conditions=[later])) == []


def test_taints_are_told_when_they_come_and_go() -> None:
    """With their effect; one that only advises is no warning."""
    advice = {"key": "spot", "value": "soon", "effect": "PreferNoSchedule"}
    came = told(node(), node(101, taints=[CORDONED, advice]))
    assert [(event.title, event.severity) for event in came] == [
        ("Node node-17: taint +node.kubernetes.io/unschedulable:NoSchedule", Severity.WARNING),
        ("Node node-17: taint +spot=soon:PreferNoSchedule", Severity.INFO),
    ]
    (gone,) = told(node(taints=[CORDONED]), node(102))
    assert (gone.get("change"), gone.title) == (
        "taint_removed",
        "Node node-17: taint -node.kubernetes.io/unschedulable:NoSchedule",
    )


def test_a_new_node_tells_whether_it_is_ready_and_what_is_wrong() -> None:
    """And not of every pressure that there is none of."""
    fine = [condition(name, "False") for name in ("MemoryPressure", "DiskPressure")]
    assert [event.get("condition") for event in told(None, node(conditions=[READY, *fine]))] == ["Ready"]


def test_at_the_start_all_conditions_are_told_as_initial() -> None:
    """Where that is asked for."""
    events = told(None, node(conditions=[READY, condition("DiskPressure", "False")]), mark=INITIAL)
    assert [(event.get("condition"), event.get("initial")) for event in events] == [("Ready", True), ("DiskPressure", True)]


def test_without_a_former_state_its_own_times_tell_what_is_new() -> None:
    """What is older than the position was told before, and what is found has the id it would have had."""
    lost = condition("Ready", "False", "2026-11-23T12:00:00Z")
    found = told(None, node(200, conditions=[lost], taints=[CORDONED]), RECONCILED, "2026-11-23T11:59:00Z")
    assert [event.get("change") for event in found] == ["condition", "taint_added"]
    assert told(None, node(200, conditions=[lost], taints=[CORDONED]), RECONCILED, "2026-11-23T12:01:00Z") == []
    seen = told(node(conditions=[READY]), node(101, conditions=[lost], taints=[CORDONED]))
    assert [event.id for event in seen] == [event.id for event in found]


def test_a_node_that_is_removed_is_told() -> None:
    """As a warning."""
    gone = NodeChanges(Subjects(), Severities()).deleted(trim(node()), Circumstances(5))
    normalize([gone])
    assert (gone.title, gone.severity) == ("Node node-17: deleted", Severity.WARNING)
