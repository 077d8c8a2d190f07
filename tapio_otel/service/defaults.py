"""The embedded default pipeline, and how the environment extends it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from urllib.parse import urlsplit

PROTOCOLS = {"grpc": "otlp", "http/protobuf": "otlphttp", "http/json": "otlphttp"}


def default_sources(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the embedded configuration as (name, YAML) pairs; with an OTLP endpoint in the environment it ships there too."""
    embedded = [("default.yaml", (files("tapio_otel.config") / "default.yaml").read_text("utf-8"))]
    protocol = otlp_protocol(environment)
    if protocol is not None:
        exporter = PROTOCOLS[protocol]
        options = "{encoding: json}" if protocol == "http/json" else ""
        embedded.append(
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                f"exporters:\n  {exporter}: {options}\n"
                f"service:\n  pipelines:\n    logs:\n      exporters: [debug, sqlite, {exporter}]\n",
            )
        )
    return embedded


def otlp_protocol(environment: Mapping[str, str]) -> str | None:
    """Return the protocol to ship by, or None when no endpoint is set.

    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL and OTEL_EXPORTER_OTLP_PROTOCOL decide; without them port 4317 means gRPC and anything
    else HTTP with protobuf, the specification's default.
    """
    endpoint = environment.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint:
        return None
    named = environment.get("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if named in PROTOCOLS:
        return named
    if named:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {named!r} is no OTLP protocol: expected {', '.join(PROTOCOLS)}")
    return "grpc" if _port(endpoint) == 4317 else "http/protobuf"


def _port(endpoint: str) -> int | None:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").port
    except ValueError:
        return None
