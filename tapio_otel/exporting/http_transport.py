"""OTLP over HTTP: one POST for each request, on connections that are kept open."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tapio_otel.component import ComponentError, PermanentError
from tapio_otel.exporting.certificates import CertificateFiles
from tapio_otel.exporting.compression import Compress, compressed, compressor
from tapio_otel.exporting.endpoint import without_credentials
from tapio_otel.exporting.options import Compression
from tapio_otel.exporting.responses import read_answer, read_error, retry_after
from tapio_otel.exporting.retry import Answer, NotServed, RetryableError
from tapio_otel.exporting.signal import Signal
from tapio_otel.exporting.tls_options import TlsOptions, make_context
from tapio_otel.notices import Notices, quote, unreachable
from tapio_otel.version import VERSION

if TYPE_CHECKING:
    import ssl

    import aiohttp

# OTLP specification, OTLP/HTTP, "Failures": these may pass, every other error is permanent.
RETRYABLE: Final = frozenset({429, 502, 503, 504})
MOST_OF_AN_ANSWER: Final = 64 * 1024
NEVER: Final = 86400.0
NO_SUCH_PATH: Final = frozenset({404, 405})


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Say where to post to, and how. Times are seconds; 0 sets no limit."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_json: bool = False
    timeout: float = 30.0
    compression: Compression = Compression.GZIP
    compression_level: int = -1
    tls: TlsOptions = field(default_factory=TlsOptions)
    proxy_url: str = ""
    idle_timeout: float = 90.0
    keep_alive: bool = True
    max_connections: int = 0
    cookies: bool = False
    signal: Signal = Signal.LOGS


class HttpTransport:
    """Post requests to one URL."""

    def __init__(self, settings: HttpSettings, notices: Notices) -> None:
        self.destination = without_credentials(settings.url)
        self._settings = settings
        self._compress: Compress | None = None
        self._session: aiohttp.ClientSession | None = None
        self._files = CertificateFiles(settings.tls, notices)
        self._notices = notices
        self._tls: ssl.SSLContext | bool = True
        self._proxy: str | None = None
        self._headers: dict[str, str] = {}

    async def open(self) -> None:
        """Get ready to send, without connecting; raises ComponentError."""
        import aiohttp

        settings = self._settings
        self._compress = compressor(settings.compression, settings.compression_level)
        self._proxy = settings.proxy_url or _proxy_of_environment(settings.url)
        self._headers = self._make_headers()
        if settings.url.startswith("https:"):
            self._files.load()
            self._tls = make_context(settings.tls, self._files.current)
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=settings.max_connections,
            force_close=not settings.keep_alive,
            keepalive_timeout=(settings.idle_timeout or NEVER) if settings.keep_alive else None,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.CookieJar() if settings.cookies else aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=settings.timeout or None),
        )

    async def encode(self, body: bytes) -> bytes:
        """Return the body compressed, without blocking the loop."""
        return await compressed(body, self._compress)

    async def send(self, body: bytes) -> Answer:
        """Post one encoded body; raises RetryableError or PermanentError."""
        import aiohttp

        if self._session is None:
            raise RetryableError("not started")
        await self._renew_tls()
        data = BytesIO(body)  # written in pieces; as plain bytes a large body would be written in one go
        try:
            async with self._session.post(
                self._settings.url,
                data=data,
                headers=self._headers,
                allow_redirects=False,
                ssl=self._tls,
                server_hostname=self._settings.tls.server_name_override or None,
                proxy=self._proxy,
            ) as response:
                return self._judge(response, await _read(response))
        except TimeoutError as error:
            raise RetryableError(f"no answer within {self._settings.timeout:g} s") from error
        except aiohttp.InvalidURL as error:
            raise PermanentError(f"{self.destination} is no valid URL: correct endpoint") from error
        except aiohttp.ClientResponseError as error:  # what came back cannot be parsed
            raise RetryableError(
                "the answer is no HTTP/1.1: if this is a gRPC port, use the otlp exporter or port 4318"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise RetryableError(unreachable(error)) from error
        finally:
            data.close()  # aiohttp's errors are part of reference cycles, which would keep its copy of the body for long

    async def close(self) -> None:
        """Release every connection; safe without `open`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _make_headers(self) -> dict[str, str]:
        headers = {
            "User-Agent": f"tapio-otel/{VERSION}",
            "Content-Type": "application/json" if self._settings.is_json else "application/x-protobuf",
        }
        if self._settings.compression is not Compression.NONE:
            headers["Content-Encoding"] = self._settings.compression.value
        known = {name.lower(): name for name in headers}
        for name, value in self._settings.headers.items():
            headers[known.get(name.lower(), name)] = value
        return headers

    async def _renew_tls(self) -> None:
        before = self._files.current
        if self._tls is True or not await self._files.changed():
            return
        try:
            self._tls = make_context(self._settings.tls, self._files.current)
        except ComponentError as error:
            self._files.keep(before)
            self._notices.warn("certificates", f"{error}; going on with the certificates read before")

    def _judge(self, response: aiohttp.ClientResponse, body: bytes) -> Answer:
        status = response.status
        content_type = response.headers.get("Content-Type", "")
        if 200 <= status < 300:
            return read_answer(body, "json" in content_type, self._settings.signal)
        words = read_error(body, content_type)
        said = f"HTTP {status} {quote(response.reason or '')}".rstrip() + (f": {words}" if words else "")
        if status in RETRYABLE:
            raise RetryableError(said, retry_after(response.headers.get("Retry-After")))
        if 300 <= status < 400:
            place = quote(without_credentials(response.headers.get("Location", "an unnamed place")))
            raise PermanentError(f"HTTP {status}: it redirects to {place}; redirects are not followed: correct endpoint")
        raise NotServed(said) if status in NO_SUCH_PATH else PermanentError(said)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the answer's body; a longer one than any OTLP answer is cut, which closes the connection."""
    parts: list[bytes] = []
    size = 0
    while size < MOST_OF_AN_ANSWER and (part := await response.content.read(MOST_OF_AN_ANSWER - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _proxy_of_environment(url: str) -> str | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for this URL."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass_environment(parts.netloc.rpartition("@")[2]):  # type: ignore[attr-defined]
        return None
    proxy = urllib.request.getproxies_environment().get(parts.scheme)
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None
