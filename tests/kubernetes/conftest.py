"""The real control plane that tests talk to."""

from __future__ import annotations

from tests.kubernetes.fixtures import apiserver_programs as apiserver_programs
from tests.kubernetes.fixtures import cluster as cluster
