"""Journals that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journal import awkward_entries, entries, write_journal

LARGE = 100_000
SMALL = 600


@pytest.fixture(scope="session")
def large_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a journal of 100,000 entries with awkward fields, in several files."""
    return write_journal(tmp_path_factory.mktemp("large"), awkward_entries(LARGE))


@pytest.fixture(scope="session")
def small_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a journal of 600 ordinary entries."""
    return write_journal(tmp_path_factory.mktemp("small"), entries(SMALL))
