"""The protobuf encoder, compared field by field with the opentelemetry-proto classes."""

from __future__ import annotations

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Scope
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.otlp.json import JsonRequestBuilder
from tapio_otel.otlp.protobuf import HEADS, key_value, key_values
from tapio_otel.otlp.text import TOO_DEEP
from tapio_otel.otlp.wire import RequestBuilder
from tests import strategies
from tests.otlp import reference

BASE = {"host.name": "node1", "os.type": "linux"}
SCOPE = Scope("tapio_otel.receivers.journald", "1.0")
batches = st.lists(st.tuples(st.lists(strategies.events(), max_size=4), strategies.scopes), max_size=3)


def built(events, **options):
    """Encode events and parse the result."""
    builder = RequestBuilder(BASE, **options)
    assert builder.add(events, SCOPE) == len(events)
    return reference.parse(builder.build())


def only_record(event):
    """Return the parsed record of one event."""
    request = built([event])
    return request.resource_logs[0].scope_logs[0].log_records[0]


@given(batches)
def test_every_field_equals_the_slow_construction(given_batches):
    """In order, with resource and scope, nothing added and nothing left out."""
    builder = RequestBuilder(BASE, ordered=True)
    for events, scope in given_batches:
        builder.add(events, scope)
    assert reference.flat(reference.parse(builder.build())) == reference.flat(reference.request(given_batches, BASE))


@given(batches)
def test_grouping_keeps_every_record(given_batches):
    """Without `ordered`, the same records come in groups: one for each resource, one scope in it once."""
    builder = RequestBuilder(BASE)
    for events, scope in given_batches:
        builder.add(events, scope)
    request = reference.parse(builder.build())
    assert sorted(map(repr, reference.flat(request))) == sorted(
        map(repr, reference.flat(reference.request(given_batches, BASE)))
    )
    assert all(len(scopes) == len(set(scopes)) for scopes in map(scope_names, request.resource_logs))


def scope_names(resource_logs):
    """Return the scopes of one group."""
    return [(group.scope.name, group.scope.version) for group in resource_logs.scope_logs]


def test_one_group_for_each_resource():
    """Events that alternate between two origins make two groups, each in order."""
    origins = [Origin(EntityReference("systemd_unit", f"{name}.service")) for name in "ab"]
    events = [
        UnifiedEvent.of_origin(origins[n % 2], str(n), n, n, "journald", "log", Severity.INFO, "", "x", {}) for n in range(6)
    ]
    groups = built(events).resource_logs
    assert [[one.time_unix_nano for one in group.scope_logs[0].log_records] for group in groups] == [[0, 2, 4], [1, 3, 5]]
    assert len(built(events, ordered=True).resource_logs) == 6


def test_ordered_runs_of_one_resource_share_a_group():
    """A new group begins only where resource or scope changes, also over several calls."""
    origins = [Origin(EntityReference("systemd_unit", f"{name}.service")) for name in "ab"]
    events = [UnifiedEvent.of_origin(origin, "i", 1, 1, "x", "log", Severity.INFO, "", "", {}) for origin in origins]
    builder = RequestBuilder(BASE, ordered=True)
    for batch, scope in (([events[0]] * 2, SCOPE), ([events[0], events[1]], SCOPE), ([events[1]], Scope("other", ""))):
        builder.add(batch, scope)
    builder.add([events[1]], SCOPE)
    groups = reference.parse(builder.build()).resource_logs
    assert [len(group.scope_logs[0].log_records) for group in groups] == [3, 1, 1, 1]


@pytest.mark.parametrize("builder_class", [RequestBuilder, JsonRequestBuilder])
@given(given_batches=batches)
def test_count_and_size_tell_what_is_built(builder_class, given_batches):
    """The count is exact, the size an upper bound, and a built request leaves an empty builder."""
    builder = builder_class(BASE)
    for events, scope in given_batches:
        builder.add(events, scope)
    assert builder.count == sum(len(events) for events, _ in given_batches)
    assert len(builder.build()) <= builder_size(builder_class, given_batches)
    assert builder.count == 0
    empty = builder.build()
    assert empty in (b"", b'{"resourceLogs":[]}')


def builder_size(builder_class, given_batches):
    """Return the size that a builder announces for these batches."""
    builder = builder_class(BASE)
    for events, scope in given_batches:
        builder.add(events, scope)
    return builder.size


@pytest.mark.parametrize("builder_class", [RequestBuilder, JsonRequestBuilder])
@given(events=st.lists(strategies.events(), max_size=12), records=st.integers(1, 5), size=st.integers(1, 3000))
def test_limits_cut_without_losing_anything(builder_class, events, records, size):
    """Each request stays below both limits unless a single record is beyond; together they hold every event once."""
    builder, position, requests = builder_class(BASE, ordered=True, max_records=records, max_bytes=size), 0, []
    while position < len(events):
        after = builder.add(events, SCOPE, position)
        assert position < after <= len(events)
        assert builder.count == after - position <= records
        single = builder.count == 1
        encoded = builder.build()
        assert single or len(encoded) <= size
        requests.append(encoded)
        position = after
    if builder_class is RequestBuilder:
        found = [one for encoded in requests for one in reference.flat(reference.parse(encoded))]
        assert found == reference.flat(reference.request([(events, SCOPE)], BASE))


