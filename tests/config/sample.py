"""Components and a registry for the configuration tests: a journal receiver, exporters with the collector's options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from tapio_otel.component import Component, ComponentConfig, Exporter, ExporterConfig, Extension, Kind, Processor, Receiver
from tapio_otel.config import ConfigError, UnknownComponent
from tapio_otel.config.loader import Configuration, load
from tapio_otel.config.types import ByteSize, Duration, Secret


class JournalConfig(ComponentConfig):
    """Read a journal."""

    directory: str | None = Field(None, description="Directory of journal files")
    start_at: Literal["beginning", "end"] = Field("end", description="Where to start")
    follow: bool = Field(True, description="Go on when the end is reached")
    units: list[str] = Field([], description="Only these units")
    matches: list[dict[str, str]] = Field([], description="AND groups, ORed")
    fields: Literal["default", "all"] | list[str] = Field("default", description="Which fields become attributes")
    priority: int = Field(7, description="The least important priority", ge=0, le=7)
    ratio: float = Field(1.0, description="A share")
    max_message_size: ByteSize = Field(1 << 20, description="Longest message in bytes")
    poll_interval: Duration = Field(0.2, description="Pause between looks")


class Journal(Receiver[JournalConfig]):
    """Read the journal of a node."""

    type = "journald"
    Config = JournalConfig


class DedupConfig(ComponentConfig):
    """Count repeats."""

    window: Duration = Field(300.0, description="How long a repeat is counted")
    size: int = Field(10_000, description="How many are remembered", gt=0)


class Dedup(Processor[DedupConfig]):
    """Count repeats instead of sending them."""

    type = "dedup"
    Config = DedupConfig


class TlsConfig(ComponentConfig):
    """Secure a connection."""

    insecure: bool = Field(False, description="No TLS")
    ca_file: str | None = Field(None, description="Certificates to trust")
    key_pem: Secret | None = Field(None, description="Private key")
    min_version: str = Field("1.2", description="Lowest version")


class RetryConfig(ComponentConfig):
    """Try again."""

    enabled: bool = Field(True, description="Whether")
    initial_interval: Duration = Field(5.0, description="First pause")
    max_interval: Duration = Field(30.0, description="Longest pause")
    max_elapsed_time: Duration = Field(300.0, description="When to give up")


class QueueConfig(ComponentConfig):
    """Wait."""

    enabled: bool = Field(True, description="Whether")
    num_consumers: int = Field(10, description="Parallel requests", gt=0)
    queue_size: int = Field(1000, description="Batches kept", gt=0)


class OtlpConfig(ComponentConfig):
    """Send OTLP."""

    endpoint: str = Field("localhost:4317", description="host:port")
    tls: TlsConfig = Field(TlsConfig(), description="TLS")
    headers: dict[str, Secret] = Field({}, description="Headers")
    compression: Literal["gzip", "zstd", "none"] = Field("gzip", description="Compression")
    timeout: Duration = Field(5.0, description="Longest wait for an answer")
    retry_on_failure: RetryConfig = Field(RetryConfig(), description="Retries")
    sending_queue: QueueConfig = Field(QueueConfig(), description="Queue")


class Otlp(Exporter[OtlpConfig]):
    """Send OTLP over gRPC."""

    type = "otlp"
    Config = OtlpConfig


class OtlpHttp(Exporter[OtlpConfig]):
    """Send OTLP over HTTP."""

    type = "otlphttp"
    Config = OtlpConfig


class DebugConfig(ExporterConfig):
    """Print."""

    verbosity: Literal["basic", "normal", "detailed"] = Field("basic", description="How much")
    pin: Secret | None = Field(None, description="A secret whose name does not tell")
    level: int | None = Field(None, description="A number that may be absent")
    code: str = Field("x", description="A checked text")

    @field_validator("code")
    @classmethod
    def _code(cls, value: str) -> str:
        if value == "boom":
            raise KeyError("no such thing")
        if value.startswith("bad"):
            raise ValueError(f"codes do not begin with bad, as {value!r} does")
        return value

    @model_validator(mode="after")
    def _together(self) -> DebugConfig:
        if self.level == 1 and self.verbosity == "basic":
            raise ValueError("level 1 needs verbosity normal or detailed")
        return self


class Debug(Exporter[DebugConfig]):
    """Print events."""

    type = "debug"
    Config = DebugConfig


class Health(Extension[ComponentConfig]):
    """Tell how the agent is."""

    type = "health_check"
    Config = ComponentConfig


COMPONENTS: tuple[type[Component[Any]], ...] = (Journal, Dedup, Otlp, OtlpHttp, Debug, Health)


class Registry:
    """Know the sample components, and one plugin that is broken."""

    def types(self, kind: Kind) -> Iterable[str]:
        return [one.type for one in COMPONENTS if one.kind == kind]

    def find(self, kind: Kind, type: str) -> type[Component[Any]]:
        for one in COMPONENTS:
            if (one.kind, one.type) == (kind, type):
                return one
        if type == "broken":
            raise UnknownComponent("plugin 'broken' of acme-plugin 1.0 cannot be loaded: ImportError: no acme", broken=True)
        near = get_close_matches(type, list(self.types(kind)), 1)
        raise UnknownComponent(f"unknown {kind.singular} type {type!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


SERVICE = """
service:
  pipelines:
    logs:
      receivers: [journald]
      exporters: [debug]
"""
BASE = f"""
receivers:
  journald:
exporters:
  debug:
{SERVICE}"""


def loaded(*texts: str, overrides: Iterable[str] = (), env: Mapping[str, str] | None = None) -> Configuration:
    """Load texts named a.yaml, b.yaml ... in order."""
    sources = [(f"{chr(97 + index)}.yaml", text) for index, text in enumerate(texts)]
    return load(sources, list(overrides), Registry(), env or {})


def problems(*texts: str, overrides: Iterable[str] = (), env: Mapping[str, str] | None = None) -> list[str]:
    """Return the messages that loading the texts gives."""
    with pytest.raises(ConfigError) as caught:
        loaded(*texts, overrides=overrides, env=env)
    return [str(problem) for problem in caught.value.problems]


def receiver_problems(options: str, **more: Any) -> list[str]:
    """Return the messages for options of the journal receiver, given as flow YAML; they stand in line 2."""
    return problems(f"receivers:\n  journald: {{{options}}}\nexporters:\n  debug:\n{SERVICE}", **more)


def exporter_problems(options: str, **more: Any) -> list[str]:
    """Return the messages for options of the debug exporter, given as flow YAML; they stand in line 4."""
    return problems(f"receivers:\n  journald:\nexporters:\n  debug: {{{options}}}\n{SERVICE}", **more)
