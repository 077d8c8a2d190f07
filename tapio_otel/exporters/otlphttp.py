"""`otlphttp`: sends events to an OTLP server over HTTP, as protobuf or JSON.

Guarantees at-least-once delivery within a run of the agent: see `tapio_otel.exporting.otlp_exporter`. HTTP/1.1 with
connections kept open; redirects are not followed, as that would send events and credentials where nobody configured it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field, field_validator, model_validator

from tapio_otel.component import ComponentConfig, ComponentContext, ComponentError, Stability
from tapio_otel.config.types import Duration
from tapio_otel.exporting.batcher import Builder
from tapio_otel.exporting.endpoint import HTTP_PORT, TRACES_PATH, beside_logs, parse_http
from tapio_otel.exporting.environment import Target, resolve
from tapio_otel.exporting.http_transport import HttpSettings, HttpTransport
from tapio_otel.exporting.options import NO_EFFECT, CompressionParameters, NetworkExporterConfig, check_proxy_url
from tapio_otel.exporting.otlp_exporter import RequestExporter
from tapio_otel.exporting.signal import Signal

DEFAULT_ENDPOINT: Final = f"http://localhost:{HTTP_PORT}"
DEFAULT_TIMEOUT: Final = 30.0
OTHER_SIGNAL: Final = "Accepted from collector configurations; has no effect here, where logs and traces are sent."


class Encoding(StrEnum):
    """Name how requests are written."""

    PROTO = "proto"
    JSON = "json"


class CookieOptions(ComponentConfig):
    """Say what happens to the server's cookies."""

    enabled: bool = Field(False, description="Send the server's cookies back to it, for load balancers that need it.")


class KeepaliveOptions(ComponentConfig):
    """Say how long connections are kept for further requests."""

    enabled: bool = Field(True, description="Keep connections; if false each request opens its own.")
    idle_conn_timeout: Duration | None = Field(None, ge=0, description="Idle time after which one is closed; default 90s.")
    max_idle_conns: int = Field(100, ge=0, description=f"{NO_EFFECT}: there are no more than sending_queue.num_consumers.")
    max_idle_conns_per_host: int = Field(
        0, ge=0, description=f"{NO_EFFECT}: there are no more than sending_queue.num_consumers."
    )


