"""`tapio timeline` tells what happened to an entity."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from tapio_otel.cli import main
from tapio_otel.event_json import to_json
from tests.correlation.incidents import oom, restart

EVENTS = [restart(-7200, id="old"), oom(0, id="oom", text="Out of memory"), restart(1, id="restart")]


@pytest.fixture
def timeline(tmp_path):
    """Return what runs the command on the events."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(to_json(event) + b"\n" for event in EVENTS))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["timeline", "--events", str(path), *arguments])

    return run


def entries(result: Result) -> list[str]:
    """Return the ids of the events that are no findings."""
    assert result.exit_code == 0, result.output
    return [one["event"]["id"] for one in json.loads(result.stdout)["entries"] if one["relation"] != "finding"]


def test_text_is_for_readers(timeline):
    """The events, and what the rules conclude from them."""
    result = timeline("--entity", "unit/web.service", "--since", "1h")
    assert result.exit_code == 0
    assert "unit/web.service: 3 events" in result.stdout
    assert "Out of memory" in result.stdout
    assert "correlation/correlation" in result.stdout
    assert "correlation/correlation" not in timeline("--entity", "unit/web.service", "--no-correlate").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["old", "oom", "restart"]),
        (("--since", "1h"), ["oom", "restart"]),
        (("--until", "1h"), ["old"]),
        (("--since", "2026-01-01T00:00:00Z"), ["oom", "restart"]),
        (("--since", "2026-01-01T01:00:00+01:00", "--until", "2026-01-01T00:00:00Z"), ["oom"]),
    ],
)
def test_a_time_is_before_the_last_event_or_a_date(timeline, arguments, expected):
    """So that a recording gives the same whenever it is asked."""
    assert entries(timeline("--entity", "unit/web.service", "--format", "json", *arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--entity", "web"), "'web' is no entity: write TYPE/NAME"),
        (("--entity", "unit/web.service", "--since", "soon"), "--since 'soon': write a duration such as 1h, or a time"),
        (("--entity", "unit/web.service", "--until", "2026-01-01T00:00:00"), "write a duration such as 1h, or a time"),
        (("--entity", "unit/web.service", "--events", "none"), "none: cannot be read"),
    ],
)
def test_what_cannot_be_understood_is_an_error(timeline, arguments, message):
    """Which says what to write."""
    result = timeline(*arguments)
    assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
