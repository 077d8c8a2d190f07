"""What the tests of list and watch are made with: a consumer that remembers, a client, and a server that misbehaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tapio_otel.kubernetes.access import ClusterOptions
from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.list_watch import Change, ListWatch
from tapio_otel.kubernetes.pauses import Pauses
from tapio_otel.notices import Notices
from tests.components import CountingSink

QUICK = Pauses(shortest=0.02, longest=0.2, refused=0.2, steady=0.2)
_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def name_and_value(raw: dict[str, Any]) -> tuple[str, str]:
    """Trim an object to its name and its label `value`."""
    return raw["metadata"]["name"], raw["metadata"].get("labels", {}).get("value", "")


class Memory:
    """A consumer that keeps what it was told, and the state that follows from it."""

    def __init__(self) -> None:
        self.lists: list[tuple[str, list[Any], str]] = []
        self.changes: list[Change] = []
        self.versions: list[str] = []
        self.state: dict[str, dict[str, Any]] = {}

    async def listed(self, objects: list[Any], version: str, namespace: str) -> None:
        self.lists.append((namespace, objects, version))
        self.state[namespace] = dict(objects)

    async def changed(self, changes: list[Change], version: str, namespace: str) -> None:
        self.changes += changes
        self.versions.append(version)
        for change in changes:
            name, value = change.object
            if change.type == "DELETED":
                self.state[namespace].pop(name, None)
            else:
                self.state.setdefault(namespace, {})[name] = value

    @property
    def known(self) -> dict[str, Any]:
        """Return the objects known, of all namespaces."""
        return {name: value for objects in self.state.values() for name, value in objects.items()}

    @property
    def told(self) -> list[tuple[str, str]]:
        """Return the changes as type and name."""
        return [(change.type, change.object[0]) for change in self.changes]


class Reports:
    """Keep what was reported."""

    def __init__(self) -> None:
        self.all: list[str | None] = []

    def __call__(self, problem: str | None) -> None:
        self.all.append(problem)

    @property
    def now(self) -> str | None:
        """Return what is wrong at present."""
        return self.all[-1] if self.all else None


class Running:
    """A ListWatch that runs, and what it told."""

    def __init__(self, watch: ListWatch, memory: Memory, reports: Reports, counters: CountingSink) -> None:
        self.watch, self.memory, self.reports, self.counts = watch, memory, reports, counters.counts

    @property
    def requests(self) -> int:
        """Return the requests sent by the client."""
        return self.watch.client.requests


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def options(**values: Any) -> ClusterOptions:
    """Return options; paths as texts."""
    return ClusterOptions(**{name: str(value) if isinstance(value, Path) else value for name, value in values.items()})


@asynccontextmanager
async def connected(client_class: type[KubernetesClient] = KubernetesClient, **values: Any) -> AsyncIterator[KubernetesClient]:
    """Open a client with these options, and close it."""
    client = client_class(options(**values), Notices(logging.getLogger("test.kubernetes")))
    await client.open()
    try:
        yield client
    finally:
        await client.close()


async def who(client: KubernetesClient) -> str:
    """Return whom the server takes this client for."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.send("POST", _WHO, body)
    return answer["status"]["userInfo"]["username"]


@asynccontextmanager
async def following(client: KubernetesClient, resource: Any, selection: Any, **keywords: Any) -> AsyncIterator[Running]:
    """Run a ListWatch until the block ends; what it raised is raised."""
    memory, reports, counters = Memory(), Reports(), CountingSink()
    keywords = {"trim": name_and_value, "pauses": QUICK, "consumer": memory} | keywords
    consumer = keywords.pop("consumer")
    watch = ListWatch(client, resource, selection, consumer, report=reports, counters=counters, **keywords)
    task = asyncio.create_task(watch.run())
    try:
        yield Running(watch, memory, reports, counters)
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Serve each connection on a loopback port, which is yielded; at the end whatever still runs is ended."""
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        while running:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """Serve HTTP as `answer` writes it, one request for each connection; yields the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await answer(head.decode().split(" ")[1], writer)

    async with serving(serve) as port:
        yield f"http://127.0.0.1:{port}"


def whole(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer with its length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    """Return a piece of a stream."""
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"
