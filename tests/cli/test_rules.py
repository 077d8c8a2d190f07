"""`tapio rules` lists rules, runs their examples and measures them."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from click.testing import CliRunner, Result

from tapio_otel.cli import main

SCENARIO = """\
name: a unit is killed and restarted
events:
  - {t: 0s, source: ebpf, type: oom_kill, severity: critical, entity: systemd_unit/web.service, attributes: {pid: 42}}
  - {t: 1s, source: systemd, type: service_restart, severity: error, entity: systemd_unit/web.service}
findings: %s
"""
RIGHT = "[{rule: oom_cascade, root_cause: 0, impacts: [1]}]"


def rules(*arguments: str) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(main, ["rules", *arguments])


def test_the_list_has_every_rule():
    """As text and as JSON; a disabled one is not there."""
    assert "oom_cascade" in rules("list").stdout
    rows = [json.loads(line) for line in rules("list", "--json", "--disable", "network_partition").stdout.splitlines()]
    assert "oom_cascade" in {row["name"] for row in rows}
    assert "network_partition" not in {row["name"] for row in rows}


def test_the_classes_of_facts_are_listed():
    """For authors of rules."""
    assert "The kernel, or a daemon in its place" in rules("list", "--classes").stdout


def test_the_examples_of_a_file_hold():
    """And it is told how many there are."""
    file = files("tapio_otel.config") / "rules" / "oom_cascade.yaml"
    result = rules("test", str(file))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 rules, ")
    assert result.stdout.endswith("examples, 0 of them wrong\n")


def test_an_example_that_does_not_hold_is_told(tmp_path):
    """With file, line and name; the status is 1."""
    (tmp_path / "mine.yaml").write_text(
        "rules:\n- {name: mine, title: x, description: x, window: 5s, confidence: 0.5, facts: {oom: {class: oom}}, examples: "
        "[{name: wrong, events: [{t: 0, source: ebpf, type: oom_kill, entity: process/x}], findings: []}]}\n"
    )
    result = rules("test", str(tmp_path / "mine.yaml"))
    assert result.exit_code == 1
    assert "mine.yaml:2: mine: wrong: expected 0 findings, found 1" in result.stderr


@pytest.mark.parametrize(
    ("expected", "status", "told", "wrong"),
    [
        (RIGHT, 0, "precision     1.000", []),
        ("[]", 1, "precision     0.000", ["too much: oom_cascade"]),
        ("[{rule: oom_cascade, root_cause: 1}]", 1, "root cause    0.000", ["the root cause is event 0, expected event 1"]),
        (RIGHT.replace("[1]", "[]"), 0, "impacts F1    0.000", ["event 1 is no impact of it"]),
        (RIGHT[:-1] + ", {rule: other, root_cause: 0}]", 1, "recall        0.500", ["missing: other of event 0"]),
    ],
)
def test_scenarios_are_measured(tmp_path, expected, status, told, wrong):
    """Precision, recall, root causes; each fault is printed when asked for."""
    (tmp_path / "a.yaml").write_text(SCENARIO % expected)
    result = rules("evaluate", "--wrong", str(tmp_path))
    assert (result.exit_code, told in result.stdout) == (status, True), result.output
    faults = [json.loads(line)["wrong"] for line in result.stdout.splitlines() if line.startswith("{")]
    assert len(faults) == bool(wrong)
    for fault in wrong:
        assert fault in "; ".join(faults[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCENARIO % "[{rule: x, root_cause: 2}]", "there is no event 2; the last one is 1"),
        (SCENARIO % "[{rule: x}]", "root_cause"),
        ("", "the file is empty; write a scenario"),
    ],
)
def test_a_scenario_that_cannot_be_read_is_an_error(tmp_path, text, message):
    """With its file."""
    (tmp_path / "a.yaml").write_text(text)
    result = rules("evaluate", str(tmp_path / "a.yaml"))
    assert (result.exit_code, message in result.stderr) == (1, True), result.output
