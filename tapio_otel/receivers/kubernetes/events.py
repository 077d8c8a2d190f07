"""Kubernetes' own events: what is kept of them, and the event that each becomes.

Both forms of the API (events.k8s.io/v1 and the older core/v1) are the same objects and become the same. The id is made of UID
and resourceVersion: each repetition that Kubernetes counts is an occurrence of its own.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tapio_otel.event import AttributeValue, EntityReference, EventType, Severity, Source, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.throttle import Trimmed
from tapio_otel.receivers.kubernetes.times import nanoseconds

_CONTAINER: Final = re.compile(r"spec\.(?:initContainers|ephemeralContainers|containers)\{([^}]+)\}")
_REFERENCE: Final = (
    ("kind", "kind"),
    ("namespace", "namespace"),
    ("name", "name"),
    ("uid", "uid"),
    ("api_version", "apiVersion"),
    ("resource_version", "resourceVersion"),
    ("field_path", "fieldPath"),
)
LONGEST_NOTE: Final = 4096
"""Characters kept of a note; the API allows 1,024 in the newer form and does not limit the older one."""


def trim(raw: dict[str, Any]) -> Trimmed:
    """Return what is kept of an event of either form, by the newer form's names; JSON-able, without empty values."""
    metadata, series = raw["metadata"], raw.get("series") or {}
    source = raw.get("deprecatedSource") or raw.get("source") or {}
    first = raw.get("eventTime") or raw.get("deprecatedFirstTimestamp") or raw.get("firstTimestamp")
    last = series.get("lastObservedTime") or raw.get("deprecatedLastTimestamp") or raw.get("lastTimestamp")
    created = metadata.get("creationTimestamp")
    kept = {
        "uid": metadata["uid"],
        "version": metadata["resourceVersion"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "type": raw.get("type"),
        "reason": raw.get("reason"),
        "action": raw.get("action"),
        "note": (raw.get("note") or raw.get("message") or "")[:LONGEST_NOTE],
        "controller": raw.get("reportingController") or raw.get("reportingComponent") or source.get("component"),
        "instance": raw.get("reportingInstance"),
        "host": source.get("host"),
        "count": series.get("count") or raw.get("deprecatedCount") or raw.get("count") or 1,
        "first": first or created,
        "last": last or first or created,
        "regarding": _reference(raw.get("regarding") or raw.get("involvedObject")),
        "related": _reference(raw.get("related")),
    }
    return {key: value for key, value in kept.items() if value}


def version_of(event: Trimmed) -> int:
    """Return the resourceVersion as a number, by which events are ordered; 0 where it is none."""
    version: str = event["version"]
    return int(version) if version.isdecimal() else 0


def make(event: Trimmed, subjects: Subjects, severities: Severities, observed: int) -> UnifiedEvent:
    """Return the event of a Kubernetes event; `observed` in nanoseconds."""
    made = UnifiedEvent(
        id=event_id("kubernetes", event["uid"], event["version"]),
        timestamp=nanoseconds(event.get("last")) or observed,
        observed=observed,
        source=Source.KUBERNETES,
        type=EventType.K8S_EVENT,
        severity=_severity(event, severities),
        entity=_entity(event, subjects),
        description=event.get("note", ""),
        attributes=_attributes(event),
    )
    made.raw = EventType.K8S_EVENT
    return made


def is_about(event: Trimmed, node: str, pods: Subjects) -> bool:
    """Tell whether an event is a node's: it reported it, it is what the event is about, or one of its known pods is."""
    if node in (event.get("host"), event.get("instance")):
        return True
    regarding = event.get("regarding", {})
    if regarding.get("kind") == "Node":
        return bool(regarding.get("name") == node)
    if regarding.get("kind") != "Pod":
        return False
    if pods.knows_pod(regarding.get("uid", "")):
        return True
    # The scheduler tells before the pod is seen on its node.
    return event.get("reason") == "Scheduled" and event.get("note", "").endswith(f" to {node}")


def _severity(event: Trimmed, severities: Severities) -> Severity:
    otherwise = Severity.WARNING if event.get("type") == "Warning" else Severity.INFO
    return severities.of(event.get("reason", ""), otherwise=otherwise)


def _entity(event: Trimmed, subjects: Subjects) -> EntityReference | None:
    regarding = event.get("regarding")
    return subjects.named(regarding, event.get("host", "")) if regarding else None


def _attributes(event: Trimmed) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "reason": event.get("reason", ""),
        "action": event.get("action"),
        "event_type": event.get("type"),
        "count": event["count"],
        "reporting_controller": event.get("controller"),
        "reporting_instance": event.get("instance"),
        "reporting_host": event.get("host"),
        "event_name": event["name"],
        "event_uid": event["uid"],
        "event_namespace": event.get("namespace"),
        "resource_version": event["version"],
        "first_time": event.get("first"),
        "last_time": event.get("last"),
    }
    for prefix in ("regarding", "related"):
        for key, value in event.get(prefix, {}).items():
            attributes[f"{'object' if prefix == 'regarding' else prefix}_{key}"] = value
    path = event.get("regarding", {}).get("field_path", "")
    if path and (match := _CONTAINER.fullmatch(path)):
        attributes["k8s.container.name"] = match[1]
    return {key: value for key, value in attributes.items() if value is not None}


def _reference(raw: Any) -> dict[str, str]:
    return {key: raw[name] for key, name in _REFERENCE if raw.get(name)} if raw else {}
