"""The library is measured on lines that its authors did not write it for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapio_otel.cli.evaluation import Evaluation, evaluate_files
from tapio_otel.cli.understanding import Understanding
from tapio_otel.event import EventType

CORPUS = Path(__file__).with_name("corpus")
FILES = sorted(CORPUS.glob("*.jsonl"))
PRECISION, RECALL, SEVERITY, ATTRIBUTES = 0.985, 0.98, 0.98, 0.98
"""What the library has reached, less a little; raise these with it."""
LOG = str(EventType.LOG)
TOLD_BY_TEXTS = {
    EventType.OOM_KILL,
    EventType.CONTAINER_OOM,
    EventType.SERVICE_CRASHED,
    EventType.SERVICE_RESTART,
    EventType.RESTART_LIMIT_HIT,
    EventType.CONNECTION_FAILED,
    EventType.DNS_RESOLUTION_FAILED,
    EventType.CONTAINER_RESTART,
    EventType.NODE_CONDITION,
}


@pytest.fixture(scope="module")
def understanding() -> Understanding:
    """Return what the shipped library and classifiers understand."""
    return Understanding(["builtin"])


@pytest.fixture(scope="module")
def result(understanding: Understanding) -> Evaluation:
    """Evaluate the whole corpus once."""
    return evaluate_files([str(CORPUS)], understanding)


def test_the_corpus_is_large_and_has_what_counts(result: Evaluation) -> None:
    """A thousand lines, ordinary ones among them, and every core type that texts can tell."""
    assert result.lines - result.expected[LOG] >= 1000
    assert result.expected[LOG] >= 400
    assert [str(one) for one in TOLD_BY_TEXTS if not result.expected[str(one)]] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_file_is_read_to_its_end_and_says_no_line_twice(understanding: Understanding, file: Path) -> None:
    """A file that is cut short, misspelt or doubled does not go unnoticed."""
    lines = file.read_text("utf-8").splitlines()
    assert evaluate_files([str(file)], understanding).lines == len(lines) == len(set(lines)) > 0


def test_no_ordinary_line_is_an_alarm(result: Evaluation) -> None:
    """Nothing of type log is taken for critical or worse."""
    assert result.false_alarms == 0


def test_precision_and_recall_do_not_fall(result: Evaluation) -> None:
    """Of the lines given a type, and of those that should be."""
    right, found, expected = (
        sum(count for type, count in counter.items() if type != LOG)
        for counter in (result.right, result.found, result.expected)
    )
    assert right / found >= PRECISION, _wrong(result, "type")
    assert right / expected >= RECALL, _wrong(result, "type")


def test_severities_and_attributes_are_right(result: Evaluation) -> None:
    """Where the corpus says what they should be."""
    assert sum(result.severities) / len(result.severities) >= SEVERITY, _wrong(result, "severity")
    assert sum(result.attributes) / len(result.attributes) >= ATTRIBUTES, _wrong(result, "attributes")


def test_every_trace_id_is_found_and_none_invented(result: Evaluation) -> None:
    """Of whatever form they are written in."""
    assert _wrong(result, "trace_id") == []


def _wrong(result: Evaluation, fault: str) -> list[str]:
    rows = [row for row in result.wrong if fault in row["wrong"]]
    return [f"{row['expected']['line'][:120]!r}: {row['found']['type']} {row['found']['severity']}" for row in rows][:20]
