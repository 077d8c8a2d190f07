"""The attributes processor: each action, on what an event has alone and on what it shares, and what its options refuse."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapio_otel.component import Kind
from tapio_otel.config import ConfigError
from tapio_otel.config.loader import load
from tapio_otel.event import EntityReference, EventType, Origin, Severity, UnifiedEvent
from tapio_otel.processors.attributes import AttributesConfig, AttributesProcessor
from tests.components import context
from tests.config.sample import Registry
from tests.strategies import events

SHARED = {"pid": 1, "cmdline": "sleep 5", "unit": "a.service", "nothing": None}
ENTITY = EntityReference("systemd_unit", "a.service")


def processor(*actions, **options):
    """Return the processor with these actions."""
    config = AttributesConfig(actions=list(actions), **options)
    return AttributesProcessor(context(Kind.PROCESSOR, "attributes"), config)


def origin(attributes=None, **more):
    """Return what events share."""
    return Origin(ENTITY, SHARED if attributes is None else attributes, {"app": "web"}, {"note": "n"}, {"_PID": b"1"}, **more)


def entry(own=None, of=None):
    """Return an event as a receiver makes it, on the fast path."""
    of = of or origin()
    return UnifiedEvent.of_origin(of, "id", 1, 2, "journald", EventType.LOG, Severity.INFO, "t", "d", dict(own or {}))


def after(own, *actions, shared=None):
    """Return what the actions make of attributes, which must not depend on whether they are shared, own, or detached."""
    shared = SHARED if shared is None else shared
    one, detached = entry(own, origin(shared)), entry(own, origin(shared))
    detached.detach()
    alone = entry({**shared, **own}, origin({}))
    subject = processor(*actions)
    subject.process([one, detached, alone])
    assert plain(one) == plain(detached) == plain(alone)
    assert one.shared is not None
    return {key: value for key, value in one.view().attributes.items() if value is not None}


BASE = {"pid": 1, "cmdline": "sleep 5", "unit": "a.service"}


def digest(text):
    """Return what `hash` makes of a text."""
    return sha256(text.encode()).hexdigest()


def did(key, action, **options):
    """Return the options of one action."""
    return {"key": key, "action": action, **options}


@pytest.mark.parametrize(
    ("own", "actions", "expected"),
    [
        ({}, [did("pid", "insert", value=2)], BASE),
        ({}, [did("new", "insert", value=2)], {**BASE, "new": 2}),
        ({}, [did("nothing", "insert", value=2)], {**BASE, "nothing": 2}),
        ({"own": 1}, [did("own", "insert", value=2)], {**BASE, "own": 1}),
        ({}, [did("pid", "update", value=2)], {**BASE, "pid": 2}),
        ({}, [did("new", "update", value=2)], BASE),
        ({"own": 1}, [did("own", "update", value=[1, "a"])], {**BASE, "own": [1, "a"]}),
        ({}, [did("pid", "upsert", value="x")], {**BASE, "pid": "x"}),
        ({"pid": 7}, [did("pid", "set", value=True)], {**BASE, "pid": True}),
        ({}, [did("new", "upsert", value=1.5)], {**BASE, "new": 1.5}),
        ({}, [{"key": "new", "value": "by default"}], {**BASE, "new": "by default"}),
        ({}, [did("copy", "insert", from_attribute="unit")], {**BASE, "copy": "a.service"}),
        ({"unit": "b"}, [did("copy", "upsert", from_attribute="unit")], {**BASE, "unit": "b", "copy": "b"}),
        ({"own": 1}, [did("pid", "update", from_attribute="own")], {**BASE, "own": 1, "pid": 1}),
        ({}, [did("copy", "upsert", from_attribute="missing")], BASE),
        ({}, [did("pid", "delete")], {"cmdline": "sleep 5", "unit": "a.service"}),
        ({"pid": 7}, [did("pid", "delete")], {"cmdline": "sleep 5", "unit": "a.service"}),
        ({}, [did("missing", "delete")], BASE),
        ({"c2": 1}, [{"action": "delete", "pattern": "^c"}], {"pid": 1, "unit": "a.service"}),
        ({"c2": 1}, [did("pid", "delete", pattern="^c2$")], {"cmdline": "sleep 5", "unit": "a.service"}),
        ({}, [did("pid", "rename", new_key="process.pid")], {"cmdline": "sleep 5", "unit": "a.service", "process.pid": 1}),
        ({"pid": 7}, [did("pid", "rename", new_key="unit")], {"cmdline": "sleep 5", "unit": 7}),
        ({"unit": "b"}, [did("pid", "rename", new_key="unit")], {"cmdline": "sleep 5", "unit": 1}),
        ({}, [did("pid", "rename", new_key="pid")], BASE),
        ({}, [did("missing", "rename", new_key="pid")], BASE),
        ({}, [did("cmdline", "hash")], {**BASE, "cmdline": digest("sleep 5")}),
        ({"cmdline": b"\xff"}, [did("cmdline", "hash")], {**BASE, "cmdline": sha256(b"\xff").hexdigest()}),
        ({"cmdline": True}, [did("cmdline", "hash")], {**BASE, "cmdline": digest("true")}),
        ({"cmdline": [1, "a"]}, [did("cmdline", "hash")], {**BASE, "cmdline": digest('[1, "a"]')}),
        ({"u": "é"}, [{"action": "hash", "pattern": "^u"}], {**BASE, "unit": digest("a.service"), "u": digest("é")}),
        ({"c2": 1}, [did("cmdline", "hash", pattern="^c")], {**BASE, "cmdline": digest("sleep 5"), "c2": digest("1")}),
        ({}, [did("unit", "extract", pattern=r"^(?P<name>\w+)\.(?P<kind>\w+)$")], {**BASE, "name": "a", "kind": "service"}),
        ({"kind": "own"}, [did("unit", "extract", pattern=r"\.(?P<kind>\w+)")], {**BASE, "kind": "service"}),
        ({"unit": "b.c"}, [did("unit", "extract", pattern=r"\.(?P<kind>\w+)")], {**BASE, "unit": "b.c", "kind": "c"}),
        ({}, [did("unit", "extract", pattern=r"^(?P<x>z)?a(?P<y>.)")], {**BASE, "y": "."}),
        ({}, [did("unit", "extract", pattern=r"^(?P<x>z)")], BASE),
        ({}, [did("pid", "extract", pattern=r"(?P<x>1)")], BASE),
        ({}, [did("pid", "delete"), did("pid", "insert", value="again")], {**BASE, "pid": "again"}),
        ({"x": 1}, [did("x", "rename", new_key="y"), did("y", "rename", new_key="z")], {**BASE, "z": 1}),
    ],
)
def test_an_action_does_what_its_name_says(own, actions, expected):
    """The result is the same for attributes of the origin, of the event alone, and of an event without an origin."""
    assert after(own, *actions) == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        *(("int", "12", 12), ("int", " -7 ", -7), ("int", 1.9, 1), ("int", True, 1)),
        *(("int", str(2**63 - 1), 2**63 - 1), ("int", str(-(2**63)), -(2**63))),
        *(("double", "1.5", 1.5), ("double", 2, 2.0), ("double", "1e3", 1000.0)),
        *(("string", 1, "1"), ("string", True, "true"), ("string", 1.5, "1.5"), ("string", b"a\xff", "a\ufffd")),
        *(("string", "x", "x"), ("string", ["a", 1], '["a", 1]'), ("string", 10**5000, hex(10**5000))),
        *(("bool", "true", True), ("bool", "No", False), ("bool", 0, False), ("bool", 2.5, True)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_is_converted(kind, value, expected):
    """To the type that is named, exactly."""
    result = after({"x": value}, did("x", "convert", converted_type=kind), shared={})["x"]
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(
            ("int", "12a"),
            ("int", ""),
            ("int", "1_000"),
            ("int", "٣"),
            ("int", "9" * 41),
            ("int", "9" * 5000),
            ("int", float("nan")),
            ("int", "99999999999999999999999"),
            ("int", 2**63),
            ("int", str(-(2**63) - 1)),
            ("int", 1e30),
            ("int", [1]),
        ),
        *(("double", "x"), ("double", "nan"), ("double", b"1"), ("double", 10**400), ("bool", "perhaps"), ("bool", b"1")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_cannot_be_converted_stays_and_is_counted(kind, value):
    """Every event counts, whether the value is its own or shared."""
    subject = processor(did("x", "convert", converted_type=kind))
    one = origin({"x": value})
    batch = [entry({}, one), entry({}, one), entry({"x": value}), entry({"y": 1}, one)]
    subject.process(batch)
    assert all(event.get("x") is value for event in batch)
    assert dict(subject.context.counters.counts) == {"refused": 4, "refused:convert": 4}


def test_what_events_share_is_changed_once_for_all_of_them():
    """They go on sharing one origin, which keeps entity, labels, annotations and record."""
    one = origin()
    batch = [entry({"line": number}, one) for number in range(3)]
    processor(did("cmdline", "hash"), did("unit", "delete")).process(batch)
    assert len({id(event.shared) for event in batch}) == 1
    shared = batch[0].shared
    assert shared is not one
    assert dict(shared.attributes) == {"pid": 1, "nothing": None, "cmdline": digest("sleep 5")}
    assert (shared.entity, shared.labels, shared.annotations, shared.record) == (
        ENTITY,
        one.labels,
        one.annotations,
        one.record,
    )
    assert [event.own for event in batch] == [{"line": 0}, {"line": 1}, {"line": 2}]
    assert one.attributes == SHARED
    more = entry({}, one)
    processor_of_another_pipeline = processor(did("pid", "delete"))
    processor_of_another_pipeline.process([more])
    assert more.view().attributes == {"cmdline": "sleep 5", "unit": "a.service", "nothing": None}


def test_events_that_lose_a_shared_attribute_of_their_own_value_share_what_remains():
    """Where event and origin both have the key, the origin without it is made once."""
    one = origin()
    batch = [entry({"pid": number}, one) for number in range(3)]
    processor(did("pid", "delete")).process(batch)
    assert len({id(event.shared) for event in batch}) == 1
    assert [event.get("pid") for event in batch] == [None] * 3


def test_an_event_that_no_action_concerns_keeps_its_origin():
    """Nothing is copied where nothing changes."""
    one = origin()
    batch = [entry({"x": 1}, one), entry({}, one)]
    before = [event.copy() for event in batch]
    processor(did("missing", "delete"), did("pid", "insert", value=5), did("pid", "convert", converted_type="int")).process(
        batch
    )
    assert batch == before
    assert all(event.shared is one for event in batch)


def test_a_condition_chooses_the_events():
    """For one action, for the processor, or for both; the others are untouched."""
    batch = [entry({"n": number}) for number in range(4)]
    untouched = [event.shared for event in batch]
    processor(did("pid", "delete", when="attributes.n > 1"), did("x", "insert", value=1), when="attributes.n != 2").process(
        batch
    )
    assert [event.get("pid") for event in batch] == [1, 1, 1, None]
    assert [event.get("x") for event in batch] == [1, 1, None, 1]
    assert batch[2].shared is untouched[2]


def test_an_action_sees_what_those_before_it_did():
    """Its condition, too."""
    actions = [
        did("level", "insert", value="low"),
        did("level", "update", value="high", when="attributes.level == 'low' && attributes.pid == 1"),
        did("seen", "upsert", from_attribute="level"),
    ]
    assert after({}, *actions) == {**BASE, "level": "high", "seen": "high"}


def test_labels_and_annotations_are_changed_where_context_says_so():
    """Attributes of the same key stay, and events without an origin are changed alike."""
    actions = [
        did("app", "delete", context="labels"),
        did("team", "insert", value="x", context="labels"),
        did("note", "rename", new_key="remark", context="annotations"),
        did("app", "upsert", value="attribute"),
    ]
    for own in ({}, {"app": "own"}):
        one, detached = entry(own), entry(own)
        detached.detach()
        processor(*actions).process([one, detached])
        for event in (one, detached):
            seen = event.view()
            assert (dict(seen.labels), dict(seen.annotations)) == ({"team": "x"}, {"remark": "n"})
            assert event.get("app") == "attribute"
        assert one.shared is not None


def test_a_condition_that_fails_is_counted_by_its_place():
    """The event goes on unchanged."""
    subject = processor(did("x", "insert", value=1), did("pid", "delete", when="attributes.unit > 5"))
    batch = [entry(), entry()]
    subject.process(batch)
    assert [event.get("pid") for event in batch] == [1, 1]
    assert dict(subject.context.counters.counts) == {"condition_errors": 2, "condition_errors:actions[1].when": 2}


def test_a_list_is_not_shared_between_events():
    """One event's list can be changed without another's."""
    batch = [entry({"tags": 0}), entry({"tags": 0})]
    processor(did("tags", "upsert", value=["a"])).process(batch)
    batch[0].get("tags").append("b")
    assert batch[1].get("tags") == ["a"]


KEYS = ["pid", "comm", "exe", "uid", "reason", "new", "unit", "title"]
keys = st.sampled_from(KEYS)
conditions = st.sampled_from([None, None, "type == 'log'", "attributes.pid == 1", "has(attributes.new)", "attributes.comm > 5"])
setting = st.fixed_dictionaries(
    {
        "key": keys,
        "action": st.sampled_from(["insert", "update", "upsert"]),
        "value": st.sampled_from(["x", 1, 1.5, True, ["a"]]),
        "when": conditions,
    }
)
copying = st.fixed_dictionaries(
    {"key": keys, "action": st.sampled_from(["insert", "update", "set"]), "from_attribute": keys, "when": conditions}
)
by_key = st.fixed_dictionaries({"key": keys, "action": st.sampled_from(["delete", "hash"]), "when": conditions})
by_pattern = st.fixed_dictionaries(
    {"action": st.sampled_from(["delete", "hash"]), "pattern": st.sampled_from(["^p", "e", "[A-Z_]", ""])}
)
renaming = st.fixed_dictionaries({"key": keys, "action": st.just("rename"), "new_key": keys, "when": conditions})
types = st.sampled_from(["int", "double", "string", "bool"])
converting = st.fixed_dictionaries({"key": keys, "action": st.just("convert"), "converted_type": types})
groups = st.sampled_from(["(?P<new>.)", "(?P<pid>.)(?P<z>x)?"])
extracting = st.fixed_dictionaries({"key": keys, "action": st.just("extract"), "pattern": groups})
actions = st.one_of(setting, copying, by_key, by_pattern, renaming, converting, extracting)


def plain(event):
    """Return the attributes that are there, told apart by type, with numbers that equal nothing made equal."""
    return {key: (type(value), repr(value) if isinstance(value, float | list | dict) else value)
            for key, value in event.view().attributes.items() if value is not None}  # fmt: skip


@given(st.lists(events(), min_size=1, max_size=3), st.lists(actions, min_size=1, max_size=4), conditions)
@example([entry({"pid": "\ud800", "comm": float("nan")})], [did("pid", "hash"), {"action": "hash", "pattern": ""}], None)
def test_any_actions_do_the_same_to_any_event_shared_or_not(batch, chosen, when):
    """Changing what is shared once for all gives what changing each event by itself gives; events not chosen are untouched."""
    twins = [event.copy() for event in batch]
    for twin in twins:
        twin.detach()
    siblings = [event.copy() for event in batch]
    rest = [(event.id, event.title, event.entity, dict(event.view().labels), dict(event.view().annotations)) for event in batch]
    origins = [(event.shared, event.shared and dict(event.shared.attributes)) for event in batch]
    subject = processor(*chosen, when=when)
    assert subject.process(batch) is batch
    counted = dict(subject.context.counters.counts)
    other = processor(*chosen, when=when)
    other.process(twins)
    assert list(map(plain, batch)) == list(map(plain, twins))
    assert counted == dict(other.context.counters.counts)
    assert [
        (event.id, event.title, event.entity, dict(event.view().labels), dict(event.view().annotations)) for event in batch
    ] == rest
    assert all(one is None or repr(dict(one.attributes)) == repr(before) for one, before in origins)
    subject.process(siblings)  # from what was remembered with the origin
    assert list(map(plain, siblings)) == list(map(plain, twins))


class WithAttributes(Registry):
    """Know the sample components, and this one."""

    def find(self, kind, type):
        return AttributesProcessor if (kind, type) == (Kind.PROCESSOR, "attributes") else super().find(kind, type)

    def types(self, kind):
        return [*super().types(kind), *(["attributes"] if kind is Kind.PROCESSOR else [])]


def problems(options):
    """Return the messages for options in flow YAML; they stand in line 3."""
    text = (
        "receivers: {journald: {}}\nprocessors:\n  attributes: {" + options + "}\nexporters: {debug: {}}\n"
        "service: {pipelines: {logs: {receivers: [journald], processors: [attributes], exporters: [debug]}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load([("a.yaml", text)], [], WithAttributes(), {})
    return [str(problem).removeprefix("a.yaml:3: processors.attributes") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", ": there is no action: write one, as in actions: [{key: user, action: delete}]"),
        ("actions: [{action: delete}]", ".actions[0]: delete needs key or pattern: add it"),
        ("actions: [{value: 5}]", ".actions[0]: upsert needs key: add it"),
        ("actions: [{key: a}]", ".actions[0]: upsert needs one of value and from_attribute: write either"),
        ("actions: [{key: a, value: 1, from_attribute: b}]",
         ".actions[0]: upsert needs one of value and from_attribute: write either"),
        ("actions: [{key: a, action: delete, value: 1}]", ".actions[0]: delete takes no value: remove it"),
        ("actions: [{key: a, action: rename}]", ".actions[0]: rename needs new_key: add it"),
        ("actions: [{key: a, action: convert}]", ".actions[0]: convert needs converted_type: add it"),
        ("actions: [{key: a, action: extract}]", ".actions[0]: extract needs pattern: add it"),
        ("actions: [{key: a, action: extract, pattern: '(x)'}]",
         ".actions[0]: the pattern '(x)' names no group to extract: write one as (?P<key>...)"),
        ("actions: [{action: delete, pattern: '('}]", ".actions[0]: RE2 cannot take the pattern '(': missing ): ("),
        ("actions: [{key: a, value: 1, context: labels}]",
         ".actions[0]: labels hold nothing but text: put the value in quotes"),
        ("actions: [{key: a, action: convert, converted_type: int, context: annotations}]",
         ".actions[0]: annotations hold nothing but text: there is nothing to convert"),
        ("actions: [{key: a, action: delete, when: typ == 'x'}]",
         ".actions[0].when: at 1:1: unknown variable 'typ'; did you mean 'type'? in `typ == 'x'`"),
        ("actions: [{key: a, action: delete}], when: severity",
         ".when: at 1:1: this is a text, where true or false is needed: compare it with something in `severity`"),
        ("include: {match_type: strict}, actions: [{key: a, action: delete}]",
         ": `include`: here a condition in CEL chooses events; write it as in when: source == 'journald'"),
        ("actions: [{key: a, action: remove}]", ".actions[0].action: expected 'insert', 'update', 'upsert', 'set', 'delete', "
         "'rename', 'hash', 'extract' or 'convert', found 'remove'"),
        ("actions: [{key: a, from_context: b}]",
         ".actions[0].from_context: unknown option 'from_context'; did you mean 'context'?"),
        ("actions: [{key: '', value: 1}]", ".actions[0].key: expected at least 1 character(s), found ''"),
    ],
)  # fmt: skip
def test_wrong_options_are_told_where_they_stand(options, message):
    """One message for each kind of mistake, at its line and path."""
    assert message in [problem.partition("; did you mean 'rename'")[0] for problem in problems(options)]


def test_values_keep_the_types_they_are_written_with():
    """Numbers, truth values, lists, texts, and what the environment gives."""
    text = (
        "receivers: {journald: {}}\nprocessors: {attributes: {actions: [{key: a, value: 1}, {key: b, value: 1.5}, "
        "{key: c, value: true}, {key: d, value: '1'}, {key: e, value: [1, x, false]}, {key: f, value: '${env:REGION}'}]}}\n"
        "exporters: {debug: {}}\n"
        "service: {pipelines: {logs: {receivers: [journald], processors: [attributes], exporters: [debug]}}}\n"
    )
    loaded = load([("a.yaml", text)], [], WithAttributes(), {"REGION": "north"})
    config = next(iter(loaded.processors.values()))
    event = entry({}, origin({}))
    AttributesProcessor(context(Kind.PROCESSOR, "attributes"), config).process([event])
    found = dict(event.view().attributes)
    assert found == {"a": 1, "b": 1.5, "c": True, "d": "1", "e": [1, "x", False], "f": "north"}
    assert [type(value) for value in found.values()] == [int, float, bool, str, list, str]
