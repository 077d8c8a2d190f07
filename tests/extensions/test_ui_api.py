"""`ui`: what the API answers about events, from a sqlite exporter's store and from memory."""

from __future__ import annotations

import asyncio
import json
import threading
from urllib.parse import quote

import pytest

from tapio_otel.event import EntityReference, Severity, UnifiedEvent
from tapio_otel.event_json import to_dict
from tapio_otel.event_store import EventQuery
from tapio_otel.extensions.ui import answers, queries, timeline
from tapio_otel.extensions.ui.errors import ApiError
from tapio_otel.extensions.ui.memory_store import MemoryStore
from tapio_otel.extensions.ui.queries import Queries
from tests.extensions.ui_agent import NODE, POD, SECOND, START, STORES, UNIT, event, finding, running

HOSTILE = (
    "<script>alert(1)</script>", "\x1b[2J\x1b]0;x\x07", "\u202egnp.exe", "\x00\x01\x7f", "\ud800 lone", "\u2028\u2029",
    "a" * 1_048_576,
    '"}]}</script>', "'; DROP TABLE event; --",
)  # fmt: skip
stores = pytest.mark.parametrize("store", STORES)


@stores
async def test_events_come_newest_first_as_they_are(tmp_path, store):
    """In the event JSON form, nothing left out."""
    async with running(tmp_path, store) as agent:
        given = [event(number) for number in range(5)]
        given[2].trace_id, given[2].span_id = "a" * 32, "b" * 16
        await agent.feed(*given)
        await agent.kept(5)
        answer = await agent.json("events")
        assert answer == {"events": [to_dict(one) for one in reversed(given)], "next": None}
        oldest = await agent.json("events?order=asc&limit=2")
        assert [one["title"] for one in oldest["events"]] == ["event 0", "event 1"]
        assert oldest["next"]
        assert await agent.json(f"events/{given[2].id}") == to_dict(given[2])


@stores
@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("severity=error", ["a pod's failure"]),
        ("type=oom_kill", ["a pod's failure"]),
        ("type=oom_kill&type=service_state", ["a pod's failure", "a unit's state"]),
        ("type=oom_kill,service_state", ["a pod's failure", "a unit's state"]),
        ("entity=pod/prod/web-0", ["a pod's failure", "its container"]),
        ("entity=WEB-", ["a pod's failure"]),
        ("source=kubernetes", ["its container"]),
        (f"trace_id={'c' * 32}", ["its container"]),
        ("text=failure", ["a pod's failure"]),
        ("text=nothing", []),
        (
            f"since={quote('2026-09-21T14:13:21Z')}&until={quote('2026-09-21T16:13:22+02:00')}",
            ["a pod's failure", "its container"],
        ),
        ("since=now", []),
    ],
)
async def test_filters_choose_events(tmp_path, store, query, titles):
    """Each by itself; both stores understand the same."""
    container = EntityReference("container", "app", "", "0123", POD)
    async with running(tmp_path, store) as agent:
        await agent.feed(
            event(0, "a unit's state", type="service_state", source="systemd"),
            event(1, "a pod's failure", type="oom_kill", severity=Severity.ERROR, entity=POD),
            event(2, "its container", source="kubernetes", entity=container, trace_id="c" * 32, span_id="d" * 16),
        )
        await agent.kept(3)
        answer = await agent.json(f"events?order=asc&{query}")
        assert sorted(one["title"] for one in answer["events"]) == sorted(titles)


