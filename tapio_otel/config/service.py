"""The `service` section: which components form pipelines, and what concerns the agent as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tapio_otel.component import ComponentConfig, ComponentId
from tapio_otel.config.types import Duration

SIGNAL: Final = "logs"


def parse_reference(value: Any) -> ComponentId:
    """Return the id written as `type/name`; raises ValueError saying what to write."""
    if isinstance(value, ComponentId):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a component id, written as type or type/name")
    return ComponentId.parse(value)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("expected an absolute path")
    return path


def _some_path(value: Any) -> Any:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("expected the path of a directory")
    return value


Reference = Annotated[
    ComponentId,
    BeforeValidator(parse_reference),
    WithJsonSchema({"type": "string", "pattern": r"^[a-z][a-z0-9_]*(/[^\s/]+)?$", "examples": ["otlp", "journald/boot"]}),
]
"""The id of a component, as pipelines name it."""


class PipelineConfig(ComponentConfig):
    """Join receivers over processors to exporters."""

    receivers: tuple[Reference, ...] = Field((), description="Ids of the receivers whose events come in; at least one")
    processors: tuple[Reference, ...] = Field((), description="Ids of the processors the events pass, in this order")
    exporters: tuple[Reference, ...] = Field((), description="Ids of the exporters that each get all events; at least one")


class LogsConfig(ComponentConfig):
    """Say how the agent writes its own log."""

    level: Annotated[Literal["debug", "info", "warn", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="The least severe messages written"
    )
    encoding: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = Field(
        "console", description="Readable text, or one JSON object a line"
    )


class TelemetryConfig(ComponentConfig):
    """Describe the agent's own logs and metrics."""

    logs: LogsConfig = Field(LogsConfig(), description="The agent's own log")
    resource: dict[str, str | None] = Field(
        {}, description="Resource attributes of the agent's own telemetry; null leaves one out that is set otherwise"
    )


class ServiceConfig(ComponentConfig):
    """Describe the agent as a whole."""

    pipelines: dict[Reference, PipelineConfig] = Field({}, description="The pipelines, by id: logs, or logs/name")
    extensions: tuple[Reference, ...] = Field((), description="Ids of the extensions to run")
    telemetry: TelemetryConfig = Field(TelemetryConfig(), description="The agent's own logs and metrics")
    state_dir: Annotated[Path | None, BeforeValidator(_some_path)] = Field(
        None,
        description="Directory of checkpoints, durable queues and the event store. "
        "Default: /var/lib/tapio for root, else $XDG_STATE_HOME/tapio or ~/.local/state/tapio",
    )
    root_path: Annotated[Path, BeforeValidator(_some_path), AfterValidator(_absolute)] = Field(
        Path("/"),
        description="Where the host's root directory is mounted, when the agent runs in a container: "
        "its /proc and /sys/fs/cgroup tell what processes and cgroups belong to",
    )
    shutdown_timeout: Duration = Field(30.0, description="How long the pipelines may take to drain when the agent stops")
