"""Propagation against a plain account of all that was told: never a trace where two were alive, whatever the order."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.correlation import propagation
from tapio_otel.correlation.propagation import RANKS, Propagation, subject_of, writer_of_line
from tests.correlation.incidents import happening

SECOND = 1_000_000_000
WINDOW = 10
ABOUT = ("systemd_unit/web.service", "systemd_unit/db.service", "pod/prod/web-0", "node/n")
subjects = st.fixed_dictionaries(
    {"about": st.sampled_from(ABOUT)},
    optional={
        "pid": st.sampled_from((7, 8)),
        "invocation_id": st.sampled_from(("i", "j")),
        "container_id": st.sampled_from(("c", "d")),
    },
)
times = st.integers(0, 60)
logs = st.tuples(st.just("journald"), times, st.sampled_from("abc"), subjects)
kernel_events = st.tuples(st.just("ebpf"), times, st.just(""), subjects)
histories = st.lists(st.one_of(logs, logs, kernel_events), max_size=60)


def event_of(number, source, seconds, trace, subject):
    """Return the event that a line of a history stands for."""
    told = dict(subject)
    about = told.pop("about")
    kind = "log" if trace else "oom_kill"
    return happening(seconds, source, kind, about, id=f"{number:04d}", trace_id=trace * 32, **told)


def nearest(event, taught):
    """Return the traces that all of a history tells for the nearest rank that has any."""
    subject = subject_of(event)
    ranks = dict(subject.ranks)
    for rank in RANKS:
        found = set()
        for log in taught:
            told = writer_of_line(log)
            shared = set(ranks.get(rank, ())) & set(told.keys)
            elsewhere = any(mine and theirs and mine != theirs for mine, theirs in zip(subject.place, told.place, strict=True))
            if shared and not elsewhere and abs(log.timestamp - event.timestamp) <= WINDOW * SECOND:
                found.add(log.trace_id)
        if found:
            return found
    return set()


def play(history, max_keys):
    """Return the events that may inherit, each with what it got and what it might have got."""
    one = Propagation(WINDOW * SECOND, max_keys)
    taught, told = [], []
    for number, line in enumerate(history):
        event = event_of(number, *line)
        asking = one.learn_all([event])
        if asking:
            possible = nearest(event, taught)
            one.inherit_all(asking)
            told.append((event, possible))
        else:
            taught.append(event)
        assert one.key_count <= max_keys
    return told, {log.id: log for log in taught}


@given(histories, st.sampled_from((1, 2, 3, 5, 1000)), st.sampled_from((1, 2, 3, 8)))
def test_no_event_inherits_while_two_traces_are_alive(history, max_keys, most_traces):
    """In any order of arrival, with any room: what is inherited is all that the nearest rank has."""
    with patch.object(propagation, "MOST_STRETCHES", most_traces):
        told, taught = play(history, max_keys)
    for event, possible in told:
        if event.trace_id:
            assert possible == {event.trace_id}
            origin = taught[event.get("tapio.trace.from")]
            assert origin.trace_id == event.trace_id
            assert 0.3 < event.get("tapio.trace.confidence") < 1


@given(st.lists(st.one_of(logs, kernel_events), max_size=8))
def test_with_room_every_unambiguous_trace_is_inherited(history):
    """Nothing is left out without a reason."""
    for event, possible in play(history, 1000)[0]:
        assert event.trace_id == (next(iter(possible)) if len(possible) == 1 else "")


@given(histories, st.randoms(use_true_random=False))
def test_the_order_in_which_logs_arrive_does_not_matter(history, chance):
    """The same logs teach the same, as long as there is room for all."""
    lines = [(number, line) for number, line in enumerate(history[:8]) if line[2]]
    asking = [event_of(100 + number, *line) for number, line in enumerate(history) if not line[2]]
    results = []
    for _ in range(2):
        one = Propagation(WINDOW * SECOND, 1000)
        one.learn_all(event_of(number, *line) for number, line in lines)
        copies = [event.copy() for event in asking]
        one.inherit_all(copies)
        results.append([event.trace_id for event in copies])
        chance.shuffle(lines)
    assert results[0] == results[1]
