"""A real systemd for tests: the fixture, and when there can be none. See `booted_systemd` for the systemd itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.booted_systemd import UNITS, BootedSystemd, memory_obstacle, obstacle
from tests.requirements import require

__all__ = ["UNITS", "BootedSystemd", "booted_systemd", "memory_obstacle", "obstacle", "require_lab"]


@pytest.fixture
def booted_systemd() -> Iterator[BootedSystemd]:
    """Give a test a systemd with nothing but journald and D-Bus."""
    require_lab()
    with BootedSystemd() as lab:
        yield lab


def require_lab() -> None:
    """Skip the test with the exact reason where no systemd can be booted; fail it where that is required."""
    reason = obstacle()
    require("systemd", reason is None, reason or "")
