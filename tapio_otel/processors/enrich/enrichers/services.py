"""services: the Kubernetes services that lead to the pod, as its EndpointSlices say."""

from __future__ import annotations

from typing import Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject

SERVICES: Final = "tapio.k8s.services"
"""A list of names, sorted: the conventions have no name for it."""


class ServicesEnricher(Enricher):
    """Add the services that lead to the pod."""

    def __init__(self, context: EnricherContext, _options: object) -> None:
        self._cluster = context.cluster

    def enrich(self, subject: Subject) -> None:
        """Add to events about a pod or anything in it."""
        if subject.pod is not None and (names := self._cluster.services_of(subject.pod)):
            subject.add(SERVICES, list(names))
