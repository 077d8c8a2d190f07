"""Findings as traces: which span is under which, from when to when, of which service, linked to what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tapio_otel.event import Severity
from tapio_otel.event_json import to_dict
from tapio_otel.otlp.semconv import EMIT_TRACE
from tapio_otel.otlp.spans import LONGEST_NAME, SHORTEST, has_trace, span_id, trace_id, trace_requests
from tests.otlp.incidents import CART, OTHER_TRACE, SECOND, SHOP, SPAN, START, TRACE, event, finding, members, values

BASE = {"host.name": "node-1", "os.type": "linux"}
LARGE = 1 << 30


def spans(one: Any, max_bytes: int = LARGE) -> list[tuple[dict[str, Any], Span]]:
    """Return the spans of a finding's trace, each with its resource, in the order of the requests."""
    found = []
    for body in trace_requests(one, BASE, max_bytes):
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                assert scope.scope.name == "tapio_otel.processors.correlate"
                found += [(values(resource.resource.attributes), span) for span in scope.spans]
    return found


def by_role(one: Any) -> dict[str, list[Span]]:
    """Return the spans by the part that their event plays."""
    found: dict[str, list[Span]] = {"root_cause": [], "impact": [], "witness": []}
    for _, span in spans(one):
        found[values(span.attributes)["tapio.correlation.role"]].append(span)
    return found


def test_the_root_cause_is_the_root_and_lasts_until_the_end():
    """Its trace is the finding's id; it tells what the finding says, and is red because the finding is."""
    one = finding()
    (root,) = by_role(one)["root_cause"]
    assert (root.name, root.parent_span_id, root.kind) == ("oom_kill of shop.service", b"", Span.SPAN_KIND_INTERNAL)
    assert root.trace_id.hex() == one.id.replace("-", "")
    assert root.start_time_unix_nano == START
    assert root.end_time_unix_nano == START + 3 * SECOND + SHORTEST
    assert (root.status.code, root.status.message) == (Status.STATUS_CODE_ERROR, one.description)
    said = values(root.attributes)
    assert said["tapio.correlation.rule"] == "oom_cascade"
    assert said["tapio.correlation.id"] == one.id
    assert said["tapio.correlation.title"] == one.title
    assert said["tapio.memory_limit"] == 1 << 20
    assert not {name for name in said if "member" in name or "impact" in name or name == EMIT_TRACE}


def test_consequences_are_children_of_the_root_in_causal_order():
    """Whatever the order of the members."""
    told = members()
    one = finding(told, impacts=[told[4].id, told[2].id])
    assert {span.parent_span_id for span in by_role(one)["impact"]} == {span_id(one.id, told[0].id)}
    order = [values(span.attributes)["log.record.uid"] for _, span in spans(one)]
    assert [id for id in order if id in (told[2].id, told[4].id)] == [told[4].id, told[2].id]
    assert [span.name for span in by_role(finding())["impact"]] == [
        "service_restart of shop.service",
        "connection_failed of cart.service",
    ]


def test_a_witness_is_under_the_last_fact_of_its_entity():
    """The kernel's words under the kill, the start's under the restart; what is of another entity under the root cause."""
    told = [*members(), event("log", 4, CART, type="log_of_cart"), event("log", 1, CART, type="log_early")]
    one = finding(told)
    parents = {values(span.attributes)["log.record.uid"]: span.parent_span_id for span in by_role(one)["witness"]}
    assert parents == {
        told[1].id: span_id(one.id, told[0].id),
        told[3].id: span_id(one.id, told[2].id),
        told[5].id: span_id(one.id, told[4].id),
        told[6].id: span_id(one.id, told[0].id),
    }


def test_a_span_lasts_as_long_as_it_is_known_to():
    """A failure until its entity is there again, a moment at least a millisecond, and a fact as long as what attests it."""
    found = {span.name: span.end_time_unix_nano - span.start_time_unix_nano for _, span in spans(finding())}
    assert found["Out of memory: Killed process 42"] == 2 * SECOND - SECOND // 10
    assert found["service_restart of shop.service"] == SECOND // 2 + SHORTEST
    assert found["connection_failed of cart.service"] == SHORTEST


@pytest.mark.parametrize(
    ("type", "attributes"),
    [("service_state", {"current_state": "active"}), ("pod_state", {"change": "ready"}), ("node_ready", {})],
)
def test_what_ends_a_failure(type, attributes):
    """A state in which the entity works, of the same entity."""
    told = [event("a", 0, SHOP), event("b", 1, CART), event("c", 2, CART, Severity.INFO, type=type, attributes=attributes)]
    found = {span.name: span.end_time_unix_nano for _, span in spans(finding(told))}
    assert found["b of cart.service"] == START + 2 * SECOND


