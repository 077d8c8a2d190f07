"""What is read is what was written, and a query gives the events it means: no more, no fewer, in order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.event_json import to_json
from tapio_otel.event_store import EventQuery, EventQueryError, EventStore, EventStoreError
from tapio_otel.event_store.interning import reference
from tapio_otel.event_store.record import Encoder
from tests import strategies
from tests.event_store.support import NODE, SECOND, START, add, event, ids, numbers, pod, store_of, writer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@given(st.lists(strategies.events(st.integers(0, (1 << 62))), max_size=8, unique_by=lambda one: one.id))
def test_any_event_comes_back_as_it_was(events: list[UnifiedEvent]):
    """With everything in it, however odd, unless it cannot be stored at all, which is told."""
    with TemporaryDirectory() as directory:
        target = writer(Path(directory))
        records, refused = Encoder().records(events)
        target.add(records)
        target.close()
        with EventStore(Path(directory)) as store:
            found = store.events_by_id([one.id for one in events])
    assert len(found) + refused == len(events)
    assert all(to_json(found[one.id]) == to_json(one) for one in events if one.id in found)  # no NaN equals another


@given(st.lists(strategies.events(st.integers(0, 1000)), min_size=1, max_size=6, unique_by=lambda one: one.id))
def test_ordinary_events_are_never_refused(events: list[UnifiedEvent]):
    """Only what no JSON can hold is, and times that are on no calendar."""
    assert Encoder().records(events)[1] == 0


POD_NAMES = ("web-0", "web-1", "web-10", "Ünit")
simple_events = st.builds(
    lambda number, at, name, namespace, type, severity, source, text, trace: event(
        number,
        at,
        entity=pod(name, namespace),
        type=type,
        severity=severity,
        source=source,
        text=text,
        trace_id=trace,
    ),
    st.integers(0, 10_000),
    st.integers(START, START + 30),
    st.sampled_from(POD_NAMES),
    st.sampled_from(("prod", "stage")),
    st.sampled_from(("log", "oom_kill", "pod_state")),
    st.sampled_from(list(Severity)),
    st.sampled_from(("journald", "ebpf")),
    st.sampled_from(("connection refused", "Connection reset by peer", "disk full", "")),
    st.sampled_from(("", TRACE)),
)
simple_queries = st.fixed_dictionaries(
    {},
    optional={
        "since_ns": st.integers(START - 5, START + 35),
        "until_ns": st.integers(START - 5, START + 35),
        "types": st.lists(st.sampled_from(("log", "oom_kill", "none")), max_size=2).map(tuple),
        "severity": st.sampled_from(list(Severity)),
        "entity": st.sampled_from(("pod/prod/web-1", "WEB-1", "prod", "node/n1", "nothing", "ünit")),
        "source": st.sampled_from(("journald", "ebpf", "none")),
        "trace_id": st.just(TRACE),
        "text": st.sampled_from(("refused", "CONNECTION", "conn* -peer", '"reset by"', "full disk", '"full disk"')),
        "order": st.sampled_from(("asc", "desc")),
        "limit": st.integers(1, 5),
    },
)


def is_meant(one: UnifiedEvent, query: EventQuery, names: set[str]) -> bool:
    """Tell, in plain words, whether a query means an event."""
    mine = reference(one.entity)
    if query.entity in names:
        about = query.entity in {reference(member) for member in one.entity.lineage()}
    else:
        about = query.entity.casefold() in mine.casefold()
    words = one.description.casefold().replace("\n", " ")
    texts = {
        "": True,
        "refused": "refused" in words,
        "CONNECTION": "connection" in words,
        "conn* -peer": "conn" in words and "peer" not in words,
        '"reset by"': "reset by" in words,
        "full disk": "disk full" in words,
        '"full disk"': False,
    }
    return (
        query.since_ns <= one.timestamp <= query.until_ns
        and (not query.types or one.type in query.types)
        and (query.severity is None or one.severity >= query.severity)
        and (not query.entity or about)
        and query.source in {"", one.source}
        and query.trace_id in {"", one.trace_id}
        and texts[query.text]
    )


@settings(max_examples=100)
@given(st.lists(simple_events, max_size=40, unique_by=lambda one: one.id), simple_queries, st.integers(1, 4))
def test_a_query_gives_what_it_means(events: list[UnifiedEvent], options, batches: int):
    """Whatever was written in which order, page by page, and counted."""
    with TemporaryDirectory() as directory:
        target = writer(Path(directory))
        for part in range(batches):
            add(target, events[part::batches])
        target.close()
        with EventStore(Path(directory)) as store:
            query = EventQuery(**options)
            names = {reference(member) for one in events for member in one.entity.lineage()}
            expected = [one for one in events if is_meant(one, query, names)]
            found, cursor = [], ""
            while True:
                page = store.events(EventQuery(**options, cursor=cursor))
                assert len(page.items) <= query.limit
                found += [one.event for one in page.items]
                cursor = page.next
                if not cursor:
                    break
            assert sorted(one.id for one in found) == sorted(one.id for one in expected)
            times = [one.timestamp for one in found]
            # Of the same nanoseconds those are first that came first.
            assert all(
                abs(here - there) <= 40 for here, there in zip(times, sorted(times, reverse=query.order == "desc"), strict=True)
            )
            assert store.count(query) == len(expected)
            assert {one.id for one in store.marks(query)} == {one.id for one in expected}
            buckets = store.density(query, 3)
            assert sum(one.count for one in buckets) == len(expected)


def test_events_of_different_times_are_in_order(tmp_path):
    """Though they came in another one."""
    target = writer(tmp_path)
    for number in (3, 1, 2, 0):
        add(target, [event(number)])
    target.close()
    store = EventStore(tmp_path)
    assert numbers(store) == [3, 2, 1, 0]
    assert numbers(store, order="asc", limit=2) == [0, 1]


def test_many_events_of_one_moment_are_all_kept(tmp_path):
    """In batches or one by one; a window of that moment has them all, one before and one after has none."""
    target = writer(tmp_path)
    add(target, [event(number, START) for number in range(2000)])
    for number in range(2000, 2050):
        add(target, [event(number, START)])
    target.close()
    store = EventStore(tmp_path)
    assert store.count(EventQuery(since_ns=START, until_ns=START)) == 2050
    assert store.count(EventQuery(since_ns=START + 1)) == store.count(EventQuery(until_ns=START - 1)) == 0
    assert {one.event.timestamp for one in store.events(EventQuery(limit=10_000)).items} == {START}


def test_an_event_that_comes_again_is_stored_once(tmp_path):
    """In the same batch, in a later one, after a restart."""
    target = writer(tmp_path)
    assert add(target, [event(1), event(1), event(2)]) == 1
    assert add(target, [event(2), event(3)]) == 1
    target.close()
    target = writer(tmp_path)
    assert add(target, [event(1), event(2), event(3)]) == 3
    assert target.events == 3
    target.close()
    assert numbers(EventStore(tmp_path)) == [3, 2, 1]


def finding(revision: int, text: str, **told) -> UnifiedEvent:
    """Return a revision of a finding."""
    attributes = {"revision": revision, "rule": "oom_cascade", **told}
    return event(7, id="finding", source="correlation", type="correlation", text=text, attributes=attributes)


def test_of_a_finding_the_last_revision_is_kept(tmp_path):
    """Whichever comes last; its words are found and those of earlier ones are not."""
    target = writer(tmp_path)
    add(target, [finding(0, "first")])
    add(target, [finding(2, "third"), finding(1, "second")])
    assert add(target, [finding(1, "second")]) == 1
    assert target.events == 1
    target.close()
    store = EventStore(tmp_path)
    [found] = store.findings()
    assert (found.title, found.get("revision")) == ("third", 2)
    assert ids(store, text="third") == ["finding"]
    assert ids(store, text="first") == ids(store, text="second") == []
    assert store.statistics().findings == 1


def test_findings_of_a_rule_and_those_that_another_stands_for(tmp_path):
    """The latter are not told."""
    others = [
        event(8, id="other", source="correlation", type="correlation", attributes={"rule": "dns_outage", "revision": 0}),
        event(9, id="gone", source="correlation", type="correlation", attributes={"rule": "x", "superseded_by": "other"}),
    ]
    store = store_of(tmp_path, [finding(0, "x"), *others, event(10)])
    assert [one.id for one in store.findings()] == ["other", "finding"]
    assert [one.id for one in store.findings(rule="dns_outage")] == ["other"]
    assert [one.id for one in store.findings(limit=1)] == ["other"]
    assert store.findings(since_ns=START + 8 * SECOND, until_ns=START + 8 * SECOND)[0].id == "other"


def test_an_event_is_found_by_its_id(tmp_path):
    """A UUID or not; one that is not there is none."""
    store = store_of(tmp_path, [event(1), event(2, id="plain")])
    assert store.event("plain") == event(2, id="plain")
    assert store.event(event(1).id) == event(1)
    assert store.event("none") is None
    assert store.event("\ud800") is None
    assert ids(store, ids=["none", "plain"]) == ["plain"]


def test_entities_are_told_with_their_lineage(tmp_path):
    """And how many events they have, when the first and the last were, and how bad the worst is."""
    store = store_of(
        tmp_path,
        [event(1), event(5, severity=Severity.CRITICAL), event(3), event(2, entity=pod("db-0")), event(9, entity=NODE)],
    )
    found = {one.name: one for one in store.entities()}
    web = found["web-0"]
    assert (web.type, web.namespace, web.path) == ("pod", "prod", ("node/n1", "pod/prod/web-0"))
    assert (web.first_ns, web.last_ns, web.events, web.worst) == (START + SECOND, START + 5 * SECOND, 3, Severity.CRITICAL)
    assert [one.name for one in store.entities()] == ["n1", "web-0", "db-0"]
    assert [one.name for one in store.entities("DB", limit=5)] == ["db-0"]
    assert len(store.entities(limit=2)) == 2


def test_density_counts_by_time_entity_and_severity(tmp_path):
    """Both ends of the window are in it."""
    events = [event(number, entity=pod(f"p{number % 2}")) for number in range(10)]
    store = store_of(tmp_path, [*events, event(99, START + 1, severity=Severity.ERROR, entity=pod("p0"))])
    found = [
        (one.start_ns - START, one.end_ns - START, one.path[-1], one.severity, one.count)
        for one in store.density(EventQuery(), 2)
    ]
    half = (9 * SECOND + 2) // 2  # the last part is a nanosecond shorter
    assert sorted(found) == [
        (0, half, "pod/prod/p0", Severity.WARNING, 3),
        (0, half, "pod/prod/p0", Severity.ERROR, 1),
        (0, half, "pod/prod/p1", Severity.WARNING, 2),
        (half, 9 * SECOND + 1, "pod/prod/p0", Severity.WARNING, 2),
        (half, 9 * SECOND + 1, "pod/prod/p1", Severity.WARNING, 3),
    ]
    assert store.density(EventQuery(since_ns=START + 100 * SECOND), 5) == []
    with pytest.raises(EventQueryError, match="buckets: found 0"):
        store.density(EventQuery(), 0)


@pytest.mark.parametrize("way", ["few", "many"])
def test_density_is_the_same_by_each_way(tmp_path, monkeypatch, way):
    """Few events are counted one by one, many part by part."""
    from tapio_otel.event_store import selection

    monkeypatch.setattr(selection, "FEW", 1000 if way == "few" else -1)
    store = store_of(tmp_path, [event(number, entity=pod(f"p{number % 7}")) for number in range(500)])
    found = store.density(EventQuery(source="journald"), 4)
    assert sum(one.count for one in found) == 500
    assert {(one.path[-1], one.start_ns): one.count for one in found}["pod/prod/p0", START] == 18


def test_marks_have_what_a_point_needs(tmp_path):
    """The title among it, also where it is not that of the description."""
    told = event(1)
    told.title, told.description = "short", "long description"
    begins = event(2)
    begins.title, begins.description = "mess", "message"
    store = store_of(tmp_path, [told, begins])
    assert [(one.title, one.path[-1], one.type) for one in store.marks(EventQuery())] == [
        ("mess", "pod/prod/web-0", "log"),
        ("short", "pod/prod/web-0", "log"),
    ]
    assert len(store.marks(EventQuery(), limit=1)) == 1


def test_what_events_share_is_stored_once(tmp_path):
    """However many there are."""
    origin = Origin(pod("web-0"), {"comm": "java"}, {"app": "web"})
    shared = [
        UnifiedEvent.of_origin(origin, f"e{n}", START + n, START + n, "journald", "log", Severity.ERROR, "", "x", {"n": n})
        for n in range(100)
    ]
    store = store_of(tmp_path, shared)
    assert [one.event for one in store.events(EventQuery()).items] == shared[::-1]
    found = store.events(EventQuery()).items
    assert found[0].event.shared is found[1].event.shared
    assert (found[0].entity, found[0].path) == ("pod/prod/web-0", ("node/n1", "pod/prod/web-0"))


@pytest.mark.parametrize(
    "text",
    ['"', "'", "a OR b", "NEAR(a b)", "title:x", "a AND", "(", "a^2", "*", "x' OR 1=1 --", "{a b}", "-a b", "\0b", "\ud800b"],
)
def test_no_search_text_is_an_error_of_syntax(tmp_path, text):
    """What has no word in it is told so."""
    store = store_of(tmp_path, [event(1, text="a b")])
    try:
        assert ids(store, text=text) in ([], [event(1).id])
    except EventQueryError as error:
        assert error.field == "text"
        assert "write at least one word" in error.message


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"order": "up"}, "order"),
        ({"text": "x" * 1001}, "text"),
        ({"ids": ["x"] * 10_001}, "ids"),
        ({"cursor": "-1"}, "cursor"),
        ({"cursor": "9" * 19}, "cursor"),
        ({"trace_id": "xyz"}, "trace_id"),
    ],
)
def test_a_query_that_is_wrong_is_told(tmp_path, options, field):
    """With the part that is wrong."""
    store = store_of(tmp_path, [event(1)])
    with pytest.raises(EventQueryError) as raised:
        store.events(EventQuery(**options))
    assert raised.value.field == field


def test_hostile_content_is_content(tmp_path):
    """A text of 1 MiB, markup, control characters, NUL, lone surrogates, names that look like SQL."""
    texts = ["x" * (1 << 20), "<script>alert(1)</script>", "\x1b[31m\x00\u202e", "\ud800 lone", "'; DROP TABLE event; --"]
    events = [
        event(
            number,
            text=text,
            entity=EntityReference("pod", text[:50], "a/b'", text[:20], NODE),
            type=text[:30],
            source=text[:10],
        )
        for number, text in enumerate(texts)
    ]
    store = store_of(tmp_path, events)
    assert [one.event for one in store.events(EventQuery(order="asc")).items] == events
    assert len(store.entities()) == len(store.marks(EventQuery())) == len(events)
    assert ids(store, types=["\ud800 lone"]) == [events[3].id]
    assert ids(store, text="script") == [events[1].id]


def test_an_empty_store_answers(tmp_path):
    """With nothing."""
    store = store_of(tmp_path, [])
    assert (store.events(EventQuery()).items, store.findings(), store.entities(), store.marks(EventQuery())) == ([], [], [], [])
    assert store.related("pod/prod/web-0") == []
    assert store.density(EventQuery(), 10) == []
    assert (store.statistics().events, store.statistics().oldest_ns, store.count(EventQuery(text="x"))) == (0, 0, 0)


def test_a_store_that_is_not_there_is_told(tmp_path):
    """With what to name."""
    with pytest.raises(EventStoreError, match=r"there is no event store at .*name the directory"):
        EventStore(tmp_path / "events.db").events(EventQuery())


def test_another_file_is_told(tmp_path):
    """Be it no database, or one of somebody else."""
    import sqlite3

    (tmp_path / "a").write_bytes(b"x" * 5000)
    other = sqlite3.connect(tmp_path / "b")
    other.execute("CREATE TABLE x (y)")
    other.close()
    with pytest.raises(EventStoreError, match="is damaged"):
        EventStore(tmp_path / "a").events(EventQuery())
    with pytest.raises(EventStoreError, match="it is no event store"):
        EventStore(tmp_path / "b").events(EventQuery())


def test_a_query_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    """So that it does not keep the writer from tidying up."""
    from tapio_otel.event_store import reading

    monkeypatch.setattr(reading, "DEADLINE_SECONDS", -1.0)
    monkeypatch.setattr(reading, "_LOOK_EVERY", 10)
    store = store_of(tmp_path, [event(number) for number in range(100)])
    with pytest.raises(EventStoreError, match="took longer than"):
        store.count(EventQuery())


def test_a_page_of_large_events_ends_early_and_is_gone_on_with(tmp_path):
    """So that no question takes more memory than the page may have."""
    store = store_of(tmp_path, [event(number, text=f"{number} " + "x" * 400_000) for number in range(100)])
    found, cursor, pages = [], "", 0
    while True:
        page = store.events(EventQuery(limit=1000, cursor=cursor))
        found += [one.event.attributes["number"] for one in page.items]
        cursor, pages = page.next, pages + 1
        if not cursor:
            break
    assert found == list(range(99, -1, -1))
    assert pages == 3


def test_what_belongs_to_an_entity_is_bounded_by_bytes(tmp_path, monkeypatch):
    """Of too much the latest is kept."""
    from tapio_otel.event_store import related

    monkeypatch.setattr(related, "MOST_BYTES", 1_000_000)
    store = store_of(tmp_path, [event(number, text=f"{number} " + "x" * 20_000) for number in range(300)])
    found = [one.attributes["number"] for one in store.related("pod/prod/web-0")]
    assert found == list(range(300 - len(found), 300))
    assert 40 <= len(found) <= 50


def test_a_search_has_no_more_words_than_can_be_looked_for(tmp_path):
    """The index goes through all words that begin with one without a look at the clock."""
    store = store_of(tmp_path, [event(1, text="word")])
    assert len(store.events(EventQuery(text="w* " * 32)).items) == 1
    with pytest.raises(EventQueryError, match="found 33 words: write 32 at most"):
        store.events(EventQuery(text="w* " * 32 + "-a"))
