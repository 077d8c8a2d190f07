"""A finding as a trace: one span for each event, the root cause's at the root, so that a trace backend draws the incident.

The finding brings its members in the attribute `tapio.emit_trace`, in the event JSON, the root cause first. All ids are made of
the finding's and the events', so that what is sent again is the same trace. Findings are rare: this builds protobuf messages
with opentelemetry-proto, which is not imported before the first one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from tapio_otel.component import Scope
from tapio_otel.event import EntityReference, EventType, Severity, UnifiedEvent
from tapio_otel.event_json import EventFormatError, from_dict
from tapio_otel.otlp import mapping, semconv
from tapio_otel.otlp.protobuf import key_values
from tapio_otel.otlp.text import clamp, encode_text, identifier, repair
from tapio_otel.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

SCOPE: Final = Scope("tapio_otel.processors.correlate", VERSION)
SHORTEST: Final = 1_000_000
"""Nanoseconds that a span lasts at least: an event is a moment, which nothing draws."""
LONGEST_NAME: Final = 200
LONGEST_TEXT: Final = 4096
"""Characters of a description that a span repeats; the event's log record has all of it."""
MOST_LINKS: Final = 128
"""Links of one span: OpenTelemetry's default limit."""
ROOT_CAUSE, IMPACT, WITNESS = "root_cause", "impact", "witness"
_ENVELOPE: Final = 64
_SPAN_FLAGS: Final = 0x101
"""Sampled, and known not to be remote (trace.proto, SpanFlags)."""
_TOO_LONG: Final = frozenset(("members", "impacts", semconv.EMIT_TRACE))
"""Attributes of the finding that the trace itself shows."""
_RISEN: Final = frozenset(
    (EventType.SERVICE_RESTART, EventType.CONTAINER_RESTART, "service_recovered", "container_started", "node_ready")
)
"""Types of event after which the entity is there again."""


def has_trace(event: UnifiedEvent) -> bool:
    """Tell whether an event is a finding that is to be exported as a trace."""
    return event.type == EventType.CORRELATION and isinstance(event.get(semconv.EMIT_TRACE), list)


def trace_id(finding_id: str) -> bytes:
    """Return the id of a finding's trace: the UUID that the finding has for an id, else one made of it."""
    try:
        found = uuid.UUID(finding_id).bytes
    except ValueError:
        found = b""
    return found if found.strip(b"\0") else blake2b(encode_text(finding_id), digest_size=16).digest()


def span_id(finding_id: str, event_id: str) -> bytes:
    """Return the id of an event's span in a finding's trace."""
    return blake2b(encode_text(f"{finding_id}\x1f{event_id}"), digest_size=8).digest()


def trace_requests(finding: UnifiedEvent, base: Mapping[str, Any], max_bytes: int) -> list[bytes]:
    """Return the ExportTraceServiceRequests of a finding, none where it brings no event that can be read.

    `base` describes this machine. Each request keeps to `max_bytes`; a span that is larger travels alone.
    """
    members = _members(finding)
    return list(_cut(_Incident(finding, members).spans(base), max_bytes)) if members else []


def _members(finding: UnifiedEvent) -> list[UnifiedEvent]:
    """Return the events of a finding, each once, the root cause first; what is no event is left out."""
    found: dict[str, UnifiedEvent] = {}
    for content in finding.get(semconv.EMIT_TRACE, ()):
        try:
            event = from_dict(content)
        except EventFormatError:
            continue
        found.setdefault(event.id, event)
    root = found.pop(str(finding.get("root_cause")), None)
    return [*([] if root is None else [root]), *found.values()]


