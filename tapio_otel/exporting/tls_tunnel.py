"""Give gRPC connections the TLS options that gRPC's Python interface does not have.

The gRPC library cannot be told to skip verification, nor which TLS versions, cipher suites or curves to use. Where the
configuration asks for these, gRPC speaks in clear text to a Unix socket in a directory that only this user may enter, and
each connection is carried on to the server by Python's own TLS.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from tapio_otel.exporting.certificates import CertificateFiles
from tapio_otel.exporting.endpoint import GrpcTarget
from tapio_otel.exporting.tls_options import TlsOptions, make_context
from tapio_otel.notices import quote

CHUNK: Final = 256 * 1024
CONNECT_SECONDS: Final = 20.0


class TlsTunnel:
    """Listen on a private socket and join every connection to one of its own to the server."""

    def __init__(self, server: GrpcTarget, options: TlsOptions, files: CertificateFiles) -> None:
        self._server = server
        self._options = options
        self._files = files
        self._directory = ""
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.problem = ""
        """Why the last connection to the server failed; empty when it did not."""

    @property
    def target(self) -> str:
        """Return what gRPC connects to."""
        return f"unix:{self._directory}/grpc"

    async def start(self) -> None:
        """Listen."""
        self._directory = await asyncio.to_thread(tempfile.mkdtemp, prefix="tapio-tls-")
        self._listener = await asyncio.start_unix_server(self._accept, str(Path(self._directory) / "grpc"), limit=CHUNK)

    async def close(self) -> None:
        """End every connection and remove the socket."""
        if self._listener is not None:
            self._listener.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._directory:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._join(reader, writer)
        except asyncio.CancelledError:
            pass  # only `close` cancels, and it waits for this task: nothing is left to be told
        finally:
            self._connections.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.wait_for(self._open(), CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:  # TLS errors are OSErrors too
            self.problem = quote(str(error)) or f"no connection within {CONNECT_SECONDS:g} s"
            return
        self.problem = ""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far_reader, writer))
        finally:
            far_writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = make_context(self._options, self._files.current)
        context.set_alpn_protocols(["h2"])
        name = self._options.server_name_override or self._server.host
        if self._server.path:
            return await asyncio.open_unix_connection(self._server.path, ssl=context, server_hostname=name, limit=CHUNK)
        return await asyncio.open_connection(
            self._server.host, self._server.port, ssl=context, server_hostname=name, limit=CHUNK
        )


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, then end the other side too."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
