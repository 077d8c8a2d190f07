"""A network between the agent and its backend that fails: half-open connections, slow answers, resets in their middle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import Enum
from typing import Final

_LINGER: Final = struct.pack("ii", 1, 0)


class Failure(Enum):
    """Name what the network does to what passes."""

    NONE = "none"
    SWALLOW_REQUESTS = "requests never arrive, and nobody says so"
    SWALLOW_ANSWERS = "requests arrive, answers never do"
    SLOW_ANSWERS = "answers come after half a second"
    RESET_ANSWERS = "the connection is reset in the middle of an answer"
    RESET_REQUESTS = "the connection is reset in the middle of a request"


class FailingNetwork:
    """Pass bytes between clients and a port, as `failure` says; a connection that has lost bytes stays dead."""

    def __init__(self, port: int) -> None:
        self.failure = Failure.NONE
        self.failed = 0
        """How often it has struck."""
        self.port = 0
        self._to = port
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Return the address for OTLP/HTTP."""
        return f"http://localhost:{self.port}"

    async def __aenter__(self) -> FailingNetwork:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for one in list(self._connections):
            one.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
            connection = _Connection(self, writer, far_writer)
            await asyncio.gather(connection.requests(reader), connection.answers(far_reader))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()


class _Connection:
    def __init__(self, network: FailingNetwork, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._network, self._near, self._far = network, near, far
        self._lost = False

    async def requests(self, reader: asyncio.StreamReader) -> None:
        while chunk := await self._read(reader):
            match self._network.failure:
                case Failure.SWALLOW_REQUESTS:
                    self._lose()
                case Failure.RESET_REQUESTS:
                    self._far.write(chunk[: len(chunk) // 2])
                    self._reset()
            if not self._lost:
                self._far.write(chunk)
        self._far.close()

    async def answers(self, reader: asyncio.StreamReader) -> None:
        while chunk := await self._read(reader):
            match self._network.failure:
                case Failure.SWALLOW_ANSWERS:
                    self._lose()
                case Failure.RESET_ANSWERS:
                    self._near.write(chunk[: len(chunk) // 2])
                    await self._near.drain()
                    self._reset()
                case Failure.SLOW_ANSWERS:
                    self._network.failed += 1
                    await asyncio.sleep(0.5)
            if not self._lost:
                self._near.write(chunk)
        self._near.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await reader.read(1 << 16)
        return b""

    def _lose(self) -> None:
        self._network.failed += not self._lost
        self._lost = True

    def _reset(self) -> None:
        self._lose()
        connection = self._near.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)  # closing it sends RST
        self._near.transport.abort()
