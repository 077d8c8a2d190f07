"""Credentials that stay valid: looked at before each request, read anew once the server refuses them.

However many watches are refused at the same time, the credentials are read once; and where reading them gave nothing new,
not again within `FRESH` seconds: an exec plugin is not run for every failed attempt.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tapio_otel.component import ComponentError
from tapio_otel.kubernetes.access import Access, AccessSource, TlsFiles
from tapio_otel.notices import Clock, Notices

FRESH: Final = 10.0
"""Seconds for which what was read is taken as it is."""
PATIENCE: Final = 60.0
"""Seconds that reading may take: it may run a program that asks a server of its own."""


class Credentials:
    """Keep what a source says, and the TLS context made of it."""

    def __init__(self, source: AccessSource, notices: Notices, clock: Clock = time.monotonic) -> None:
        self._source, self._notices, self._clock = source, notices, clock
        self._access: Access | None = None
        self._tls: tuple[TlsFiles, ssl.SSLContext] | None = None
        self._lock = asyncio.Lock()
        self._looked_at = 0.0
        self._renewed_at = -FRESH
        self._reading: asyncio.Future[Access] | None = None

    async def open(self) -> Access:
        """Read them for the first time; raises ComponentError."""
        self._looked_at = self._clock()
        return await self._load(self._source.read)

    async def current(self) -> tuple[Access, ssl.SSLContext | None]:
        """Return what is valid now. What cannot be read leaves the earlier in use and is logged."""
        async with self._lock:
            if self._clock() - self._looked_at >= FRESH:
                await self._try(self._source.refresh)
            if self._access is None:
                raise ComponentError("the credentials were not opened")
            return self._access, self._tls[1] if self._tls else None

    async def renew(self, refused: Access) -> bool:
        """Read everything again after the server refused these; tell whether there are others now."""
        async with self._lock:
            if self._access == refused and self._clock() - self._renewed_at >= FRESH:
                self._renewed_at = self._clock()
                await self._try(self._source.read)
            return self._access != refused

    async def _try(self, read: Callable[[], Access]) -> None:
        self._looked_at = self._clock()
        try:
            await self._load(read)
        except ComponentError as error:
            self._notices.warn("credentials", f"{error}; going on with the credentials read before")

    async def _load(self, read: Callable[[], Access]) -> Access:
        if self._reading is None:  # else it still runs, beyond our patience: it is not begun a second time
            self._reading = _in_thread(read)
        try:
            access = await asyncio.wait_for(asyncio.shield(self._reading), PATIENCE)
        except TimeoutError as error:
            raise ComponentError(f"reading the credentials of the Kubernetes API takes longer than {PATIENCE:g} s") from error
        finally:
            if self._reading.done():
                self._reading = None
        if access.server.startswith("https:") and (self._tls is None or self._tls[0] != access.tls):
            self._tls = access.tls, await asyncio.to_thread(access.tls.context)
        self._access = access
        return access


def _in_thread(read: Callable[[], Access]) -> asyncio.Future[Access]:
    """Read in a thread of its own: the end of the agent would wait for one of the executor, however long a plugin takes."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Access] = loop.create_future()

    def settle(access: Access | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
            future.exception()  # whoever waited may have gone
        elif access is not None:
            future.set_result(access)

    def run() -> None:
        access, error = None, None
        try:
            access = read()
        except BaseException as raised:  # told to whoever waits
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, access, error)

    threading.Thread(target=run, name="kubernetes credentials", daemon=True).start()
    return future
