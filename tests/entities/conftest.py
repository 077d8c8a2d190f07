"""What tests of entities share."""

from __future__ import annotations

from tests.entities.trees import real_cgroups

__all__ = ["real_cgroups"]
