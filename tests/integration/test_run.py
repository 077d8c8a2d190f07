"""`tapio run` as its users start it: real journals in, every entry out once and in order, resumed after any end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journal import awkward_entries, entries, entry, write_journal

TAPIO = (sys.executable, "-c", "from tapio_otel.cli import entry; entry()")


def configuration(tmp_path: Path, journal: Path, follow: bool = False, exporter: str = "file") -> Path:
    """Write a configuration that reads the journal through the default processors."""
    path = tmp_path / "tapio.yaml"
    document: dict[str, Any] = {
        "receivers": {"journald": {"directory": str(journal), "start_at": "beginning", "follow": follow}},
        "processors": {"normalize": {}, "dedup": {}, "trace_context": {}},
        "exporters": {"file": {"path": str(tmp_path / "out.json")}, "debug": {"verbosity": "normal"}},
        "service": {
            "state_dir": str(tmp_path / "state"),
            "pipelines": {
                "logs": {
                    "receivers": ["journald"],
                    "processors": ["normalize", "dedup", "trace_context"],
                    "exporters": [exporter],
                }
            },
        },
    }
    path.write_text(json.dumps(document))
    return path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the agent to its end."""
    return subprocess.run([*TAPIO, "run", *arguments], capture_output=True, text=True, check=False, timeout=110)


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every log record of an OTLP-JSON file in the order it stands there."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            for resource in json.loads(line)["resourceLogs"]:
                for scope in resource["scopeLogs"]:
                    yield from scope["logRecords"]


def attribute(record: dict[str, Any], key: str) -> Any:
    """Return a record's attribute, None without it."""
    return next((next(iter(one["value"].values())) for one in record["attributes"] if one["key"] == key), None)


@pytest.mark.timeout(240)
def test_every_entry_of_a_large_journal_is_in_the_output_once_in_order(tmp_path: Path) -> None:
    """200,000 entries, read to the end: status 0, and the file holds them all, each once, in the journal's order."""
    journal = write_journal(tmp_path / "journal", entries(200_000))
    done = run("--config", str(configuration(tmp_path, journal)))
    assert done.returncode == 0, done.stderr
    assert "received 200,000 (journald 200,000), file sent 200,000, undelivered 0" in done.stderr
    seen = [int(record["body"]["stringValue"].removeprefix("message ")) for record in records(tmp_path / "out.json")]
    assert seen == list(range(200_000))


def test_awkward_entries_arrive_as_they_are_with_distinct_ids(tmp_path: Path) -> None:
    """Binary, repeated, missing and huge fields: as many records as entries, times in order, no id twice."""
    journal = write_journal(tmp_path / "journal", awkward_entries(5_000))
    done = run("--config", str(configuration(tmp_path, journal)))
    assert done.returncode == 0, done.stderr
    found = list(records(tmp_path / "out.json"))
    assert len(found) == 5_000
    assert len({attribute(record, "log.record.uid") for record in found}) == 5_000
    times = [int(record["timeUnixNano"]) for record in found]
    assert times == sorted(times)
    assert max(len(record["body"].get("stringValue", "")) for record in found) == 1 << 20


def test_a_second_run_reads_only_what_is_new(tmp_path: Path) -> None:
    """The checkpoint of the first run is where the second begins."""
    journal = write_journal(tmp_path / "journal", entries(1_000))
    config = configuration(tmp_path, journal)
    assert run("--config", str(config)).returncode == 0
    write_journal(tmp_path / "journal", entries(500, 1_000))
    assert run("--config", str(config)).returncode == 0
    assert [r["body"]["stringValue"] for r in records(tmp_path / "out.json")] == [f"message {n}" for n in range(1_500)]


def test_killed_runs_together_deliver_every_entry(tmp_path: Path) -> None:
    """SIGKILL in the middle, again and again: nothing is missing, and what is repeated has the same id."""
    journal = write_journal(tmp_path / "journal", entries(60_000))
    config = configuration(tmp_path, journal)
    arguments = [*TAPIO, "run", "--config", str(config), "--set", "receivers.journald.batch_size=200"]
    out = tmp_path / "out.json"
    for _ in range(4):
        before = out.stat().st_size if out.exists() else 0
        with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and (out.stat().st_size if out.exists() else 0) <= before:
                pass
            process.kill()
    assert run(*arguments[len(TAPIO) + 1 :]).returncode == 0
    lines = out.read_text().splitlines()
    whole = [line for line in lines if _is_json(line)]
    (tmp_path / "whole.json").write_text("\n".join(whole))
    ids: dict[str, str] = {}
    for record in records(tmp_path / "whole.json"):
        body = record["body"]["stringValue"]
        assert ids.setdefault(body, attribute(record, "log.record.uid")) == attribute(record, "log.record.uid")
    assert set(ids) == {f"message {number}" for number in range(60_000)}


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_following_ends_at_sigterm_with_everything_delivered(tmp_path: Path) -> None:
    """What is appended while the agent runs arrives; SIGTERM drains and ends with 0."""
    journal = write_journal(tmp_path / "journal", entries(100))
    arguments = [*TAPIO, "run", "--config", str(configuration(tmp_path, journal, follow=True))]
    out = tmp_path / "out.json"
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        _wait_for(out, 100, process)
        write_journal(tmp_path / "journal", entries(50, 100))
        _wait_for(out, 150, process)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert [r["body"]["stringValue"] for r in records(out)] == [f"message {n}" for n in range(150)]


def _wait_for(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until the file holds so many records; the test's own timeout ends a wait in vain."""
    while process.poll() is None:
        if path.exists() and (text := path.read_text()).endswith("\n") and len(list(records(path))) >= count:
            assert text
            return
    raise AssertionError("the agent ended too soon")


def test_the_terminal_shows_readable_events(tmp_path: Path) -> None:
    """The default way of looking: one line an event with severity, unit and message; hostile text is inert."""
    journal = write_journal(
        tmp_path / "journal",
        [entry(1, PRIORITY=3, MESSAGE="disk is full"), entry(2, MESSAGE="\x1b[31mred\x07 alarm")],
    )
    done = run("--config", str(configuration(tmp_path, journal, exporter="debug")))
    assert done.returncode == 0
    first, second = done.stdout.splitlines()[:2]
    assert "error" in first
    assert "svc1.service" in first
    assert "disk is full" in first
    assert "\x1b" not in second
    assert "\x07" not in second


def test_a_finite_run_shows_progress_on_a_terminal_only(tmp_path: Path) -> None:
    """With standard error on a terminal a bar with a rate is drawn; piped, nothing of it is written."""
    journal = write_journal(tmp_path / "journal", entries(30_000))
    config = configuration(tmp_path, journal)
    leader, follower = pty.openpty()
    with subprocess.Popen([*TAPIO, "run", "--config", str(config)], stderr=follower, stdout=subprocess.DEVNULL) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the other side is closed: Linux says EIO
                break
            if not piece:
                break
            shown += piece
    os.close(leader)
    assert process.returncode == 0
    assert b"journald" in shown
    assert b"30000/30000" in shown
    again = tmp_path / "again"
    again.mkdir()
    piped = run("--config", str(configuration(again, journal)))
    assert "30000/30000" not in piped.stderr
    assert "\x1b" not in piped.stderr


def test_a_finite_run_without_a_journal_fails_and_says_what_is_missing(tmp_path: Path) -> None:
    """Status 1, the directory looked in, and no traceback."""
    done = run("--config", str(configuration(tmp_path, tmp_path / "nowhere")))
    assert done.returncode == 1
    assert str(tmp_path / "nowhere") in done.stderr
    assert "Traceback" not in done.stderr
