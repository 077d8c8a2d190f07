"""Kubernetes' terms turned into the event model's: a title in one line, and in plain words what happened.

The severity is the receiver's, which knows the table of reasons and what the configuration says otherwise; see
docs/kubernetes-events.md. A Kubernetes event's description is its own note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tapio_otel.event import EventType, UnifiedEvent

_TITLE_LENGTH: Final = 200
_OF_TAINT: Final = {"taint_added": "has the taint", "taint_removed": "no longer has the taint"}
_CONTAINERS: Final = {"init": "Init container", "ephemeral": "Ephemeral container"}


def normalize(events: list[UnifiedEvent]) -> None:
    """Complete Kubernetes events in place; what has no raw form was normalized before and stays as it is."""
    for event in events:
        kind = event.raw
        if kind is None:
            continue
        event.raw = None
        tell = _TELL.get(kind)
        if tell is not None:
            title, description = tell(event)
            event.title = " ".join(title.split())[:_TITLE_LENGTH]
            event.description = description or event.description


def _k8s_event(event: UnifiedEvent) -> tuple[str, str]:
    kind, name = event.get("object_kind", ""), event.get("object_name", "")
    where = event.get("object_namespace", "")
    about = f"{kind} {where}/{name}" if where else f"{kind} {name}"
    reason = event.get("reason") or event.get("event_type") or "Event"
    count = event.get("count", 1)
    return f"{reason}: {about.strip()}" + (f" ({count} times)" if isinstance(count, int) and count > 1 else ""), ""


def _pod_state(event: UnifiedEvent) -> tuple[str, str]:
    if event.get("k8s.container.name"):
        return _container_state(event)
    pod, change = _pod(event), event.get("change", "")
    phase, previous = event.get("phase", ""), event.get("previous_phase", "")
    if change in {"deleted", "terminating"}:
        words = "is deleted" if change == "deleted" else "is being deleted"
        return f"Pod {pod}: {change}", f"Pod {pod} {words} (phase {phase})"
    conditions: Mapping[str, Any] = event.get("conditions", {})
    reasons: Mapping[str, Any] = event.get("condition_reasons", {})
    if previous and previous != phase:
        title = f"Pod {pod}: {previous} → {phase}"
    elif change == "condition":
        title = f"Pod {pod}: " + ", ".join(_condition(*one) for one in conditions.items())
    else:
        title = f"Pod {pod}: {change} ({phase})"
    parts = [f"Pod {pod} is {phase}"]
    if reason := event.get("status_reason"):
        parts.append(str(reason))
    parts += [f"{name} is {status}" + (f" ({reasons[name]})" if name in reasons else "") for name, status in conditions.items()]
    return title, "; ".join(parts) + _message(event) + _remarks(event)


def _condition(name: str, status: Any) -> str:
    return name if status == "True" else f"not {name}" if status == "False" else f"{name} {status}"


def _container_state(event: UnifiedEvent) -> tuple[str, str]:
    who = _container(event)
    if event.get("change") == "waiting":
        reason = event.get("container_reason", "")
        restarts = event.get("restart_count")
        after = f" after {restarts} restart{'' if restarts == 1 else 's'}" if restarts else ""
        return f"{who}: {reason}", f"{who} waits{after}: {reason}" + _message(event) + _remarks(event)
    return f"{who} ended: {_why(event)}", f"{who} {_ended(event)}" + _message(event) + _remarks(event)


def _container_restart(event: UnifiedEvent) -> tuple[str, str]:
    who, count = _container(event), event.get("restart_count", 0)
    missed = event.get("missed_restarts")
    title = f"{who} restarted: {_why(event)}"
    times = "once" if count == 1 else f"{count} times"
    unseen = f"; {missed} restart{'' if missed == 1 else 's'} before this went unseen" if missed else ""
    return title, f"{who} was restarted, {times} so far: it {_ended(event)}{unseen}" + _message(event) + _remarks(event)


def _node_condition(event: UnifiedEvent) -> tuple[str, str]:
    node, change = event.entity.name, event.get("change", "")
    if change == "deleted":
        return f"Node {node}: deleted", f"Node {node} was removed from the cluster"
    if change in _OF_TAINT:
        taint = event.get("taint", "")
        sign = "+" if change == "taint_added" else "-"
        return f"Node {node}: taint {sign}{taint}", f"Node {node} {_OF_TAINT[change]} {taint}" + _remarks(event)
    condition, status = event.get("condition", ""), event.get("condition_status", "")
    previous = event.get("previous_condition_status")
    reason = event.get("condition_reason", "")
    title = f"Node {node}: {condition} {previous} → {status}" if previous else f"Node {node}: {condition} {status}"
    words = f"Node {node}: {condition} is {status}" + (f" ({reason})" if reason else "")
    return title, words + _message(event) + _remarks(event)


def _pod(event: UnifiedEvent) -> str:
    pod = next((one for one in event.entity.lineage() if one.type == "pod"), event.entity)
    return f"{pod.namespace}/{pod.name}" if pod.namespace else pod.name


def _container(event: UnifiedEvent) -> str:
    kind = _CONTAINERS.get(event.get("container_kind", ""), "Container")
    return f"{kind} {event.get('k8s.container.name')} of pod {_pod(event)}"


def _why(event: UnifiedEvent) -> str:
    reason, code, signal = (event.get(key) for key in ("last_terminated_reason", "exit_code", "signal"))
    if reason == "OOMKilled":
        return "OOMKilled"
    if signal:
        return f"{reason or 'killed'} ({signal})"
    return f"{reason or 'ended'} (exit code {code})" if code else str(reason or "ended")


def _ended(event: UnifiedEvent) -> str:
    reason, code, signal = (event.get(key) for key in ("last_terminated_reason", "exit_code", "signal"))
    if reason == "OOMKilled":
        return "was killed because it used more memory than it may"
    if signal:
        return f"was killed by {signal}"
    if code is None:
        return "ended, nobody knows how"
    return f"exited with code {code}" + (f" ({reason})" if reason and reason not in {"Error", "Completed"} else "")


def _message(event: UnifiedEvent) -> str:
    message = event.get("message", "")
    return f": {message}" if message else ""


def _remarks(event: UnifiedEvent) -> str:
    return "; found out after a time without connection" if event.get("reconciled") else ""


_TELL: Final[Mapping[str, Callable[[UnifiedEvent], tuple[str, str]]]] = {
    EventType.K8S_EVENT: _k8s_event,
    EventType.POD_STATE: _pod_state,
    EventType.CONTAINER_RESTART: _container_restart,
    EventType.NODE_CONDITION: _node_condition,
}