class _Incident:
    """Say which span each event becomes: under which, and from when to when."""

    def __init__(self, finding: UnifiedEvent, members: Sequence[UnifiedEvent]) -> None:
        self.finding = finding
        self.root = members[0]
        by_id = {event.id: event for event in members[1:]}
        order = finding.get("impacts")
        told = [str(one) for one in order] if isinstance(order, list) else []
        self.impacts = [by_id.pop(id) for id in dict.fromkeys(told) if id in by_id]
        self.witnesses = sorted(by_id.values(), key=lambda event: (event.timestamp, event.id))
        self.events = (self.root, *self.impacts, *self.witnesses)
        self.parents = {one.id: self.root.id for one in self.impacts} | {one.id: self._attested(one) for one in self.witnesses}
        self.ends = self._ends()

    def _attested(self, witness: UnifiedEvent) -> str:
        """Return whose span a witness belongs to: the last fact of its entity that came before, else the root cause."""
        mine = _name(witness.entity)
        before = [one for one in (self.root, *self.impacts) if one.timestamp <= witness.timestamp and _name(one.entity) == mine]
        return max(before, key=lambda one: one.timestamp).id if before else self.root.id

    def _ends(self) -> dict[str, int]:
        ends = {event.id: self._end(event) for event in self.events}
        for one in self.witnesses:
            ends[self.parents[one.id]] = max(ends[self.parents[one.id]], ends[one.id])
        ends[self.root.id] = max(*ends.values(), _nanoseconds(self.finding.get("last_seen")))
        return ends

    def _end(self, event: UnifiedEvent) -> int:
        """Return when an event's span ends: a failure lasts until its entity is known to be there again."""
        end = event.timestamp + SHORTEST
        if event.severity < Severity.ERROR or event is self.root:
            return end
        mine = _name(event.entity)
        risen = (
            one.timestamp
            for one in self.events
            if one.timestamp > event.timestamp and _name(one.entity) == mine and _is_up(one)
        )
        return max(end, min(risen, default=end))

    def spans(self, base: Mapping[str, Any]) -> Iterator[tuple[bytes, Span]]:
        """Yield each span with its encoded resource: the root cause, the impacts in causal order, what attests them."""
        yield self._span(self.root, ROOT_CAUSE, base)
        for event in self.impacts:
            yield self._span(event, IMPACT, base)
        for event in self.witnesses:
            yield self._span(event, WITNESS, base)

    def _span(self, event: UnifiedEvent, role: str, base: Mapping[str, Any]) -> tuple[bytes, Span]:
        from opentelemetry.proto.trace.v1.trace_pb2 import Span

        finding, is_root = self.finding, event is self.root
        mapped = mapping.map_origin(event.view(), event.source, base)
        attributes = {**mapped.attributes, **_own(event), semconv.CORRELATION_ROLE: role}
        attributes |= _of_finding(finding) if is_root else {semconv.CORRELATION_ID: finding.id}
        severity = max(event.severity, finding.severity) if is_root else event.severity
        span = Span(
            trace_id=trace_id(finding.id),
            span_id=span_id(finding.id, event.id),
            parent_span_id=b"" if is_root else span_id(finding.id, self.parents[event.id]),
            flags=_SPAN_FLAGS,
            name=_title(event),
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=clamp(event.timestamp),
            end_time_unix_nano=clamp(self.ends[event.id]),
            attributes=_attributes(attributes),
        )
        if severity >= Severity.ERROR:
            told = finding if is_root else event
            span.status.code = 2  # type: ignore[assignment]  # STATUS_CODE_ERROR
            span.status.message = _text(told.description or told.title)
        links = self._touched() if is_root else _link(event)
        for (trace, span_of), flags, uid in links[:MOST_LINKS]:
            link = span.links.add(trace_id=trace, span_id=span_of, flags=flags)
            link.attributes.extend(_attributes({semconv.LOG_RECORD_UID: uid} if uid else {semconv.CORRELATION_ID: finding.id}))
        span.dropped_links_count = max(len(links) - MOST_LINKS, 0)
        return key_values(mapped.resource, 0x0A), span

    def _touched(self) -> list[_Link]:
        """Return the links of the root: the root cause's own, then one to each further trace that the events belong to."""
        found: dict[bytes, _Link] = {}
        for event in self.events:
            for link in _link(event):
                trace, span_of = link[0]
                if trace not in found or (span_of and not found[trace][0][1]):
                    found[trace] = link
        told = self.finding.get("traces")
        for text in told if isinstance(told, list) else ():
            if isinstance(text, str) and (trace := identifier(text, 16)):
                found.setdefault(trace, ((trace, b""), 0, ""))
        return list(found.values())