def test_a_full_builder_takes_nothing():
    """At the limit `add` returns where it was asked to start."""
    builder = RequestBuilder(BASE, max_records=1)
    events = [UnifiedEvent("a", 1, "x"), UnifiedEvent("b", 1, "x")]
    assert builder.add(events, SCOPE) == 1
    assert builder.add(events, SCOPE, 1) == 1
    assert builder.count == 1


@given(strategies.shared_events())
def test_shared_and_detached_events_say_the_same(event):
    """A plugin that touches the attributes changes no byte of the content."""
    twin = event.copy()
    twin.detach()
    assert reference.flat(built([event])) == reference.flat(built([twin]))


@given(st.lists(strategies.shared_events(st.just(Origin(EntityReference("pod", "p", "n", "u"), {"pid": 1}))), max_size=8))
def test_what_is_remembered_for_an_origin_does_not_leak(events):
    """Events of one origin that differ in source, type, severity or attributes are told apart."""
    assert reference.flat(built(events, ordered=True)) == reference.flat(reference.request([(events, SCOPE)], BASE))


def test_two_base_resources_may_use_the_same_origins():
    """What one builder remembers is not taken by another with a different base."""
    origin = Origin(EntityReference("systemd_unit", "a.service"))
    event = UnifiedEvent.of_origin(origin, "id", 1, 1, "journald", "log", Severity.INFO, "", "", {})
    names = []
    for base in ({"host.name": "one"}, {"host.name": "two"}):
        builder = RequestBuilder(base)
        builder.add([event], SCOPE)
        names.append(reference.attributes(reference.parse(builder.build()).resource_logs[0].resource.attributes)["host.name"])
    assert names == [("string_value", "'one'"), ("string_value", "'two'")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", ""),
        ("\0", "\0"),
        ("line\nline", "line\nline"),
        ("a\ud800b", "a\ufffdb"),
        ("€" * 42, "€" * 42),
        *(
            pytest.param("x" * size, "x" * size, id=str(size))
            for size in (123, 124, 125, 126, 127, 128, 4095, 4096, 16_380, 16_383, 16_384, 1 << 20)
        ),
    ],
)
def test_awkward_bodies_arrive(body, expected):
    """Empty, NUL, several lines, beyond UTF-8, and every length at which a length prefix grows."""
    record = only_record(UnifiedEvent("0190f2b8-0000-8000-8000-000000000000", 1, "journald", description=body))
    assert record.body.string_value == expected
    assert record.body.WhichOneof("value") == "string_value"


@pytest.mark.parametrize("uid", ["", "x", "é" * 18, "é" * 36, "x" * 37, "\ud800" * 12, "0190f2b8-0000-8000-8000-000000000000"])
def test_any_id_arrives(uid):
    """An id that is no UUID is exported as it is."""
    found = reference.attributes(only_record(UnifiedEvent(uid, 1, "x")).attributes)
    assert found["log.record.uid"] == ("string_value", repr(uid.replace("\ud800", "\ufffd")))


@pytest.mark.parametrize(
    ("time", "expected"), [(-5, 0), (0, 0), (1 << 63, 1 << 63), ((1 << 64) - 1, (1 << 64) - 1), (1 << 70, (1 << 64) - 1)]
)
def test_times_are_held_within_64_bits(time, expected):
    """A time that OTLP cannot express becomes the nearest it can."""
    event = UnifiedEvent("id", time, "x", observed=time or 1)
    record = only_record(event)
    assert (record.time_unix_nano, record.observed_time_unix_nano) == (expected, expected or (1 if time == 0 else 0))


@pytest.mark.parametrize("trace_id", ["x", "0" * 32, "0af7 651916cd43dd8448eb211c80319", "zz" * 16, "é" * 32, "0af" * 11])
def test_invalid_trace_ids_are_left_out(trace_id):
    """Neither text that is no id nor the invalid id of zeros is sent."""
    event = UnifiedEvent("id", 1, "x", trace_id=trace_id, span_id=trace_id)
    record = only_record(event)
    assert (record.trace_id, record.span_id) == (b"", b"")


class _Colour(StrEnum):
    RED = "red"


