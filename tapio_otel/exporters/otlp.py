"""`otlp`: sends events to an OTLP server over gRPC.

Guarantees at-least-once delivery within a run of the agent: see `tapio_otel.exporting.otlp_exporter`. Retries never reorder
events within a request; requests may overtake each other unless `sending_queue.num_consumers` is 1.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Final

from pydantic import Field, field_validator, model_validator

from tapio_otel.component import ComponentConfig, ComponentError, Stability
from tapio_otel.config.types import Duration
from tapio_otel.exporting.batcher import Builder
from tapio_otel.exporting.endpoint import GRPC_PORT, parse_grpc, without_credentials
from tapio_otel.exporting.environment import Target, resolve
from tapio_otel.exporting.grpc_transport import GrpcSettings, GrpcTransport
from tapio_otel.exporting.options import (
    Compression,
    ExtensionReference,
    NetworkExporterConfig,
    OptionalCompression,
    refuse_extensions,
)
from tapio_otel.exporting.otlp_exporter import RequestExporter
from tapio_otel.exporting.signal import Signal

DEFAULT_ENDPOINT: Final = f"http://localhost:{GRPC_PORT}"
DEFAULT_TIMEOUT: Final = 5.0
ZSTD_REFUSED: Final = "the gRPC library does not offer zstd: write gzip or none, or use the otlphttp exporter"
# gRPC's rules for metadata (PROTOCOL-HTTP2, "Custom-Metadata").
_METADATA_NAME = re.compile(r"[0-9a-z_.-]+")


class KeepaliveOptions(ComponentConfig):
    """Say how gRPC finds out that a silent connection is dead."""

    time: Duration = Field(
        10.0, ge=0, description="Quiet time after which the server is asked for a sign of life; at least 10s."
    )
    timeout: Duration = Field(10.0, ge=0, description="Time it has to give one.")
    permit_without_stream: bool = Field(False, description="Ask even while no request is on its way.")


class OtlpConfig(NetworkExporterConfig):
    """Hold the options of `otlp` and `otlp_grpc`."""

    endpoint: str = Field(
        "",
        description="Server, as host:port (encrypted unless tls.insecure), http://…, https://…, dns:///… or unix:///…. "
        "Default: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT, then http://localhost:4317.",
    )
    timeout: Duration | None = Field(
        None, ge=0, description="Time the server has to answer a request. Default: OTEL_EXPORTER_OTLP_TIMEOUT, then 5s."
    )
    compression: OptionalCompression = Field(
        None, description="gzip or none. Default: OTEL_EXPORTER_OTLP_COMPRESSION, then gzip."
    )
    keepalive: KeepaliveOptions | None = Field(None, description="Signs of life on quiet connections; off when left out.")
    balancer_name: str = Field("round_robin", description="How requests are spread over a name's addresses: or pick_first.")
    wait_for_ready: bool = Field(False, description="Let a request wait for a connection, within its timeout.")
    authority: str = Field("", description="Value of the :authority header, in place of the endpoint's host.")
    user_agent: str = Field("", description="Value that the user-agent header begins with. Default: tapio-otel/<version>.")
    dialer: ExtensionReference | None = Field(None, description="Not supported: leave it out.")

    @field_validator("endpoint")
    @classmethod
    def _readable(cls, endpoint: str) -> str:
        if endpoint:
            parse_grpc(endpoint)
        return endpoint

    @field_validator("compression")
    @classmethod
    def _no_zstd(cls, compression: Compression | None) -> Compression | None:
        if compression is Compression.ZSTD:
            raise ValueError(ZSTD_REFUSED)
        return compression

    @field_validator("balancer_name")
    @classmethod
    def _known_balancer(cls, name: str) -> str:
        if name not in ("", "round_robin", "pick_first"):
            raise ValueError("expected round_robin or pick_first")
        return name

    @field_validator("dialer")
    @classmethod
    def _no_dialer(cls, dialer: ExtensionReference | None) -> ExtensionReference | None:
        refuse_extensions("dialer", dialer)
        return dialer

    @model_validator(mode="after")
    def _consistent(self) -> OtlpConfig:
        for name in self.headers:
            if not _METADATA_NAME.fullmatch(name.lower()) or name.lower().startswith("grpc-"):
                raise ValueError(
                    f"headers: {name!r} is no gRPC metadata name: use letters, digits, '-', '_' and '.', not grpc-"
                )
        if self.endpoint.lower().startswith("http://") and self.tls.names_certificates:
            raise ValueError("endpoint says http://, in clear text, but tls names certificates: write https://, or remove tls")
        return self


class OtlpExporter(RequestExporter[OtlpConfig]):
    """Send events to an OTLP server over gRPC."""

    type = "otlp"
    Config = OtlpConfig
    stability = Stability.BETA

    def make_transport(self, signal: Signal) -> GrpcTransport:
        """Return the gRPC transport that the configuration and the environment ask for; raises ComponentError."""
        target = resolve(self.config, self.config.timeout, DEFAULT_TIMEOUT)
        return GrpcTransport(replace(_settings(self.config, target), signal=signal), self._notices)

    def make_builder(self, max_records: int, max_bytes: int) -> Builder:
        """Return an encoder for protobuf requests within these limits."""
        from tapio_otel.otlp.wire import RequestBuilder

        return RequestBuilder(max_records=max_records, max_bytes=max_bytes)


class OtlpGrpcExporter(OtlpExporter):
    """Be the same exporter by the collector's newer name."""

    type = "otlp_grpc"


def _settings(config: OtlpConfig, target: Target) -> GrpcSettings:
    endpoint = target.endpoint or DEFAULT_ENDPOINT
    try:
        server = parse_grpc(_without_path(endpoint) if not config.endpoint else endpoint)
    except ValueError as error:
        raise ComponentError(f"{error} (it comes from OTEL_EXPORTER_OTLP_ENDPOINT)") from error
    if target.compression is Compression.ZSTD:
        raise ComponentError(f"OTEL_EXPORTER_OTLP_COMPRESSION: {ZSTD_REFUSED}")
    for name, value in target.headers.items():
        if not name.endswith("-bin") and not (value.isascii() and value.isprintable()):
            raise ComponentError(f"headers: the value of {name!r} has characters that gRPC cannot send: only ASCII is allowed")
    return GrpcSettings(
        target=server,
        shown=without_credentials(endpoint),
        secure=not target.tls.insecure if server.secure is None else server.secure,
        headers=target.headers,
        timeout=target.timeout,
        compression=target.compression,
        tls=target.tls,
        channel_options=tuple(_channel_options(config)),
        wait_for_ready=config.wait_for_ready,
        user_agent=config.user_agent,
        authority=config.authority,
    )


def _without_path(endpoint: str) -> str:
    """Return a URL's part that says where the server is: OTEL_EXPORTER_OTLP_ENDPOINT may have a path, for HTTP."""
    match = re.match(r"(?i)https?://[^/]*", endpoint)
    return match[0] if match else endpoint


def _channel_options(config: OtlpConfig) -> list[tuple[str, str | int]]:
    policy = {"loadBalancingConfig": [{config.balancer_name or "pick_first": dict[str, str]()}]}
    options: list[tuple[str, str | int]] = [("grpc.service_config", json.dumps(policy))]
    if config.keepalive is not None and config.keepalive.time:
        options += [
            ("grpc.keepalive_time_ms", int(max(config.keepalive.time, 10.0) * 1000)),
            ("grpc.keepalive_timeout_ms", int(config.keepalive.timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", int(config.keepalive.permit_without_stream)),
        ]
    return options
