"""Both ways in which the journald receiver reads: tests of what it reads hold for either."""

from __future__ import annotations

import pytest

from tapio_otel.receivers.journald import receiver
from tapio_otel.receivers.journald.feed import DirectFeed


@pytest.fixture(autouse=True, params=["process", "none"])
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the journal read in a process of its own, then in the test's own, where a test does not say what it wants."""
    if request.param == "none":
        monkeypatch.setattr(receiver, "ChildFeed", lambda options, *_others: DirectFeed(options))
    return str(request.param)
