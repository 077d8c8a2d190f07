"""Counts of blocks of time are those of the events themselves, whatever comes and goes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.event import Severity
from tapio_otel.event_store import EventQuery, EventStore, density, tallies
from tests.event_store.support import START, add, event, limits, pod, store_of, tidy, writer

COARSE, FINE = (1 << level for level in tallies.LEVELS)


def counted(directory):
    """Return what the tallies say, and what the events say, by level, block and lane."""
    database = sqlite3.connect(directory / "events.db")
    told, found = Counter(), Counter()
    for level in tallies.LEVELS:
        for block, counts in tallies.read(database, level, 0, 1 << 62):
            told.update({(level, block, lane): count for lane, count in counts.items()})
        for place, lane in database.execute("SELECT place, lane FROM event"):
            found[level, place >> level, lane] += 1
    database.close()
    return told, found


def check(directory):
    """Compare the two."""
    told, found = counted(directory)
    assert told == found
    assert all(told.values())


def spread(count, step=FINE // 3):
    """Return events of three pods and two severities."""
    severities = (Severity.WARNING, Severity.ERROR)
    return [event(n, START + n * step, entity=pod(f"p{n % 3}"), severity=severities[n % 2]) for n in range(count)]


def test_they_are_exact_after_all_that_may_happen(tmp_path):
    """Late events, repeats, findings told anew, retention by number, what is too far ahead."""
    target = writer(tmp_path, limits(max_events=60, max_age_ns=1 << 50))
    events = spread(100)
    add(target, events[50:])
    check(tmp_path)
    add(target, events[:60])
    check(tmp_path)
    told = event(200, START + 70 * FINE // 3, type="correlation", source="correlation", attributes={"revision": 1})
    add(target, [told])
    told.attributes["revision"] = 2
    told.severity = Severity.CRITICAL
    add(target, [told, event(201, START + (1 << 51))])
    check(tmp_path)
    tidy(target)
    assert target.events == 60
    check(tmp_path)
    add(target, [event(300 + n, START + n * 1000) for n in range(5)])  # where all had gone
    check(tmp_path)
    tidy(target)
    check(tmp_path)
    target.close()


def test_a_transaction_that_fails_counts_nothing(tmp_path, monkeypatch):
    """As it writes nothing."""
    target = writer(tmp_path)
    add(target, spread(5))
    monkeypatch.setattr(target._words, "add", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add(target, [event(50)])
    check(tmp_path)
    target.close()


@pytest.mark.parametrize("query", [{}, {"severity": Severity.ERROR}, {"entity": "p1"}])
@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 5 * COARSE), blocks=st.integers(0, 60), more=st.integers(1, COARSE), parts=st.integers(1, 50))
def test_density_is_the_same_by_tallies(tmp_path_factory, query, start, blocks, more, parts):
    """Whatever the window, the parts are no more than asked for, each event is in one, and at its time."""
    store = opened(tmp_path_factory)
    chosen = EventQuery(since_ns=START + start, until_ns=START + start + blocks * COARSE + more, **query)
    found = store.density(chosen, parts)
    assert len({one.start_ns for one in found}) <= parts
    assert all(one.start_ns >= chosen.since_ns and one.end_ns <= chosen.until_ns + 1 for one in found)
    expected = Counter()
    for mark in store.marks(chosen):
        inside = [one for one in found if one.start_ns <= mark.timestamp < one.end_ns and one.path == mark.path]
        [start_ns] = {one.start_ns for one in inside if one.severity == mark.severity}
        expected[start_ns, mark.path, mark.severity] += 1
    assert {(one.start_ns, one.path, one.severity): one.count for one in found} == expected


_stores: list[EventStore] = []


def opened(tmp_path_factory) -> EventStore:
    """Return one store for all examples."""
    if not _stores:
        _stores.append(store_of(tmp_path_factory.mktemp("tallies"), spread(300, COARSE // 7)))
    return _stores[0]


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Look at tallies however few events there are."""
    monkeypatch.setattr(density, "MANY", -1)


def test_parts_of_blocks_are_at_least_half_as_many(tmp_path):
    """Their edges are those of blocks."""
    store = store_of(tmp_path, spread(200, COARSE))
    found = store.density(EventQuery(), 60)
    starts = sorted({one.start_ns for one in found})
    assert 30 <= len(starts) <= 60
    assert len({later - earlier for earlier, later in pairwise(starts[1:])}) == 1
    assert all(start % COARSE == 0 for start in starts[1:])
    assert sum(one.count for one in found) == 200
