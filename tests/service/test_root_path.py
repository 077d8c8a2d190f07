"""The host's root in a container: one mapper of cgroups and processes for the whole agent, looking below `root_path`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapio_otel.config import ConfigError
from tapio_otel.config.loader import load
from tapio_otel.config.service import ServiceConfig
from tapio_otel.service.runner import Service
from tests.components import CollectingExporter, ListReceiver, UpperProcessor
from tests.test_registry import plugin, registry

YAML = """
receivers: {list: , list/two: }
processors: {upper: }
exporters: {collecting: }
service:
  pipelines:
    logs: {receivers: [list, list/two], processors: [upper], exporters: [collecting]}
    logs/two: {receivers: [list], processors: [upper], exporters: [collecting]}
"""


def service(state: Path, *overrides: str) -> Service:
    """Return a service of two pipelines."""
    hooks = {
        "tapio_receivers": [ListReceiver],
        "tapio_processors": [UpperProcessor],
        "tapio_exporters": [CollectingExporter],
    }
    registered = registry((plugin(**hooks), "test 0"))
    return Service(load([("test.yaml", YAML)], [f"service.state_dir={state}", *overrides], registered), registered)


@pytest.mark.parametrize(("overrides", "expected"), [([], "/"), (["service.root_path=/host"], "/host")])
def test_all_components_share_one_mapper_of_the_hosts_root(tmp_path: Path, overrides: list[str], expected: str) -> None:
    """What one of them learns, all know; two agents share nothing."""
    graph = service(tmp_path, *overrides).graph
    processors = [processor for pipeline in graph.pipelines for processor in pipeline.processors]
    components = [*graph.receivers.values(), *processors, *graph.exporters]
    assert len(components) == 5
    mappers = [component.context.entities for component in components]
    assert all(mapper is mappers[0] for mapper in mappers)
    assert mappers[0].root_path == Path(expected)
    assert service(tmp_path).graph.exporters[0].context.entities is not mappers[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("host", "service.root_path: expected an absolute path, found 'host'"),
        ("''", "service.root_path: expected the path of a directory, found ''"),
    ],
)
def test_a_root_that_can_be_none_is_refused(tmp_path: Path, value: str, message: str) -> None:
    """A relative path would depend on where the agent was started."""
    with pytest.raises(ConfigError) as raised:
        service(tmp_path, f"service.root_path={value}")
    assert message in str(raised.value)


def test_the_root_is_the_machines_own_unless_told() -> None:
    """Only an agent in a container needs another."""
    assert ServiceConfig().root_path == Path("/")
