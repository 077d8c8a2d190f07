"""The filter processor: what goes, what stays as it is, what is counted, and what its options refuse."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Kind
from tapio_otel.conditions import Condition
from tapio_otel.config import ConfigError
from tapio_otel.config.loader import load
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.processors.filter import FilterConfig, FilterProcessor
from tests.components import context
from tests.config.sample import Registry
from tests.strategies import events

ORIGIN = Origin(EntityReference("systemd_unit", "a.service"), {"pid": 1, "unit": "a.service"}, {"app": "web"})


def processor(**options):
    """Return the processor with these options."""
    return FilterProcessor(context(Kind.PROCESSOR, "filter"), FilterConfig(**options))


def entry(title, severity=Severity.INFO, own=None):
    """Return an event as a receiver makes it, on the fast path."""
    return UnifiedEvent.of_origin(ORIGIN, title, 1, 2, "journald", "log", severity, title, title, dict(own or {}))


def titles(passed):
    """Return what names the events."""
    return [event.title for event in passed]


def counts(subject):
    """Return what the processor counted."""
    return dict(subject.context.counters.counts)


def test_what_any_condition_under_drop_names_is_dropped():
    """The order stays, and each event dropped is counted at the first condition that named it."""
    subject = processor(drop=["title == 'a'", "title in ['a', 'c']", "title == 'nobody'"])
    assert titles(subject.process([entry(title) for title in "abcabd"])) == ["b", "b", "d"]
    assert counts(subject) == {"dropped": 3, "dropped:filter": 3, "dropped:drop[0]": 2, "dropped:drop[1]": 1}


def test_only_what_a_condition_under_keep_names_goes_on():
    """One of them suffices."""
    subject = processor(keep=["severity_number >= ERROR", "title.startsWith('k')"])
    batch = [entry("a"), entry("k1"), entry("b", Severity.ALERT), entry("c", Severity.WARNING)]
    assert titles(subject.process(batch)) == ["k1", "b"]
    assert counts(subject) == {"dropped": 2, "dropped:filter": 2, "dropped:keep": 2}


def test_drop_goes_before_keep():
    """What both name is dropped, and counted once."""
    subject = processor(drop=["title == 'a'"], keep=["title == 'a' || title == 'b'"])
    assert titles(subject.process([entry(title) for title in "abc"])) == ["b"]
    assert counts(subject) == {"dropped": 2, "dropped:filter": 2, "dropped:drop[0]": 1, "dropped:keep": 1}


def test_an_event_that_cannot_be_decided_meets_no_condition():
    """Under drop it stays, under keep it goes; a missing attribute is no error."""
    dropping, keeping = processor(drop=["attributes.x == 1"]), processor(keep=["attributes.x == 1"])
    assert titles(dropping.process([entry("a"), entry("b", own={"x": 1})])) == ["a"]
    assert titles(keeping.process([entry("a"), entry("b", own={"x": 1})])) == ["b"]
    assert "condition_errors" not in counts(dropping)


def test_conditions_that_fail_are_counted_and_logged_once(caplog):
    """The log names the option and the reason; the count has every event."""
    subject = processor(drop=["title == 'x'", "attributes.unit > 5"], keep=["true"])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert len(subject.process([entry("a"), entry("b")])) == 2
    assert counts(subject) == {"condition_errors": 6, "condition_errors:drop[1]": 6}
    assert [record.getMessage() for record in caplog.records] == [
        "drop[1] cannot be decided for some events, and is not met for them: "
        "the operation is not defined for values of these types"
    ]


def test_nothing_is_counted_where_nothing_is_dropped():
    """An empty batch, and one that passes whole."""
    subject = processor(drop=["title == 'x'"])
    assert subject.process([]) == []
    assert titles(subject.process([entry("a")])) == ["a"]
    assert counts(subject) == {}


CONDITIONS = [
    *("type == 'log'", "severity_number > INFO", "attributes.pid == 1", "labels.exists(k, k == 'unit')", "title.size() > 3"),
    *("entity.type == 'pod'", "attributes.comm.matches('a')", "source in ['journald', 'ebpf']"),
]
choices = st.lists(st.sampled_from(CONDITIONS), max_size=3)


@given(st.lists(events(), max_size=8), choices, choices)
def test_any_events_are_kept_or_dropped_by_the_conditions_alone(batch, drop, keep):
    """What goes on is the very same events in their order, unchanged, sharing their origins; the rest is counted exactly."""
    if not (drop or keep):
        return
    before = [(event.copy(), event.shared) for event in batch]
    dropping, keeping = [[Condition.compile(text) for text in texts] for texts in (drop, keep)]
    expected = [
        event
        for event in batch
        if not any(one.matches(event) for one in dropping) and (not keep or any(one.matches(event) for one in keeping))
    ]
    subject = processor(drop=drop, keep=keep)
    passed = subject.process(list(batch))
    assert list(map(id, passed)) == list(map(id, expected))
    assert [(event, event.shared) for event in batch] == before
    assert counts(subject).get("dropped", 0) == counts(subject).get("dropped:filter", 0) == len(batch) - len(passed)


class WithFilter(Registry):
    """Know the sample components, and this one."""

    def find(self, kind, type):
        return FilterProcessor if (kind, type) == (Kind.PROCESSOR, "filter") else super().find(kind, type)

    def types(self, kind):
        return [*super().types(kind), *(["filter"] if kind is Kind.PROCESSOR else [])]


def problems(options):
    """Return the messages for options in YAML; they begin in line 3."""
    text = (
        "receivers: {journald: {}}\nprocessors:\n  filter: " + options + "\nexporters: {debug: {}}\n"
        "service: {pipelines: {logs: {receivers: [journald], processors: [filter], exporters: [debug]}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load([("a.yaml", text)], [], WithFilter(), {})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{drop: [true]}", "a.yaml:3: processors.filter.drop[0]: expected text, found true; put it in quotes"),
        (
            "\n    drop:\n      - type == 'log'\n      - typ == 'log'",
            "a.yaml:6: processors.filter.drop[1]: at 1:1: unknown variable 'typ'; did you mean 'type'? in `typ == 'log'`",
        ),
        (
            "{keep: ['severity']}",
            "a.yaml:3: processors.filter.keep[0]: at 1:1: this is a text, where true or false is needed: compare it with "
            "something in `severity`",
        ),
        (
            "{}",
            "a.yaml:3: processors.filter: there is no condition: write one under drop or keep, as in "
            "drop: ['severity_number < WARNING']",
        ),
        (
            "\n    error_mode: ignore\n    logs: {log_record: ['severity_number < 9']}",
            "a.yaml:3: processors.filter: `error_mode` and `logs`: the collector's language OTTL is not supported; "
            "write conditions in CEL, as in drop: ['severity_number < WARNING']",
        ),
        ("{dorp: ['true']}", "a.yaml:3: processors.filter.dorp: unknown option 'dorp'; did you mean 'drop'?"),
        ("{drop: 'true'}", "a.yaml:3: processors.filter.drop: expected a list, such as [one, two], found 'true'"),
    ],
)
def test_wrong_options_are_told_where_they_stand(options, message):
    """One message for each kind of mistake, at its line and path."""
    assert message in problems(options)
