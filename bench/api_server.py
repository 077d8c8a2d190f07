"""An API server for measurements: as fast as a socket, it lists made-up pods and says that they change. A process of its own.

Run as `python -m bench.api_server PODS CHANGES EVENTS`; it prints its port, then each collection that is watched.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from bench.kubernetes import make_node, make_pod

PAGE = 500
STARTED = 1_000
PIECE = 200
"""Lines sent at once."""


def make_event(number: int) -> dict[str, Any]:
    """Make an event as a kubelet writes it."""
    pod = make_pod(number)["metadata"]
    about = {"kind": "Pod", "namespace": pod["namespace"], "name": pod["name"], "uid": pod["uid"], "apiVersion": "v1"}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{pod['name']}.{number:016x}",
            "namespace": pod["namespace"],
            "uid": f"{number:08x}-0000-4000-8000-000000000000",
            "resourceVersion": str(STARTED + number + 1),
            "creationTimestamp": "2026-02-10T09:13:32Z",
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:note": {}, "f:reason": {}}}],
        },
        "eventTime": "2026-02-10T09:13:32.123456Z",
        "reason": "Unhealthy",
        "note": f"Readiness probe failed: HTTP probe failed with statuscode: 503 ({number})",
        "type": "Warning",
        "action": "Probing",
        "reportingController": "kubelet",
        "reportingInstance": "node-1",
        "regarding": about | {"fieldPath": "spec.containers{app}"},
    }


class Server:
    """Answer lists from what was made before, and watches with all changes at once; then say nothing more."""

    def __init__(self, pods: int, changes: int, events: int) -> None:
        self._lists = {
            "pods": [orjson.dumps(make_pod(number)) for number in range(pods)],
            "nodes": [orjson.dumps(make_node(number)) for number in range(200 if pods else 0)],
        }
        changed = [{"type": "MODIFIED", "object": make_pod(number % max(pods, 1), 2)} for number in range(min(changes, 500))]
        self._lines = {
            "pods": pieces([orjson.dumps(one | {"object": _typed(one["object"])}) for one in changed], changes),
            "events": pieces([orjson.dumps({"type": "ADDED", "object": make_event(one)}) for one in range(events)], events),
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                url = urlsplit(head.split(b" ", 2)[1].decode())
                asked = {name: values[0] for name, values in parse_qs(url.query).items()}
                kind = url.path.rpartition("/")[2]
                if "watch" in asked:
                    await self._watch(kind, writer)
                else:
                    self._list(kind, asked, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _list(self, kind: str, asked: dict[str, str], writer: asyncio.StreamWriter) -> None:
        items = self._lists.get(kind, [])
        start, size = int(asked.get("continue", 0)), int(asked.get("limit", 0)) or len(items)
        after = start + size if start + size < len(items) else ""
        metadata = orjson.dumps({"resourceVersion": str(STARTED), "continue": str(after)})
        body = b'{"metadata":%b,"items":[%b]}' % (metadata, b",".join(items[start : start + size]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def _watch(self, kind: str, writer: asyncio.StreamWriter) -> None:
        print(f"watched {kind}", flush=True)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in self._lines.get(kind, []):
            writer.write(piece)
            await writer.drain()
        await asyncio.Event().wait()


def _typed(raw: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", **raw}


def pieces(lines: list[bytes], count: int) -> list[bytes]:
    """Return chunks of HTTP with `count` lines altogether."""
    made = []
    for start in range(0, count, PIECE):
        body = b"".join([lines[at % len(lines)] + b"\n" for at in range(start, min(start + PIECE, count))])
        made.append(b"%x\r\n%b\r\n" % (len(body), body))
    return made


async def main() -> None:
    """Serve until ended."""
    made = Server(*map(int, sys.argv[1:4]))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
