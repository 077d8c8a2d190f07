"""An agent with the ui extension on: a real service and real HTTP, fed by the test."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tapio_otel import builtin
from tapio_otel.component import ComponentConfig, Output, Receiver
from tapio_otel.config.loader import load
from tapio_otel.entity import EntityReference
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.extensions.ui import UiExtension
from tapio_otel.identity import event_id
from tapio_otel.registry import Registry
from tapio_otel.service.runner import Service
from tests.components import CollectingExporter
from tests.test_registry import plugin

TOKEN = "0123456789abcdef-a-token"
SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
NODE = EntityReference("node", "n1")
POD = EntityReference("pod", "web-0", "prod", "uid-web-0", NODE)
UNIT = EntityReference("systemd_unit", "web.service", parent=NODE)


class FeedReceiver(Receiver[ComponentConfig]):
    """Emit what a test puts into the queue."""

    type = "feed"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queue: asyncio.Queue[tuple[list[UnifiedEvent], asyncio.Event]] = asyncio.Queue()

    async def run(self, output: Output) -> None:
        """Emit until cancelled."""
        while True:
            events, done = await self.queue.get()
            await output.emit(events)
            done.set()


def event(number: int, title: str = "", **told: Any) -> UnifiedEvent:
    """Return an event of its own second, a warning of a unit unless told otherwise."""
    timestamp = told.pop("timestamp", START + number * SECOND)
    fields = {"source": "journald", "type": "log", "severity": Severity.WARNING, "entity": UNIT, **told}
    return UnifiedEvent(id=event_id("ui", str(number), title), timestamp=timestamp, title=title or f"event {number}", **fields)


def finding(root: UnifiedEvent, *impacts: UnifiedEvent, revision: int = 0, rule: str = "oom_cascade") -> UnifiedEvent:
    """Return a finding as the correlate processor makes them."""
    members = [root.id, *(one.id for one in impacts)]
    told = {"rule": rule, "confidence": 0.9, "root_cause": root.id, "impacts": members[1:], "members": members}
    return UnifiedEvent(
        id=event_id("finding", root.id, rule),
        timestamp=root.timestamp,
        source="correlation",
        type="correlation",
        severity=Severity.CRITICAL,
        entity=root.entity,
        title=f"Memory ran out, revision {revision}",
        attributes={**told, "revision": revision, "state": "open"},
    )


@dataclass
class Agent:
    """Be a running agent, and a client of it."""

    service: Service
    client: aiohttp.ClientSession
    address: str
    port: int

    @property
    def receiver(self) -> FeedReceiver:
        """Return the receiver that the test feeds."""
        return next(one for one in self.service.graph.receivers.values() if isinstance(one, FeedReceiver))

    async def feed(self, *events: UnifiedEvent) -> None:
        """Let events pass the pipeline."""
        done = asyncio.Event()
        self.receiver.queue.put_nowait((list(events), done))
        await done.wait()

    async def kept(self, count: int) -> None:
        """Wait until the store has so many events."""
        async with asyncio.timeout(20):
            while (await self.json("health"))["store"]["events"] != count:
                await asyncio.sleep(0.02)

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Return status and JSON of a path below the API."""
        async with self.client.get(f"{self.address}api/v1/{path}", **options) as response:
            return response.status, await response.json()

    async def json(self, path: str, **options: Any) -> Any:
        """Return the JSON of a path that exists."""
        status, content = await self.get(path, **options)
        assert status == 200, content
        return content


CONFIGURATION = """
receivers: {feed: }
exporters: {collecting: , %s}
extensions: {ui: {endpoint: '127.0.0.1:0', %s}}
service: {extensions: [ui], shutdown_timeout: 5s, pipelines: {logs: {receivers: [feed], exporters: [%s]}}}
"""
STORES = {"memory": ("", "collecting"), "sqlite": ("sqlite: {min_severity: debug, max_age: 876000h}", "collecting, sqlite")}


def components() -> Registry:
    """Return the built-in components and those of the tests."""
    found = Registry()
    found.add(builtin, "builtin", "tapio-otel 0")
    found.add(plugin(tapio_receivers=[FeedReceiver], tapio_exporters=[CollectingExporter]), "tests", "tests 0")
    found.collect()
    assert found.problems == []
    return found


@contextlib.asynccontextmanager
async def running(state: Path, store: str = "memory", options: str = "", yaml: str = "") -> AsyncIterator[Agent]:
    """Run an agent meanwhile; `options` are further ones of the extension, as YAML."""
    exporter, exporters = STORES[store]
    text = yaml or CONFIGURATION % (exporter, options, exporters)
    registry = components()
    service = Service(load([("test.yaml", text)], [f"service.state_dir={state}"], registry), registry)
    run = asyncio.create_task(service.run())
    try:
        extension = next(one for one in service.graph.extensions if isinstance(one, UiExtension))
        deadline = time.monotonic() + 20
        while extension.port == 0 or not service._serving:
            assert not run.done(), run.exception()
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            yield Agent(service, client, f"http://127.0.0.1:{extension.port}/", extension.port)
    finally:
        service.stop()
        await run