_Link = tuple[tuple[bytes, bytes], int, str]
"""Trace id and span id (empty where it is not known), flags, and the id of the event that tells."""


def _link(event: UnifiedEvent) -> list[_Link]:
    """Return the link to where an event itself belongs, if it belongs to a trace."""
    trace = identifier(event.trace_id, 16)
    if not trace:
        return []
    flags = mapping.valid_flags(event.get(semconv.TRACE_FLAGS)) or 0
    return [((trace, identifier(event.span_id, 8)), flags & 0xFF, event.id)]


def _own(event: UnifiedEvent) -> dict[str, Any]:
    """Return what a log record has fields for, as a span's attributes."""
    found: dict[str, Any] = {
        semconv.LOG_RECORD_UID: event.id,
        semconv.TAPIO_TYPE: event.type,
        semconv.TAPIO_SEVERITY: event.severity.keyword,
    }
    if event.description and event.description != event.title:
        found[semconv.TAPIO_DESCRIPTION] = _text(event.description)
    return found


def _of_finding(finding: UnifiedEvent) -> dict[str, Any]:
    seen = {key: value for key, value in finding.view().attributes.items() if key not in _TOO_LONG}
    found: dict[str, Any] = {semconv.attribute_name(key, finding.source): value for key, value in seen.items()}
    found[semconv.CORRELATION_ID] = finding.id
    found[f"{semconv.CORRELATION}title"] = _text(finding.title)
    found[f"{semconv.CORRELATION}description"] = _text(finding.description)
    return found


def _attributes(values: Mapping[str, Any]) -> Iterable[KeyValue]:
    """Return attributes as messages, by way of the bytes that every exporter writes."""
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    return Resource.FromString(key_values(values, 0x0A)).attributes


def _title(event: UnifiedEvent) -> str:
    title = event.title or event.description.strip().partition("\n")[0] or event.type
    return repair(title if len(title) <= LONGEST_NAME else f"{title[: LONGEST_NAME - 1]}…")


def _text(text: str) -> str:
    return repair(text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…")


def _name(entity: EntityReference) -> tuple[str, str, str]:
    return entity.type, entity.namespace, entity.name


def _is_up(event: UnifiedEvent) -> bool:
    if event.type == EventType.SERVICE_STATE:
        return bool(event.get("current_state") == "active")
    if event.type == EventType.POD_STATE:
        return event.get("change") in {"ready", "running"}
    return event.type in _RISEN


def _nanoseconds(text: Any) -> int:
    """Return a time in RFC 3339 as nanoseconds since 1970, exact to the microsecond; 0 for what is none."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return 0
    if moment is None or moment.tzinfo is None:
        return 0
    passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000


def _cut(spans: Iterable[tuple[bytes, Span]], max_bytes: int) -> Iterator[bytes]:
    """Yield the spans as requests, by resource."""
    groups: dict[bytes, list[Span]] = {}
    size = 0
    for resource, span in spans:
        weight = span.ByteSize() + _ENVELOPE + (0 if resource in groups else len(resource) + _ENVELOPE)
        if groups and size + weight > max_bytes:
            yield _request(groups)
            groups, size = {}, 0
            weight = span.ByteSize() + len(resource) + 2 * _ENVELOPE
        groups.setdefault(resource, []).append(span)
        size += weight
    if groups:
        yield _request(groups)


def _request(groups: Mapping[bytes, list[Span]]) -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    for resource, spans in groups.items():
        group = request.resource_spans.add()
        group.resource.ParseFromString(resource)
        scope_spans = group.scope_spans.add()
        scope_spans.scope.name, scope_spans.scope.version = SCOPE.name, SCOPE.version
        scope_spans.spans.extend(spans)
    return request.SerializeToString()
