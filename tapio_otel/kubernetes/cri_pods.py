"""Pods as a container runtime knows them: what the kubelet told it is turned into what the API would have told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from tapio_otel.kubernetes.cri_messages import RuntimeContainer, Sandbox
from tapio_otel.kubernetes.nodes import Node
from tapio_otel.kubernetes.objects import NONE, Choice, Words
from tapio_otel.kubernetes.pods import Container, Pod
from tapio_otel.kubernetes.workloads import Owner, Owners, cron_job_of

_KUBELET: Final = "io.kubernetes."
"""Beginning of the labels that the kubelet adds for itself."""
_CONFIG: Final = "kubernetes.io/config."
"""Beginning of the annotations that the kubelet adds for itself."""
_REPLICA_SETS: Final = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}
_JOB_NAMES: Final = ("batch.kubernetes.io/job-name", "job-name")
_STATEFUL: Final = "statefulset.kubernetes.io/pod-name"
_REVISION: Final = "controller-revision-hash"
_SUFFIX: Final = 6
"""Characters that a controller adds to the name of a pod: a hyphen and five."""


def pod_of(
    sandbox: Sandbox, containers: Iterable[RuntimeContainer], runtime: str, place: Node, node: str, annotations: Choice
) -> Pod:
    """Return a pod by its sandbox and containers; it is in `place`, which Kubernetes calls `node` (empty: nobody knows)."""
    labels = {key: text for key, text in sandbox.labels.items() if not key.startswith(_KUBELET)}
    wanted = annotations.pick(sandbox.annotations)
    created = _rfc3339(sandbox.created)
    found: dict[str, Container] = {}
    for one in sorted(containers, key=lambda one: one.attempt):
        found[one.name] = container_of(one, runtime)
    pod = Pod(
        sandbox.name,
        sandbox.namespace,
        sandbox.uid,
        labels or NONE,
        {key: text for key, text in wanted.items() if not key.startswith(_CONFIG)} or NONE,
        owners_of(sandbox.name, labels, created),
        node,
        start=created,
        containers=found,
    )
    pod.node_place = place
    return pod


def container_of(found: RuntimeContainer, runtime: str) -> Container:
    """Return a container; whether it is an init container the runtime does not know."""
    return Container(found.name, found.id, found.image, found.image_ref, found.attempt, found.state, "app", runtime)


def owners_of(name: str, labels: Words, created: str) -> Owners:
    """Return the owners that a pod's labels tell of: those that the controllers put there. UIDs are not known."""
    for label, kind in _REPLICA_SETS.items():
        ending = f"-{labels[label]}" if labels.get(label) else ""
        replica_set = name[:-_SUFFIX]
        if ending and replica_set.endswith(ending) and (maker := replica_set.removesuffix(ending)):
            return (Owner("ReplicaSet", replica_set), Owner(kind, maker))
    job = next((labels[label] for label in _JOB_NAMES if labels.get(label)), "")
    if job:
        schedule = cron_job_of(job, created)
        return (Owner("Job", job), Owner("CronJob", schedule)) if schedule else (Owner("Job", job),)
    if labels.get(_STATEFUL) == name and (maker := name.rpartition("-")[0]):
        return (Owner("StatefulSet", maker),)
    if labels.get(_REVISION) and _STATEFUL not in labels and name[-_SUFFIX : -_SUFFIX + 1] == "-" and len(name) > _SUFFIX:
        return (Owner("DaemonSet", name[:-_SUFFIX]),)
    return ()


def by_sandbox(containers: Iterable[RuntimeContainer]) -> Mapping[str, list[RuntimeContainer]]:
    """Return containers by the sandboxes that they are in."""
    found: dict[str, list[RuntimeContainer]] = {}
    for one in containers:
        found.setdefault(one.sandbox, []).append(one)
    return found


def _rfc3339(nanoseconds: int) -> str:
    if not 0 < nanoseconds < 1 << 63:
        return ""
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
