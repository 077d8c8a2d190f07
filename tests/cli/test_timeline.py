"""`tapio timeline` tells what happened to an entity."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner, Result

from tapio_otel.cli import main
from tapio_otel.event_json import from_dict, to_json
from tapio_otel.exporting.event_text import inert
from tests.correlation.incidents import happening, oom, restart
from tests.event_store.support import store_of

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


HOSTILE = "unit/\x9b31m\x1b]0;x\x07\u202eweb.service"


@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_nothing_of_a_name_acts_on_the_terminal(timeline, form):
    """Neither what was asked for nor what is told, in any form."""
    result = timeline("--entity", HOSTILE, "--format", form)
    assert result.exit_code == 0, result.stderr
    told = result.stdout if form != "html" else result.stdout.split("<style>")[0] + json_text(result)
    assert [line for line in told.split("\n") if inert(line) != line] == []
    assert "31m" in told


def json_text(result: Result) -> str:
    """Return what a file tells, as it is written there."""
    found: str = re.findall(r'id="tapio-incident">(.*?)</script>', result.stdout)[0]
    return found


@pytest.mark.parametrize("arguments", [("--entity", "\x9b31m"), ("--entity", "unit/a", "--events", "\x9b31m\u202e.jsonl")])
def test_nothing_of_an_error_acts_on_the_terminal(timeline, arguments):
    """Which repeats what it was given."""
    result = timeline(*arguments)
    assert result.exit_code == 1
    assert "\\x9b31m" in result.stderr
    assert not re.search("[\x80-\x9f\u202e]", result.stderr)


def embedded(result: Result) -> dict:
    """Return the incident that a file shows."""
    assert result.exit_code == 0, result.output
    return json.loads(json_text(result))


def test_a_file_has_what_was_found_beside(tmp_path):
    """The finding of the focus is opened first, though another is newer; and what went wrong elsewhere meanwhile is there."""
    elsewhere = [
        oom(30, "systemd_unit/db.service", pid=43, id="other-oom"),
        restart(31, "systemd_unit/db.service", id="other-restart"),
    ]
    warning = happening(20, "journald", "disk_pressure", "node/n1", id="warning")
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(to_json(event) + b"\n" for event in [*EVENTS, warning, *elsewhere]))
    arguments = ["timeline", "--entity", "unit/web.service", "--since", "1h", "--format", "html"]
    of_files = embedded(CliRunner().invoke(main, [*arguments, "--events", str(path)]))
    by_id = {one["id"]: one for one in of_files["findings"]}
    assert len(by_id) == 2
    assert "oom" in by_id[of_files["opened"]]["events"]
    assert {"warning", "other-oom", "other-restart"} <= set(of_files["events"])
    (tmp_path / "store").mkdir()
    store_of(tmp_path / "store", [*EVENTS, warning, *elsewhere, *map(from_dict, without_events(of_files["findings"]))])
    of_store = embedded(CliRunner().invoke(main, [*arguments, "--store", str(tmp_path / "store")]))
    assert of_store == of_files


def without_events(findings):
    """Return findings as the sources of a store have them."""
    return [{name: value for name, value in one.items() if name != "events"} for one in findings]


TRACES = "https://traces.example.com/{trace_id}"


def test_a_trace_url_makes_links_of_a_file(timeline):
    """What is no address of a page is refused."""
    arguments = ("--entity", "unit/web.service", "--format", "html", "--trace-url")
    assert embedded(timeline(*arguments, TRACES))["settings"]["trace_url"] == TRACES
    refused = timeline(*arguments, "javascript:alert(1)//{trace_id}")
    assert (refused.exit_code, "--trace-url 'javascript:" in refused.stderr) == (1, True)


CONFIGURATION = """
receivers: {journald: {}}
exporters: {sqlite: {directory: STORE}, sqlite/other: {directory: OTHER}}
extensions: {ui: {trace_url: 'https://traces.example.com/{trace_id}', store: sqlite}}
service:
  extensions: [ui]
  pipelines: {logs: {receivers: [journald], exporters: [sqlite, sqlite/other]}}
"""


def test_the_configuration_names_the_store_and_the_traces(tmp_path):
    """Of several stores the one that the page shows; an option counts more than it."""
    (tmp_path / "store").mkdir()
    store_of(tmp_path / "store", EVENTS)
    path = tmp_path / "agent.yaml"
    path.write_text(CONFIGURATION.replace("STORE", str(tmp_path / "store")).replace("OTHER", str(tmp_path / "other")))
    arguments = ["timeline", "--entity", "unit/web.service", "--format", "html", "--config", str(path)]
    incident = embedded(CliRunner().invoke(main, arguments))
    assert "oom" in incident["events"]
    assert incident["settings"]["trace_url"] == TRACES
    other = embedded(CliRunner().invoke(main, [*arguments, "--trace-url", "https://other.example.com/{trace_id}"]))
    assert other["settings"]["trace_url"] == "https://other.example.com/{trace_id}"


def test_a_store_that_is_not_clear_is_asked_for(tmp_path):
    """With what to write."""
    path = tmp_path / "agent.yaml"
    unclear = CONFIGURATION.replace(", store: sqlite}", "}").replace("STORE", str(tmp_path / "a"))
    path.write_text(unclear.replace("OTHER", str(tmp_path / "b")))
    result = CliRunner().invoke(main, ["timeline", "--entity", "unit/web.service", "--config", str(path)])
    assert (result.exit_code, "several sqlite exporters, sqlite, sqlite/other" in result.stderr) == (1, True), result.stderr
