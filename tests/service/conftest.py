"""What tests of the service share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tapio_otel.service.logs import ROOT


@pytest.fixture(autouse=True)
def untouched_log() -> Iterator[None]:
    """Give every test the agent's logger as it is before set-up, whatever a test did to it."""
    log = logging.getLogger(ROOT)
    yield
    log.handlers.clear()
    log.setLevel(logging.NOTSET)
    log.propagate = True
