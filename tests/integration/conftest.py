"""The real servers that integration tests talk to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.collector import Collector
from tests.kubernetes.fixtures import apiserver_programs, cluster
from tests.requirements import require

__all__ = ["apiserver_programs", "cluster"]

BUILD = Path(__file__).parents[2] / "scripts" / "build-collector"


@pytest.fixture(scope="session")
def collector_binary() -> Path:
    """Give the path of the otel-collector that scripts/build-collector has built."""
    found = subprocess.run([BUILD, "--cached"], capture_output=True, text=True, check=False)
    require("collector", found.returncode == 0, found.stderr.strip())
    return Path(found.stdout.strip())


@pytest.fixture
def collector(collector_binary: Path, tmp_path: Path) -> Iterator[Collector]:
    """Run a collector with plain OTLP receivers for one test."""
    directory = tmp_path / "collector"
    directory.mkdir()
    with Collector(collector_binary, directory) as running:
        yield running
