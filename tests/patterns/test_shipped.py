"""The patterns that ship: every example is matched first by its own pattern, no counter-example is."""

# ruff: noqa: E501 - messages in full
from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest

from tapio_otel.event import Severity
from tapio_otel.patterns import Matcher, load_library
from tapio_otel.patterns.examples import example_problems
from tapio_otel.patterns.file import PatternFile

FILES = sorted(Path(str(files("tapio_otel.config") / "patterns")).glob("*.yaml"))
WRITTEN = [pattern for file in FILES for pattern in PatternFile(file).patterns]
CATEGORIES = frozenset(
    (
        *("memory", "cpu", "disk", "filesystem", "hardware", "network", "dns", "tls"),
        *("security", "service", "container", "kubernetes", "database", "http", "runtime", "time"),
    )
)


@cache
def shipped() -> Matcher:
    """Return the matcher of what ships, made once."""
    return Matcher(load_library(["builtin"]).patterns)


def test_the_library_has_no_problem():
    """Every file is read without any complaint."""
    assert [str(problem) for file in FILES for problem in PatternFile(file).problems] == []


@pytest.mark.parametrize("name", [pattern.name for pattern in WRITTEN])
def test_examples_hold(name):
    """Each example is matched by its own pattern first, with what it promises, and no counter-example is."""
    matcher = shipped()
    index = next(number for number, pattern in enumerate(matcher.patterns) if pattern.name == name)
    assert [str(problem) for problem in example_problems(matcher, index)] == []


@pytest.mark.parametrize("pattern", WRITTEN, ids=lambda pattern: pattern.name)
def test_every_pattern_shows_what_it_knows(pattern):
    """At least two examples and a counter-example, a known category, and a file of its own subject."""
    assert len(pattern.examples) >= 2
    assert len(pattern.counter_examples) >= 1
    assert pattern.category in CATEGORIES


def test_names_are_given_once():
    """Within one file that is checked when it is read; between files a later one would take the place of an earlier."""
    assert [name for name, count in Counter(pattern.name for pattern in WRITTEN).items() if count > 1] == []


def test_there_are_enough():
    """What a node meets is broad."""
    assert len(WRITTEN) >= 150


@pytest.mark.parametrize(
    ("name", "event_type", "severity", "text"),
    [
        ("kernel_oom_kill", "oom_kill", Severity.CRITICAL, "Out of memory: Kill process 4242 (java) score 900 or sacrifice child"),
        ("container_oom", "container_oom", Severity.CRITICAL, "Memory cgroup out of memory: Kill process 42 (a) score 9 or sacrifice child"),
        ("connection_refused", "connection_failed", Severity.ERROR, "connect() to 192.0.2.7:8080 failed: Connection refused"),
        ("dns_failure", "dns_resolution_failed", Severity.ERROR, "getaddrinfo: Name or service not known"),
        ("service_crash", "service_crashed", Severity.ERROR, "Main process exited, code=exited, status=1"),
        ("restart_limit", "restart_limit_hit", Severity.CRITICAL, "Start request repeated too quickly"),
    ],
)  # fmt: skip
def test_the_first_patterns_are_there(name, event_type, severity, text):
    """With the types and severities they always had, and the texts they were made for."""
    matcher = shipped()
    pattern = next(one for one in matcher.patterns if one.name == name)
    assert (pattern.event_type, pattern.severity) == (event_type, severity)
    assert name in [matcher.patterns[index].name for index in matcher.hits(text)]
