"""The subject of enrichment: what an origin says, what is known of it, and what enrichers add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from tapio_otel.entity import EntityReference
from tapio_otel.event import AttributeValue
from tapio_otel.kubernetes.nodes import Node
from tapio_otel.kubernetes.pods import Container, Pod
from tapio_otel.otlp.semconv import CONVENTIONS, SOURCE_CONVENTIONS, attribute_name


class Additions:
    """Collect what enrichers add; see `tapio_otel.enrichment.Subject`, whose form this has.

    `added`, `added_labels` and `added_annotations` hold it, whatever the events say: that is looked at where they are merged.
    """

    __slots__ = (
        "added",
        "added_annotations",
        "added_labels",
        "annotations",
        "attributes",
        "container",
        "each",
        "entity",
        "here",
        "labels",
        "namespace",
        "node",
        "pod",
        "rivals",
        "source",
        "unit",
    )

    def __init__(
        self,
        source: str,
        entity: EntityReference,
        attributes: Mapping[str, Any],
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
    ) -> None:
        self.source, self.entity = source, entity
        self.attributes, self.labels, self.annotations = attributes, labels, annotations
        self.pod: Pod | None = None
        self.container: Container | None = None
        self.node: Node | None = None
        self.namespace = self.unit = ""
        self.here = False
        self.each = False
        self.added: dict[str, AttributeValue] = {}
        self.added_labels: dict[str, str] = {}
        self.rivals: dict[str, str] | None = None
        self.added_annotations: dict[str, str] = {}

    def add(self, key: str, value: AttributeValue) -> None:
        """Add an attribute unless an enricher before has, or it says nothing."""
        if value is not None and value not in ("", []):
            self.added.setdefault(key, value)

    def add_label(self, key: str, text: str) -> None:
        """Add a label unless an enricher before has."""
        self.added_labels.setdefault(key, text)

    def add_annotation(self, key: str, text: str) -> None:
        """Add an annotation unless an enricher before has."""
        self.added_annotations.setdefault(key, text)

    def laid_over(self, said: Mapping[str, Any], overwrite: bool) -> dict[str, AttributeValue]:
        """Return an event's attributes with what is added to them; what means the same in OTLP is there once."""
        added = self.added
        if self.rivals is None:
            self.rivals = rivals_of(added, self.source)
        met = self.rivals.keys() & said.keys()
        if not met:
            return {**said, **added}
        if overwrite:
            return {**{key: value for key, value in said.items() if key not in met}, **added}
        taken = {self.rivals[key] for key in met if said[key] is not None}
        return {**said, **{key: value for key, value in added.items() if key not in taken}}

    def ask_for_each(self) -> None:
        """Have the enricher called for each event."""
        self.each = True


def rivals_of(keys: Iterable[str], source: str) -> dict[str, str]:
    """Return the keys by which an event may say already what is to be added, and what that is."""
    alike = _keys_by_name(source)
    rivals: dict[str, str] = {}
    for key in keys:
        name = attribute_name(key, source)
        rivals[key] = rivals[name] = key
        for other in alike.get(name, ()):
            rivals[other] = key
    return rivals


@lru_cache(maxsize=64)
def _keys_by_name(source: str) -> dict[str, list[str]]:
    """Return the keys that events of a source have for each name in OTLP."""
    found: dict[str, list[str]] = {}
    for key in (*CONVENTIONS, *SOURCE_CONVENTIONS.get(source, ())):
        found.setdefault(attribute_name(key, source), []).append(key)
    return found


def laid_over(said: Mapping[str, str], added: Mapping[str, str], overwrite: bool) -> dict[str, str]:
    """Return labels or annotations with what is added."""
    return {**said, **added} if overwrite else {**added, **said}
