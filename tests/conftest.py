"""What every test shares: that nothing is skipped where every part is required, and that no example is timed."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.requirements import demanded, skip_is_allowed

settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("project")

UNEXPECTED_SKIPS = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the list of tests that were skipped without being allowed to."""
    config.stash[UNEXPECTED_SKIPS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Note a skipped test where every part is required; an expected failure is no skip."""
    report = yield
    if demanded() and report.skipped and not hasattr(report, "wasxfail") and not skip_is_allowed(item.nodeid):
        item.config.stash[UNEXPECTED_SKIPS].append(item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Note a module that skips itself whole."""
    report = yield
    if demanded() and report.skipped and not skip_is_allowed(collector.nodeid):
        collector.config.stash[UNEXPECTED_SKIPS].append(collector.nodeid)
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that passed only because tests were skipped."""
    if session.config.stash[UNEXPECTED_SKIPS] and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the tests that were skipped although the environment requires every part."""
    skipped = config.stash[UNEXPECTED_SKIPS]
    if skipped:
        terminalreporter.section("skipped, though TAPIO_REQUIRE is set", red=True)
        for node_id in skipped:
            terminalreporter.write_line(f"  {node_id}")
        terminalreporter.write_line("install what is missing, or add the test to ALLOWED_SKIPS in tests/requirements.py")
