"""The JSON form of events: nothing is lost, the schema holds, and errors say what to do."""

from __future__ import annotations

import json
import math

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import EntityReference, Severity, UnifiedEvent
from tapio_otel.event_json import EventFormatError, events_schema, from_dict, from_json, to_dict, to_json
from tests import strategies

VALIDATOR = jsonschema.Draft202012Validator(events_schema())
any_time = st.integers(strategies.NANOSECONDS_MIN, strategies.NANOSECONDS_MAX)


def same(left, right) -> bool:
    """Compare as `==` does, but by type too, and with NaN equal to itself."""
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or repr(left) == repr(right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@given(strategies.events(time=any_time))
def test_json_form_and_back_loses_nothing(event):
    """Whatever an event holds comes back with its value and its type."""
    assert same(from_json(to_json(event))._key(), event._key())


@given(strategies.events(time=any_time))
def test_dictionary_form_and_back_loses_nothing(event):
    """The dictionary is the JSON form, and independent of the event."""
    content = to_dict(event)
    assert orjson.dumps(content) == to_json(event)
    assert same(from_dict(content)._key(), event._key())


@given(strategies.events(time=any_time))
def test_generated_events_conform_to_the_schema(event):
    """What is written is what the schema describes."""
    VALIDATOR.validate(json.loads(to_json(event)))


def test_the_schema_is_a_valid_schema():
    """The schema conforms to the 2020-12 meta-schema."""
    jsonschema.Draft202012Validator.check_schema(events_schema())


@given(st.characters(categories=["Cs"]), st.text(max_size=5))
def test_lone_surrogates_survive(surrogate, around):
    """A text that UTF-8 cannot express is escaped."""
    text = f"{around}{surrogate}|"
    event = UnifiedEvent("id", 1, "x", title=text, attributes={text: [text]})
    line = to_json(event)
    line.decode("utf-8")
    assert from_json(line) == event


def test_the_form_is_the_documented_one():
    """Names, order, times and tags are part of the interface."""
    parent = EntityReference("pod", "api-1", "shop", "uid-1")
    entity = EntityReference("container", "api", uid="c0ffee", parent=parent, attributes={"image": "api:1"})
    event = UnifiedEvent(
        *("0190-1", 1_700_000_000_000_000_001, "ebpf", "oom_kill", Severity.CRITICAL, entity, "OOM Kill: api", "the whole"),
        attributes={"pid": 7, "raw": b"\xff", "ratio": math.nan, "big": 1 << 64, "map": {"$x": 1}},
        trace_id="0af7651916cd43dd8448eb211c80319c",
        labels={"app": "api"},
        observed=1_700_000_000_500_000_000,
    )
    assert to_dict(event) == {
        "id": "0190-1",
        "timestamp": "2023-11-14T22:13:20.000000001Z",
        "observed": "2023-11-14T22:13:20.500000000Z",
        "source": "ebpf",
        "type": "oom_kill",
        "severity": "critical",
        "entity": {
            "type": "container",
            "name": "api",
            "uid": "c0ffee",
            "parent": {"type": "pod", "name": "api-1", "namespace": "shop", "uid": "uid-1"},
            "attributes": {"image": "api:1"},
        },
        "title": "OOM Kill: api",
        "description": "the whole",
        "attributes": {
            "pid": 7,
            "raw": {"$bytes": "/w=="},
            "ratio": {"$float": "NaN"},
            "big": {"$int": "0x10000000000000000"},
            "map": {"$map": {"$x": 1}},
        },
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "labels": {"app": "api"},
        "annotations": {},
    }


MINIMAL = {
    "id": "a",
    "timestamp": "2026-01-31T12:00:00Z",
    "source": "test",
    "type": "log",
    "severity": "info",
    "entity": {"type": "node", "name": "n"},
}


def test_what_is_optional_may_be_missing():
    """A hand-written event needs six keys; it was observed when it happened."""
    event = from_dict(MINIMAL)
    assert (event.title, event.attributes, event.labels, event.observed) == ("", {}, {}, event.timestamp)
    VALIDATOR.validate(MINIMAL)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000_000),
        ("1970-01-01t01:00:00.000000001+01:00", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("0001-01-01T00:00:00.000000000Z", strategies.NANOSECONDS_MIN),
        ("9999-12-31T23:59:59.999999999Z", strategies.NANOSECONDS_MAX),
    ],
)
def test_times_are_read_in_every_rfc_3339_form(text, nanoseconds):
    """Fractions of one to nine digits and any offset are understood."""
    assert from_dict({**MINIMAL, "timestamp": text}).timestamp == nanoseconds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestamp": "yesterday"}, r"timestamp: found 'yesterday': write an RFC 3339 time such as 2026-01-31T12:00:00"),
        ({"timestamp": "2026-02-30T12:00:00Z"}, r"timestamp: found '2026-02-30T12:00:00' \(day is out of range for month\)"),
        ({"timestamp": "2026-02-3XT12:00:00.000000000Z"}, r"timestamp: found '2026-02-3XT12:00:00' \(not of this form\)"),
        ({"timestamp": 12}, r"timestamp: found 12: write an RFC 3339 time"),
        ({"observed": ""}, r"observed: found '': write an RFC 3339 time"),
        ({"severity": "fatal"}, r"severity: 'fatal' is none of debug, info, .*: use one of these"),
        ({"severity": 9}, r"severity: found 9: write text"),
        ({"id": ""}, r"id: found '': it must not be empty"),
        ({"title": None}, r"title: found None: write text"),
        ({"trace_id": "XYZ"}, r"trace_id: 'XYZ' is no id: write 32 lower-case hex digits, or leave it out"),
        ({"span_id": "0A7651916cd43dd8"}, r"span_id: '0A7651916cd43dd8' is no id: write 16 lower-case hex digits"),
        ({"entity": "pod"}, r"entity: found 'pod': write a JSON object"),
        ({"entity": {"type": "pod"}}, r"entity: 'name' is missing: add it"),
        (
            {"entity": {"type": "pod", "name": "p", "parent": {"type": 1, "name": ""}}},
            r"entity.parent.type: found 1: write text",
        ),
        ({"entity": {"type": "pod", "name": "p", "node": "n"}}, r"entity: unknown key 'node': use attributes, name"),
        ({"labels": {"a": 1}}, r"labels.a: found 1: write text"),
        ({"annotations": []}, r"annotations: found \[\]: write a JSON object"),
        ({"attributes": 3}, r"attributes: found 3: write a JSON object"),
        ({"attributes": {"a": [{"$bytes": "?"}]}}, r"attributes.a\[0\]: '\?' is no content for \$bytes: write base64 text"),
        (
            {"attributes": {"a": {"$float": "x"}}},
            r"attributes.a: 'x' is no content for \$float: write NaN, Infinity or -Infinity",
        ),
        ({"attributes": {"a": {"$int": []}}}, r"attributes.a: \[\] is no content for \$int: write the number as text"),
        ({"attributes": {"a": {"$map": 1}}}, r"attributes.a: 1 is no content for \$map: write a JSON object"),
        ({"attributes": {"a": {"b": {"$who": 1}}}}, r"attributes.a.b: unknown tag '\$who': use one of \$bytes, \$float"),
        ({"colour": "red"}, r"event: unknown key 'colour': use annotations, attributes"),
    ],
)
def test_errors_say_where_what_and_what_to_do(change, message):
    """Every wrong part has its message."""
    with pytest.raises(EventFormatError, match=message):
        from_dict({**MINIMAL, **change})


