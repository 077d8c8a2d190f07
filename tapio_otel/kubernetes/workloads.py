"""Owners: which Deployment, StatefulSet, CronJob… a pod belongs to in the end.

A pod names its controller only. That of a Deployment's pod is a ReplicaSet, that of a CronJob's a Job. Their names are made by
rules of the controllers (`<deployment>-<pod-template-hash>`, `<cronjob>-<minutes since 1970>`), so that neither is watched.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference, EntityType

_REPLICA_SET_OF: Final = {
    "pod-template-hash": "Deployment",
    "rollouts-pod-template-hash": "Rollout",  # of Argo Rollouts
}
"""Labels that end the name of a ReplicaSet, and what kind made it."""
_KEPT: Final = 8192
_MINUTES, _SECONDS = 8, 10
"""Digits of the time in a CronJob's Job: minutes since 1970, seconds up to Kubernetes 1.20."""
_EARLIEST: Final = 1_260_000_000
"""December 2009 in seconds: no day written as digits (20991231), taken as minutes, is later; no Job is older."""
_DAY: Final = 86_400
_NOT_WORKLOADS: Final = frozenset(kind.value for kind in EntityType)


class Owner(NamedTuple):
    """Name one owner; `uid` is empty where only its name is known."""

    kind: str
    name: str
    uid: str = ""


Owners = tuple[Owner, ...]
"""The nearest first; the last is the workload that users know."""


class OwnerNames:
    """Find the owners of pods; equal ones are one object."""

    def __init__(self) -> None:
        self._known: Bounded[tuple[str, str], Owners] = Bounded(_KEPT)

    def of(self, metadata: dict[str, Any]) -> Owners:
        """Return the owners of an object by its metadata, as the API gives it."""
        references = metadata.get("ownerReferences")
        if not references:
            return ()
        reference = references[0]
        if not reference.get("controller"):
            reference = next((one for one in references if one.get("controller")), reference)
        hashed = _hash(metadata.get("labels"))
        key = (reference.get("uid", ""), hashed[1])
        known = self._known.get(key)
        if known is not None:
            return known
        return self._known.keep(key, _chain(reference, hashed, metadata.get("creationTimestamp") or ""))


def _hash(labels: dict[str, str] | None) -> tuple[str, str]:
    """Return the kind that made a pod's ReplicaSet, and the end of its name."""
    for label, kind in _REPLICA_SET_OF.items():
        if labels and (found := labels.get(label)):
            return kind, found
    return "", ""


def _chain(reference: dict[str, Any], hashed: tuple[str, str], created: str) -> Owners:
    nearest = Owner(reference.get("kind", ""), reference.get("name", ""), reference.get("uid", ""))
    if nearest.kind == "ReplicaSet" and hashed[1] and (name := _before(nearest.name, hashed[1])):
        return (nearest, Owner(hashed[0], name))
    if nearest.kind == "Job" and (name := cron_job_of(nearest.name, created)):
        return (nearest, Owner("CronJob", name))
    return (nearest,)


def _before(name: str, ending: str) -> str:
    return name[: -len(ending) - 1] if name.endswith(f"-{ending}") else ""


def cron_job_of(job: str, created: str) -> str:
    """Return the CronJob that made a Job, empty if none did: its name ends in the time it was due, before it was `created`."""
    name, _, digits = job.rpartition("-")
    if not name or not digits.isascii() or not digits.isdigit() or digits[0] == "0":
        return ""
    if len(digits) not in {_MINUTES, _SECONDS}:
        return ""
    due = int(digits) * (60 if len(digits) == _MINUTES else 1)
    return name if _EARLIEST <= due <= _seconds(created) + _DAY else ""


def _seconds(timestamp: str) -> float:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0


def with_owners(owners: Owners, namespace: str, above: EntityReference | None) -> EntityReference | None:
    """Return the nearest owner as an entity, the others and `above` being its parents.

    Owners that are not workloads (the node of a static pod) are left out.
    """
    entity = above
    for kind, name, uid in reversed(owners):
        if kind and kind.lower() not in _NOT_WORKLOADS:
            entity = EntityReference(kind.lower(), name, namespace, uid or f"{namespace}/{name}", entity)
    return entity
