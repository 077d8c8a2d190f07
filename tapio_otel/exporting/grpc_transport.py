"""OTLP over gRPC: one unary call for each request, its bytes passed through as they are.

gRPC's ordinary channel is used from a thread rather than its asyncio one: the latter compresses on the event loop and stops
it for 58 ms per 2.5 MB request. Calls are started in a worker thread and report back through a callback.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from tapio_otel.component import ComponentError, PermanentError
from tapio_otel.exporting.certificates import CertificateFiles
from tapio_otel.exporting.endpoint import GrpcTarget
from tapio_otel.exporting.options import Compression
from tapio_otel.exporting.responses import read_answer, retry_info
from tapio_otel.exporting.retry import Answer, NotServed, RetryableError
from tapio_otel.exporting.signal import Signal
from tapio_otel.exporting.tls_options import TlsOptions, make_context, system_authorities
from tapio_otel.exporting.tls_tunnel import TlsTunnel
from tapio_otel.notices import Notices, quote
from tapio_otel.version import VERSION

METHODS: Final = {
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}
# OTLP specification, OTLP/gRPC, "Failures". RESOURCE_EXHAUSTED is retryable only when the server sends RetryInfo.
RETRYABLE: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"},
)
# What gRPC itself says, with code UNKNOWN, when a connection breaks under a call.
BROKEN_CONNECTION: Final = "Stream removed"
# A connection that died without a word answers nothing: after so many timeouts in a row it is replaced.
TIMEOUTS_UNTIL_RECONNECT: Final = 2
LONGEST_RECONNECT_MS: Final = 5000


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """Say whom to call, and how. Times are seconds; 0 sets no limit."""

    target: GrpcTarget
    shown: str
    secure: bool = True
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 5.0
    compression: Compression = Compression.GZIP
    tls: TlsOptions = field(default_factory=TlsOptions)
    channel_options: tuple[tuple[str, Any], ...] = ()
    wait_for_ready: bool = False
    user_agent: str = ""
    authority: str = ""
    signal: Signal = Signal.LOGS


class GrpcTransport:
    """Call the service of one server that takes the settings' signal."""

    def __init__(self, settings: GrpcSettings, notices: Notices) -> None:
        self.destination = settings.shown
        self._settings = settings
        self._notices = notices
        self._files = CertificateFiles(settings.tls, notices)
        self._metadata = tuple((name.lower(), value) for name, value in settings.headers.items())
        self._channel: Any = None
        self._call: Any = None
        self._tunnel: TlsTunnel | None = None
        self._timeouts = 0

    async def open(self) -> None:
        """Get ready to send, without connecting; raises ComponentError."""
        if self._settings.secure:
            self._files.load()
            make_context(self._settings.tls, self._files.current)  # says what is wrong with them, which gRPC does not
        if self._settings.secure and self._settings.tls.beyond_grpc:
            self._tunnel = TlsTunnel(self._settings.target, self._settings.tls, self._files)
            await self._tunnel.start()
        self._connect()

    async def encode(self, body: bytes) -> bytes:
        """Return the body unchanged: gRPC compresses each message as it is sent."""
        return body

    async def send(self, body: bytes) -> Answer:
        """Make one call; raises RetryableError or PermanentError."""
        await self._renew_tls()
        call = await asyncio.to_thread(
            self._call.future,
            body,
            timeout=self._settings.timeout or None,
            metadata=self._metadata,
            wait_for_ready=self._settings.wait_for_ready,
        )
        try:
            await _ended(call)
        except asyncio.CancelledError:
            call.cancel()
            raise
        code = call.code().name
        self._timeouts = self._timeouts + 1 if code == "DEADLINE_EXCEEDED" else 0
        if code == "OK":
            return read_answer(call.result(), signal=self._settings.signal)
        if self._timeouts >= TIMEOUTS_UNTIL_RECONNECT:
            self._timeouts = 0
            self._connect()
        raise self._error(code, call)

    async def close(self) -> None:
        """Release every connection; safe without `open`."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await asyncio.to_thread(channel.close)
        if self._tunnel is not None:
            await self._tunnel.close()

    def _error(self, code: str, call: Any) -> ComponentError:
        words = quote(call.details() or "")
        if self._tunnel is not None and self._tunnel.problem and code == "UNAVAILABLE":
            words = self._tunnel.problem
        said = f"{code}: {words}{self._advice(code, words)}" if words else code
        details = next((value for key, value in call.trailing_metadata() or () if key == "grpc-status-details-bin"), b"")
        after = retry_info(details) if details else None
        if code in RETRYABLE or (code == "UNKNOWN" and words == BROKEN_CONNECTION):
            return RetryableError(said, after)
        if code == "RESOURCE_EXHAUSTED" and after is not None:
            return RetryableError(said, after)
        return NotServed(said) if code == "UNIMPLEMENTED" else PermanentError(said)

    def _advice(self, code: str, words: str) -> str:
        """Return what to try where gRPC's words do not tell what the usual cause is."""
        if "HTTP/2" in words:
            return "; if this is an OTLP/HTTP port, use the otlphttp exporter or port 4317"
        if code == "UNAVAILABLE" and self._settings.secure and self._tunnel is None:
            return "; this connection is encrypted: for a server without TLS write http://… as endpoint, or tls.insecure: true"
        return ""

    async def _renew_tls(self) -> None:
        before = self._files.current
        if not self._settings.secure or not await self._files.changed():
            return
        try:
            make_context(self._settings.tls, self._files.current)
        except ComponentError as error:
            self._files.keep(before)
            self._notices.warn("certificates", f"{error}; going on with the certificates read before")
        else:
            self._connect()

    def _connect(self) -> None:
        """Make a new channel for further calls; those under way end on the old one, which closes with the last of them."""
        # The native library writes lines of its own to standard error, for example for every failed TLS handshake.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        import grpc

        settings = self._settings
        compression = grpc.Compression.Gzip if settings.compression is Compression.GZIP else grpc.Compression.NoCompression
        if settings.secure and self._tunnel is None:
            self._channel = grpc.secure_channel(
                settings.target.target, self._credentials(), options=self._options(), compression=compression
            )
        else:
            target = self._tunnel.target if self._tunnel else settings.target.target
            self._channel = grpc.insecure_channel(target, options=self._options(), compression=compression)
        # Without serializers gRPC passes bytes through.
        self._call = self._channel.unary_unary(METHODS[settings.signal])

    def _credentials(self) -> Any:
        import grpc

        files = self._files.current
        return grpc.ssl_channel_credentials(
            files.authorities or system_authorities() or None, files.key or None, files.certificate or None
        )

    def _options(self) -> list[tuple[str, Any]]:
        settings = self._settings
        name = settings.tls.server_name_override
        options = [
            ("grpc.primary_user_agent", settings.user_agent or f"tapio-otel/{VERSION}"),
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_MS),
            ("grpc.use_local_subchannel_pool", 1),  # or a new channel would get the old one's dead connection
            ("grpc.max_send_message_length", -1),
            *settings.channel_options,
        ]
        if name and settings.secure and self._tunnel is None:
            options.append(("grpc.ssl_target_name_override", name))
        if authority := settings.authority or self._tunnel_authority():
            options.append(("grpc.default_authority", authority))
        return options

    def _tunnel_authority(self) -> str:
        """Return what the server would have been called without the tunnel."""
        if self._tunnel is None or not self._settings.target.host:
            return ""
        return self._settings.tls.server_name_override or self._settings.target.target.rpartition("/")[2]


async def _ended(call: Any) -> None:
    """Wait until a call has ended, well or badly."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def report(_call: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(ended.set)

    call.add_done_callback(report)
    await ended.wait()
