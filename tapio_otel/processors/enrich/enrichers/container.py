"""container: its name in the pod, its id, image, runtime, state, and how often it was restarted."""

from __future__ import annotations

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.kubernetes.pods import Container
from tapio_otel.otlp.service_identity import image_of


class ContainerEnricher(Enricher):
    """Add what is known of the container."""

    def __init__(self, _context: EnricherContext, _options: object) -> None:
        """Take no options."""

    def enrich(self, subject: Subject) -> None:
        """Add to events about a container or anything in it."""
        container: Container | None = subject.container
        if container is None:
            return
        add = subject.add
        add("k8s.container.name", container.name)
        add("container.id", container.id)
        image = image_of(container.image)
        add("container.image.name", image.name)
        add("container.image.tags", [image.tag] if image.tag else None)
        add_image_id(subject, container.image_id)
        add("container.runtime.name", container.runtime)
        add("k8s.container.restart_count", container.restart_count)
        add("k8s.container.status.state", container.state)
        add("tapio.k8s.container.kind", container.kind if container.kind != "app" else None)
        if subject.node is not None:
            add("container.runtime.version", subject.node.runtime.partition("://")[2])


def add_image_id(subject: Subject, image_id: str) -> None:
    """Add what the runtime found by the image's name: a digest in a registry, or the id of what it has."""
    found = image_id.rpartition("://")[2]
    if found.partition("@")[2]:
        subject.add("container.image.repo_digests", [found])
    else:
        subject.add("container.image.id", found)
