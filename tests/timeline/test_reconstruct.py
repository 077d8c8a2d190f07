"""A timeline has what belongs to the focus, in the order of time, with what it did and what it is a part of."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.correlation.engine import SECOND
from tapio_otel.correlation.examples import BEGINNING, last_revisions, replay
from tapio_otel.event import Severity
from tapio_otel.exporting.event_text import inert
from tapio_otel.timeline import EventIndex, Focus, FocusError, Timeline, TimelineReconstructor
from tapio_otel.timeline.text import as_dict, as_text
from tests.correlation.incidents import concluded, happening, oom, refused, restart, rule

NODE = {"type": "node", "name": "n1"}
WEB = {"type": "pod", "namespace": "prod", "name": "web-0", "uid": "u-1", "parent": NODE, "attributes": {"pod_ip": "10.0.0.7"}}
APP = {"type": "container", "name": "app", "uid": "c-1", "parent": WEB}
BY_UID = {"type": "pod", "name": "u-1", "uid": "u-1"}
OTHER = {"type": "pod", "namespace": "stage", "name": "web-0", "uid": "u-2", "parent": NODE}


def timeline(events, focus="unit/web.service", **window) -> Timeline:
    """Return the timeline of a focus."""
    return TimelineReconstructor().reconstruct(events, focus, **window)


def ids(found: Timeline) -> list[str]:
    """Return the ids of the entries."""
    return [one.event.id for one in found.entries]


def story():
    """Return events about a pod, its container, its node, its client, and others that have nothing to do with it."""
    return [
        happening(0, "kubernetes", "pod_state", WEB, id="pod"),
        happening(1, "ebpf", "oom_kill", APP, id="part", severity=Severity.CRITICAL),
        happening(2, "kubernetes", "container_restart", BY_UID, id="by-uid"),
        refused(3, "pod/prod/client", id="client", dst_ip="10.0.0.7", dst_port=80),
        happening(4, "kubernetes", "node_condition", NODE, id="node", condition="MemoryPressure", condition_status="True"),
        happening(5, "journald", "log", NODE, id="node-log", severity=Severity.INFO),
        happening(6, "kubernetes", "pod_state", OTHER, id="other-namespace"),
        refused(7, "pod/prod/client", id="elsewhere", dst_ip="10.0.0.8", dst_port=80),
    ]


def test_what_belongs_to_a_pod_is_found_by_lineage():
    """Its parts, what names its UID only, who could not reach it, its node's troubles; an equal name elsewhere is another."""
    found = timeline(story(), "pod/prod/web-0")
    assert [(one.event.id, one.relation) for one in found.entries] == [
        ("pod", "direct"),
        ("part", "direct"),
        ("by-uid", "direct"),
        ("client", "toward"),
        ("node", "above"),
    ]
    assert [one.index for one in found.entries] == [0, 1, 2, 3, 4]
    assert [one.relative for one in found.entries] == [SECOND * second for second in range(5)]


def test_ordinary_notices_of_the_node_are_not_told():
    """Only what may matter to what runs there: warnings, and facts that rules know."""
    events = [
        *story(),
        *(happening(10 + step, "journald", "session_opened", NODE, f"s{step}", severity=Severity.NOTICE) for step in range(20)),
        happening(40, "journald", "session_opened", NODE, id="warned", severity=Severity.WARNING),
        happening(41, "ebpf", "clock_jump", NODE, id="fact", severity=Severity.INFO),
    ]
    above = [one.event.id for one in timeline(events, "pod/prod/web-0").entries if one.relation == "above"]
    assert above == ["node", "warned", "fact"]


def test_of_many_entries_above_the_text_shows_the_worst():
    """So that they do not drown what happened to the focus; JSON has each."""
    events = [
        *story()[:2],
        *(
            happening(10 + step, "journald", "log", NODE, f"n{step}", text=f"notice {step}", severity=Severity.WARNING)
            for step in range(20)
        ),
        happening(30, "journald", "log", NODE, "bad", text="the worst", severity=Severity.CRITICAL),
        happening(40, "ebpf", "oom_kill", APP, id="again", severity=Severity.CRITICAL),
    ]
    found = timeline(events, "pod/prod/web-0")
    text = as_text(found)
    assert len(as_dict(found)["entries"]) == 24
    assert text.count("notice ") == 2
    assert "the worst" in text
    assert "and 18 more above from #2 to #22: 18 warning" in text
    assert "#23" in text


@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(shuffler: random.Random):
    """And repeats of an event count once."""
    events = story() * 2
    shuffler.shuffle(events)
    assert timeline(events, "pod/prod/web-0") == timeline(story(), "pod/prod/web-0")


def test_an_index_gives_the_same_as_the_events_themselves():
    """Whether a block was made of them or not."""
    events = story() + [happening(100 + step, "journald", "log", APP, id=f"log-{step}") for step in range(150)]
    index = EventIndex()
    index.add(events)
    assert index.timeline("pod/prod/web-0") == timeline(events, "pod/prod/web-0")
    within = {"start": BEGINNING + SECOND, "end": BEGINNING + 120 * SECOND}
    assert index.timeline("pod/prod/web-0", **within) == timeline(events, "pod/prod/web-0", **within)
    assert len(index.timeline("unit/none.service").entries) == 0


