"""An independent, slow construction of requests with the opentelemetry-proto classes, to compare the encoders with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tapio_otel.component import Scope
from tapio_otel.event import UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.otlp.mapping import map_origin


def any_value(value: Any) -> AnyValue:
    """Build the AnyValue of an attribute value."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value) if -(2**63) <= value < 2**63 else AnyValue(string_value=str(value))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
    return AnyValue() if value is None else AnyValue(string_value=value)


def key_values(values: Mapping[str, Any]) -> list[KeyValue]:
    """Build the KeyValues of a mapping."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def record(event: UnifiedEvent) -> LogRecord:
    """Build the LogRecord of an event."""
    mapped = map_origin(event.view(), event.source, {})
    attributes = {**mapped.attributes, "log.record.uid": event.id}
    if event.type == "correlation" and event.source != "journald":
        revision = event.get("revision")
        again = isinstance(revision, int) and revision > 0
        attributes["log.record.uid"] = event_id(event.id, "revision", revision) if again else event.id
        attributes["tapio.correlation.id"] = event.id
    if event.parent_id:
        attributes["tapio.parent_id"] = event.parent_id
    titled = event.type != "log" and event.source != "journald"
    body, beside = (event.title, event.description) if titled else (event.description, event.title)
    if event.type != "log" and body and beside and body != beside:
        attributes["tapio.description" if titled else "tapio.title"] = beside
    return LogRecord(
        time_unix_nano=event.timestamp,
        observed_time_unix_nano=event.observed,
        severity_number=int(event.severity),  # type: ignore[arg-type]
        severity_text=event.severity.keyword,
        body=AnyValue(string_value=body or beside),
        attributes=key_values(attributes),
        flags=mapped.flags,
        trace_id=bytes.fromhex(event.trace_id),
        span_id=bytes.fromhex(event.span_id),
        event_name="" if event.type == "log" else f"tapio.{event.type}",
    )


def request(batches: Sequence[tuple[Sequence[UnifiedEvent], Scope]], base: Mapping[str, Any]) -> ExportLogsServiceRequest:
    """Build a request with one ResourceLogs for each record."""
    built = ExportLogsServiceRequest()
    for events, scope in batches:
        for event in events:
            resource_logs = built.resource_logs.add()
            resource_logs.resource.attributes.extend(key_values(map_origin(event.view(), event.source, base).resource))
            scope_logs = resource_logs.scope_logs.add()
            scope_logs.scope.name, scope_logs.scope.version = scope.name, scope.version
            scope_logs.log_records.append(record(event))
    return built


def plain(message: Any) -> Any:
    """Return a message as comparable Python values: KeyValues as a dict, repeats refused."""
    if isinstance(message, AnyValue):
        which = message.WhichOneof("value")
        content = plain(getattr(message, which)) if which else None
        return (which, "nan" if isinstance(content, float) and math.isnan(content) else repr(content))
    if isinstance(message, KeyValueList | ArrayValue):
        elements = [(item.key, plain(item.value)) if isinstance(item, KeyValue) else plain(item) for item in message.values]
        return sorted(elements) if isinstance(message, KeyValueList) else elements
    return message


def attributes(values: Sequence[KeyValue]) -> dict[str, Any]:
    """Return KeyValues as a dict; a key that occurs twice is an error."""
    found = {item.key: plain(item.value) for item in values}
    assert len(found) == len(values), "an attribute occurs twice"
    return found


def content(log_record: LogRecord) -> tuple[Any, ...]:
    """Return everything a record says, comparable, without regard to the order of attributes."""
    return (
        *(log_record.time_unix_nano, log_record.observed_time_unix_nano, log_record.severity_number, log_record.severity_text),
        *(plain(log_record.body), log_record.flags, log_record.trace_id, log_record.span_id, log_record.event_name),
        *(log_record.dropped_attributes_count, sorted(attributes(log_record.attributes).items())),
    )


def flat(built: ExportLogsServiceRequest) -> list[tuple[Any, ...]]:
    """Return all records in order, each with its resource and scope."""
    return [
        (sorted(attributes(group.resource.attributes).items()), scope_logs.scope.name, scope_logs.scope.version, content(one))
        for group in built.resource_logs
        for scope_logs in group.scope_logs
        for one in scope_logs.log_records
    ]


def parse(encoded: bytes) -> ExportLogsServiceRequest:
    """Parse protobuf bytes."""
    return ExportLogsServiceRequest.FromString(encoded)
