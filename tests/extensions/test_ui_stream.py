"""`ui`: the live stream: what it sends, how it goes on after a cut, and that it makes nobody wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tapio_otel.event import Severity
from tapio_otel.event_json import to_dict
from tapio_otel.extensions.ui import live
from tapio_otel.extensions.ui.ring import Ring
from tests.extensions.ui_agent import POD, Agent, event, finding, running


class Stream:
    """Read Server-Sent Events as a browser does (HTML Living Standard, 9.2.6)."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.id = ""
        self.comments = 0

    async def message(self) -> tuple[str, Any]:
        """Return the next message's name and content."""
        name, content = "", ""
        while True:
            line = (await asyncio.wait_for(self.response.content.readuntil(b"\n"), 20)).decode().rstrip("\n")
            field, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif field == "event":
                name = value
            elif field == "data":
                content += value
            elif field == "id":
                self.id = value
            elif not line and content:
                return name, json.loads(content)

    async def titles(self, count: int) -> list[str]:
        """Return the titles of the next events and findings."""
        return [(await self.message())[1]["title"] for _ in range(count)]

    async def connected(self) -> None:
        """Read until the stream has begun."""
        while not self.comments:
            line = (await asyncio.wait_for(self.response.content.readuntil(b"\n"), 20)).decode()
            self.comments += line.startswith(":")
            self.id = line[4:].strip() if line.startswith("id: ") else self.id


@contextlib.asynccontextmanager
async def stream(agent: Agent, query: str = "", last_id: str = "") -> AsyncIterator[Stream]:
    """Open a stream."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with agent.client.get(f"{agent.address}api/v1/stream{query}", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        found = Stream(response)
        await found.connected()
        yield found


async def test_events_and_findings_come_as_they_pass(tmp_path):
    """What passed before is not repeated; each revision of a finding comes anew."""
    async with running(tmp_path) as agent:
        await agent.feed(event(0, "before"))
        async with stream(agent) as one:
            root = event(1)
            await agent.feed(root)
            assert await one.message() == ("event", to_dict(root))
            for revision in range(2):
                made = finding(root, revision=revision)
                await agent.feed(made)
                assert await one.message() == ("finding", to_dict(made))


async def test_filters_choose_what_is_sent(tmp_path):
    """As those of the other questions; a parameter that makes no sense is refused."""
    async with running(tmp_path) as agent:
        async with stream(agent, "?severity=error&entity=pod/prod/web-0") as one:
            await agent.feed(event(0), event(1, entity=POD), event(2, entity=POD, severity=Severity.CRITICAL))
            assert await one.titles(1) == ["event 2"]
        assert (await agent.get("stream?severity=loud"))[0] == 400


async def test_a_stream_goes_on_where_it_was_cut(tmp_path):
    """Nothing is missing and nothing comes twice, events and findings alike."""
    async with running(tmp_path) as agent:
        async with stream(agent) as one:
            await agent.feed(event(0), event(1))
            assert await one.titles(2) == ["event 0", "event 1"]
            last_id = one.id
        await agent.feed(event(2), finding(event(2)), event(3))
        async with stream(agent, last_id=last_id) as one:
            assert sorted(await one.titles(3)) == ["Memory ran out, revision 0", "event 2", "event 3"]
            await agent.feed(event(4))
            assert await one.titles(1) == ["event 4"]


async def test_a_client_of_an_agent_that_ran_before_gets_all_there_is(tmp_path):
    """Its id is of another run; one that is no id counts as that."""
    async with running(tmp_path) as agent:
        await agent.feed(event(0))
        for last_id in ("00000000-77-3", "garbage", "9" * 500):
            async with stream(agent, last_id=last_id) as one:
                assert await one.titles(1) == ["event 0"]


async def test_a_client_that_was_away_too_long_is_told_what_it_lost(tmp_path, monkeypatch):
    """By count; then it gets what is still kept. No flood of events takes the findings away."""
    monkeypatch.setattr(live, "MOST_EVENTS", 10)
    async with running(tmp_path) as agent:
        async with stream(agent) as one:
            last_id = one.id
        root = event(0)
        await agent.feed(root, finding(root))
        await agent.feed(*(event(number) for number in range(1, 25)))
        async with stream(agent, last_id=last_id) as one:
            assert await one.message() == ("lost", {"count": 15})
            assert (await one.message())[0] == "finding"
            assert await one.titles(10) == [f"event {number}" for number in range(15, 25)]


async def test_a_client_that_reads_nothing_makes_nobody_wait_and_loses_events(tmp_path, monkeypatch):
    """Events pass, other clients get theirs, and once it reads again it is told how many it lost."""
    monkeypatch.setattr(live, "MOST_EVENTS", 50)
    monkeypatch.setattr(live, "PAUSE", 0.001)
    count, long = 400, "x" * 100_000
    async with running(tmp_path) as agent:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.port, limit=1 << 20)
        writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not (await asyncio.wait_for(reader.readline(), 20)).startswith(b": connected"):
            pass
        async with stream(agent, "?text=number") as quick:
            for number in range(count):
                await agent.feed(event(number, f"number {number}", description=long))
                if number % 40 == 0:
                    await quick.message()
        exporter: Any = agent.service.graph.exporters[0]
        assert len(exporter.events) == count
        lost = got = 0
        while lost + got < count:
            line = await asyncio.wait_for(reader.readuntil(b"\n"), 20)
            got += line.startswith(b'data: {"id"')
            lost += json.loads(line[6:])["count"] if line.startswith(b'data: {"count"') else 0
        assert lost > 0
        assert lost + got == count
        writer.close()


async def test_an_event_that_passes_two_pipelines_comes_once(tmp_path):
    """As the same occurrence."""
    yaml = """
