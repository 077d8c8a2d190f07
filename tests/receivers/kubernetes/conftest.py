"""The real control plane that the receiver is tested on."""

from __future__ import annotations

from tests.kubernetes.fixtures import apiserver_programs, cluster

__all__ = ["apiserver_programs", "cluster"]
