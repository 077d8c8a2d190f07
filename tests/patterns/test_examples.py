"""Examples are run: each must be matched first by its own pattern and say what it promises."""

from __future__ import annotations

from tapio_otel.patterns import check_examples
from tests.patterns.library_files import library

GOOD = """
patterns:
  - name: refused
    pattern: 'connect to (?P<host>\\S+):(?P<port>\\d+) refused'
    event_type: connection_failed
    severity: error
    extract: {port: int}
    fields: {identifier: [nginx, haproxy]}
    examples:
      - 'connect to a:1 refused'
      - {text: 'connect to a:1 refused', identifier: nginx, attributes: {host: a, port: 1}}
    counter_examples:
      - 'connect to a was refused'
      - {text: 'connect to a:1 refused', identifier: shop}
  - name: killed
    pattern: 'killed (?P<pid>\\d+) \\((?P<name>\\w+)\\)'
    event_type: oom_kill
    severity: critical
    entity: {process: pid, name: name}
    examples:
      - {text: 'killed 42 (java)', transport: kernel, entity: {type: process, name: java, uid: process-42}}
"""


def test_examples_that_hold_are_no_problem(tmp_path):
    """With and without fields, attributes and entity."""
    assert check_examples(library(tmp_path, GOOD)) == []


def told(tmp_path, old, new):
    """Return the problems after one change to the good library."""
    return [str(one).removeprefix(f"{tmp_path}/") for one in check_examples(library(tmp_path, GOOD.replace(old, new, 1)))]


def test_an_example_that_does_not_match_is_told_at_its_line(tmp_path):
    """With file, line, name and text."""
    assert told(tmp_path, "- 'connect to a:1 refused'", "- 'connect to a refused'") == [
        "patterns.yaml:10: refused.examples[0]: 'connect to a refused' does not match; correct the expression or the example"
    ]


def test_an_example_by_the_wrong_writer_is_told(tmp_path):
    """The pattern asks for fields that the example does not give."""
    found = told(tmp_path, "identifier: nginx", "identifier: shop")
    assert "refused.examples[1]" in found[0]
    assert "matches, but not by this writer" in found[0]


def test_an_example_that_another_pattern_takes_is_told(tmp_path):
    """With the one that ranks before."""
    found = told(tmp_path, "'killed 42 (java)'", "'killed 42 (java): connect to a:1 refused'")
    assert found == []
    found = told(tmp_path, "      - 'connect to a:1 refused'", "      - 'killed 4 (a): connect to a:1 refused'")
    assert found == []  # a pattern with fields ranks before
    found = told(
        tmp_path,
        "    fields: {identifier: [nginx, haproxy]}\n    examples:",
        "    examples:\n      - 'killed 4 (a): connect to a:1 refused'",
    )
    assert any("is taken by 'killed'" in one and "which ranks before" in one for one in found)


def test_an_example_with_other_values_is_told(tmp_path):
    """Attributes are compared with their types."""
    assert "has port 1, expected '1'" in told(tmp_path, "port: 1}", "port: '1'}")[0]
    assert "has path nothing, expected '/'" in told(tmp_path, "port: 1}", "path: /}")[0]


def test_an_example_about_something_else_is_told(tmp_path):
    """Every given part of the entity counts."""
    assert "is about an entity with name 'java', expected 'python'" in told(tmp_path, "name: java,", "name: python,")[0]


def test_a_counter_example_that_matches_is_told(tmp_path):
    """It must not match its own pattern."""
    found = told(tmp_path, "- 'connect to a was refused'", "- 'connect to a:1 refused by'")
    assert found == [
        "patterns.yaml:13: refused.counter_examples[0]: 'connect to a:1 refused by' matches, and must not; "
        "narrow the expression"
    ]
