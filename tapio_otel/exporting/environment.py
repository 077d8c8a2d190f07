"""The standard `OTEL_EXPORTER_OTLP_*` variables, which stand in for options the configuration leaves out.

Names and meanings are those of OpenTelemetry's exporter specification; a `_LOGS_` variant goes before the general one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from tapio_otel.component import ComponentError
from tapio_otel.exporting.options import Compression, NetworkExporterConfig
from tapio_otel.exporting.tls_options import TlsOptions

PREFIX: Final = "OTEL_EXPORTER_OTLP_"


@dataclass(frozen=True, slots=True)
class Target:
    """Say where and how to send, once configuration and environment are joined."""

    endpoint: str
    """As configured, or as a variable has it; empty where neither names one."""
    is_complete: bool
    """Whether the endpoint is to be taken as it is (OTEL_EXPORTER_OTLP_LOGS_ENDPOINT), without `/v1/logs` added."""
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    compression: Compression
    tls: TlsOptions


def variable(name: str, environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the name and the value of the variable that stands for `name`, its logs variant first; empty where unset."""
    for full in (f"{PREFIX}LOGS_{name}", f"{PREFIX}{name}"):
        value = environment.get(full, "").strip()
        if value:
            return full, value
    return "", ""


def resolve(config: NetworkExporterConfig, timeout: float | None, default_timeout: float) -> Target:
    """Join options and variables; raises ComponentError naming a variable that cannot be read."""
    endpoint, complete = config.endpoint, False
    from_environment = not endpoint
    if from_environment:
        name, endpoint = variable("ENDPOINT")
        complete = name == f"{PREFIX}LOGS_ENDPOINT"
    headers = {**_headers(), **{name: text.get_secret_value() for name, text in config.headers.items()}}
    if timeout is None:
        timeout = _timeout(default_timeout)
    return Target(endpoint, complete, headers, timeout, config.compression or _compression(), _tls(config, from_environment))


def _headers() -> dict[str, str]:
    name, text = variable("HEADERS")
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if any(not equals or not key.strip() for key, equals, _value in pairs):
        raise ComponentError(f"{name} is not of the form key1=value1,key2=value2: correct it (its value is not shown)")
    return {key.strip().lower(): unquote(value.strip()) for key, _equals, value in pairs}


def _timeout(default: float) -> float:
    name, text = variable("TIMEOUT")
    if not text:
        return default
    if not text.isdecimal():
        raise ComponentError(f"{name} is {text!r}: expected a number of milliseconds, such as 10000")
    return int(text) / 1000


def _compression() -> Compression:
    name, text = variable("COMPRESSION")
    try:
        return Compression(text or "gzip")
    except ValueError:
        raise ComponentError(f"{name} is {text!r}: expected gzip, zstd or none") from None


def _tls(config: NetworkExporterConfig, from_environment: bool) -> TlsOptions:
    """Fill in certificate files and, for an endpoint that came from the environment, whether it is encrypted."""
    tls = config.tls
    extra: dict[str, object] = {}
    if not (tls.ca_file or tls.ca_pem):
        extra["ca_file"] = variable("CERTIFICATE")[1]
    if not (tls.cert_file or tls.cert_pem):
        extra["cert_file"] = variable("CLIENT_CERTIFICATE")[1]
        extra["key_file"] = variable("CLIENT_KEY")[1]
        if bool(extra["cert_file"]) != bool(extra["key_file"]):
            raise ComponentError(f"{PREFIX}CLIENT_CERTIFICATE and {PREFIX}CLIENT_KEY go together: set both or neither")
    if from_environment and variable("INSECURE")[1].lower() == "true":
        extra["insecure"] = True
    return tls.model_copy(update={name: value for name, value in extra.items() if value})
