"""The library is measured on lines that its authors did not write it for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapio_otel.cli.evaluation import Evaluation, evaluate_files
from tapio_otel.cli.understanding import Understanding
from tapio_otel.event import EventType

CORPUS = Path(__file__).with_name("corpus")
PRECISION, RECALL = 0.96, 0.90
"""What the library has reached; raise these with it."""
TOLD_BY_TEXTS = {
    EventType.OOM_KILL,
    EventType.CONTAINER_OOM,
    EventType.SERVICE_CRASHED,
    EventType.SERVICE_RESTART,
    EventType.RESTART_LIMIT_HIT,
    EventType.CONNECTION_FAILED,
    EventType.DNS_RESOLUTION_FAILED,
}


@pytest.fixture(scope="module")
def result() -> Evaluation:
    """Evaluate the whole corpus once."""
    return evaluate_files([str(CORPUS)], Understanding(["builtin"]))


def test_the_corpus_is_large_and_has_what_counts(result: Evaluation) -> None:
    """A thousand lines, ordinary ones among them, and every core type that texts can tell."""
    assert result.lines >= 1000
    assert result.expected[str(EventType.LOG)] >= 200
    assert [str(one) for one in TOLD_BY_TEXTS if not result.expected[str(one)]] == []


def test_no_ordinary_line_is_an_alarm(result: Evaluation) -> None:
    """Nothing of type log is taken for critical or worse."""
    assert result.false_alarms == 0


def test_precision_and_recall_do_not_fall(result: Evaluation) -> None:
    """Of the lines given a type, and of those that should be."""
    log = str(EventType.LOG)
    right = sum(count for type, count in result.right.items() if type != log)
    found = sum(count for type, count in result.found.items() if type != log)
    expected = sum(count for type, count in result.expected.items() if type != log)
    wrong = [f"{row['expected']['line'][:120]!r}: {row['found']['type']}" for row in result.wrong][:20]
    assert right / found >= PRECISION, wrong
    assert right / expected >= RECALL, wrong
