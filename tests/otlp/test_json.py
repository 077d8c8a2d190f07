"""The JSON encoder, parsed by google.protobuf and compared with the protobuf form."""

from __future__ import annotations

import base64
import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tapio_otel.component import Scope
from tapio_otel.event import UNKNOWN_ENTITY, Severity, UnifiedEvent
from tapio_otel.otlp.json import JsonRequestBuilder
from tapio_otel.otlp.wire import RequestBuilder
from tests import strategies
from tests.otlp import reference

BASE = {"host.name": "node1"}
SCOPE = Scope("tapio_otel.receivers.journald", "1.0")
batches = st.lists(st.tuples(st.lists(strategies.events(), max_size=4), strategies.scopes), max_size=3)


def parse(encoded: bytes) -> ExportLogsServiceRequest:
    """Parse OTLP's JSON: proto3 JSON but for the ids, which are hex where proto3 JSON has base64."""
    content = json.loads(encoded, parse_constant=pytest.fail)
    for group in content["resourceLogs"]:
        for scope_logs in group["scopeLogs"]:
            for record in scope_logs["logRecords"]:
                for name in {"traceId", "spanId"} & record.keys():
                    record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
    return json_format.ParseDict(content, ExportLogsServiceRequest(), max_recursion_depth=200)


def encoded(builder, given_batches) -> bytes:
    """Return the request of these batches."""
    for events, scope in given_batches:
        builder.add(events, scope)
    return builder.build()


@pytest.mark.parametrize("ordered", [True, False])
@given(given_batches=batches)
def test_json_says_what_protobuf_says(ordered, given_batches):
    """The same groups in the same order, with every field equal."""
    as_json = parse(encoded(JsonRequestBuilder(BASE, ordered), given_batches))
    assert reference.flat(as_json) == reference.flat(reference.parse(encoded(RequestBuilder(BASE, ordered), given_batches)))


def test_the_form_is_the_collectors():
    """Camel-case keys, 64-bit integers as text, enums as numbers, ids in hex, on one line."""
    event = UnifiedEvent(
        *("0190f2b8-0000-8000-8000-000000000000", 1_700_000_000_000_000_001, "ebpf", "oom_kill", Severity.CRITICAL),
        entity=UNKNOWN_ENTITY,
        title="OOM Kill: java",
        attributes={"limit": 1 << 40, "trace_flags": 1, "raw": b"\xff", "ratio": float("nan")},
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        observed=1_700_000_000_000_000_002,
    )
    line = encoded(JsonRequestBuilder(BASE), [([event], SCOPE)])
    assert b"\n" not in line
    assert json.loads(line) == {
        "resourceLogs": [
            {
                "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "node1"}}]},
                "scopeLogs": [
                    {
                        "scope": {"name": "tapio_otel.receivers.journald", "version": "1.0"},
                        "logRecords": [
                            {
                                "timeUnixNano": "1700000000000000001",
                                "observedTimeUnixNano": "1700000000000000002",
                                "severityNumber": 18,
                                "severityText": "critical",
                                "eventName": "tapio.oom_kill",
                                "flags": 1,
                                "body": {"stringValue": "OOM Kill: java"},
                                "attributes": [
                                    {"key": "log.record.uid", "value": {"stringValue": event.id}},
                                    {"key": "tapio.limit", "value": {"intValue": "1099511627776"}},
                                    {"key": "tapio.raw", "value": {"bytesValue": "/w=="}},
                                    {"key": "tapio.ratio", "value": {"doubleValue": "NaN"}},
                                    {"key": "tapio.source", "value": {"stringValue": "ebpf"}},
                                ],
                                "traceId": "0af7651916cd43dd8448eb211c80319c",
                                "spanId": "b7ad6b7169203331",
                            }
                        ],
                    }
                ],
            }
        ]
    }


@pytest.mark.parametrize("text", ["", "\0", 'a"b\\c', "line\nline", "a\ud800b", pytest.param("x" * (1 << 20), id="long")])
def test_awkward_texts_equal_the_protobuf_form(text):
    """In body, id, title and attributes."""
    event = UnifiedEvent(
        text, -1, "x", "t", title=text + "!", description=text, attributes={text: text, "n": [text, {text: None}]}
    )
    given_batches = [([event], Scope(text, text))]
    as_json = parse(encoded(JsonRequestBuilder(BASE), given_batches))
    assert reference.flat(as_json) == reference.flat(reference.parse(encoded(RequestBuilder(BASE), given_batches)))


@pytest.mark.parametrize("builder", [RequestBuilder, JsonRequestBuilder])
def test_a_severity_that_is_a_plain_number_is_as_good(builder):
    """A plugin may write 13 for Severity.WARNING."""
    made = [UnifiedEvent("id", 1, "test", severity=severity, observed=1) for severity in (13, Severity.WARNING)]
    number, name = (encoded(builder(BASE), [([event], SCOPE)]) for event in made)
    assert number == name
