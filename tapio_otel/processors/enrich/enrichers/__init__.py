"""The built-in enrichers, one a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapio_otel.enrichment import EnricherFactory
from tapio_otel.processors.enrich.enrichers.addresses import AddressesEnricher
from tapio_otel.processors.enrich.enrichers.container import ContainerEnricher
from tapio_otel.processors.enrich.enrichers.host import HostEnricher
from tapio_otel.processors.enrich.enrichers.mesh import MeshEnricher
from tapio_otel.processors.enrich.enrichers.namespace import NamespaceEnricher
from tapio_otel.processors.enrich.enrichers.node import NodeEnricher
from tapio_otel.processors.enrich.enrichers.pod import PodEnricher
from tapio_otel.processors.enrich.enrichers.services import ServicesEnricher
from tapio_otel.processors.enrich.enrichers.trace_context import TraceContextEnricher
from tapio_otel.processors.enrich.enrichers.unit import UnitEnricher
from tapio_otel.processors.enrich.geoip import GeoIpEnricher

BUILTIN: Final[Mapping[str, EnricherFactory]] = {
    "pod": PodEnricher,
    "container": ContainerEnricher,
    "node": NodeEnricher,
    "host": HostEnricher,
    "unit": UnitEnricher,
    "namespace": NamespaceEnricher,
    "services": ServicesEnricher,
    "mesh": MeshEnricher,
    "addresses": AddressesEnricher,
    "geoip": GeoIpEnricher,
    "trace_context": TraceContextEnricher,
}
