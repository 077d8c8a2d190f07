"""pod: what a pod is called, where it runs, who made it, how it fares, and the labels and annotations that are wanted."""

from __future__ import annotations

from typing import Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.kubernetes.pods import Pod
from tapio_otel.processors.enrich.config import ShownOfPod
from tapio_otel.processors.enrich.shown import Choice

SERVICE_ANNOTATIONS: Final = ("resource.opentelemetry.io/*",)
"""What names the service by OpenTelemetry's rules for Kubernetes; always added, as whoever writes them wants that."""
KINDS: Final = {
    kind: kind.lower()
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController")
}
"""Kinds of owners that have names in the semantic conventions."""


class PodEnricher(Enricher):
    """Add what is known of the pod."""

    def __init__(self, _context: EnricherContext, options: ShownOfPod) -> None:
        self._labels = Choice(options.labels)
        self._annotations = Choice((*options.annotations, *SERVICE_ANNOTATIONS))

    def enrich(self, subject: Subject) -> None:
        """Add to events about a pod or anything in it."""
        pod: Pod | None = subject.pod
        if pod is None:
            return
        add = subject.add
        add("k8s.pod.name", pod.name)
        add("k8s.pod.uid", pod.uid)
        add("k8s.namespace.name", pod.namespace)
        add("k8s.node.name", pod.node)
        add("k8s.pod.ip", pod.ips[0] if pod.ips else "")
        add("k8s.pod.start_time", pod.start)
        add("k8s.pod.status.phase", pod.phase)
        add("k8s.serviceaccount.name", pod.service_account)
        add("qos_class", pod.qos_class)
        add_owners(subject, pod)
        restarts = sum([one.restart_count for one in pod.containers.values()])
        add("tapio.k8s.pod.restart_count", restarts or None)
        add("tapio.k8s.pod.deleted", True if pod.deleted_at is not None else None)
        for name, text in self._labels.of(pod.labels).items():
            subject.add_label(name, text)
        for name, text in self._annotations.of(pod.annotations).items():
            subject.add_annotation(name, text)


def add_owners(subject: Subject, pod: Pod) -> None:
    """Add the owners, and the workload that users know (the Deployment, not its ReplicaSet) as owner_kind and owner_name."""
    for owner in pod.owners:
        if kind := KINDS.get(owner.kind):
            subject.add(f"k8s.{kind}.name", owner.name)
            subject.add(f"k8s.{kind}.uid", owner.uid)
    if pod.owners:
        subject.add("owner_kind", pod.owners[-1].kind)
        subject.add("owner_name", pod.owners[-1].name)
