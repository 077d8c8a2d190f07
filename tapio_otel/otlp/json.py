"""OTLP's JSON form, written directly: for files and for OTLP/HTTP with `encoding: json`.

The proto3 JSON mapping with OTLP's exceptions (camel-case keys, 64-bit integers as text, enums as numbers, ids in hex), as the
collector writes it. The content comes from the same mapping as the protobuf form; a test parses both and compares.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import isfinite, isnan
from typing import Any, ClassVar, Final

import orjson

from tapio_otel.component import Scope
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.otlp import mapping, semconv
from tapio_otel.otlp.protobuf import INT64, digits
from tapio_otel.otlp.request import Request, Run
from tapio_otel.otlp.template import KeyEncoder, Layout, Template
from tapio_otel.otlp.text import MAX_DEPTH, TOO_DEEP, as_text, clamp, identifier, repair

_RECORD: Final = (
    b'{"timeUnixNano":"%d","observedTimeUnixNano":"%d",%b"body":{"stringValue":%b},'
    b'"attributes":[{"key":"' + semconv.LOG_RECORD_UID.encode() + b'","value":{"stringValue":%b}}%b%b]%b}'
)
"""Times, template fields, body, id, template attributes, own attributes, own fields."""


def text(value: str) -> bytes:
    """Return a text as a JSON string."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(repair(value))


def any_value(value: Any, depth: int = 0) -> bytes:
    """Encode an AnyValue; a type OTLP does not know becomes text."""
    if isinstance(value, str):
        return b'{"stringValue":%b}' % text(str(value))
    if isinstance(value, bool):
        return b'{"boolValue":true}' if value else b'{"boolValue":false}'
    if isinstance(value, int):
        return b'{"intValue":"%d"}' % value if value in INT64 else any_value(digits(value))
    if isinstance(value, float):
        return b'{"doubleValue":%b}' % _double(value)
    if value is None:
        return b"{}"
    if isinstance(value, bytes | bytearray | memoryview):
        return b'{"bytesValue":"%b"}' % b64encode(value)
    return _nested(value, depth)


def _double(value: float) -> bytes:
    if isfinite(value):
        return repr(float(value)).encode()
    return b'"NaN"' if isnan(value) else b'"Infinity"' if value > 0 else b'"-Infinity"'


def _nested(value: Any, depth: int) -> bytes:
    is_container = isinstance(value, Mapping | list | tuple | set | frozenset)
    if is_container and depth >= MAX_DEPTH:
        return any_value(TOO_DEEP)
    if isinstance(value, Mapping):
        return b'{"kvlistValue":{"values":[%b]}}' % b",".join(key_values(value, depth + 1))
    if is_container:
        return b'{"arrayValue":{"values":[%b]}}' % b",".join([any_value(element, depth + 1) for element in value])
    return any_value(as_text(value))


def key_value(key: str, value: Any, depth: int = 0) -> bytes:
    """Encode a KeyValue."""
    return b'{"key":%b,"value":%b}' % (text(key), any_value(value, depth))


@lru_cache(maxsize=8192)
def _text_item(key: str, value: str) -> bytes:
    return key_value(key, value)


def key_values(values: Mapping[Any, Any], depth: int = 0) -> list[bytes]:
    """Encode every item of a mapping as a KeyValue; those with a short text, which come again and again, from memory."""
    return [
        _text_item(key, value)
        if value.__class__ is str and key.__class__ is str and len(value) < 256
        else key_value(as_text(key), value, depth)
        for key, value in values.items()
    ]


class JsonKeyEncoder(KeyEncoder):
    """Encode attributes of one key, each with the comma before it."""

    __slots__ = ("head", "plain")

    def __init__(self, key: str, source: str) -> None:
        super().__init__(key, source)
        self.plain = self.convention.convert is None
        self.head = b',{"key":%b,"value":' % text(self.convention.name)

    def encode(self, value: Any) -> bytes:
        """Return a comma and this attribute."""
        kind = value.__class__
        if kind is str and self.plain:
            return b'%b{"stringValue":%b}}' % (self.head, text(value))
        if kind is int or kind is str:  # numbers, and texts that become numbers: few differ, so the whole field is kept
            return self.numbers.get(value) or self.number(value)
        return self.any(value)

    def any(self, value: Any) -> bytes:
        """Return this attribute, whatever its value is."""
        convert = self.convention.convert
        return b"%b%b}" % (self.head, any_value(convert(value) if convert else value))


