"""Fixtures of a real control plane, for the tests here and for integration tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster
from tests.requirements import require

BUILD = Path(__file__).parents[2] / "scripts" / "build-apiserver"


@pytest.fixture(scope="session")
def apiserver_programs() -> Path:
    """Give the directory of the kube-apiserver and etcd that scripts/build-apiserver has built."""
    found = subprocess.run([BUILD, "--cached"], capture_output=True, text=True, check=False)
    require("kubernetes", found.returncode == 0, found.stderr.strip())
    return Path(found.stdout.strip())


@pytest.fixture(scope="session")
def cluster(apiserver_programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run one control plane for all tests; each uses namespaces and names of its own."""
    with Cluster(apiserver_programs, tmp_path_factory.mktemp("cluster")) as running:
        yield running
