"""Findings as log records: every attribute has its name, in both encodings, and the members of a trace are not among them."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tapio_otel.component import Scope
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.examples import example_events, replay
from tapio_otel.correlation.library import load_rules
from tapio_otel.event import Origin, UnifiedEvent
from tapio_otel.otlp.json import JsonRequestBuilder
from tapio_otel.otlp.semconv import EMIT_TRACE
from tapio_otel.otlp.wire import RequestBuilder
from tests.otlp.incidents import OTHER_TRACE, TRACE, finding, members, values

SCOPE = Scope("tapio_otel.processors.correlate", "1")
BUILDERS = [RequestBuilder, JsonRequestBuilder]


def record(builder_class, *events: UnifiedEvent):
    """Return the records of events, as opentelemetry-proto reads them."""
    builder = builder_class()
    assert builder.add(events, SCOPE) == len(events)
    body = builder.build()
    if builder_class is JsonRequestBuilder:
        assert EMIT_TRACE not in body.decode()
        request = json_format.ParseDict(json.loads(body), ExportLogsServiceRequest())
    else:
        assert EMIT_TRACE.encode() not in body
        request = ExportLogsServiceRequest.FromString(body)
    return [one for resource in request.resource_logs for scope in resource.scope_logs for one in scope.log_records]


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_attribute_of_a_finding_has_its_name(builder):
    """As the design has them: `tapio.correlation.*`."""
    one = finding()
    (found,) = record(builder, one)
    assert (found.event_name, found.body.string_value) == ("tapio.correlation", one.title)
    ids = [member.id for member in members()]
    attributes = values(found.attributes)
    assert attributes.pop("log.record.uid") != one.id
    assert attributes == {
        "tapio.source": "correlation",
        "tapio.description": one.description,
        "tapio.correlation.id": one.id,
        "tapio.correlation.rule": "oom_cascade",
        "tapio.correlation.confidence": 0.951,
        "tapio.correlation.root.uid": ids[0],
        "tapio.correlation.impact.uids": [ids[2], ids[4]],
        "tapio.correlation.member.uids": ids,
        "tapio.correlation.entities": ["systemd_unit/shop.service", "systemd_unit/cart.service"],
        "tapio.correlation.sources": ["ebpf", "journald", "systemd"],
        "tapio.correlation.witnesses": 5,
        "tapio.correlation.first_seen": "2026-01-01T00:00:00.000000000Z",
        "tapio.correlation.last_seen": "2026-01-01T00:00:03.000000000Z",
        "tapio.correlation.window": 30.0,
        "tapio.correlation.revision": 1,
        "tapio.correlation.state": "closed",
        "tapio.correlation.hint": "Check the memory limit of shop.service.",
        "tapio.correlation.trace.ids": [TRACE, OTHER_TRACE],
        "tapio.correlation.left_out": 3,
        "tapio.correlation.superseded_by.id": "another",
    }


@pytest.mark.parametrize("builder", BUILDERS)
def test_findings_of_the_rules_that_ship_use_no_other_names(builder):
    """Each attribute that the engine sets is in the table."""
    rules = load_rules(["builtin"], [], {})
    findings = []
    for rule in rules:
        for example in rule.examples:
            events, _ = example_events(example.events)
            findings += replay(Engine([rule]), events)
    assert len(findings) > 20
    for found in record(builder, *findings):
        names = {one.key for one in found.attributes}
        assert {name for name in names if not name.startswith("tapio.correlation.")} == {
            "log.record.uid",
            "tapio.source",
            "tapio.description",
        }


@pytest.mark.parametrize("builder", BUILDERS)
def test_each_revision_is_a_record_of_its_own(builder):
    """A backend that drops records whose id it knows must keep the last word; the same revision has the same id."""
    told = record(builder, *(finding(revision=revision) for revision in (0, 1, 2, 2)))
    uids = [values(one.attributes)["log.record.uid"] for one in told]
    assert uids[0] == finding().id
    assert len(set(uids)) == 3
    assert uids[2] == uids[3]
    assert {values(one.attributes)["tapio.correlation.id"] for one in told} == {finding().id}


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("is_origins", [False, True])
def test_members_are_stripped_wherever_they_stand(builder, is_origins):
    """Among the event's own attributes or its origin's, of a finding or not."""
    hidden = {EMIT_TRACE: [{"a": 1}]}
    origin = Origin(attributes={"x": 1, **(hidden if is_origins else {})})
    made = (
        "id",
        1,
        1,
        "correlation",
        "correlation",
        finding().severity,
        "title",
        "",
        {"y": 2, **({} if is_origins else hidden)},
    )
    one = UnifiedEvent.of_origin(origin, *made)
    two = UnifiedEvent.of_origin(origin, *made)
    two.type, two.source = "log", "journald"
    for found in record(builder, one, two):
        assert {"tapio.x", "tapio.y"} <= set(values(found.attributes))
