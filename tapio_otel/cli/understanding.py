"""What the pipeline understands of a line: the processors that read texts, with what each of them found."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tapio_otel.cli.log_lines import LogLine
from tapio_otel.component import ComponentContext, ComponentId, Kind
from tapio_otel.event import UnifiedEvent
from tapio_otel.event_json import to_dict
from tapio_otel.patterns import Library
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tapio_otel.processors.trace_context import TraceContextConfig, TraceContextProcessor
from tapio_otel.registry import Registry

_PATTERN: Final = "pattern"
_CLASSIFIER: Final = "classifier"
_OWN_KEYS: Final = frozenset((_PATTERN, _CLASSIFIER))


class _NotCounted:
    """Be the counters of components that run for one command."""

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Count nothing."""

    def gauge(self, name: str, read: Any) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True)
class Understood:
    """Hold a line, the event made of it, that event before its text was read, and the attributes that reading added."""

    line: LogLine
    event: UnifiedEvent
    before: UnifiedEvent
    attributes: Mapping[str, Any]

    @property
    def pattern(self) -> str | None:
        """Return the name of the pattern that matched."""
        return self.attributes.get(_PATTERN)

    def row(self) -> dict[str, Any]:
        """Return what `tapio patterns match` prints."""
        event = self.event
        extracted = {name: value for name, value in self.attributes.items() if name not in _OWN_KEYS}
        named = self.line.has_fields or event.entity is not self.before.entity
        return {
            "line": self.line.text,
            "pattern": self.pattern,
            "classifier": self.attributes.get(_CLASSIFIER),
            "type": str(event.type),
            "severity": event.severity.keyword,
            "attributes": extracted or None,
            "entity": to_dict(event)["entity"] if named else None,
            "trace_id": event.trace_id or None,
            "span_id": event.span_id or None,
        }


class Understanding:
    """Run `normalize` and `trace_context` on single lines; raises `ConfigError` where the library cannot be loaded."""

    def __init__(self, entries: Sequence[str], disabled: Sequence[str] = (), registry: Registry | None = None) -> None:
        self._provided = (registry or Registry.load()).provided
        config = NormalizeConfig(patterns=list(entries), disabled_patterns=list(disabled))
        self._normalize = NormalizeProcessor(self._context("normalize"), config)
        self._trace_context = TraceContextProcessor(self._context("trace_context"), TraceContextConfig())

    @property
    def library(self) -> Library:
        """Return the patterns in use."""
        return self._normalize.texts.library

    def _context(self, type: str) -> ComponentContext:
        log = logging.getLogger(f"tapio.patterns.{type}")
        return ComponentContext(ComponentId(type), Kind.PROCESSOR, _NotCounted(), Path(), log, self._provided)

    def of(self, line: LogLine) -> Understood:
        """Return what a line says."""
        event = line.event
        if (normalizer := self._provided("normalizers").get(event.source)) is not None:
            normalizer([event])
        before = event.copy()
        self._trace_context.process(self._normalize.process([event]))
        known = before.view().attributes
        added = {name: value for name, value in event.view().attributes.items() if known.get(name) != value}
        return Understood(line, event, before, added)

    def explain(self, found: Understood) -> list[dict[str, Any]]:
        """Tell which patterns and classifiers are found in a line, by rank, and why each is chosen or not."""
        return self._normalize.explain(found.before)