def test_each_span_is_of_the_service_that_its_event_is_about():
    """So that the waterfall shows whom it hit."""
    assert {
        span.name.rpartition(" ")[2]: resource["service.name"] for resource, span in spans(finding()) if ".service" in span.name
    } == {
        "shop.service": "shop",
        "cart.service": "cart",
    }
    assert all(resource["os.type"] == "linux" for resource, _ in spans(finding()))


def test_links_lead_to_the_traces_that_were_touched():
    """An event's span to its own place in its trace; the root to every trace, with a span where one is known."""
    found = by_role(finding())
    (failed,) = [span for span in found["impact"] if span.links]
    (link,) = failed.links
    assert (link.trace_id.hex(), link.span_id.hex(), link.flags) == (TRACE, SPAN, 1)
    assert values(link.attributes) == {"log.record.uid": members()[4].id}
    (root,) = found["root_cause"]
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in root.links] == [(TRACE, SPAN), (OTHER_TRACE, "")]


def test_a_span_has_no_more_links_than_tracing_systems_take():
    """The others are counted."""
    told = [event("a", 0, SHOP), *(event("b", n, CART, trace_id=f"{n:032x}", span_id=SPAN) for n in range(1, 200))]
    (root,) = by_role(finding(told, traces=[]))["root_cause"]
    assert (len(root.links), root.dropped_links_count) == (128, 71)


def test_only_errors_are_red():
    """And the root, where the finding is one."""
    told = [event("a", 0, SHOP, Severity.INFO), event("b", 1, CART, Severity.WARNING), event("c", 2, CART, Severity.ERROR)]
    one = finding(told)
    assert {span.name[0]: span.status.code for _, span in spans(one)} == {"a": 2, "b": 0, "c": 2}
    one.severity = Severity.WARNING
    assert {span.name[0]: span.status.code for _, span in spans(one)} == {"a": 0, "b": 0, "c": 2}


def test_the_same_finding_is_the_same_trace():
    """Byte for byte, so that a backend can drop what a retry repeats; another finding of the same events is another trace."""
    assert trace_requests(finding(), BASE, LARGE) == trace_requests(finding(), BASE, LARGE)
    other = finding()
    other.id = "not-a-uuid"
    assert len(trace_id(other.id)) == 16
    assert not {span.span_id for _, span in spans(other)} & {span.span_id for _, span in spans(finding())}
    assert trace_id("00000000-0000-0000-0000-000000000000").strip(b"\0")


def test_a_large_trace_is_cut_into_requests():
    """None above the limit, no span lost, all of one trace."""
    told = [event("a", 0, SHOP), *(event("b", n, CART, description="x" * 3000) for n in range(1, 100))]
    bodies = trace_requests(finding(told), BASE, 20_000)
    assert len(bodies) > 10
    assert max(map(len, bodies)) <= 20_000
    found = [span for _, span in spans(finding(told), 20_000)]
    assert len({span.span_id for span in found}) == len(found) == 100
    assert len({span.trace_id for span in found}) == 1
    assert len(trace_requests(finding(told), BASE, 1)) == 100


def test_members_that_are_no_events_are_left_out():
    """And a finding without any makes no trace."""
    told = members()
    one = finding(told, **{EMIT_TRACE: [{"id": 1}, None, to_dict(told[1]), to_dict(told[0]), to_dict(told[1])]})
    assert sorted(span.name for _, span in spans(one)) == ["Out of memory: Killed process 42", "oom_kill of shop.service"]
    assert by_role(one)["root_cause"][0].name == "oom_kill of shop.service"
    assert trace_requests(finding(told, **{EMIT_TRACE: [None]}), BASE, LARGE) == []


def test_only_findings_that_bring_their_members_have_a_trace():
    """Whatever else carries the attribute has none."""
    assert has_trace(finding())
    one = finding()
    del one.attributes[EMIT_TRACE]
    assert not has_trace(one)
    assert not has_trace(event("log", 0, SHOP, type="log", attributes={EMIT_TRACE: []}))


@given(
    title=st.text(),
    description=st.text(),
    after=st.integers(-(1 << 62), 1 << 62),
    last_seen=st.text() | st.integers() | st.none(),
    own=st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.none() | st.lists(st.text())),
    impacts=st.lists(st.text()) | st.integers(),
)
def test_any_events_make_spans(title, description, after, last_seen, own, impacts):
    """Texts that UTF-8 cannot express, times beyond any calendar, attributes of any kind."""
    told = [event("a", 0, SHOP), event("b", 1, CART, title=title, description=description, attributes=own)]
    contents = [to_dict(one) for one in told]
    one = finding(told, last_seen=last_seen, impacts=impacts, traces=[title])
    one.timestamp = after
    one.attributes[EMIT_TRACE] = contents
    found = spans(one)
    assert len(found) == 2
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for _, span in found)
    assert all(len(span.name) <= LONGEST_NAME for _, span in found)
