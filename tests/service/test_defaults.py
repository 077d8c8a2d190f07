"""The environment's OTLP endpoint extends the embedded pipeline, by the protocol the specification's variables tell."""

from __future__ import annotations

import pytest

from tapio_otel.config.loader import load
from tapio_otel.registry import Registry
from tapio_otel.service.defaults import default_sources, otlp_protocol

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({}, None),
        ({ENDPOINT: ""}, None),
        ({ENDPOINT: "http://backend:4317"}, "grpc"),
        ({ENDPOINT: "backend:4317"}, "grpc"),
        ({ENDPOINT: "http://backend:4318"}, "http/protobuf"),
        ({ENDPOINT: "https://backend/otlp"}, "http/protobuf"),
        ({ENDPOINT: "http://[broken"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://backend:4317", ENDPOINT: "http://other:4318"}, "grpc"),
        ({ENDPOINT: "http://backend:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({ENDPOINT: "http://backend:4317", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json"}, "http/json"),
    ],
)
def test_the_protocol_follows_the_environment(environment: dict[str, str], protocol: str | None) -> None:
    """Variables first, then the well-known ports."""
    assert otlp_protocol(environment) == protocol


def test_a_protocol_nobody_knows_is_an_error_that_names_the_known_ones() -> None:
    """The message says variable, value and choices."""
    with pytest.raises(
        ValueError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL: 'thrift' is no OTLP protocol: expected grpc, http/protobuf"
    ):
        otlp_protocol({ENDPOINT: "http://backend:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "thrift"})


def test_without_an_endpoint_only_the_embedded_pipeline_runs() -> None:
    """With an endpoint one more source is laid over it."""
    assert [name for name, _ in default_sources({})] == ["default.yaml"]
    assert [name for name, _ in default_sources({ENDPOINT: "http://backend:4318"})] == ["default.yaml", ENDPOINT]


@pytest.mark.parametrize(
    ("environment", "added"),
    [({}, []), ({ENDPOINT: "http://backend:4317"}, ["otlp"]), ({ENDPOINT: "http://backend:4318"}, ["otlphttp"])],
)
def test_the_terminal_and_the_store_stay_whatever_is_added(environment: dict[str, str], added: list[str]) -> None:
    """With a backend the node itself goes on to show what happened: the page with it."""
    service = load(default_sources(environment), [], Registry.load()).service
    (pipeline,) = service.pipelines.values()
    assert [str(one) for one in pipeline.exporters] == ["debug", "sqlite", *added]
    assert [str(one) for one in service.extensions] == ["ui"]
