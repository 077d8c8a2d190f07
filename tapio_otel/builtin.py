"""The components that come with the agent, offered through the same hooks as everyone else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tapio_otel.classification import Classifier
from tapio_otel.component import Exporter, Extension, HashFunction, Normalizer, Processor, Receiver
from tapio_otel.enrichment import EnricherFactory
from tapio_otel.hookspecs import hookimpl


@hookimpl
def tapio_receivers() -> Sequence[type[Receiver[Any]]]:
    """Return the built-in receivers."""
    from tapio_otel.receivers.ebpf import EbpfReceiver
    from tapio_otel.receivers.journald import JournaldReceiver
    from tapio_otel.receivers.kubernetes import KubernetesReceiver
    from tapio_otel.receivers.systemd import SystemdReceiver

    return [JournaldReceiver, EbpfReceiver, SystemdReceiver, KubernetesReceiver]


@hookimpl
def tapio_processors() -> Sequence[type[Processor[Any]]]:
    """Return the built-in processors."""
    from tapio_otel.processors.attributes import AttributesProcessor
    from tapio_otel.processors.correlate import CorrelateProcessor
    from tapio_otel.processors.dedup import DedupProcessor
    from tapio_otel.processors.enrich import EnrichProcessor
    from tapio_otel.processors.filter import FilterProcessor
    from tapio_otel.processors.memory_limiter import MemoryLimiterProcessor
    from tapio_otel.processors.normalize import NormalizeProcessor
    from tapio_otel.processors.recombine import RecombineProcessor
    from tapio_otel.processors.redaction import RedactionProcessor
    from tapio_otel.processors.trace_context import TraceContextProcessor

    return [
        MemoryLimiterProcessor,
        RecombineProcessor,
        NormalizeProcessor,
        DedupProcessor,
        EnrichProcessor,
        TraceContextProcessor,
        FilterProcessor,
        AttributesProcessor,
        RedactionProcessor,
        CorrelateProcessor,
    ]


@hookimpl
def tapio_exporters() -> Sequence[type[Exporter[Any]]]:
    """Return the built-in exporters."""
    from tapio_otel.exporters.debug import DebugExporter
    from tapio_otel.exporters.file import FileExporter
    from tapio_otel.exporters.otlp import OtlpExporter, OtlpGrpcExporter
    from tapio_otel.exporters.otlphttp import OtlpHttpExporter, OtlpHttpUnderscoreExporter
    from tapio_otel.exporters.sqlite import SqliteExporter

    return [
        OtlpExporter,
        OtlpGrpcExporter,
        OtlpHttpExporter,
        OtlpHttpUnderscoreExporter,
        DebugExporter,
        FileExporter,
        SqliteExporter,
    ]


@hookimpl
def tapio_extensions() -> Sequence[type[Extension[Any]]]:
    """Return the built-in extensions."""
    from tapio_otel.extensions.file_storage import FileStorageExtension
    from tapio_otel.extensions.ui import UiExtension

    return [FileStorageExtension, UiExtension]


@hookimpl
def tapio_normalizers() -> Mapping[str, Normalizer]:
    """Return the built-in normalizers by source."""
    from tapio_otel.normalizers.ebpf import normalize as normalize_ebpf
    from tapio_otel.normalizers.journald import normalize as normalize_journald
    from tapio_otel.normalizers.kubernetes import normalize as normalize_kubernetes
    from tapio_otel.normalizers.systemd import normalize as normalize_systemd

    return {
        "journald": normalize_journald,
        "ebpf": normalize_ebpf,
        "systemd": normalize_systemd,
        "kubernetes": normalize_kubernetes,
    }


@hookimpl
def tapio_hash_functions() -> Mapping[str, HashFunction]:
    """Return the built-in identities of events for the dedup processor."""
    from tapio_otel.processors.dedup import default_hash
    from tapio_otel.processors.unit_transition import unit_transition

    return {"default": default_hash, "unit_transition": unit_transition}


@hookimpl
def tapio_classifiers() -> Mapping[str, Classifier]:
    """Return the built-in classifiers of log texts, in the order in which they are asked."""
    from tapio_otel.classifiers import CLASSIFIERS

    return CLASSIFIERS


@hookimpl
def tapio_enrichers() -> Mapping[str, EnricherFactory]:
    """Return the built-in enrichers."""
    from tapio_otel.processors.enrich.enrichers import BUILTIN

    return BUILTIN