receivers: {feed: }
exporters: {collecting: }
extensions: {ui: {endpoint: '127.0.0.1:0'}}
service:
  extensions: [ui]
  pipelines:
    logs/one: {receivers: [feed], exporters: [collecting]}
    logs/two: {receivers: [feed], exporters: [collecting]}
"""
    async with running(tmp_path, yaml=yaml) as agent, stream(agent) as one:
        await agent.feed(event(0))
        await agent.feed(event(1))
        assert await one.titles(2) == ["event 0", "event 1"]
        assert len((await agent.json("events"))["events"]) == 2


async def test_silence_is_broken_now_and_then(tmp_path, monkeypatch):
    """So that a dead connection is noticed by both sides; the id moves on, though all was filtered."""
    monkeypatch.setattr(live, "KEEP_ALIVE", 0.05)
    async with running(tmp_path) as agent, stream(agent, "?severity=alert") as one:
        before = one.id
        await agent.feed(event(0))
        for _ in range(40):
            one.comments = 0
            await one.connected()
            if one.id != before:
                break
        assert one.id.endswith("-1-0")


async def test_no_more_streams_than_allowed(tmp_path):
    """One more is sent away; one that goes makes room."""
    async with running(tmp_path, options="max_streams: 2") as agent:
        async with stream(agent), stream(agent):
            status, content = await agent.get("stream")
            assert (status, content["error"]["code"]) == (503, "busy")
        async with asyncio.timeout(20):
            while True:
                async with agent.client.get(f"{agent.address}api/v1/stream") as response:
                    if response.status == 200:
                        break
                await asyncio.sleep(0.02)


async def test_streams_end_when_the_agent_does(tmp_path):
    """The agent does not wait for clients."""
    async with running(tmp_path) as agent, stream(agent) as one:
        agent.service.stop()
        with contextlib.suppress(aiohttp.ClientError, asyncio.IncompleteReadError):
            while await asyncio.wait_for(one.response.content.readline(), 20):
                pass


def test_a_ring_is_bounded_by_events_and_by_bytes():
    """What falls out is counted as lost for whoever was not there yet."""
    ring = Ring(5, 100_000)
    ring.add([event(number) for number in range(8)])
    assert (ring.start, ring.end) == (3, 8)
    lost, events, number = ring.since(1, 3)
    assert (lost, [one.title for one in events], number) == (2, ["event 3", "event 4", "event 5"], 6)
    assert ring.since(8, 10) == (0, [], 8)
    ring.add([event(9, "x" * 60_000)])
    ring.add([event(10, "x" * 60_000)])
    assert (ring.start, ring.end) == (9, 10)
    ring.add([event(11, "x" * 200_000)])
    assert (ring.start, ring.end) == (11, 11)


def test_a_ring_counts_attributes_too():
    """Whatever is parsed from a line may be much larger than its message."""
    ring = Ring(100, 100_000)
    for number in range(10):
        ring.add([event(number, attributes={"body": {"parts": ["x" * 30_000]}})])
    assert ring.end - ring.start == 3
    ring.add([event(number, attributes={"text": "x" * 30_000}) for number in range(10, 20)])
    assert ring.end - ring.start == 3
