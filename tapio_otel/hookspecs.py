"""The hooks a plugin may implement. The built-in components come through the same ones.

A distribution offers plugins as entry points of the group `tapio_otel`; each names a module or object with functions marked
by `tapio_otel.hookimpl`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pluggy

from tapio_otel.classification import Classifier
from tapio_otel.component import Exporter, Extension, HashFunction, Normalizer, Processor, Receiver
from tapio_otel.enrichment import EnricherFactory

PROJECT = "tapio_otel"
ENTRY_POINT_GROUP = "tapio_otel"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Specify every hook."""

    @hookspec
    def tapio_receivers(self) -> Sequence[type[Receiver]]:  # type: ignore[type-arg,empty-body]
        """Return receiver classes."""

    @hookspec
    def tapio_processors(self) -> Sequence[type[Processor]]:  # type: ignore[type-arg,empty-body]
        """Return processor classes."""

    @hookspec
    def tapio_exporters(self) -> Sequence[type[Exporter]]:  # type: ignore[type-arg,empty-body]
        """Return exporter classes."""

    @hookspec
    def tapio_extensions(self) -> Sequence[type[Extension]]:  # type: ignore[type-arg,empty-body]
        """Return extension classes."""

    @hookspec
    def tapio_normalizers(self) -> Mapping[str, Normalizer]:  # type: ignore[empty-body]
        """Return, by source, the function that the `normalize` processor runs over that source's events."""

    @hookspec
    def tapio_hash_functions(self) -> Mapping[str, HashFunction]:  # type: ignore[empty-body]
        """Return, by name, functions that give the `dedup` processor the hashable identity of an event."""

    @hookspec
    def tapio_patterns(self) -> Mapping[str, Path]:  # type: ignore[empty-body]
        """Return, by name, pattern files, or directories of them, that the `normalize` processor matches log texts against."""

    @hookspec
    def tapio_classifiers(self) -> Mapping[str, Classifier]:  # type: ignore[empty-body]
        """Return, by name, classifiers of log texts that match no pattern; asked in this order, after the built-in ones."""

    @hookspec
    def tapio_rules(self) -> Mapping[str, Path | Any]:  # type: ignore[empty-body]
        """Return, by name, rules for the `correlate` processor: files or directories, or `tapio_otel.correlation.Rule`s."""

    @hookspec
    def tapio_enrichers(self) -> Mapping[str, EnricherFactory]:  # type: ignore[empty-body]
        """Return, by name, classes or functions that make enrichers for the `enrich` processor.

        Each is called with an `EnricherContext` and the mapping below its name in the processor's `options`, and returns a
        `tapio_otel.Enricher`. They are asked where the processor's `enrichers` say `plugins`, or name them. One that cannot be
        made, or raises later, is reported, counted as `failed` with its name, and keeps nobody else from being heard.
        """
