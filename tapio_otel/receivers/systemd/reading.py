"""Control over a D-Bus library's reading, which neither library offers: to pause it, and to give the event loop its turn.

Both libraries read from a socket through the event loop they keep, so what stands in for that loop decides when they read.
dbus-next moreover reads on until there is nothing left, which under a flood is never; what stands in for its stream says
after a while that there is nothing, as a slow socket would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

READS: Final = 256
"""Reads of dbus-next's in one turn of the loop; a message takes two or three."""


class PausableLoop:
    """Be the event loop to a library, but for its reading."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader: tuple[int, Callable[[], object]] | None = None
        self._paused = False
        self.left = READS
        """Reads left in this turn."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_reader(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Register what reads."""
        self._reader = descriptor, callback
        if not self._paused:
            self._loop.add_reader(descriptor, self._read)

    def remove_reader(self, descriptor: int) -> bool:
        """Unregister what reads; raises ValueError for a closed descriptor, as a loop does."""
        self._reader = None
        return self._loop.remove_reader(descriptor)

    @property
    def is_reading(self) -> bool:
        """Tell whether the authentication is over and messages are read."""
        return self._reader is not None

    async def sock_recv(self, sock: Any, count: int) -> bytes:
        """Receive bytes; raises ConnectionResetError at the end, for which dbus-next would wait for ever."""
        found = await self._loop.sock_recv(sock, count)
        if not found:
            raise ConnectionResetError("the connection was closed during authentication")
        return found

    def pause(self) -> None:
        """Read nothing until `resume`."""
        if self._reader is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._reader[0])

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if self._reader is not None:
                self._loop.add_reader(self._reader[0], self._read)
                self._read_rest()

    def _read_rest(self) -> None:
        """Go on where reading stopped early: what the stream has buffered makes no descriptor readable."""
        if self.left <= 0:
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        if self._reader is None or self._paused:
            return
        self.left = READS
        self._reader[1]()
        self._read_rest()


class BoundedStream:
    """Be a stream to dbus-next, which after some reads in one turn seems to have no more."""

    def __init__(self, stream: Any, loop: PausableLoop) -> None:
        self._stream = stream
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, count: int) -> bytes | None:
        """Return up to `count` bytes, none at the end, None where there are none now."""
        if self._loop.left <= 0:
            return None
        self._loop.left -= 1
        found: bytes | None = self._stream.read(count)
        return found


def control(bus: Any, loop: PausableLoop) -> None:
    """Put a library's bus, not yet connected, under the control of `loop`."""
    bus._loop = loop
    if hasattr(bus, "_create_unmarshaller"):
        bus._stream = BoundedStream(bus._stream, loop)
        bus._unmarshaller = bus._create_unmarshaller()
