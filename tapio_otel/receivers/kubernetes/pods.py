"""What is kept of a pod: all that its changes are told from, and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any, Final, NamedTuple

from tapio_otel.kubernetes.workloads import OwnerNames, Owners

LONGEST_MESSAGE: Final = 1024
"""Characters kept of a message: kubelets put the end of a container's log there."""
_STATUSES: Final = (
    ("app", "containerStatuses"),
    ("init", "initContainerStatuses"),
    ("ephemeral", "ephemeralContainerStatuses"),
)


class Condition(NamedTuple):
    """Hold a condition of a pod or a node; `changed` is RFC 3339 text."""

    type: str
    status: str
    reason: str
    message: str
    changed: str


class Termination(NamedTuple):
    """Hold how a run of a container ended; times are RFC 3339 text."""

    id: str
    reason: str
    exit_code: int
    signal: int
    message: str
    started: str
    finished: str


class Container(NamedTuple):
    """Hold a container's status: `state` is waiting, running or terminated, `ended` its last known end."""

    name: str
    kind: str
    id: str
    image: str
    restarts: int
    state: str
    reason: str
    message: str
    started: str
    ended: Termination | None


class Pod(NamedTuple):
    """Hold a pod as one version of it says."""

    uid: str
    name: str
    namespace: str
    version: str
    node: str
    owners: Owners
    phase: str
    reason: str
    message: str
    created: str
    terminating: bool
    conditions: dict[str, Condition]
    containers: dict[str, Container]


def trimmer() -> Callable[[dict[str, Any]], Pod]:
    """Return what makes a `Pod` of a pod as the API gives it; pods of one owner share it."""
    owners = OwnerNames()

    def trim(raw: dict[str, Any]) -> Pod:
        metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        return Pod(
            uid=metadata["uid"],
            name=metadata["name"],
            namespace=intern(metadata["namespace"]),
            version=metadata["resourceVersion"],
            node=_word(spec, "nodeName"),
            owners=owners.of(metadata),
            phase=_word(status, "phase"),
            reason=_word(status, "reason"),
            message=(status.get("message") or "")[:LONGEST_MESSAGE],
            created=metadata.get("creationTimestamp") or "",
            terminating=bool(metadata.get("deletionTimestamp")),
            conditions=conditions(status),
            containers={intern(one["name"]): _container(one, kind) for kind, key in _STATUSES for one in status.get(key) or ()},
        )

    return trim


def conditions(status: dict[str, Any]) -> dict[str, Condition]:
    """Return the conditions in the status of a pod or a node, by type."""
    found = {}
    for one in status.get("conditions") or ():
        message = (one.get("message") or "")[:LONGEST_MESSAGE]
        name = intern(one["type"])
        found[name] = Condition(name, _word(one, "status"), _word(one, "reason"), message, _word(one, "lastTransitionTime"))
    return found


def _container(raw: dict[str, Any], kind: str) -> Container:
    state = raw.get("state") or {}
    now = next((name for name in ("terminated", "running", "waiting") if state.get(name) is not None), "waiting")
    told = state.get(now) or {}
    last = (raw.get("lastState") or {}).get("terminated")
    return Container(
        name=intern(raw["name"]),
        kind=kind,
        id=_bare(raw.get("containerID")),
        image=_word(raw, "image"),
        restarts=raw.get("restartCount") or 0,
        state=now,
        reason=_word(told, "reason"),
        message=(told.get("message") or "")[:LONGEST_MESSAGE],
        started=_word(told, "startedAt"),
        ended=_termination(told if now == "terminated" else last),
    )


def _termination(raw: dict[str, Any] | None) -> Termination | None:
    if not raw:
        return None
    return Termination(
        id=_bare(raw.get("containerID")),
        reason=raw.get("reason") or "",
        exit_code=raw.get("exitCode") or 0,
        signal=raw.get("signal") or 0,
        message=(raw.get("message") or "")[:LONGEST_MESSAGE],
        started=raw.get("startedAt") or "",
        finished=raw.get("finishedAt") or "",
    )


def _word(raw: dict[str, Any], key: str) -> str:
    """Return a text that many objects have: thousands of pods keep it once."""
    found = raw.get(key)
    return intern(found) if found else ""


def _bare(container_id: str | None) -> str:
    """Return a container's id without its runtime (`containerd://…`)."""
    return (container_id or "").rpartition("/")[2]
