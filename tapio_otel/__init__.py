"""The public API for plugin authors."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapio_otel.classification import Classification as Classification
    from tapio_otel.classification import Classifier as Classifier
    from tapio_otel.component import Batch as Batch
    from tapio_otel.component import ComponentConfig as ComponentConfig
    from tapio_otel.component import ComponentContext as ComponentContext
    from tapio_otel.component import ComponentError as ComponentError
    from tapio_otel.component import ComponentId as ComponentId
    from tapio_otel.component import Exporter as Exporter
    from tapio_otel.component import ExporterConfig as ExporterConfig
    from tapio_otel.component import Extension as Extension
    from tapio_otel.component import Output as Output
    from tapio_otel.component import PermanentError as PermanentError
    from tapio_otel.component import Processor as Processor
    from tapio_otel.component import Receiver as Receiver
    from tapio_otel.component import Scope as Scope
    from tapio_otel.component import SourceUnavailable as SourceUnavailable
    from tapio_otel.component import Stability as Stability
    from tapio_otel.config.types import ByteSize as ByteSize
    from tapio_otel.config.types import Duration as Duration
    from tapio_otel.config.types import Secret as Secret
    from tapio_otel.enrichment import Enricher as Enricher
    from tapio_otel.enrichment import EnricherContext as EnricherContext
    from tapio_otel.enrichment import Subject as Subject
    from tapio_otel.event import EntityReference as EntityReference
    from tapio_otel.event import EntityType as EntityType
    from tapio_otel.event import EventType as EventType
    from tapio_otel.event import Origin as Origin
    from tapio_otel.event import Severity as Severity
    from tapio_otel.event import Source as Source
    from tapio_otel.event import UnifiedEvent as UnifiedEvent
    from tapio_otel.hookspecs import hookimpl as hookimpl
    from tapio_otel.identity import event_id as event_id

_HOME = {
    **dict.fromkeys(
        (
            *("Batch", "ComponentConfig", "ComponentContext", "ComponentError", "ComponentId", "Exporter", "ExporterConfig"),
            *("Extension", "Output", "PermanentError", "Processor", "Receiver", "Scope", "SourceUnavailable", "Stability"),
        ),
        "component",
    ),
    **dict.fromkeys(("EntityReference", "EntityType", "EventType", "Origin", "Severity", "Source", "UnifiedEvent"), "event"),
    **dict.fromkeys(("ByteSize", "Duration", "Secret"), "config.types"),
    **dict.fromkeys(("Classification", "Classifier"), "classification"),
    **dict.fromkeys(("Enricher", "EnricherContext", "Subject"), "enrichment"),
    "event_id": "identity",
    "hookimpl": "hookspecs",
}

__all__ = sorted(_HOME)  # noqa: PLE0605 - derived, so that it cannot differ from what is importable


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'tapio_otel' has no attribute {name!r}")
    return getattr(import_module(f"tapio_otel.{_HOME[name]}"), name)