@pytest.mark.parametrize("key", list(MINIMAL))
def test_a_missing_key_is_named(key):
    """What an event cannot be without is asked for."""
    with pytest.raises(EventFormatError, match=f"event: '{key}' is missing: add it"):
        from_dict({name: value for name, value in MINIMAL.items() if name != key})


@pytest.mark.parametrize("text", [b"", "{", "[1", b"\xff", '{"a": NaN}'])
def test_text_that_is_no_json_is_refused(text):
    """The error says what is wrong with the text."""
    with pytest.raises(EventFormatError, match=r"not JSON: .*: give one JSON object for each event"):
        from_json(text)


@pytest.mark.parametrize("time", [strategies.NANOSECONDS_MIN - 1, strategies.NANOSECONDS_MAX + 1, 1 << 80])
def test_times_that_rfc_3339_cannot_express_are_refused(time):
    """Years before 1 and after 9999 have no such form."""
    with pytest.raises(EventFormatError, match=r"timestamp: -?\d+ ns is outside the years 1 to 9999"):
        to_json(UnifiedEvent("id", time, "x"))


def test_values_of_other_types_are_refused():
    """What could not come back is not written."""
    with pytest.raises(EventFormatError, match=r"attributes: \{1\} is a set: use text, numbers"):
        to_json(UnifiedEvent("id", 1, "x", attributes={"a": {1}}))


def test_nesting_has_a_limit_in_both_directions():
    """A value that contains itself ends with an error and not with a crash."""
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(EventFormatError, match="more than 64 levels"):
        to_json(UnifiedEvent("id", 1, "x", attributes={"a": loop}))
    deep: object = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(EventFormatError, match="more than 64 levels"):
        from_dict({**MINIMAL, "attributes": {"a": deep}})


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text()), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_other_json_raises_only_format_errors(content):
    """Input nobody meant to be an event is refused with the documented error."""
    for candidate in (content, {**MINIMAL, "attributes": content}, {**MINIMAL, "entity": content}):
        try:
            event = from_dict(candidate)
        except EventFormatError:
            continue
        assert same(from_json(to_json(event))._key(), event._key())
