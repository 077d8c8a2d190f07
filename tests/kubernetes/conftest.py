"""The real control plane that tests talk to."""

from __future__ import annotations

from tests.kubernetes.fixtures import apiserver_programs, cluster

__all__ = ["apiserver_programs", "cluster"]
