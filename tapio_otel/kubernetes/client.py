"""Speak with the API server: requests, and watches as streams of lines.

The transport is aiohttp, not the official client's: one thread and one connection for each watch would be needed with that
one, and its objects cost twenty times the time of orjson's. HTTP/1.1 with a connection for each watch; what is idle for long is
kept alive by TCP, so that a peer that is gone is found out. Nothing here is tried again but a request that was refused for its
credentials, once, with those read anew.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from tapio_otel.component import ComponentError
from tapio_otel.kubernetes.access import Access, ClusterOptions, choose_source
from tapio_otel.kubernetes.answers import whole
from tapio_otel.kubernetes.credentials import Credentials
from tapio_otel.kubernetes.failures import MALFORMED, QUIET, UNREACHABLE, ApiFailure, Request, failure_of_answer
from tapio_otel.notices import Notices, quote, unreachable
from tapio_otel.version import VERSION

if TYPE_CHECKING:
    import aiohttp

__all__ = ["ApiFailure", "KubernetesClient"]

LONGEST_LINE: Final = 32 * 1024 * 1024
"""Bytes; etcd keeps no object larger than 1.5 MiB unless told to."""
READ_SIZE: Final = 256 * 1024
_MOST_OF_A_FAILURE: Final = 64 * 1024
_KEEP_ALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
_HEADERS: Final = {"User-Agent": f"tapio-otel/{VERSION}", "Accept": "application/json"}
_GOODBYE: Final = 0.25
"""Seconds in which connections that were cut off while they were made can end; asyncio would leave them open."""


class KubernetesClient:
    """Ask the API server that `options` lead to."""

    def __init__(self, options: ClusterOptions, notices: Notices) -> None:
        self.server = ""
        """URL of the API server, once open."""
        self.namespace = "default"
        """The own namespace: the pod's, or that of the kubeconfig's context."""
        self.requests = 0
        """Requests sent so far."""
        self._options, self._notices = options, notices
        self._credentials: Credentials | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Find the server and the credentials, without connecting; raises ComponentError, or SourceUnavailable without any."""
        credentials = Credentials(choose_source(self._options), self._notices)
        access = await credentials.open()
        if access.problem:
            self._notices.warn("credentials", access.problem)
        if access.proxy and not access.proxy.startswith(("http://", "https://")):
            raise ComponentError("only HTTP proxies are supported for the Kubernetes API: write proxy-url: http://host:port")
        self.server, self.namespace = access.server, access.namespace
        self._credentials, self._session = credentials, self._new_session()

    async def close(self) -> None:
        """Release every connection; safe without `open`."""
        session, self._session = self._session, None
        if session is None:
            return
        import aiohttp

        if isinstance(connector := session.connector, aiohttp.TCPConnector):
            await connector.close(abort_ssl=True)  # else watches that were cut off say goodbye after the loop has ended
        await session.close()
        await asyncio.sleep(_GOODBYE)

    async def get(self, path: str, **params: str) -> Any:
        """Return what a path answers, decoded; raises ApiFailure."""
        return whole(await self.read(path, **params), Request.of("GET", path))

    async def read(self, path: str, **params: str) -> bytes:
        """Return what a path answers, as it came; raises ApiFailure."""
        return await self._exchange("GET", path, params)

    async def send(self, method: str, path: str, body: Any, content_type: str = "application/json") -> Any:
        """Create, change or delete; returns the answer, decoded, or None where it is empty; raises ApiFailure."""
        got = await self._exchange(method, path, {}, None if body is None else orjson.dumps(body), content_type)
        return whole(got, Request.of(method, path)) if got else None

    @asynccontextmanager
    async def stream(self, path: str, **params: str) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """Watch a collection: yields the lines, as many as arrived together; raises ApiFailure."""
        request = Request.of("GET", path, watch=True)
        async with self._answer("GET", path, {"watch": "true", **params}, request) as response:
            _keep_alive(response)
            async with aclosing(self._lines(response, request)) as lines:
                yield lines

    def _new_session(self) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(sock_connect=self._options.connect_timeout, sock_read=self._options.quiet_timeout),
            read_bufsize=READ_SIZE,
            headers=_HEADERS,
        )

    async def _exchange(
        self, method: str, path: str, params: Mapping[str, str], body: bytes | None = None, content_type: str = ""
    ) -> bytes:
        request = Request.of(method, path)
        async with self._answer(method, path, params, request, body, content_type) as response:
            with _AsFailure(self.server, request):
                async with asyncio.timeout(self._options.request_timeout):
                    return await response.read()

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        request: Request,
        body: bytes | None = None,
        content_type: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield an answer of success; credentials that were refused are read again and shown once more."""
        session, credentials = self._session, self._credentials
        if session is None or credentials is None:
            raise ApiFailure(0, UNREACHABLE, f"cannot {request}: the client is closed")
        headers = {"Content-Type": content_type} if body is not None else {}
        if request.verb == "watch":
            headers["Accept-Encoding"] = "identity"
        with _AsFailure(self.server, request):
            access, tls = await credentials.current()
            response = await self._ask(session, access, tls, method, path, params, headers, body)
            if response.status == 401 and await credentials.renew(access):
                response.release()
                access, tls = await credentials.current()
                response = await self._ask(session, access, tls, method, path, params, headers, body)
        try:
            if not 200 <= response.status < 300:
                with _AsFailure(self.server, request):
                    async with asyncio.timeout(self._options.request_timeout):
                        said = await response.content.read(_MOST_OF_A_FAILURE)
                raise failure_of_answer(response.status, said, response.headers, request)
            yield response
        finally:
            response.release()

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        access: Access,
        tls: ssl.SSLContext | None,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> aiohttp.ClientResponse:
        if access.problem:
            raise ApiFailure(401, "NoCredentials", access.problem)
        self.requests += 1
        shown = {"Authorization": access.authorization} if access.authorization else {}
        async with asyncio.timeout(self._options.request_timeout):
            return await session.request(
                method,
                access.server + path,
                params=params,
                data=body,
                headers={**headers, **shown},
                allow_redirects=False,
                ssl=True if tls is None else tls,
                server_hostname=access.server_name or None,
                proxy=access.proxy or None,
            )

    async def _lines(self, response: aiohttp.ClientResponse, request: Request) -> AsyncGenerator[list[bytes], None]:
        rest = b""
        read = response.content.readany
        while True:
            with _AsFailure(self.server, request, QUIET):
                arrived = await read()
            if not arrived:
                break
            lines = (rest + arrived).split(b"\n")
            rest = lines.pop()
            if lines:
                yield lines
            if len(rest) > LONGEST_LINE:
                raise ApiFailure(0, MALFORMED, f"cannot {request}: a line of more than {LONGEST_LINE >> 20} MiB was sent")


class _AsFailure:
    """Say as an ApiFailure why no answer came; a timeout is of the kind `late`."""

    def __init__(self, server: str, request: Request, late: str = UNREACHABLE) -> None:
        self._server, self._request, self._late = server, request, late

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, ComponentError | asyncio.CancelledError):
            return
        failure = self._failure(error)
        if failure is not None:
            raise failure from error

    def _failure(self, error: BaseException) -> ApiFailure | None:
        import aiohttp

        if isinstance(error, TimeoutError):
            return ApiFailure(0, self._late, f"cannot {self._request}: {self._server} is silent")
        if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
            said = quote(str(error))
            return ApiFailure(0, UNREACHABLE, f"cannot {self._request}: no TLS with {self._server}: {said}; check the CA")
        if isinstance(error, aiohttp.ClientError | OSError):
            return ApiFailure(0, UNREACHABLE, f"cannot {self._request} at {self._server}: {unreachable(error)}")
        return None


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Let the kernel find out that the peer of a watch is gone, within a minute."""
    connection = response.connection
    found = connection.transport.get_extra_info("socket") if connection is not None and connection.transport else None
    if found is not None:
        with suppress(OSError):  # not a TCP socket
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEP_ALIVE:
                found.setsockopt(socket.IPPROTO_TCP, option, value)
