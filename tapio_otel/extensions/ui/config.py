"""The options of the ui extension."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import Field, field_validator, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration, Secret
from tapio_otel.extensions.ui.trace_url import checked_trace_url

DEFAULT_PORT: Final = 8321
SHORTEST_TOKEN: Final = 16
_ANYWHERE: Final = frozenset(("", "0.0.0.0", "::"))  # noqa: S104 - recognised, not listened on


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Name where to listen; `host` is without brackets, empty for all interfaces."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Split `host:port`, `[::1]:port`, `:port`; raises ValueError saying what to write."""
        host, colon, port = text.rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and not is_bracketed):
            raise ValueError("write host:port, such as 127.0.0.1:8321 or [::1]:8321; :8321 means all interfaces")
        host = host[1:-1] if is_bracketed else host
        if any(letter.isspace() or letter in "/@?#" for letter in host):
            raise ValueError("write host:port without a scheme or path, such as 127.0.0.1:8321")
        return cls(host.lower(), int(port))

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def is_everywhere(self) -> bool:
        """Tell whether it means all interfaces."""
        return self.host in _ANYWHERE

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address is always this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class UiTlsOptions(ComponentConfig):
    """Name the certificate by which browsers know the page's server; TLS 1.2 or newer."""

    cert_file: str = Field("", description="Path of the PEM certificate with its chain; default: no TLS.")
    key_file: str = Field("", description="Path of the certificate's PEM key.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("a certificate needs both cert_file and key_file")
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files to read."""
        return (Path(self.cert_file), Path(self.key_file)) if self.cert_file else ()


class UiConfig(ComponentConfig):
    """Hold the options of `ui`."""

    endpoint: str = Field(
        f"127.0.0.1:{DEFAULT_PORT}",
        description="Where to listen, as host:port. Other than on this machine itself a token is needed. The default port is "
        "none that a collector, Prometheus, Grafana, Jaeger or Kubernetes listens on, and below those of outgoing connections.",
    )
    token: Secret = Field(
        Secret(""),
        description=f"What a request must show, {SHORTEST_TOKEN} characters at least; make one with `openssl rand -hex 32`. "
        "Default: none is asked for, which only an endpoint on this machine itself allows.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Further names by which browsers reach the page, such as node-1.example.com. Requests for any other name "
        "are refused, so that no web page can reach the agent under a name of its own (DNS rebinding).",
    )
    store: str = Field("", description="Id of the sqlite exporter whose events are shown. Default: the only one there is.")
    trace_url: str = Field(
        "", description="Where a trace is looked at: a URL with {trace_id} in it. Default: trace ids are not links."
    )
    tls: UiTlsOptions = Field(UiTlsOptions(), description="Encryption; by default there is none.")
    max_queries: int = Field(4, ge=1, le=64, description="Queries that run at once, each in a thread; others wait.")
    query_timeout: Duration = Field(10.0, gt=0, description="Time that a query may take, waiting included.")
    max_streams: int = Field(32, ge=1, le=1000, description="Live streams at once.")
    memory_events: int = Field(
        20_000,
        ge=100,
        le=1_000_000,
        description="Without a sqlite exporter: so many events are kept in memory to be shown, `log` ones from warning up.",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_endpoint(cls, text: str) -> str:
        Endpoint.parse(text)
        return text

    @field_validator("token")
    @classmethod
    def _is_long(cls, token: Secret) -> Secret:
        text = token.get_secret_value()
        if text and (len(text) < SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text):
            raise ValueError(
                f"expected {SHORTEST_TOKEN} or more ASCII characters without spaces; make one with `openssl rand -hex 32`"
            )
        return token

    @field_validator("trace_url")
    @classmethod
    def _is_template(cls, text: str) -> str:
        return checked_trace_url(text)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if any(not host or any(letter in "/@?#*" or letter.isspace() for letter in host) for host in hosts):
            raise ValueError("expected host names without scheme, port or wildcard, such as node-1.example.com")
        return tuple(host.lower() for host in hosts)

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.listens_on.is_loopback and not self.token.get_secret_value():
            raise ValueError(
                f"endpoint {self.endpoint!r} can be reached from elsewhere: set token (make one with `openssl rand -hex 32`), "
                f"or listen on 127.0.0.1:{self.listens_on.port}"
            )
        return self

    @property
    def listens_on(self) -> Endpoint:
        """Return the endpoint in its parts."""
        return Endpoint.parse(self.endpoint)
