"""Read the forms an endpoint may have: for gRPC a target with or without a scheme, for HTTP a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

LOGS_PATH: Final = "/v1/logs"
TRACES_PATH: Final = "/v1/traces"
GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[^\]\s]+)?\]|[^\[\]:/\s]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """Name a gRPC server: `target` is what the channel is opened with."""

    target: str
    host: str
    """Host without brackets; empty for a Unix socket."""
    port: int
    path: str
    """Path of a Unix socket (abstract ones start with NUL), else empty."""
    secure: bool | None
    """What the scheme says about encryption; None where it says nothing."""


def parse_grpc(endpoint: str) -> GrpcTarget:
    """Split `host:port`, `http://…`, `https://…`, `dns:///…`, `unix:…`; raises ValueError saying what to write."""
    if endpoint.startswith(("unix:", "unix-abstract:")):
        return _unix(endpoint)
    secure = None
    rest = endpoint
    for scheme, encrypted in (("http://", False), ("https://", True)):
        if endpoint.lower().startswith(scheme):
            secure, rest = encrypted, endpoint[len(scheme) :].rstrip("/")
    resolver = re.match(r"dns://[^/]*/|dns:|passthrough:///", rest)
    prefix = resolver[0] if resolver and resolver[0].startswith("dns") else ""
    if resolver:
        rest = rest[len(resolver[0]) :]
    host, port = _host_port(rest, GRPC_PORT, endpoint)
    shown = f"[{host}]" if ":" in host else host
    return GrpcTarget(f"{prefix or 'dns:///'}{shown}:{port}", host, port, "", secure)


def _unix(endpoint: str) -> GrpcTarget:
    scheme, _colon, path = endpoint.partition(":")
    if path.startswith("//"):
        path = path[2:]
    if not path:
        raise ValueError(f"endpoint {endpoint!r} names no socket: write unix:///run/collector.sock")
    if scheme == "unix-abstract":
        return GrpcTarget(f"unix-abstract:{path}", "", 0, f"\0{path}", None)
    return GrpcTarget(f"unix:{path}", "", 0, path, None)


def _host_port(text: str, default: int, endpoint: str) -> tuple[str, int]:
    match = _HOST_PORT.fullmatch(text)
    port = int(match["port"] or default) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError(
            f"endpoint {without_credentials(endpoint)!r} is no server: write host:port, https://host:port, "
            "dns:///host:port or unix:///path (an IPv6 address in brackets)"
        )
    return match["host"].strip("[]"), port


def parse_http(endpoint: str, is_complete: bool, signal_path: str = LOGS_PATH) -> str:
    """Return the URL that requests are posted to; raises ValueError saying what to write.

    The signal's path is added to a base endpoint; a complete one is used as it is (with `/` where it has no path).
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _has_valid_port(endpoint):
        raise ValueError(
            f"endpoint {without_credentials(endpoint)!r} is no HTTP URL: write http://host:{HTTP_PORT} or https://host"
        )
    path = (parts.path or "/") if is_complete else parts.path.rstrip("/") + signal_path
    return parts._replace(path=path, fragment="").geturl()


def beside_logs(url: str) -> str:
    """Return where the server takes traces that takes logs at a complete URL: next to them, else at the usual path."""
    parts = urlsplit(url)
    path = parts.path.removesuffix(LOGS_PATH) if parts.path.endswith(LOGS_PATH) else ""
    return parts._replace(path=path + TRACES_PATH).geturl()


def _has_valid_port(endpoint: str) -> bool:
    try:
        return urlsplit(endpoint).port != 0
    except ValueError:
        return False


def without_credentials(endpoint: str) -> str:
    """Return the endpoint as it may be shown: with user and password replaced."""
    return re.sub(r"(?<=//)[^/@]*@", "***@", endpoint)
