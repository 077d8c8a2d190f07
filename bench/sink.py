"""An OTLP/HTTP server that answers every request and throws it away: the same cheap receiver for everything measured.

    python -m bench.sink [--keep FILE]

Prints its port on the first line. With `--keep` the bodies are appended to FILE, each behind a line with its content encoding,
content type and length, for `bench.check`. At SIGTERM it prints requests and body bytes received, and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import BinaryIO

LIMIT = 256 * 1024 * 1024
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
EMPTY = {b"application/json": b"{}", b"application/x-protobuf": b""}


class Sink:
    """Count what arrives and, if asked, keep it."""

    def __init__(self, keep: BinaryIO | None) -> None:
        self.requests = self.size = 0
        self.keep = keep

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                headers = parse(await reader.readuntil(b"\r\n\r\n"))
                self.take(headers, await body(reader, headers))
                kind = headers.get(b"content-type", b"application/x-protobuf")
                answer = EMPTY.get(kind, b"")
                writer.write(RESPONSE % (kind, len(answer), answer))
                await writer.drain()
        writer.close()

    def take(self, headers: dict[bytes, bytes], content: bytes) -> None:
        """Count one request."""
        self.requests += 1
        self.size += len(content)
        if self.keep is not None:
            encoding, kind = headers.get(b"content-encoding", b"identity"), headers.get(b"content-type", b"-")
            self.keep.write(b"%s %s %d\n%s" % (encoding, kind, len(content), content))


def parse(head: bytes) -> dict[bytes, bytes]:
    """Return the headers of a request, names in lower case."""
    lines = head.split(b"\r\n")[1:-2]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


async def body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    """Read a request's body, of known length or in chunks."""
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        return await reader.readexactly(int(headers.get(b"content-length", b"0")))
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(chunks)


async def run(keep: BinaryIO | None) -> None:
    """Serve until SIGTERM, then print what arrived."""
    sink = Sink(keep)
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=LIMIT)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()
    print(sink.requests, sink.size, flush=True)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="append the bodies to this file")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        keep = stack.enter_context(arguments.keep.open("wb")) if arguments.keep else None
        asyncio.run(run(keep))


if __name__ == "__main__":
    sys.exit(main())
