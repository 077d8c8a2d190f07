"""No more is kept than may be: by number, by age, by size; and what nothing needs any more goes, too."""

from __future__ import annotations

import sqlite3

import pytest

from tapio_otel.event_store import EventQuery, EventStore
from tapio_otel.event_store import retention as retention_module
from tests.event_store.support import SECOND, START, add, event, ids, limits, numbers, pod, tidy, writer

WORDS = ("alpha", "beta", "gamma")


def test_the_newest_events_are_kept_by_number(tmp_path):
    """Exactly so many; by their time, and not by when they came."""
    target = writer(tmp_path, limits(max_events=100))
    add(target, [event(number) for number in range(200, 300)])
    add(target, [event(number) for number in range(250)])
    tidy(target)
    assert target.events == 100
    target.close()
    store = EventStore(tmp_path)
    assert numbers(store, limit=1000, order="asc") == list(range(200, 300))
    assert store.statistics().events == store.count(EventQuery()) == 100


def test_events_older_than_the_age_go(tmp_path):
    """Those that are just as old stay."""
    target = writer(tmp_path, limits(max_age_ns=10 * SECOND))
    add(target, [event(number) for number in range(30)])
    tidy(target, START + 25 * SECOND)
    target.close()
    assert numbers(EventStore(tmp_path), order="asc") == list(range(15, 30))


def test_a_store_keeps_to_its_size(tmp_path):
    """And is not emptied for it: most of the space is in use."""
    most = 8 * 1024 * 1024
    target = writer(tmp_path, limits(max_bytes=most))
    for start in range(0, 20_000, 1000):
        add(
            target,
            [event(number, text=f"{WORDS[number % 3]} {'some words ' * 50} {number}") for number in range(start, start + 1000)],
        )
        tidy(target)
    target.close()
    store = EventStore(tmp_path)
    statistics = store.statistics()
    assert statistics.bytes <= most
    assert statistics.bytes > most // 2
    assert statistics.events == store.count(EventQuery()) > 1000
    assert max(numbers(store)) == 19_999
    assert store.path.stat().st_size < 2 * most


def test_lowering_the_size_gives_space_back(tmp_path):
    """A little at a time, until the file is smaller."""
    target = writer(tmp_path)
    for start in range(0, 30_000, 5000):
        add(target, [event(number, text="x" * 1000) for number in range(start, start + 5000)])
    target.close()
    before = (tmp_path / "events.db").stat().st_size
    target = writer(tmp_path, limits(max_events=100))
    tidy(target)
    target.fold()
    target.close()
    assert (tmp_path / "events.db").stat().st_size < before / 2
    assert EventStore(tmp_path).statistics().events == 100


def test_words_of_forgotten_events_go_with_their_table(tmp_path):
    """The tables are as many as the events need, and the words of those that are there are found."""
    target = writer(tmp_path, limits(max_events=3000))
    for start in range(0, 12_000, 500):
        add(target, [event(number, text=f"{WORDS[number % 3]} word{number}") for number in range(start, start + 500)])
        tidy(target)
    target.close()
    store = EventStore(tmp_path)
    assert store.count(EventQuery(text="alpha")) == store.count(EventQuery(text="beta OR nothing")) + 1000 == 1000
    assert ids(store, text="word11999") == [event(11_999).id]
    assert ids(store, text="word100") == []
    database = sqlite3.connect(store.path)
    assert 3 <= database.execute("SELECT count(*) FROM words").fetchone()[0] <= 5
    database.close()


def test_what_no_event_needs_any_more_is_removed(tmp_path, monkeypatch):
    """Entities, kinds, lineage: only those of events that are there stay, and what comes again is made again."""
    monkeypatch.setattr(retention_module, "_SWEEP_AFTER", 1)
    target = writer(tmp_path, limits(max_events=10))
    old = [event(number, entity=pod(f"old-{number}"), type=f"type_{number}") for number in range(50)]
    add(target, old)
    add(target, [event(number, entity=pod("new")) for number in range(100, 110)])
    tidy(target)
    database = sqlite3.connect(tmp_path / "events.db")
    for table in ("entity", "kind", "subject", "lane"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 1, table
    assert database.execute("SELECT count(DISTINCT subject) FROM lineage").fetchone()[0] == 1
    assert database.execute("SELECT count(*) FROM origin").fetchone()[0] == 1
    add(target, [event(200, entity=pod("old-3"), type="type_3")])
    target.close()
    assert numbers(EventStore(tmp_path), entity="pod/prod/old-3", types=("type_3",)) == [200]
    database.close()


@pytest.mark.parametrize("step", [7, 4000])
def test_counts_of_lanes_are_right_after_all(tmp_path, monkeypatch, step):
    """Whatever was added, removed, repeated and replaced."""
    monkeypatch.setattr(retention_module, "_STEP", step)
    target = writer(tmp_path, limits(max_events=60))
    for number in range(20):
        finding = event(7, id="f", type="correlation", attributes={"revision": number}, at=START + 90 * SECOND)
        add(target, [finding, *(event(number * 5 + one, entity=pod(f"p{one}")) for one in range(8))])
        tidy(target)
    assert target.events == 60
    target.close()
    database = sqlite3.connect(tmp_path / "events.db")
    for table, of in (("lane", "event"), ("origin", "body")):
        wrong = f"SELECT count(*) FROM {table} WHERE events != (SELECT count(*) FROM {of} WHERE {of}.{table} = {table}.id)"
        assert database.execute(wrong).fetchone()[0] == 0
    assert database.execute("SELECT count(*) FROM event").fetchone()[0] == 60
    assert database.execute("SELECT count(*) FROM body").fetchone()[0] == 60
    database.close()


def test_events_of_a_wrong_time_to_come_go(tmp_path):
    """They would be the newest for ever, and what really happens would be the oldest."""
    target = writer(tmp_path, limits(max_events=20, max_age_ns=1000 * SECOND))
    add(target, [event(number, at=1 << 62) for number in range(20)])
    tidy(target)
    add(target, [event(number) for number in range(100, 110)])
    tidy(target, START + 110 * SECOND)
    assert target.events == 10
    assert numbers(EventStore(tmp_path), order="asc") == list(range(100, 110))


def test_one_event_of_a_time_to_come_does_not_keep_all_words(tmp_path):
    """A table of words goes with the newest of its events, and at the latest when there are too many tables."""
    target = writer(tmp_path, limits(max_events=1000))
    for part in range(40):
        add(target, [event(10_000 + part, at=(1 << 62) + part), *(event(part * 1000 + number) for number in range(999))])
        tidy(target)
    database = sqlite3.connect(tmp_path / "events.db")
    assert database.execute("SELECT count(*) FROM words").fetchone()[0] <= 25
    database.close()


@pytest.mark.parametrize("now", [START, 0])
def test_no_age_is_too_large(tmp_path, now):
    """One that reaches back to before all time keeps everything."""
    target = writer(tmp_path, limits(max_age_ns=200_000 * 86_400 * SECOND))
    add(target, [event(1)])
    tidy(target, now)
    assert numbers(EventStore(tmp_path)) == [1]
