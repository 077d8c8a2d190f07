"""Enrichment: what an enricher is, and what it is given. Plugins offer enrichers by the hook `tapio_enrichers`.

The `enrich` processor asks its enrichers in order. What they say of an event's origin (the process, unit or container that
says many things) is asked once and kept until anything changes; single events are shown only to enrichers that read what these
have of their own. What an event says already stays: `Subject.add` leaves it alone unless the user wants otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tapio_otel.component import ComponentContext
from tapio_otel.event import AttributeValue, EntityReference, UnifiedEvent

NOTHING: Final[frozenset[str]] = frozenset()


class Subject(Protocol):
    """Be what is enriched: an origin, seen as its events will be, with what is known of it.

    `attributes`, `labels` and `annotations` are what the events say, without what is added. `pod`, `container` and `node` are
    the cluster's view (`tapio_otel.kubernetes.pods.Pod`, `Container`, `tapio_otel.kubernetes.nodes.Node`), None where it has
    none.
    `here` tells whether this is about the machine the agent runs on, `unit` the nearest unit of its system manager.
    """

    source: str
    entity: EntityReference
    attributes: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    pod: Any
    container: Any
    node: Any
    namespace: str
    unit: str
    here: bool

    def add(self, key: str, value: AttributeValue) -> None:
        """Add an attribute, unless it is None or empty, or the events say the same thing already, be it by another key."""

    def add_label(self, key: str, text: str) -> None:
        """Add a label that the events do not have."""

    def add_annotation(self, key: str, text: str) -> None:
        """Add an annotation that the events do not have."""

    def ask_for_each(self) -> None:
        """Have `enrich_event` called for each event of this origin, whatever that has of its own."""


class Enricher:
    """Add what is known. Its methods must answer at once: what takes time belongs in tasks begun by `start`.

    `reads` are attributes: events that have any of them of their own are shown to `enrich_event`. `version` goes up when the
    enricher may say something else than before, so that it is asked again.
    """

    reads: frozenset[str] = NOTHING
    version: int = 0

    async def start(self) -> None:
        """Begin; raises `ComponentError` where the enricher cannot work at all."""

    async def shutdown(self) -> None:
        """Release everything; safe without `start`."""

    def enrich(self, subject: Subject) -> None:
        """Add to what all events of an origin say."""

    def enrich_event(self, event: UnifiedEvent) -> None:
        """Add to one event, by `UnifiedEvent.get` and `UnifiedEvent.set`."""


class ClusterView(Protocol):
    """Know a cluster; empty without one. All answers are dictionary hits (`tapio_otel.kubernetes.cluster.ClusterCache`)."""

    @property
    def generation(self) -> int:
        """Return a number that goes up whenever anything of what is known changes."""

    def pod_by_ip(self, ip: str) -> Any:
        """Return the pod that has an address of its own."""

    def service_by_ip(self, ip: str) -> Any:
        """Return the service that has an address."""

    def services_of(self, pod: Any) -> tuple[str, ...]:
        """Return the names of the services that lead to a pod, sorted."""

    def node(self, name: str) -> Any:
        """Return a node."""

    def namespace(self, name: str) -> Mapping[str, str]:
        """Return the labels of a namespace."""


@dataclass(frozen=True, slots=True)
class EnricherContext:
    """Give an enricher its surroundings: its name, the processor's context, the cluster, and whether it may overwrite.

    `report` is told what is wrong with the enricher, in one line, or None when it is well again; `component.report` is the
    processor's own, for whom other parts may be unwell at the same time.
    """

    name: str
    component: ComponentContext
    cluster: ClusterView
    overwrite: bool = False
    report: Callable[[str | None], None] = field(default=lambda _problem: None)


EnricherFactory = Callable[[EnricherContext, Any], Enricher]
"""Make an enricher from its options: its section of the configuration, for a plugin's a mapping (`options: {NAME: {…}}`)."""