class OtlpHttpConfig(NetworkExporterConfig):
    """Hold the options of `otlphttp` and `otlp_http`."""

    endpoint: str = Field(
        "",
        description="Base URL, to which /v1/logs is added. Default: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT (taken as it is), "
        "OTEL_EXPORTER_OTLP_ENDPOINT, then http://localhost:4318.",
    )
    logs_endpoint: str = Field("", description="URL that logs are posted to, as it is; goes before endpoint.")
    traces_endpoint: str = Field(
        "",
        description="URL that the traces of findings are posted to, as it is (see emit_traces of correlate). Default: "
        "/v1/traces of the server that gets the logs.",
    )
    metrics_endpoint: str = Field("", description=OTHER_SIGNAL)
    profiles_endpoint: str = Field("", description=OTHER_SIGNAL)
    encoding: Encoding = Field(Encoding.PROTO, description="proto or json.")
    timeout: Duration | None = Field(
        None, ge=0, description="Time a request may take. Default: OTEL_EXPORTER_OTLP_TIMEOUT, then 30s; 0 sets no limit."
    )
    compression_params: CompressionParameters = Field(CompressionParameters(), description="Tunes the compression.")
    proxy_url: str = Field("", description="HTTP proxy. Default: HTTP_PROXY, HTTPS_PROXY and NO_PROXY.")
    keepalive: KeepaliveOptions | None = Field(None, description="How long connections are kept.")
    disable_keep_alives: bool = Field(False, description="Open a connection for each request (keepalive.enabled: false).")
    idle_conn_timeout: Duration = Field(90.0, ge=0, description="Idle time after which a connection is closed; 0 for never.")
    max_conns_per_host: int = Field(0, ge=0, description="Most connections to the server at a time; 0 sets no limit.")
    max_idle_conns: int = Field(100, ge=0, description=f"{NO_EFFECT}: there are no more than sending_queue.num_consumers.")
    max_idle_conns_per_host: int = Field(
        0, ge=0, description=f"{NO_EFFECT}: there are no more than sending_queue.num_consumers."
    )
    force_attempt_http2: bool = Field(True, description=f"{NO_EFFECT}: HTTP/1.1 is spoken.")
    http2_read_idle_timeout: Duration = Field(0.0, ge=0, description=f"{NO_EFFECT}: HTTP/1.1 is spoken.")
    http2_ping_timeout: Duration = Field(0.0, ge=0, description=f"{NO_EFFECT}: HTTP/1.1 is spoken.")
    cookies: CookieOptions = Field(CookieOptions(), description="What happens to the server's cookies.")

    @field_validator("endpoint", "logs_endpoint", "traces_endpoint")
    @classmethod
    def _readable(cls, endpoint: str) -> str:
        if endpoint:
            parse_http(endpoint, is_complete=True)
        return endpoint

    @field_validator("proxy_url")
    @classmethod
    def _http_proxy(cls, url: str) -> str:
        return check_proxy_url(url)

    @field_validator("cookies", "compression_params", mode="before")
    @classmethod
    def _empty_is_default(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _consistent(self) -> OtlpHttpConfig:
        for name, value in self.headers.items():
            text = value.get_secret_value()
            if (
                not name.isascii()
                or not name.replace("-", "").replace("_", "").replace(".", "").isalnum()
                or "\n" in text
                or "\r" in text
            ):
                raise ValueError(f"headers: {name!r} is no HTTP header: use letters, digits and '-', and a value of one line")
        return self


class OtlpHttpExporter(RequestExporter[OtlpHttpConfig]):
    """Send events to an OTLP server over HTTP."""

    type = "otlphttp"
    Config = OtlpHttpConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: OtlpHttpConfig) -> None:
        super().__init__(context, config)
        self.encoding = config.encoding.value

    def make_transport(self, signal: Signal) -> HttpTransport:
        """Return the HTTP transport that the configuration and the environment ask for; raises ComponentError."""
        target = resolve(self.config, self.config.timeout, DEFAULT_TIMEOUT)
        return HttpTransport(_settings(self.config, target, signal), self._notices)

    def make_builder(self, max_records: int, max_bytes: int) -> Builder:
        """Return an encoder for requests of the configured encoding within these limits."""
        if self.config.encoding is Encoding.JSON:
            from tapio_otel.otlp.json import JsonRequestBuilder

            return JsonRequestBuilder(max_records=max_records, max_bytes=max_bytes)
        from tapio_otel.otlp.wire import RequestBuilder

        return RequestBuilder(max_records=max_records, max_bytes=max_bytes)


class OtlpHttpUnderscoreExporter(OtlpHttpExporter):
    """Be the same exporter by the collector's newer name."""

    type = "otlp_http"


def _settings(config: OtlpHttpConfig, target: Target, signal: Signal) -> HttpSettings:
    keepalive = config.keepalive or KeepaliveOptions()
    idle = config.idle_conn_timeout if keepalive.idle_conn_timeout is None else keepalive.idle_conn_timeout
    return HttpSettings(
        url=_url(config, target) if signal is Signal.LOGS else _traces_url(config, target),
        signal=signal,
        headers=target.headers,
        is_json=config.encoding is Encoding.JSON,
        timeout=target.timeout,
        compression=target.compression,
        compression_level=config.compression_params.level,
        tls=target.tls,
        proxy_url=config.proxy_url,
        idle_timeout=idle,
        keep_alive=keepalive.enabled and not config.disable_keep_alives,
        max_connections=config.max_conns_per_host,
        cookies=config.cookies.enabled,
    )


def _url(config: OtlpHttpConfig, target: Target) -> str:
    if config.logs_endpoint:
        return parse_http(config.logs_endpoint, is_complete=True)
    try:
        return parse_http(target.endpoint or DEFAULT_ENDPOINT, target.is_complete)
    except ValueError as error:
        raise ComponentError(f"{error} (it comes from OTEL_EXPORTER_OTLP_ENDPOINT)") from error


def _traces_url(config: OtlpHttpConfig, target: Target) -> str:
    """Return where traces go: where the configuration says, else to the server that gets the logs."""
    if config.traces_endpoint:
        return parse_http(config.traces_endpoint, is_complete=True)
    if target.is_complete or (config.logs_endpoint and not config.endpoint):
        return beside_logs(_url(config, target))
    return parse_http(target.endpoint or DEFAULT_ENDPOINT, False, TRACES_PATH)
