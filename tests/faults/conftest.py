"""What the fault scenarios share: a nursery for agents, a collector, a live journald, and the table of figures."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.agent import FaultAgent, Nursery, nursery
from tests.faults.live_journal import LiveJournal
from tests.faults.report import Figures, save, table
from tests.integration.conftest import collector, collector_binary
from tests.journal import require_journal_remote
from tests.lab import BootedSystemd, require_lab

__all__ = ["collector", "collector_binary"]

ROWS: list[Figures] = []


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's proxies out."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Give the process that forks agents."""
    with nursery(tmp_path_factory.mktemp("nursery")) as one:
        yield one


@pytest.fixture
def agent(agents: Nursery, tmp_path: Path) -> Iterator[FaultAgent]:
    """Give an agent with a journal of its own of two thousand entries, not yet started."""
    require_journal_remote()
    one = FaultAgent(tmp_path / "agent", agents)
    one.write(2000)
    yield one
    if one.process is not None:
        one.kill()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Give the row of the table that the test fills in; it counts once the test has filled it."""
    row = Figures(request.node.name.removeprefix("test_").replace("_", " "))
    begun = time.monotonic()
    yield row
    row.seconds = round(time.monotonic() - begun, 1)
    if row.written:
        ROWS.append(row)


@pytest.fixture
def live() -> Iterator[LiveJournal]:
    """Give a live journald that is written to."""
    require_lab()
    with BootedSystemd() as lab, LiveJournal(lab) as journal:
        yield journal


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it where TAPIO_FAULT_REPORT says."""
    if not ROWS:
        return
    terminalreporter.section("faults: what was written and what arrived")
    for line in table(ROWS):
        terminalreporter.write_line(line)
    if path := os.environ.get("TAPIO_FAULT_REPORT"):
        save(ROWS, Path(path))
