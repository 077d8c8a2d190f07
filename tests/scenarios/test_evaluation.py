"""What counts as right: rule and root cause; impacts by labels; traps by what is told too much."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tapio_otel.cli import main

EVENTS = """\
name: a unit is killed and restarted
{trap}
events:
  - {{t: 0s, label: oom, kernel: {{probe: oom_kill, unit: web.service, pid: 42, comm: web, scope: cgroup}}}}
  - {{t: 0.1s, label: oom, systemd: {{unit: web.service, to: failed/failed, result: oom-kill, signal: 9}}}}
  - {{t: 0.2s, label: restart, systemd: {{unit: web.service, to: activating/auto-restart}}}}
findings: {findings}
"""
RIGHT = "[{rule: oom_cascade, root_cause: oom, impacts: [restart]}]"


def evaluate(tmp_path, findings, *options, trap=""):
    """Return status and figures of one scenario."""
    (tmp_path / "one.yaml").write_text(EVENTS.format(findings=findings, trap=f"trap: {trap}" if trap else ""))
    result = CliRunner().invoke(main, ["rules", "evaluate", str(tmp_path), "--format", "json", *options])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize(
    ("findings", "precision", "recall", "root", "impacts", "told"),
    [
        (RIGHT, 1, 1, 1, 1, []),
        (RIGHT.replace("[restart]", "[]"), 1, 1, 1, 0, ["oom_cascade: 'restart' is no impact of it"]),
        (RIGHT.replace("[restart]", "[], also: [restart]"), 1, 1, 1, 1, []),
        (RIGHT.replace("root_cause: oom", "root_cause: restart"), 0, 0, 0, 1, ["the root cause is 'oom', expected 'restart'"]),
        (RIGHT.replace("oom_cascade", "crash_loop"), 0, 0, 1, 1, ["missing: crash_loop of 'oom'", "too much: oom_cascade"]),
        ("[]", 0, 1, 1, 1, ["too much: oom_cascade"]),
    ],
)
def test_figures(tmp_path, findings, precision, recall, root, impacts, told):
    """Each fault is told in words."""
    status, result = evaluate(tmp_path, findings)
    figures = result["figures"]
    assert [figures[name] for name in ("precision", "recall", "root cause", "impacts F1")] == [precision, recall, root, impacts]
    assert status == (precision + recall + root < 3)
    faults = [fault for one in result["wrong"] for fault in one["wrong"]]
    assert len(faults) == len(told)
    assert all(words in fault for words, fault in zip(told, faults, strict=True))


def test_a_trap_is_passed_where_only_the_expected_is_told(tmp_path):
    """It may expect something else than what tempts."""
    _, passed = evaluate(tmp_path, RIGHT, trap="a crash loop")
    _, failed = evaluate(tmp_path, "[]")
    assert [(one["traps"], one["traps_passed"]) for one in (passed, failed)] == [(1, 1), (1, 0)]


def test_the_minimum_decides_on_the_status(tmp_path):
    """A figure of none is good enough for a minimum of none."""
    assert evaluate(tmp_path, "[]", "--minimum", "0")[0] == 0
    assert evaluate(tmp_path, "[]", "--minimum", "0.1")[0] == 1


def test_markdown_lists_what_is_wrong(tmp_path):
    """For the published figures."""
    evaluate(tmp_path, "[]")
    text = CliRunner().invoke(main, ["rules", "evaluate", str(tmp_path), "--format", "markdown"]).stdout
    assert "| `oom_cascade` | 0 | 1 | 0 |" in text
    assert "- `one.yaml` (a unit is killed and restarted): too much: oom_cascade" in text


def test_a_step_that_cannot_be_made_is_an_error(tmp_path):
    """With file and number."""
    (tmp_path / "one.yaml").write_text("name: x\nevents: [{kernel: {probe: nothing}}]\nfindings: []\n")
    result = CliRunner().invoke(main, ["rules", "evaluate", str(tmp_path)])
    assert result.exit_code == 1
    assert "one.yaml" in result.stderr
    assert "events[0]: there is no probe 'nothing'" in result.stderr
