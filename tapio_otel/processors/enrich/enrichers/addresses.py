"""addresses: which pod or service is at the source and at the destination of what an event tells of.

Reads `src_ip`, `dst_ip`, `host` where that is an address (whom a text says was not reached), and their names in OTLP,
`source.address`, `destination.address` and `server.address`. The conventions have no names for
the ends of a flow in Kubernetes; those of a pod's own attributes are put below `source.` and `destination.`:
`source.k8s.pod.name`, `destination.k8s.service.name`, `source.k8s.deployment.name`…
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import UnifiedEvent
from tapio_otel.kubernetes.pods import Pod
from tapio_otel.processors.enrich.enrichers.pod import KINDS

ENDS: Final = {
    "src_ip": "source.",
    "source.address": "source.",
    "dst_ip": "destination.",
    "destination.address": "destination.",
    "host": "destination.",
    "server.address": "destination.",
}
"""Attributes with addresses, and what the names of what is added begin with."""

_KEPT: Final = 8192
"""Addresses of which what is known is kept until anything in the cluster changes."""
Facts = Mapping[str, str]


class AddressesEnricher(Enricher):
    """Add the pods and services at both ends of a flow."""

    reads = frozenset(ENDS)

    def __init__(self, context: EnricherContext, _options: object) -> None:
        self._cluster = context.cluster
        self._overwrite = context.overwrite
        self._kept: Bounded[tuple[str, str], Facts] = Bounded(_KEPT)
        self._generation = -1

    def enrich(self, subject: Subject) -> None:
        """Add to events all of which have the same addresses."""
        for name, value in self._found(subject.attributes.get).items():
            subject.add(name, value)

    def enrich_event(self, event: UnifiedEvent) -> None:
        """Add to one event."""
        get, overwrite = event.get, self._overwrite
        for name, value in self._found(get).items():
            if overwrite or get(name) is None:
                event.set(name, value)

    def _found(self, get: Callable[[str], Any]) -> Facts:
        """Return all that is known of the addresses that `get` returns."""
        if self._generation != self._cluster.generation:
            self._generation = self._cluster.generation
            self._kept.clear()
        found: Facts = {}
        for key, end in ENDS.items():
            address = get(key)
            if address.__class__ is str and address:
                at = self._kept.get((end, address))
                if at is None:
                    at = self._kept.keep((end, address), self._at(end, address))
                if at:
                    found = {**found, **at} if found else at
        return found

    def _at(self, end: str, address: str) -> Facts:
        """Return what is at an address."""
        if (pod := self._cluster.pod_by_ip(address)) is not None:
            found = _describe_pod(pod)
        elif (service := self._cluster.service_by_ip(address)) is not None:
            found = {"k8s.namespace.name": service.namespace, "k8s.service.name": service.name}
        else:
            found = {}
        return {f"{end}{name}": text for name, text in found.items() if text}


def _describe_pod(pod: Pod) -> dict[str, str]:
    found = {"k8s.namespace.name": pod.namespace, "k8s.pod.name": pod.name, "k8s.pod.uid": pod.uid, "k8s.node.name": pod.node}
    if pod.owners and (kind := KINDS.get(pod.owners[-1].kind)):
        found[f"k8s.{kind}.name"] = pod.owners[-1].name
    return found
