"""Nodes: what is kept of them, and their changes as events: each condition and each taint that comes, goes or changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tapio_otel.event import AttributeValue, EventType, Severity, UnifiedEvent
from tapio_otel.receivers.kubernetes.pods import Condition, conditions
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.times import nanoseconds
from tapio_otel.receivers.kubernetes.told import INITIAL, Circumstances

READY: Final = "Ready"
_UNREADY: Final = {"False": "NodeNotReady", "Unknown": "NodeStatusUnknown"}


class Node(NamedTuple):
    """Hold a node as one version of it says; `taints` are by `key=value:effect`, with the time they were added, if told."""

    uid: str
    name: str
    namespace: str
    version: str
    created: str
    conditions: dict[str, Condition]
    taints: dict[str, str]


def trim(raw: dict[str, Any]) -> Node:
    """Return what is kept of a node as the API gives it."""
    metadata = raw["metadata"]
    taints = (raw.get("spec") or {}).get("taints") or ()
    return Node(
        uid=metadata["uid"],
        name=metadata["name"],
        namespace="",
        version=metadata["resourceVersion"],
        created=metadata.get("creationTimestamp") or "",
        conditions=conditions(raw.get("status") or {}),
        taints={_taint(one): one.get("timeAdded") or "" for one in taints},
    )


def _taint(raw: dict[str, Any]) -> str:
    value = f"={raw['value']}" if raw.get("value") else ""
    return f"{raw.get('key', '')}{value}:{raw.get('effect', '')}"


class NodeChanges:
    """Tell what has changed between two versions of a node."""

    def __init__(self, subjects: Subjects, severities: Severities) -> None:
        self._subjects = subjects
        self._severities = severities

    def between(self, before: Node | None, after: Node, found: Circumstances) -> Iterator[UnifiedEvent]:
        """Yield the events of a change; `before` is None for a node that is new or was not seen before."""
        self._subjects.node(after.name, after.uid)
        earlier = before.conditions if before is not None else {}
        for name, condition in after.conditions.items():
            previous = earlier.get(name)
            if self._tells(previous, condition, before, found):
                yield self._condition(previous, condition, after, found)
        yield from self._taints(before, after, found)

    def deleted(self, one: Node, found: Circumstances) -> UnifiedEvent:
        """Return the event of a node that is gone."""
        attributes: dict[str, AttributeValue] = {"change": "deleted", "resource_version": one.version}
        severity = self._severities.of("NodeRemoved")
        entity = self._subjects.node(one.name, one.uid)
        return found.make(EventType.NODE_CONDITION, (one.uid, "deleted"), 0, severity, entity, attributes)

    def learn(self, one: Node) -> None:
        """Remember what a node is called."""
        self._subjects.node(one.name, one.uid)

    @staticmethod
    def is_unwell(one: Node) -> bool:
        """Tell whether any condition of a node is not as it should be."""
        return any(not _is_well(each) for each in one.conditions.values())

    def _tells(self, previous: Condition | None, now: Condition, before: Node | None, found: Circumstances) -> bool:
        if previous is not None:
            return previous.status != now.status
        if before is None and found.since:
            return nanoseconds(now.changed) >= found.since
        return found.mark == INITIAL or not _is_well(now) or now.type == READY

    def _condition(self, previous: Condition | None, now: Condition, node: Node, found: Circumstances) -> UnifiedEvent:
        attributes: dict[str, AttributeValue] = {
            "change": "condition",
            "condition": now.type,
            "condition_status": now.status,
            "previous_condition_status": previous.status if previous is not None else "",
            "condition_reason": now.reason,
            "message": now.message,
            "resource_version": node.version,
        }
        identity = (node.uid, now.type, now.status, now.changed or node.version)
        entity = self._subjects.node(node.name, node.uid)
        return found.make(EventType.NODE_CONDITION, identity, nanoseconds(now.changed), self._severity(now), entity, attributes)

    def _taints(self, before: Node | None, after: Node, found: Circumstances) -> Iterator[UnifiedEvent]:
        if before is None and found.since:
            added = [one for one, when in after.taints.items() if nanoseconds(when) >= found.since]
        else:
            added = [one for one in after.taints if before is None or one not in before.taints]
        removed = [one for one in before.taints if one not in after.taints] if before is not None else []
        for change, taints in (("taint_added", added), ("taint_removed", removed)):
            for taint in taints:
                attributes: dict[str, AttributeValue] = {"change": change, "taint": taint, "resource_version": after.version}
                when = nanoseconds(after.taints[taint]) if change == "taint_added" else 0
                severity = (
                    Severity.WARNING if change == "taint_added" and not taint.endswith(":PreferNoSchedule") else Severity.INFO
                )
                identity = (after.uid, change, taint, when or after.version)
                entity = self._subjects.node(after.name, after.uid)
                yield found.make(EventType.NODE_CONDITION, identity, when, severity, entity, attributes)

    def _severity(self, condition: Condition) -> Severity:
        if _is_well(condition):
            return Severity.INFO
        if condition.type == READY:
            return self._severities.of(_UNREADY.get(condition.status, "NodeNotReady"))
        if condition.status == "Unknown":
            return Severity.WARNING  # its kubelet is silent: the condition Ready says how bad that is
        return self._severities.of(condition.type, condition.reason, otherwise=Severity.WARNING)


def _is_well(condition: Condition) -> bool:
    """Tell whether a condition is as it should be: of all that nodes have, `Ready` alone is good when it is true."""
    return condition.status == ("True" if condition.type == READY else "False")
