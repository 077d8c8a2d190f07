"""A transport that is opened with its first request: most agents never send a trace, and need no second connection."""

from __future__ import annotations

import asyncio

from tapio_otel.component import ComponentError
from tapio_otel.exporting.retry import Answer, RetryableError, Transport


class LateTransport:
    """Open a transport when there is something to send."""

    def __init__(self, transport: Transport) -> None:
        self.destination = transport.destination
        self._transport = transport
        self._is_open = False
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Do nothing yet."""

    async def encode(self, body: bytes) -> bytes:
        """Return the body as it travels, once the transport is open; raises RetryableError where it cannot be opened."""
        async with self._opening:
            if not self._is_open:
                try:
                    await self._transport.open()
                except ComponentError as error:
                    raise RetryableError(str(error)) from error
                self._is_open = True
        return await self._transport.encode(body)

    async def send(self, body: bytes) -> Answer:
        """Send one encoded body; raises RetryableError or PermanentError."""
        return await self._transport.send(body)

    async def close(self) -> None:
        """Release every connection; safe without `open`."""
        await self._transport.close()