def test_an_index_forgets_the_oldest():
    """It never keeps more than it may."""
    index = EventIndex(max_events=100)
    for step in range(1000):
        index.add([restart(step, id=str(step))])
        assert len(index) <= 100
    assert ids(index.timeline("unit/web.service"))[-1] == "999"


def test_a_window_is_kept_to():
    """Both ends are part of it."""
    events = [restart(second, id=str(second)) for second in range(5)]
    assert ids(timeline(events, start=BEGINNING + SECOND, end=BEGINNING + 3 * SECOND)) == ["1", "2", "3"]
    last_two = TimelineReconstructor(window_ns=SECOND).reconstruct(events, "unit/web.service")
    assert ids(last_two) == ["3", "4"]


def test_of_too_many_plain_log_lines_go_first():
    """And how many is told."""
    events = [happening(second, "journald", "log", id=str(second), severity=Severity.INFO) for second in range(10)]
    found = TimelineReconstructor(max_entries=3).reconstruct([*events, restart(0, id="restart")], "unit/web.service")
    assert (set(ids(found)), found.left_out) == ({"restart", "8", "9"}, 8)


def test_a_finding_joins_its_members():
    """Those are correlated with each other and with it; only the last revision is an entry."""
    events = [oom(0, id="oom"), restart(1, id="restart")]
    findings = last_revisions(replay(engine_of(), events))
    found = timeline([*events, *findings])
    [finding] = [one for one in found.entries if one.relation == "finding"]
    assert set(finding.correlated) == {"oom", "restart"}
    by_id = {one.event.id: one for one in found.entries}
    assert set(by_id["oom"].correlated) == {"restart", finding.event.id}


def engine_of():
    """Return an engine with the rule of an OOM kill."""
    from tapio_otel.correlation.engine import Engine

    return Engine([rule()])


def test_impact_grows_with_each_part():
    """Severity alone, then breadth, then users, then duration; never above 1."""
    alone = timeline([oom(0, id="oom")]).entries[0].impact
    assert (alone.score, alone.breadth, alone.duration, alone.user_facing) == (0.1, 0, 0, 0)
    felt = timeline([oom(0, id="oom"), refused(0, "systemd_unit/client.service", host="web.service")]).entries[0].impact
    lasting = timeline([oom(0, id="oom"), up(60)]).entries[0].impact
    assert lasting.duration == 0.5
    assert lasting.score > alone.score
    assert 0 <= felt.score <= 1


def up(seconds):
    """Return the event that the unit is active."""
    return happening(seconds, "systemd", "service_state", severity=Severity.INFO, current_state="active")


def test_events_of_one_trace_belong_together():
    """Though they are about different things."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    events = [
        happening(0, "journald", "log", id="mine", trace_id=trace),
        happening(1, "journald", "log", "systemd_unit/db.service", id="theirs", trace_id=trace),
        happening(1, "journald", "log", "systemd_unit/db.service", id="untraced"),
    ]
    found = timeline(events)
    assert [(one.event.id, one.relation) for one in found.entries] == [("mine", "direct"), ("theirs", "trace")]
    assert found.entries[0].correlated == ("theirs",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web-0", "'web-0' is no entity: write TYPE/NAME"),
        ("pod/web-0", "'pod/web-0' lacks a namespace: write pod/NAMESPACE/NAME, such as pod/prod/web-0"),
        ("pot/prod/web-0", "there is no type 'pot': use one of"),
    ],
)
def test_a_focus_that_cannot_be_understood_is_told(text, message):
    """With what to write."""
    with pytest.raises(FocusError, match=message.replace("(", "\\(")):
        Focus.parse(text)


@pytest.mark.parametrize("kind", ["pod/prod/web-0", "systemd_unit/web.service", "node/n1", "deployment/prod/web"])
def test_a_focus_of_an_entity_is_that_of_its_text(kind):
    """So that an event's entity can be asked about."""
    about = happening(0, "kubernetes", "x", kind)
    assert [one.relation for one in timeline([about], about.entity).entries] == ["direct"]
    assert [one.relation for one in timeline([about], kind).entries] == ["direct"]


def test_a_unit_may_be_one_of_a_machine():
    """Without a machine it is that of all."""
    events = [
        happening(
            0, "systemd", "x", {"type": "systemd_unit", "name": "web.service", "parent": {"type": "node", "name": name}}, name
        )
        for name in ("n1", "n2")
    ]
    assert ids(timeline(events, "unit/n2/web.service")) == ["n2"]
    assert ids(timeline(events, "unit/web.service")) == ["n1", "n2"]


def test_nothing_gives_an_empty_timeline():
    """Which is no error."""
    assert timeline([]).entries == ()
    assert "0 events" in as_text(timeline([]))


def test_text_and_json_tell_every_entry():
    """Control characters of titles do not reach the terminal."""
    events = [oom(0, id="oom", text="killed \x1b[31m \x9b31m \u202egnp"), restart(1, id="restart")]
    found = timeline(events)
    assert "killed \\x1b[31m \\x9b31m \\u202egnp" in as_text(found)
    assert [line for line in as_text(found).split("\n") if inert(line) != line] == []
    assert [one["event"]["id"] for one in as_dict(found)["entries"]] == ["oom", "restart"]


def test_the_findings_of_tests_are_those_of_replay():
    """The helper and the command use the same engine."""
    assert len(concluded([oom(0), restart(1)])) == 1
