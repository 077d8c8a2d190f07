"""namespace: its name, and the labels and annotations that are wanted."""

from __future__ import annotations

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.processors.enrich.config import Shown
from tapio_otel.processors.enrich.shown import Choice


class NamespaceEnricher(Enricher):
    """Add what is known of the namespace."""

    def __init__(self, context: EnricherContext, options: Shown) -> None:
        self._cluster = context.cluster
        self._labels = Choice(options.labels)
        self._annotations = Choice(options.annotations)

    def enrich(self, subject: Subject) -> None:
        """Add to events about anything in a namespace that the cluster knows."""
        labels = self._cluster.namespace(subject.namespace) if subject.namespace else {}
        if subject.pod is None and not labels:
            return
        subject.add("k8s.namespace.name", subject.namespace)
        for name, text in self._labels.of(labels).items():
            subject.add(f"k8s.namespace.label.{name}", text)
        place = subject.pod.namespace_place if subject.pod is not None else None
        if place is not None:
            for name, text in self._annotations.of(place.annotations).items():
                subject.add(f"k8s.namespace.annotation.{name}", text)
