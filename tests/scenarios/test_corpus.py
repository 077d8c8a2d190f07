"""The corpus measures how well the shipped rules conclude; what it finds is published in docs/correlation-quality.md."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from tapio_otel.cli.rule_evaluation import RuleEvaluation, concluded, evaluate_files
from tapio_otel.cli.scenarios import Scenario, events_of, read_scenarios
from tapio_otel.correlation.library import load_rules
from tapio_otel.event_json import from_json, to_json
from tests.scenarios.document import DOCUMENT, with_figures

HERE = Path(__file__).parent
MINIMUM = 0.95
FIGURES = ("precision", "recall", "root cause", "traps")


@lru_cache(maxsize=1)
def evaluation() -> RuleEvaluation:
    """Return what the shipped rules make of the corpus."""
    return evaluate_files([str(HERE)], load_rules(("builtin",)))


@lru_cache(maxsize=1)
def scenarios() -> list[tuple[str, Scenario]]:
    """Return the corpus."""
    return read_scenarios([HERE])


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_good_enough(figure):
    """Whatever is wrong is told."""
    assert evaluation().figures[figure] >= MINIMUM, evaluation().table()


def test_the_corpus_is_large_and_half_of_it_are_traps():
    """A corpus of incidents alone would praise a rule that always fires."""
    traps = [one for _, one in scenarios() if one.is_trap]
    assert len(scenarios()) >= 60
    assert len(traps) * 2 >= len(scenarios())


def test_every_shipped_rule_is_asked_for_twice():
    """In scenarios of different forms."""
    expected = Counter(rule for _, one in scenarios() for rule in {finding.rule for finding in one.findings})
    shipped = {rule.name for rule in load_rules(("builtin",))}
    assert not {rule for rule in shipped if expected[rule] < 2}
    assert not set(expected) - shipped


def test_every_source_takes_part():
    """Scenarios are what receivers make of journal entries, units, kernels and clusters."""
    sources = Counter(event.source for _, one in scenarios() for _, event in events_of(one).arriving)
    assert {"journald", "systemd", "ebpf", "kubernetes"} <= set(sources)


def test_a_scenario_has_a_name_of_its_own_and_a_trap_is_called_one():
    """A reader of the directory, or of the figures, sees what is what."""
    names = Counter(one.name for _, one in scenarios())
    assert [name for name, times in names.items() if times > 1] == []
    assert [file for file, one in scenarios() if Path(file).name.startswith("trap_") != one.is_trap] == []


def test_scenarios_are_the_same_each_time():
    """Ids, times and order: so are the findings."""
    for _, one in scenarios()[::9]:
        first, again = (events_of(one).arriving for _ in range(2))
        assert [(moment, to_json(event)) for moment, event in first] == [(moment, to_json(event)) for moment, event in again]


def test_events_that_were_written_down_give_the_same_findings():
    """What a scenario makes can be recorded and replayed: nothing depends on what JSON does not tell."""
    rules = load_rules(("builtin",))
    for _, one in scenarios()[::7]:
        events = events_of(one)
        written = [(moment, from_json(to_json(event))) for moment, event in events.arriving]
        replayed = concluded(rules, type(events)(written, events.ids))
        assert [to_json(found) for found in replayed] == [to_json(found) for found in concluded(rules, events)]


def test_the_document_has_the_present_figures():
    """What the command prints stands in it."""
    assert with_figures(DOCUMENT.read_text(), evaluation()) == DOCUMENT.read_text(), "run python -m tests.scenarios.document"
