"""What the events of one origin, source, type and severity have in common, encoded once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from tapio_otel.event import EventType, Origin, Severity, Source, UnifiedEvent
from tapio_otel.otlp import mapping, semconv

_MAX_KEYS: Final = 512
_MAX_LAYOUTS: Final = 256
_MAX_NUMBERS: Final = 256
_MAX_SHAPES: Final = 128


class KeyEncoder(ABC):
    """Encode the attributes of one event key."""

    __slots__ = ("convention", "is_flags", "numbers")

    def __init__(self, key: str, source: str) -> None:
        self.convention = semconv.convention(key, source)
        self.is_flags = key == semconv.TRACE_FLAGS
        self.numbers: dict[int | str, bytes] = {}

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """Return this attribute as it stands among the record's attributes; the fast path for texts and numbers."""

    @abstractmethod
    def any(self, value: Any) -> bytes:
        """Return this attribute, whatever its value is."""

    def number(self, value: int | str) -> bytes:
        """Return this attribute for a number, or a text that becomes one: few differ, so they are kept."""
        field = self.any(value)
        if len(self.numbers) < _MAX_NUMBERS and len(field) < 256:
            self.numbers[value] = field
        return field


KeyEncoders = tuple[KeyEncoder, ...]
Layout = tuple[frozenset[str], dict[tuple[str, ...], KeyEncoders | None]]
"""The names that a template's attributes have, and the encoders for what events with other keys add to them."""


class Template(ABC):
    """Hold the encoded resource and the part of the record that does not change."""

    __slots__ = ("is_finding", "names", "resource", "shapes", "source", "structured", "titled")

    resource: bytes
    key_encoder: ClassVar[type[KeyEncoder]]
    known_keys: ClassVar[dict[tuple[str, str], KeyEncoder]]
    layouts: ClassVar[dict[tuple[str, tuple[str, ...]], Layout]]

    def __init__(self, origin: Origin, source: str, type_: str, severity: Severity, base: Mapping[str, Any]) -> None:
        mapped = mapping.map_origin(origin, source, base)
        self.source = source
        self.structured = type_ != EventType.LOG
        self.titled = self.structured and source != Source.JOURNALD
        """Whether the body is the title and not the description: where nobody wrote a message, the title says what happened."""
        self.is_finding = self.titled and type_ == EventType.CORRELATION
        self.names, self.shapes = self._layout((*mapped.attributes, *([semconv.TRACE_FLAGS] if mapped.flags else ())))
        self.fill(mapped, f"{semconv.EVENT_NAME}{type_}" if self.structured else "", severity)

    def _layout(self, names: tuple[str, ...]) -> Layout:
        """Return what templates with these attributes share: one process after the other has the same ones."""
        layout = self.layouts.get((self.source, names))
        if layout is None:
            if len(self.layouts) >= _MAX_LAYOUTS:
                self.layouts.clear()
            layout = self.layouts[self.source, names] = frozenset(names), {}
        return layout

    def body(self, event: UnifiedEvent) -> str:
        """Return the text that becomes the record's body."""
        return event.title or event.description if self.titled else event.description or event.title

    def beside(self, event: UnifiedEvent) -> tuple[str, str] | None:
        """Return name and text of the attribute for what the body of a structured event leaves out."""
        if not self.structured or not event.title or not event.description or event.title == event.description:
            return None
        return (semconv.TAPIO_DESCRIPTION, event.description) if self.titled else (semconv.TAPIO_TITLE, event.title)

    @abstractmethod
    def fill(self, mapped: mapping.Mapped, event_name: str, severity: Severity) -> None:
        """Encode what the template holds."""

    def encoders(self, keys: tuple[str, ...]) -> KeyEncoders | None:
        """Return the encoders for an event's own attributes of these keys.

        None when they replace what the template holds, or change the resource: then the event needs a template of its own.
        """
        encoders = tuple(map(self._encoder, keys))
        names = {encoder.convention.name for encoder in encoders} - self.names
        found = encoders if len(names) == len(keys) and all(map(self._is_independent, keys)) else None
        if len(self.shapes) < _MAX_SHAPES:
            self.shapes[keys] = found
        return found

    def _is_independent(self, key: str) -> bool:
        if key == semconv.TRACE_FLAGS:
            return key not in self.names
        if key == semconv.EMIT_TRACE:
            return False
        return key not in mapping.RESOURCE_SOURCES and not semconv.convention(key, self.source).resource

    def _encoder(self, key: str) -> KeyEncoder:
        found = self.known_keys.get((key, self.source))
        if found is None:
            found = self.key_encoder(key, self.source)
            if len(self.known_keys) < _MAX_KEYS:
                self.known_keys[key, self.source] = found
        return found
