"""`tapio replay` gives the findings that the processors make of recorded events."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner, Result

from tapio_otel.cli import main
from tapio_otel.event_json import to_json
from tests.correlation.incidents import oom, refused, restart

EVENTS = [oom(0, id="oom"), restart(1, id="restart"), restart(20, id="again")]
CONFIG = """\
receivers: {journald: {}}
processors:
  correlate: {rules: [builtin], disabled_rules: [%s]}
exporters: {debug: {}}
service: {pipelines: {%s}}
"""
PIPELINE = "%s: {receivers: [journald], processors: [%s], exporters: [debug]}"


def recorded(tmp_path, events) -> str:
    """Return the path of a file with these events."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(to_json(event) + b"\n" for event in events))
    return str(path)


def replay(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["replay", *arguments])


def findings(result: Result) -> list[dict]:
    """Return what was printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_last_revision_of_each_finding_is_printed(tmp_path):
    """With its root cause and impacts."""
    [found] = findings(replay("--events", recorded(tmp_path, EVENTS)))
    assert found["attributes"]["rule"] == "oom_cascade"
    assert found["attributes"]["root_cause"] == "oom"
    assert found["attributes"]["impacts"] == ["restart", "again"]


def test_every_revision_is_printed_when_asked_for(tmp_path):
    """In their order."""
    found = findings(replay("--updates", "--events", recorded(tmp_path, EVENTS)))
    assert [one["attributes"]["revision"] for one in found] == list(range(len(found)))
    assert len(found) > 1


def test_order_and_speed_change_nothing(tmp_path):
    """As long as nothing is later than the lateness; findings among the events are left out."""
    events = [EVENTS[0], EVENTS[1], refused(2, "systemd_unit/client.service", host="web.service")]
    first = replay("--events", recorded(tmp_path, events)).stdout
    random.Random(7).shuffle(events)
    assert replay("--events", recorded(tmp_path, events), "--speed", "1000").stdout == first
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(first)
    assert replay("--events", str(tmp_path / "events.jsonl")).stdout == first != ""


def test_a_configuration_says_which_processors(tmp_path):
    """Its rules are used, and none of its receivers."""
    config = tmp_path / "config.yaml"
    events = recorded(tmp_path, EVENTS)
    config.write_text(CONFIG % ("", PIPELINE % ("logs", "correlate")))
    assert len(findings(replay("--events", events, "--config", str(config)))) == 1
    config.write_text(CONFIG % ("oom_cascade", PIPELINE % ("logs", "correlate")))
    assert findings(replay("--events", events, "--config", str(config))) == []


@pytest.mark.parametrize(
    ("pipelines", "arguments", "message"),
    [
        (PIPELINE % ("logs", ""), (), "no pipeline has the processor `correlate`"),
        (PIPELINE % ("logs", "correlate"), ("--pipeline", "x"), "--pipeline 'x': there is no such pipeline; use one of logs"),
        (
            PIPELINE % ("logs", "correlate") + ", " + PIPELINE % ("logs/b", "correlate"),
            (),
            "several pipelines have `correlate`: choose one by --pipeline: logs, logs/b",
        ),
    ],
)
def test_without_a_pipeline_to_choose_it_is_an_error(tmp_path, pipelines, arguments, message):
    """Which says what to do."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG % ("", pipelines))
    result = replay("--events", recorded(tmp_path, EVENTS), "--config", str(config), *arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_broken_file_is_an_error(tmp_path):
    """With its line."""
    (tmp_path / "a").write_text("{}\n")
    result = replay("--events", str(tmp_path / "a"))
    assert (result.exit_code, "a:1: event: 'id' is missing" in result.stderr) == (1, True)


def test_nothing_of_an_event_acts_on_the_terminal(tmp_path):
    """Though JSON would allow it; what is printed means the same."""
    unit = "systemd_unit/\u202ebew\x9b31m.service"
    result = replay("--events", recorded(tmp_path, [oom(0, unit, id="oom"), restart(1, unit, id="restart")]))
    assert "\u202ebew\x9b31m.service" in findings(result)[0]["title"]
    assert result.stdout.isascii()
    broken = replay("--events", "\x9b31m\u202e.jsonl")
    assert (broken.exit_code, "\\x9b31m" in broken.stderr, broken.stderr.isascii()) == (1, True, True), broken.stderr
