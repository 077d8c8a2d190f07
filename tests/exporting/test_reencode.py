"""Requests of one encoding become the same in the other."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tapio_otel.component import Scope
from tapio_otel.exporting.reencode import JSON, PROTO, as_json, reencode
from tapio_otel.otlp.json import JsonRequestBuilder
from tapio_otel.otlp.wire import RequestBuilder
from tests.exporting.samples import samples

SCOPE = Scope("tapio_otel.test", "1")


def built(builder) -> bytes:
    """Return samples of every kind as a request."""
    builder.add(samples(), SCOPE)
    return builder.build()


def protobuf() -> bytes:
    """Return samples with trace and span ids as protobuf."""
    request = ExportLogsServiceRequest.FromString(built(RequestBuilder()))
    record = request.resource_logs[0].scope_logs[0].log_records[0]
    record.trace_id, record.span_id = bytes(range(16)), bytes(range(8))
    return request.SerializeToString()


def test_protobuf_becomes_otlp_json_and_comes_back():
    """Nothing is lost on the way, and ids are hexadecimal, as OTLP/JSON has them."""
    body = protobuf()
    text = reencode(body, PROTO, JSON)
    assert '"traceId":"000102030405060708090a0b0c0d0e0f"' in text.decode()
    assert '"spanId":"0001020304050607"' in text.decode()
    back = ExportLogsServiceRequest.FromString(reencode(text, JSON, PROTO))
    assert back == ExportLogsServiceRequest.FromString(body)


def test_our_own_json_becomes_the_protobuf_that_we_would_have_made():
    """As when a queue's encoding was changed."""
    made = ExportLogsServiceRequest.FromString(reencode(built(JsonRequestBuilder()), JSON, PROTO))
    assert made == ExportLogsServiceRequest.FromString(built(RequestBuilder()))


@pytest.mark.parametrize("encoding", [PROTO, JSON])
def test_the_same_encoding_changes_nothing(encoding):
    """Not even what is no request."""
    assert reencode(b"\xff", encoding, encoding) == b"\xff"


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda one: (
            st.lists(one)
            | st.dictionaries(st.sampled_from(["resourceLogs", "scopeLogs", "logRecords", "traceId", "body"]), one)
        ),
    ).map(lambda one: json.dumps(one).encode())
)
def test_what_is_no_request_is_left_as_it_is_or_made_into_one(body):
    """No input makes an error: the server is to say what it thinks of it."""
    made = reencode(body, JSON, PROTO)
    if made != body:
        ExportLogsServiceRequest.FromString(made)
    made = reencode(body, PROTO, JSON)
    if made != body:
        json.loads(made)


def test_what_is_no_protobuf_is_said():
    """For dead letters, which keep it in another form then."""
    with pytest.raises(ValueError, match="not an export request"):
        as_json(b"\xff\xff\xff")


def test_the_json_is_protobufs_own_but_for_ids_and_enumerations():
    """Readers of OTLP/JSON take it."""
    found = as_json(built(RequestBuilder()))
    assert json_format.ParseDict(found, ExportLogsServiceRequest()) == ExportLogsServiceRequest.FromString(
        built(RequestBuilder())
    )
