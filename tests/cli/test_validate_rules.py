"""`tapio validate` and the rules of `correlate`: what is wrong with a file, and examples that do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_commands import tapio


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Return a rule file with an example that does not hold."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n  - {name: mine, title: t, description: d, window: 1s, confidence: 0.5, facts: {x: {class: oom}},\n"
        "     examples: [{name: never, events: [{type: oom_kill}], findings: []}]}\n"
    )
    return path


@pytest.fixture
def config(tmp_path: Path, rules: Path) -> Path:
    """Return a configuration with two pipelines that correlate by these rules."""
    (tmp_path / "journal").mkdir()
    path = tmp_path / "tapio.yaml"
    path.write_text(
        f"receivers:\n  journald: {{directory: {tmp_path}/journal}}\n"
        f"processors:\n  correlate: {{rules: [builtin, {rules}]}}\n  correlate/traces: {{rules: []}}\n"
        f"exporters:\n  file: {{path: {tmp_path}/out.json}}\n"
        f"service:\n  state_dir: {tmp_path}/state\n  pipelines:\n"
        "    logs: {receivers: [journald], processors: [correlate], exporters: [file]}\n"
        "    logs/two: {receivers: [journald], processors: [correlate, correlate/traces], exporters: [file]}\n"
    )
    return path


def test_validate_runs_the_examples_of_rules(config: Path, rules: Path) -> None:
    """Each that does not hold is told once, with its place, however many pipelines use the rule."""
    result = tapio("validate", "--config", str(config))
    assert result.exit_code == 1
    assert result.output.count(f"{rules}:2: rules.mine.examples: never: expected 0 findings, found 1: t") == 1
    rules.write_text(rules.read_text().replace("findings: []", "findings: [{}]"))
    result = tapio("validate", "--config", str(config))
    assert (result.exit_code, "the configuration is valid" in result.output) == (0, True)


def test_validate_tells_what_is_wrong_with_a_rule_file(config: Path, rules: Path) -> None:
    """With file and line; an option of the processor with the configuration's name."""
    rules.write_text(rules.read_text().replace("window: 1s", "window: soon"))
    result = tapio("validate", "--config", str(config), "--set", "processors.correlate.rules=[builtim]")
    assert result.exit_code == 1
    assert "--set: processors.correlate.rules[0]: 'builtim' is none of builtin, plugins" in result.output
    result = tapio("validate", "--config", str(config))
    assert result.exit_code == 1
    assert f"{rules}:2: rules[0].window" in result.output


def test_validate_refuses_a_wait_that_makes_events_late(config: Path) -> None:
    """Two options that contradict each other are told at the processor."""
    result = tapio("validate", "--config", str(config), "--set", "processors.correlate.propagation.wait=9s")
    assert result.exit_code == 1
    assert "processors.correlate: propagation.wait is 9 s and allowed_lateness 5 s" in result.output