class JsonTemplate(Template):
    """Hold the Resource, and the record's severity, event name, flags and unchanging attributes, as JSON fragments."""

    __slots__ = ("attributes", "fields")

    key_encoder = JsonKeyEncoder
    known_keys: ClassVar[dict[tuple[str, str], KeyEncoder]] = {}
    layouts: ClassVar[dict[tuple[str, tuple[str, ...]], Layout]] = {}

    def fill(self, mapped: mapping.Mapped, event_name: str, severity: Severity) -> None:
        """Encode what the template holds."""
        self.resource = b'{"attributes":[%b]}' % b",".join(key_values(mapped.resource))
        name = b'"eventName":%b,' % text(event_name) if event_name else b""
        flags = b'"flags":%d,' % mapped.flags if mapped.flags else b""
        self.fields = b'"severityNumber":%d,"severityText":"%b",%b%b' % (
            severity,
            Severity(severity).keyword.encode(),
            name,
            flags,
        )
        self.attributes = b"".join([b"," + item for item in key_values(mapped.attributes)])


class JsonRequestBuilder(Request[JsonTemplate]):
    """Build ExportLogsServiceRequest messages in OTLP's JSON form, on one line and without its end."""

    template = JsonTemplate
    format = "otlp_json"

    def add(self, events: Sequence[UnifiedEvent], scope: Scope, start: int = 0) -> int:
        """Add events from index `start` on; returns the index of the first that was not taken (a limit was reached)."""
        groups = self.groups_of(scope)
        cache_key, limit, weight, count = self.cache_key, self.max_bytes, self.size, self.count
        stop = min(len(events), start + self.max_records - count)
        try:
            for event in events if not start and stop == len(events) else events[start:stop]:
                tail = fields = b""
                uid = event.id
                origin = event.shared
                if origin is None:
                    template = self.template_of(event.view(), event)
                else:
                    try:
                        template = origin.cache[cache_key][event.type, event.severity, event.source]
                    except KeyError:
                        template = self.remember(origin, event)
                    if own := event.own:
                        keys = tuple(own)
                        encoders = template.shapes.get(keys) or template.encoders(keys)
                        if encoders is None:
                            template = self.template_of(event.view(), event)
                        else:
                            tail, fields = _own(encoders, own)
                if template.structured or event.trace_id or event.span_id or event.parent_id:
                    more, context = _context(event, template)
                    tail, fields = tail + more, fields + context
                    if template.is_finding:
                        uid = mapping.record_uid(event)
                record = _RECORD % (
                    *(clamp(event.timestamp), clamp(event.observed), template.fields, text(template.body(event))),
                    *(text(uid), template.attributes, tail, fields),
                )
                pieces = groups.get(template.resource)
                if pieces is None:
                    pieces = self.open(template.resource, scope, groups)
                    weight += self.opening_size(template.resource, scope)
                weight += len(record) + 1
                if weight > limit and count:
                    weight -= len(record) + 1
                    break
                pieces.append(record)
                count += 1
        finally:
            taken, self.count, self.size = count - self.count, count, weight
        return start + taken

    def frame(self, groups: Iterable[tuple[bytes, list[Run]]]) -> bytes:
        """Return the request made of these resources, each with its runs."""
        output = [b'{"resourceLogs":[']
        for number, (resource, runs) in enumerate(groups):
            output += (b"," if number else b"", b'{"resource":', resource, b',"scopeLogs":[')
            for index, run in enumerate(runs):
                output += (b"," if index else b"", _scope_head(run.scope), b",".join(run.pieces), b"]}")
            output.append(b"]}")
        output.append(b"]}")
        return b"".join(output)


def _scope_head(scope: Scope) -> bytes:
    return b'{"scope":{"name":%b,"version":%b},"logRecords":[' % (text(scope.name), text(scope.version))


def _own(encoders: Sequence[KeyEncoder], own: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return an event's own attributes and, where `trace_flags` is one of them, the record's flags."""
    attributes = fields = b""
    for encoder, value in zip(encoders, own.values(), strict=True):
        if encoder.is_flags and (flags := mapping.valid_flags(value)) is not None:
            fields = b',"flags":%d' % flags
        else:
            attributes += encoder.encode(value)
    return attributes, fields


def _context(event: UnifiedEvent, template: JsonTemplate) -> tuple[bytes, bytes]:
    """Return what few events have: further attributes, and the fields of the trace context."""
    attributes = fields = b""
    if event.trace_id and (trace_id := identifier(event.trace_id, 16)):
        fields = b',"traceId":"%b"' % trace_id.hex().encode()
    if event.span_id and (span_id := identifier(event.span_id, 8)):
        fields += b',"spanId":"%b"' % span_id.hex().encode()
    if event.parent_id:
        attributes = b"," + key_value(semconv.TAPIO_PARENT_ID, event.parent_id)
    if template.is_finding:
        attributes += b"," + key_value(semconv.CORRELATION_ID, event.id)
    if beside := template.beside(event):
        attributes += b"," + key_value(*beside)
    return attributes, fields
