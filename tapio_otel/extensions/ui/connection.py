"""Connections and what they leave unread: an answer waits in this process's memory until its client has taken it.

A client that takes nothing would keep that memory, and its connection, for as long as it likes: it is cut off after a while,
and all of them together get no further answers beyond a bound. When the server stops, none is waited for.
"""

from __future__ import annotations

import asyncio
from typing import Final

UNREAD_SECONDS: Final = 60.0
"""Seconds that a client may take to read what waits for it."""
MOST_UNREAD: Final = 64 * 1024**2
"""Bytes that may wait for all clients; beyond, answers are refused."""


class Connections:
    """Know the connections that are open."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def watched(self, protocol: asyncio.Protocol) -> Connection:
        """Return the connection to make of a protocol."""
        return Connection(protocol, self._open)

    def has_room(self, size: int) -> bool:
        """Tell whether so many more bytes may wait for clients."""
        unread = sum(one.unread for one in self._open)
        return not unread or unread + size <= MOST_UNREAD

    def abort(self) -> None:
        """Cut all off."""
        for one in list(self._open):
            one.abort()


class Connection(asyncio.Protocol):
    """Pass everything on to a protocol, and cut the connection off when its client does not read."""

    def __init__(self, protocol: asyncio.Protocol, among: set[Connection]) -> None:
        self._protocol, self._among = protocol, among
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def unread(self) -> int:
        """Return how many bytes wait for the client."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def abort(self) -> None:
        """Cut it off; what waits is forgotten."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._among.add(self)
        self._protocol.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._among.discard(self)
        self._rest()
        self._transport = None
        self._protocol.connection_lost(error)

    def data_received(self, content: bytes) -> None:
        """Pass on what came."""
        self._protocol.data_received(content)

    def eof_received(self) -> bool | None:
        """Pass on that nothing more comes."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """Give the client its time."""
        self._rest()
        self._deadline = asyncio.get_running_loop().call_later(UNREAD_SECONDS, self.abort)
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._rest()
        self._protocol.resume_writing()

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
