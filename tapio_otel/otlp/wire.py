"""OTLP's protobuf wire form, written directly: the hot path of every OTLP exporter.

What events of one origin, source, type and severity have in common is encoded once and kept in `origin.cache`; per event
there remain two timestamps, the id, the body and the event's own attributes. Field numbers are those of
opentelemetry/proto/logs/v1/logs.proto. A test compares every field with the opentelemetry-proto classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct, error
from typing import Any, ClassVar, Final

from tapio_otel.component import Scope
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.otlp import mapping, semconv
from tapio_otel.otlp.protobuf import HEADS, delimited, key_value, key_values, varint
from tapio_otel.otlp.request import Request, Run
from tapio_otel.otlp.template import KeyEncoder, Layout, Template
from tapio_otel.otlp.text import clamp, encode_text, identifier

_ATTRIBUTE: Final = 0x32  # LogRecord.attributes
_UID_SIZE: Final = 36
_UID_HEAD: Final = key_value(_ATTRIBUTE, semconv.LOG_RECORD_UID, "x" * _UID_SIZE)[:-_UID_SIZE]
_stamp: Final = Struct(f"<BQBQ{len(_UID_HEAD)}s{_UID_SIZE}s").pack  # time, observed time, log.record.uid
_times: Final = Struct("<BQBQ").pack
_fixed32: Final = Struct("<BI").pack
_TABLE: Final = 4096


def _text_head(size: int) -> bytes:
    """Return what precedes `size` bytes of text in the body field."""
    return b"\x2a" + varint(1 + len(varint(size)) + size) + b"\x0a" + varint(size)


_SEVERITIES: Final = {
    severity: b"\x10" + varint(severity) + delimited(0x1A, severity.keyword.encode()) for severity in Severity
}
_BODY_HEADS: Final = [_text_head(size) for size in range(_TABLE)]
_RECORD_HEADS: Final = [b"\x12" + varint(size) for size in range(_TABLE)]


class WireKeyEncoder(KeyEncoder):
    """Encode attributes of one key as record fields; remembers what precedes a text of each short length."""

    __slots__ = ("heads", "plain")

    def __init__(self, key: str, source: str) -> None:
        super().__init__(key, source)
        self.plain = self.convention.convert is None
        self.heads = HEADS[_ATTRIBUTE][self.convention.name]

    def encode(self, value: Any) -> bytes:
        """Return the record field for this attribute (or for the record's flags)."""
        kind = value.__class__
        if kind is str and self.plain:
            try:
                text: bytes = value.encode()
            except UnicodeEncodeError:
                text = encode_text(value)
            return self.heads[len(text)] + text
        if kind is int or kind is str:  # numbers, and texts that become numbers: few differ, so the whole field is kept
            return self.numbers.get(value) or self.number(value)
        return self.any(value)

    def any(self, value: Any) -> bytes:
        """Return this attribute, whatever its value is."""
        if self.is_flags and (flags := mapping.valid_flags(value)) is not None:
            return _flags(flags)
        name, _, convert = self.convention
        return key_value(_ATTRIBUTE, name, convert(value) if convert else value)


class WireTemplate(Template):
    """Hold the encoded Resource, and the record's severity, event name, flags and unchanging attributes."""

    __slots__ = ("fixed", "size")

    key_encoder = WireKeyEncoder
    known_keys: ClassVar[dict[tuple[str, str], KeyEncoder]] = {}
    layouts: ClassVar[dict[tuple[str, tuple[str, ...]], Layout]] = {}

    def fill(self, mapped: mapping.Mapped, event_name: str, severity: Severity) -> None:
        """Encode what the template holds."""
        self.resource = delimited(0x0A, key_values(mapped.resource, 0x0A))
        head = _SEVERITIES[severity]
        name = delimited(0x62, encode_text(event_name)) if event_name else b""
        self.fixed = head + name + _flags(mapped.flags) + key_values(mapped.attributes, _ATTRIBUTE)
        self.size = len(self.fixed)


class RequestBuilder(Request[WireTemplate]):
    """Build ExportLogsServiceRequest messages in protobuf's wire format."""

    template = WireTemplate
    format = "otlp"

    def add(self, events: Sequence[UnifiedEvent], scope: Scope, start: int = 0) -> int:  # noqa: PLR0912, PLR0915 - the hot loop
        """Add events from index `start` on; returns the index of the first that was not taken (a limit was reached)."""
        groups = self.groups_of(scope)
        cache_key, limit, weight, count = self.cache_key, self.max_bytes, self.size, self.count
        stop = min(len(events), start + self.max_records - count)
        try:
            for event in events if not start and stop == len(events) else events[start:stop]:
                tail = b""
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
                            for encoder, value in zip(encoders, own.values()):  # noqa: B905 - one encoder for each key
                                tail += encoder.encode(value)
                if template.structured or event.trace_id or event.span_id or event.parent_id:
                    tail += _context(event, template)
                try:
                    if template.titled:
                        body = template.body(event).encode()
                        uid = (mapping.record_uid(event) if template.is_finding else event.id).encode()
                    else:
                        body = (event.description or event.title).encode()
                        uid = event.id.encode()
                    stamp = _stamp(9, event.timestamp, 0x59, event.observed, _UID_HEAD, uid)
                except (UnicodeEncodeError, error):
                    body, uid, stamp = _repaired(event, template)
                if len(uid) != _UID_SIZE:
                    stamp = _unusual_stamp(event, uid)
                size = len(body)
                body_head = _BODY_HEADS[size] if size < _TABLE else _text_head(size)
                size += len(stamp) + template.size + len(body_head) + len(tail)
                head = _RECORD_HEADS[size] if size < _TABLE else b"\x12" + varint(size)
                pieces = groups.get(template.resource)
                if pieces is None:
                    pieces = self.open(template.resource, scope, groups)
                    weight += self.opening_size(template.resource, scope)
                weight += size + 4
                if weight > limit and count:
                    weight -= size + 4
                    break
                pieces += (head, stamp, template.fixed, body_head, body, tail)
                count += 1
        finally:
            taken, self.count, self.size = count - self.count, count, weight
        return start + taken

    def frame(self, groups: Iterable[tuple[bytes, list[Run]]]) -> bytes:
        """Return the request made of these resources, each with its runs."""
        output: list[bytes] = []
        scopes: dict[Scope, bytes] = {}
        for resource, runs in groups:
            parts = [resource]
            for run in runs:
                scope = scopes.get(run.scope) or scopes.setdefault(run.scope, _scope_field(run.scope))
                records = b"".join(run.pieces)
                parts += (b"\x12" + varint(len(scope) + len(records)) + scope, records)
            output.append(b"\x0a" + varint(sum(map(len, parts))))
            output += parts
        return b"".join(output)


def _scope_field(scope: Scope) -> bytes:
    return delimited(0x0A, delimited(0x0A, encode_text(scope.name)) + delimited(0x12, encode_text(scope.version)))


def _flags(flags: int) -> bytes:
    return _fixed32(0x45, flags) if flags else b""


def _context(event: UnifiedEvent, template: WireTemplate) -> bytes:
    """Return the fields that few events have: trace context, and what the body leaves out."""
    fields = b""
    if event.trace_id and (trace_id := identifier(event.trace_id, 16)):
        fields = b"\x4a\x10" + trace_id
    if event.span_id and (span_id := identifier(event.span_id, 8)):
        fields += b"\x52\x08" + span_id
    if event.parent_id:
        fields += key_value(_ATTRIBUTE, semconv.TAPIO_PARENT_ID, event.parent_id)
    if beside := template.beside(event):
        fields += key_value(_ATTRIBUTE, *beside)
    if template.is_finding:
        fields += key_value(_ATTRIBUTE, semconv.CORRELATION_ID, event.id)
    return fields


def _repaired(event: UnifiedEvent, template: WireTemplate) -> tuple[bytes, bytes, bytes]:
    """Return body, id and stamp of an event with lone surrogates, or with a time that 64 bits cannot hold."""
    uid = encode_text(mapping.record_uid(event) if template.is_finding else event.id)
    stamp = _stamp(9, clamp(event.timestamp), 0x59, clamp(event.observed), _UID_HEAD, uid)
    return encode_text(template.body(event)), uid, stamp


def _unusual_stamp(event: UnifiedEvent, uid: bytes) -> bytes:
    """Return times and id of an event whose id is not a UUID in its usual form."""
    times = _times(9, clamp(event.timestamp), 0x59, clamp(event.observed))
    return times + delimited(
        _ATTRIBUTE, delimited(0x0A, semconv.LOG_RECORD_UID.encode()) + delimited(0x12, delimited(0x0A, uid))
    )
