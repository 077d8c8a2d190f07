"""What every test of the event store needs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest

from tests.event_store.support import WRITERS


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the writers that a test leaves open."""
    yield
    while WRITERS:
        with contextlib.suppress(sqlite3.Error):
            WRITERS.pop().close()