class _Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (_Colour.RED, ("string_value", "'red'")),
        ((1,), ("array_value", "[('int_value', '1')]")),
        (bytearray(b"x"), ("bytes_value", "b'x'")),
        (memoryview(b"x"), ("bytes_value", "b'x'")),
        (1 << 63, ("string_value", "'9223372036854775808'")),
        pytest.param(1 << 20_000, ("string_value", repr(hex(1 << 20_000))), id="long"),
        (-1, ("int_value", "-1")),
        (True, ("bool_value", "True")),
        (1.0, ("double_value", "1.0")),
        (1j, ("string_value", "'1j'")),
        ({1: 2}, ("kvlist_value", "[('1', ('int_value', '2'))]")),
        ("\ud800", ("string_value", "'\ufffd'")),
        (_Unprintable(), ("string_value", "'(unprintable _Unprintable)'")),
    ],
)
@pytest.mark.parametrize("shared", [True, False])
def test_values_of_any_type_are_exported(value, expected, shared):
    """What OTLP has no type for becomes text; equal numbers of different types are told apart."""
    warm = UnifiedEvent.of_origin(Origin(), "id", 1, 1, "x", "log", Severity.INFO, "", "", {"key": 1})
    assert reference.attributes(only_record(warm).attributes)["tapio.key"] == ("int_value", "1")
    event = UnifiedEvent.of_origin(Origin(), "id", 1, 1, "x", "log", Severity.INFO, "", "", {"key": value})
    if not shared:
        event.detach()
    assert reference.attributes(only_record(event).attributes)["tapio.key"] == expected


@pytest.mark.parametrize("builder_class", [RequestBuilder, JsonRequestBuilder])
def test_a_value_that_contains_itself_is_cut(builder_class):
    """Nesting ends where parsers of protobuf would refuse the request."""
    loop: list[object] = []
    loop.append(loop)
    table: dict[str, object] = {}
    table["again"] = table
    builder = builder_class(BASE)
    builder.add([UnifiedEvent("id", 1, "x", attributes={"loop": loop, "table": table})], SCOPE)
    encoded = builder.build()
    assert TOO_DEEP.encode() in encoded
    if builder_class is RequestBuilder:
        reference.parse(encoded)


def test_an_own_attribute_of_the_resource_makes_a_resource_of_its_own():
    """A pid that only this event has describes this event's resource, and replaces the origin's."""
    origin = Origin(EntityReference("systemd_unit", "a.service"), {"pid": 1, "comm": "a"})
    events = [UnifiedEvent.of_origin(origin, "i", 1, 1, "ebpf", "log", Severity.INFO, "", "", own) for own in ({}, {"pid": 2})]
    pids = [reference.attributes(group.resource.attributes)["process.pid"] for group in built(events).resource_logs]
    assert pids == [("int_value", "1"), ("int_value", "2")]


def test_structured_events_carry_title_and_name():
    """The body is the full message; the title is an attribute where both exist and differ."""
    record = only_record(UnifiedEvent("i", 1, "journald", "oom_kill", title="OOM Kill: java", description="Out of memory: …"))
    assert (record.event_name, record.body.string_value) == ("tapio.oom_kill", "Out of memory: …")
    assert reference.attributes(record.attributes)["tapio.title"] == ("string_value", "'OOM Kill: java'")
    record = only_record(UnifiedEvent("i", 1, "ebpf", "oom_kill", title="OOM Kill: java"))
    assert record.body.string_value == "OOM Kill: java"
    assert "tapio.title" not in reference.attributes(record.attributes)


def test_trace_flags_become_the_records_flags():
    """Flags from the event or its origin are no attribute, unless they are no flags."""
    for origin, own, flags in ((Origin(), {"trace_flags": 1}, 1), (Origin(attributes={"trace_flags": 1}), {}, 1)):
        record = only_record(UnifiedEvent.of_origin(origin, "i", 1, 1, "x", "log", Severity.INFO, "", "", own))
        assert (record.flags, "tapio.trace_flags" in reference.attributes(record.attributes)) == (flags, False)
    record = only_record(UnifiedEvent("i", 1, "x", attributes={"trace_flags": "01"}))
    assert (record.flags, reference.attributes(record.attributes)["tapio.trace_flags"]) == (0, ("string_value", "'01'"))


@given(st.text(max_size=40), st.one_of(st.text(max_size=400), st.integers(-(2**63), 2**63 - 1), st.booleans()))
def test_attributes_are_encoded_the_same_from_memory(key, value):
    """What is kept of a key gives what encoding from scratch gives, the first time and later."""
    for tag in HEADS:
        assert key_values({key: value}, tag) == key_values({key: value}, tag) == key_value(tag, key, value)


def test_what_is_kept_of_attributes_stays_bounded():
    """Neither many keys, nor many values, nor long ones fill the memory."""
    for number in range(3000):
        key_values({f"bounded.{number}": number, "bounded": "x" * number, "counted": number}, 0x32)
    kept = HEADS[0x32]
    assert len(kept) <= 512
    assert all(len(heads) <= 256 and len(heads.numbers) <= 256 for heads in kept.values())


def test_equal_resources_are_kept_once():
    """Origins come and go, most of them with a resource that another one had."""
    origins = [Origin(EntityReference("systemd_unit", "a.service"), {"_TRANSPORT": text}) for text in "ab"]
    builder = RequestBuilder(BASE)
    events = [UnifiedEvent.of_origin(one, "i", 1, 1, "journald", "log", Severity.INFO, "", "", {}) for one in origins]
    builder.add(events, SCOPE)
    first, second = (next(iter(one.cache[builder.cache_key].values())).resource for one in origins)
    assert first is second
