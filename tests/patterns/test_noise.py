"""Ordinary lines raise no alarm."""

from __future__ import annotations

from collections import Counter

import pytest

from tapio_otel.cli.log_lines import line_of
from tapio_otel.cli.understanding import Understanding
from tapio_otel.event import EventType, Severity
from tests.patterns import noise

ROUNDS = 150
MOST_TYPED = 0.02
"""Share of ordinary lines that may be given a type of event, none of them worse than a warning."""


@pytest.fixture(scope="module")
def understanding() -> Understanding:
    """Return what the shipped library and classifiers understand."""
    return Understanding(["builtin"])


@pytest.mark.timeout(300)
def test_tens_of_thousands_of_ordinary_lines_are_nothing_critical(understanding: Understanding) -> None:
    """No line is taken for more than a warning, and next to none for an event of a type."""
    typed: Counter[str] = Counter()
    alarming: Counter[str] = Counter()
    count = 0
    for identifier, text in noise.lines(ROUNDS):
        count += 1
        kernel = {"_TRANSPORT": "kernel"} if identifier == "kernel" else {"_TRANSPORT": "syslog"}
        found = understanding.of(line_of(text, {"SYSLOG_IDENTIFIER": identifier, "PRIORITY": "6", **kernel}))
        if found.event.type != EventType.LOG:
            typed[f"{found.pattern}: {text}"] += 1
        if found.event.severity > Severity.WARNING:
            alarming[f"{found.event.severity.keyword} {found.attributes}: {text}"] += 1
    assert count > 35_000
    assert alarming == {}
    assert sum(typed.values()) / count < MOST_TYPED, typed.most_common(20)


@pytest.mark.parametrize(("identifier", "template"), noise.templates())
def test_an_ordinary_line_without_journal_fields_is_nothing_critical(
    understanding: Understanding, identifier: str, template: str
) -> None:
    """The same holds where nothing is known of who wrote it."""
    text = next(line for name, line in noise.lines(1, seed=7) if name == identifier and _same(line, template))
    assert understanding.of(line_of(text)).event.severity <= Severity.WARNING


def _same(line: str, template: str) -> bool:
    head = template.split("{", 1)[0]
    return line.startswith(head)
