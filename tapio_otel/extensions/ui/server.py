"""The HTTP server: listening, with connections counted and limited in time, so that whoever reaches the port cannot take the
agent's descriptors or memory.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tapio_otel.component import ComponentError
from tapio_otel.extensions.ui.config import UiConfig
from tapio_otel.extensions.ui.connection import Connections
from tapio_otel.notices import Notices

IDLE_SECONDS: Final = 30.0
"""Seconds that a connection may be without a request, or take for the head of one."""
HANDSHAKE_SECONDS: Final = 5.0
MOST_CONNECTIONS: Final = 256
CLOSING_SECONDS: Final = 0.5
LONGEST_LINE: Final = 16 * 1024


class UiServer:
    """Serve an application where the options say."""

    def __init__(self, config: UiConfig, notices: Notices) -> None:
        self._config, self._notices = config, notices
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._context: ssl.SSLContext | None = None
        self.connections = Connections()
        self.port = config.listens_on.port
        """The port in use, once it listens."""

    @property
    def is_listening(self) -> bool:
        """Tell whether it listens."""
        return self._server is not None

    async def prepare(self, application: web.Application) -> None:
        """Make everything ready but the port; raises `ComponentError`."""
        self._context = await asyncio.to_thread(self._tls)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=self._protocol_log(),
            keepalive_timeout=IDLE_SECONDS,
            shutdown_timeout=CLOSING_SECONDS,
            handler_cancellation=True,
            max_line_size=LONGEST_LINE,
        )
        await self._runner.setup()

    async def listen(self) -> None:
        """Listen, once it is prepared; raises OSError, after which it can be called again."""
        endpoint = self._config.listens_on
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            endpoint.host or None,
            endpoint.port,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._context is not None else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything; safe without a start, and twice."""
        server, self._server = self._server, None
        runner, self._runner = self._runner, None
        if server is not None:
            server.close()
        if runner is not None:
            await runner.cleanup()
        self.connections.abort()  # who does not read holds up nothing, neither a reload nor the end
        if server is not None:
            await server.wait_closed()

    def _protocol_log(self) -> logging.Logger:
        """Return where aiohttp tells what it cannot answer: garbage is not told at all, the rest not for every time."""
        log = logging.Logger("http")
        log.addHandler(_Telling(self._notices))
        return log

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server if self._runner is not None else None
        if server is None or len(self.connections) >= MOST_CONNECTIONS:
            return _Refusing()
        return self.connections.watched(server())

    def _tls(self) -> ssl.SSLContext | None:
        tls = self._config.tls
        if not tls.cert_file:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_passphrase)
        except (OSError, ValueError) as error:
            raise ComponentError(
                f"tls: cannot use {tls.cert_file!r} with {tls.key_file!r}: {error}. Check the paths, their rights, and that "
                "the key is the certificate's and has no passphrase"
            ) from error
        return context


class _Telling(logging.Handler):
    """Pass on what is a defect and not a client's."""

    def __init__(self, notices: Notices) -> None:
        super().__init__(logging.WARNING)
        self._notices = notices

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record, unless it is about what is no HTTP."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            self._notices.warn("http", f"{record.getMessage()}: {type(error).__name__}: {error}")


class _Refusing(asyncio.Protocol):
    """Close a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


def _no_passphrase() -> str:
    """Refuse an encrypted key, for which OpenSSL would ask on the terminal."""
    raise ValueError("the key is protected by a passphrase")