@stores
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_every_event_comes_exactly_once_while_writing_goes_on(tmp_path, store, order):
    """Page by page, with many events of one time, while others are written before, among and after them."""
    async with running(tmp_path, store) as agent:
        given = [event(number, timestamp=START + number // 7) for number in range(500)]
        await agent.feed(*given)
        await agent.kept(500)
        found: list[str] = []
        cursor, page = "", 0
        while cursor is not None:
            answer = await agent.json(f"events?order={order}&limit=37&cursor={quote(cursor)}")
            found += [one["id"] for one in answer["events"]]
            cursor, page = answer["next"], page + 1
            if page < 10:
                await agent.feed(*(event(1000 + page * 10 + part, timestamp=START + part * 30) for part in range(3)))
                await agent.feed(
                    event(2000 + page, timestamp=START - page), event(3000 + page, timestamp=START + SECOND + page)
                )
        assert len(found) == len(set(found))
        assert {one.id for one in given} <= set(found)


@stores
async def test_findings_come_in_their_last_revision_with_their_events(tmp_path, store):
    """Newest first; root cause, impacts and members by id."""
    root, impact = event(0, type="oom_kill", source="ebpf"), event(1, type="service_restart", source="systemd")
    other = finding(event(9), rule="other")
    async with running(tmp_path, store) as agent:
        await agent.feed(root, impact, finding(root), other)
        await agent.feed(finding(root, impact, revision=1))
        await agent.kept(4)
        async with asyncio.timeout(20):
            while (await agent.json("findings"))["findings"][-1]["attributes"]["revision"] != 1:
                await asyncio.sleep(0.02)
        answer = (await agent.json("findings"))["findings"]
        assert [one["attributes"]["rule"] for one in answer] == ["other", "oom_cascade"]
        assert "events" not in answer[0]
        (one,) = (await agent.json("findings?rule=oom_cascade&expand=1"))["findings"]
        assert set(one["events"]) == {root.id, impact.id}
        assert one["events"][root.id] == to_dict(root)
        assert await agent.json(f"findings/{one['id']}") == one
        assert (await agent.json("findings?since=now"))["findings"] == []


@stores
async def test_entities_tell_where_they_belong_and_how_bad_it_was(tmp_path, store):
    """Those with the latest events first."""
    async with running(tmp_path, store) as agent:
        await agent.feed(event(0), event(1, severity=Severity.CRITICAL), event(2, entity=POD))
        await agent.kept(3)
        pod, unit = (await agent.json("entities"))["entities"]
        assert (pod["path"], pod["uid"]) == (["node/n1", "pod/prod/web-0"], "uid-web-0")
        assert (unit["type"], unit["name"], unit["namespace"]) == ("systemd_unit", "web.service", "")
        assert (unit["events"], unit["worst"]) == (2, "critical")
        assert (unit["first"], unit["last"]) == ("2026-09-21T14:13:20.000000000Z", "2026-09-21T14:13:21.000000000Z")
        assert [one["name"] for one in (await agent.json("entities?text=EB.SER"))["entities"]] == ["web.service"]


@stores
async def test_a_timeline_has_lanes_marks_and_links(tmp_path, store):
    """A lane for each entity, below what it belongs to; findings' events are linked."""
    root, impact = event(0, type="oom_kill", entity=POD), event(1, type="service_restart")
    made = finding(root, impact)
    async with running(tmp_path, store) as agent:
        await agent.feed(root, impact, event(2, entity=NODE), made)
        await agent.kept(4)
        answer = await agent.json("timeline")
        assert [one["path"] for one in answer["lanes"]] == [
            ["node/n1"], ["node/n1", "pod/prod/web-0"], ["node/n1", "systemd_unit/web.service"],
        ]  # fmt: skip
        lane = {"path": ["node/n1", "pod/prod/web-0"], "type": "pod", "namespace": "prod", "name": "web-0"}
        assert (answer["lanes"][1], answer["total"], answer["density"]) == (lane, 4, [])
        marks = {one[5]: one for one in answer["marks"]}
        assert marks[impact.id] == [2, (START + SECOND) / 1e6, 13, "journald", "service_restart", impact.id, "event 1"]
        assert answer["links"] == [[root.id, impact.id, made.id]]
        assert (answer["since"], answer["until"]) == ("2026-09-21T14:13:20.000000000Z", "2026-09-21T14:13:22.000000000Z")


@stores
async def test_a_timeline_of_too_many_events_has_counts(tmp_path, store):
    """Every event is in one; findings and what they name are marks all the same."""
    root, impact = event(0, type="oom_kill", entity=POD), event(1, type="service_restart")
    made = finding(root, impact)
    async with running(tmp_path, store) as agent:
        await agent.feed(root, impact, made, *(event(number) for number in range(10, 210)))
        await agent.kept(203)
        answer = await agent.json("timeline?limit=100")
        assert answer["total"] == 203
        assert sum(one[4] for one in answer["density"]) == 203
        assert {one[5] for one in answer["marks"]} == {root.id, impact.id, made.id}
        assert answer["links"] == [[root.id, impact.id, made.id]]
        assert all(one[1] < one[2] and 0 <= one[0] < len(answer["lanes"]) for one in answer["density"])


@stores
async def test_the_timeline_of_one_entity_is_that_of_the_command(tmp_path, store):
    """A dash stands for no namespace."""
    async with running(tmp_path, store) as agent:
        await agent.feed(event(0), event(10, type="service_restart"), event(20, entity=POD))
        await agent.kept(3)
        answer = await agent.json("timeline/unit/-/web.service")
        assert [one["event"]["title"] for one in answer["entries"]] == ["event 0", "event 10"]
        assert answer["focus"] == "unit/web.service"
        answer = await agent.json("timeline/unit/-/web.service?window=5s")
        assert [one["event"]["title"] for one in answer["entries"]] == ["event 10"]
        answer = await agent.json("timeline/pod/prod/web-0")
        assert [one["relation"] for one in answer["entries"]] == ["direct"]
        status, wrong = await agent.get("timeline/planet/-/mars")
        assert (status, wrong["error"]["field"]) == (404, "entity")


@stores
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
async def test_hostile_texts_come_back_as_they_are(tmp_path, store, text):
    """As JSON, never as anything else: in events, names, searches, ids and paths."""
    entity = EntityReference("pod", text[:300], "prod", parent=NODE)
    async with running(tmp_path, store) as agent:
        await agent.feed(event(0, text, entity=entity, description=text, attributes={"said": text}))
        await agent.kept(1)
        (found,) = (await agent.json("events"))["events"]
        assert (found["title"], found["attributes"]["said"], found["entity"]["name"]) == (text, text, text[:300])
        for path in ("timeline", "entities", "findings"):
            await agent.json(path)
        asked = text[:900].encode("utf-8", "replace").decode()
        for name in ("text", "entity", "source"):
            status, refused = await agent.get("events", params={name: asked})
            assert (status, refused["error"]["field"]) == (400, name) if "\0" in asked else status == 200
        for path in (f"events/{quote(asked, safe='')}", f"findings/{quote(asked, safe='')}"):
            assert (await agent.get(path))[0] == 404


@stores
@pytest.mark.parametrize("cursor", ["x", "AAAA", "-1", "é", "a" * 1000, "MSAy", "bm8gbnVtYmVy"])
async def test_a_made_up_cursor_is_refused_or_gives_a_page(tmp_path, store, cursor):
    """Never a defect."""
    async with running(tmp_path, store) as agent:
        await agent.feed(event(0))
        await agent.kept(1)
        status, content = await agent.get("events", params={"cursor": cursor})
        assert status == 200 or (status, content["error"]["field"]) == (400, "cursor")


@stores
async def test_fifty_requests_at_once_are_all_answered(tmp_path, store):
    """While events are written; those that wait wait, or are told to come again."""
    async with running(tmp_path, store) as agent:
        await agent.feed(*(event(number) for number in range(300)))
        await agent.kept(300)
        paths = ("events?limit=300", "timeline", "entities", "findings", "health")
        asked = asyncio.gather(*(agent.get(paths[number % 5]) for number in range(50)))
        for number in range(20):
            await agent.feed(event(1000 + number))
        found = await asyncio.wait_for(asked, 60)
        assert [status for status, _ in found] == [200] * 50
        assert all(len(content["events"]) == 300 for number, (_, content) in enumerate(found) if number % 5 == 0)


async def test_what_is_not_there_is_not_found(tmp_path):
    """An event is no finding."""
    async with running(tmp_path) as agent:
        one = event(0)
        await agent.feed(one)
        for path in ("events/none", "findings/none", f"findings/{one.id}"):
            assert (await agent.get(path))[0] == 404
        assert (await agent.get("nothing"))[1]["error"]["code"] == "not_found"


async def test_long_answers_end_early_and_go_on_with_the_cursor(tmp_path, monkeypatch):
    """However long messages are, an answer stays bounded."""
    monkeypatch.setattr(answers, "MOST_BYTES", 20_000)
    monkeypatch.setattr(answers, "FIRST_PART", 3)
    async with running(tmp_path) as agent:
        await agent.feed(*(event(number, f"{number} {'x' * 5000}") for number in range(20)))
        found, cursor = [], ""
        while cursor is not None:
            answer = await agent.json(f"events?limit=1000&cursor={cursor}")
            assert 0 < len(answer["events"]) < 10
            found += [one["id"] for one in answer["events"]]
            cursor = answer["next"]
        assert len(found) == len(set(found)) == 20


async def test_large_answers_are_compressed_for_who_accepts_that(tmp_path):
    """And not for others."""
    async with running(tmp_path) as agent:
        await agent.feed(*(event(number) for number in range(100)))
        sizes = {}
        for accepted in ("gzip, deflate", "gzip;q=0, *;q=0", "identity"):
            async with agent.client.get(f"{agent.address}api/v1/events", headers={"Accept-Encoding": accepted}) as response:
                sizes[accepted] = int(response.headers["Content-Length"])
                assert (response.headers.get("Content-Encoding") == "gzip") == (accepted == "gzip, deflate")
                assert len((await response.json())["events"]) == 100
        assert sizes["gzip, deflate"] * 3 < sizes["identity"] == sizes["gzip;q=0, *;q=0"]


async def test_too_many_lanes_leave_out_those_with_the_least(tmp_path, monkeypatch):
    """And the answer says how many."""
    monkeypatch.setattr(timeline, "MOST_LANES", 2)
    async with running(tmp_path) as agent:
        many = [event(number, entity=EntityReference("node", f"n{number % 4}")) for number in range(6)]
        await agent.feed(*many)
        answer = await agent.json("timeline")
        assert [one["name"] for one in answer["lanes"]] == ["n0", "n1"]
        assert (answer["lanes_left_out"], len(answer["marks"]), answer["total"]) == (2, 4, 6)


async def test_a_query_that_takes_too_long_is_answered_for_and_others_go_on():
    """The event loop is free meanwhile; what waits too long is sent away, and too many at once."""
    gate, asked = threading.Event(), Queries(1, 0.2)
    try:
        first = asyncio.create_task(asked.answer(gate.wait, False))
        others = [asyncio.create_task(asked.answer(lambda: 1, False)) for _ in range(queries.WAITING_FOR_EACH + 1)]
        results = await asyncio.wait_for(asyncio.gather(first, *others, return_exceptions=True), 20)
        assert all(isinstance(one, ApiError) and one.status == 503 for one in results)
        assert {one.code for one in results if isinstance(one, ApiError)} == {"timeout", "busy"}
        gate.set()
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await asked.answer(lambda: {"well": True}, False) == (b'{"well":true}', False)
                    break
                except ApiError:
                    await asyncio.sleep(0.02)
    finally:
        gate.set()
        asked.close()


def test_memory_keeps_the_last_notable_events_within_its_bounds():
    """By count and by bytes; plain log lines below warning would push out everything."""
    store = MemoryStore(10, 1_000_000)
    store.add(event(number, severity=Severity.INFO) for number in range(100))
    assert store.statistics().events == 0
    store.add(event(number) for number in range(100))
    store.add([event(99), event(100, type="service_state", severity=Severity.INFO)])
    assert [one.event.title for one in store.events(EventQuery(order="asc")).items][:2] == ["event 91", "event 92"]
    store.add(event(number, "x" * 300_000) for number in range(200, 210))
    assert store.statistics().events == 3
    assert store.statistics().bytes <= 1_000_000


def test_a_finding_that_another_stands_for_is_not_told():
    """As the store has it."""
    store = MemoryStore(10)
    root = event(0)
    made: UnifiedEvent = finding(root)
    store.add([root, made])
    assert store.findings() == [made]
    later = finding(root, revision=1)
    later.attributes["superseded_by"] = "another"
    store.add([later])
    assert store.findings() == []
    assert json.loads(json.dumps(to_dict(store.event(made.id) or root)))["attributes"]["revision"] == 1


def test_entities_are_called_what_they_are():
    """The names of marks lead back to type, namespace and name."""
    assert MemoryStore(1).events(EventQuery()).items == []
    assert UNIT.lineage()[-1] is NODE
