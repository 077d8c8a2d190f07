"""`tapio patterns` tells what lines say, lists the library, and measures it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tapio_otel.cli import main

KEYS = ["line", "pattern", "classifier", "type", "severity", "attributes", "entity", "trace_id", "span_id"]


def patterns(*arguments: str, given: str | bytes = "") -> Result:
    """Run a command of the group on standard input."""
    return CliRunner().invoke(main, ["patterns", *arguments], input=given)


def rows(result: Result) -> list[dict[str, Any]]:
    """Return the objects that were printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_an_oom_kill_is_understood_without_any_field() -> None:
    """A bare line of any kernel gives type, severity, pid, name and the process it is about."""
    [row] = rows(patterns("match", given="Out of memory: Killed process 4242 (java) total-vm:1kB\n"))
    assert list(row) == KEYS
    assert (row["pattern"], row["type"], row["severity"]) == ("kernel_oom_kill", "oom_kill", "critical")
    assert row["attributes"]["pid"] == 4242
    assert row["attributes"]["process_name"] == "java"
    assert (row["entity"]["type"], row["entity"]["name"]) == ("process", "java")
    assert row["classifier"] is row["trace_id"] is row["span_id"] is None


def test_a_logfmt_error_belongs_to_its_trace() -> None:
    """The classifier tells the severity, and the trace context is found in the text."""
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    [row] = rows(patterns("match", given=f'level=error msg="it broke" trace_id={trace} span_id={span}\n'))
    assert (row["classifier"], row["type"], row["severity"]) == ("logfmt", "log", "error")
    assert (row["trace_id"], row["span_id"]) == (trace, span)


def test_a_line_that_says_nothing_has_nulls() -> None:
    """Every key is there."""
    [row] = rows(patterns("match", given="all is well\n"))
    assert row == {**dict.fromkeys(KEYS), "line": "all is well", "type": "log", "severity": "info"}


def test_only_what_no_pattern_knows_is_printed_when_asked_for() -> None:
    """For authors of patterns."""
    found = rows(patterns("match", "--unmatched", given="Out of memory: Killed process 1 (a)\nall is well\n"))
    assert [row["line"] for row in found] == ["all is well"]


def test_it_is_explained_why_a_pattern_was_chosen() -> None:
    """Every candidate with a reason, the chosen one marked."""
    [row] = rows(patterns("match", "--explain", given="Memory cgroup out of memory: Killed process 4242 (java)\n"))
    assert {"pattern": "container_oom", "chosen": True, "reason": "ranks first"} in row["explain"]


def test_an_entry_of_the_journal_has_the_entity_of_its_unit() -> None:
    """Fields of an exported entry are used as the journald receiver uses them."""
    entry = b"__CURSOR=x\nMESSAGE=hello\n_SYSTEMD_UNIT=web.service\n_HOSTNAME=n\nPRIORITY=3\n\n"
    [row] = rows(patterns("match", given=entry))
    assert (row["entity"]["name"], row["severity"]) == ("web.service", "error")


def test_a_broken_input_is_an_error_with_status_1() -> None:
    """Said on standard error."""
    result = patterns("match", given=b"__CURSOR=x\nbroken\n")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: line 2:")


def test_patterns_of_a_file_come_before_the_built_in_ones(tmp_path: Path) -> None:
    """A user's file decides."""
    own = tmp_path / "own.yaml"
    own.write_text(
        "patterns:\n- {name: mine, pattern: 'Out of memory: Killed', event_type: my_type, severity: notice, "
        "examples: ['Out of memory: Killed x'], counter_examples: [y]}\n"
    )
    line = "Out of memory: Killed process 1 (a)\n"
    [row] = rows(patterns("match", "--patterns", "builtin", "--patterns", str(own), given=line))
    assert (row["pattern"], row["type"]) == ("mine", "my_type")
    [row] = rows(patterns("match", "--patterns", "builtin", "--patterns", str(own), "--disable", "mine", given=line))
    assert row["pattern"] == "kernel_oom_kill"


def test_a_pattern_that_re2_cannot_take_is_refused_with_its_place(tmp_path: Path) -> None:
    """File, line and the reason; status 1."""
    own = tmp_path / "own.yaml"
    own.write_text("patterns:\n- name: mine\n  pattern: 'a(?=b)'\n  event_type: t\n  severity: notice\n")
    result = patterns("list", "--patterns", str(own))
    assert result.exit_code == 1
    assert f"{own}:3: patterns[0].pattern" in result.stderr
    assert "(?=" in result.stderr


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_the_library_is_listed(form: list[str]) -> None:
    """In each form, every pattern is there."""
    result = patterns("list", *form)
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("kernel_oom_kill", "connection_refused", "restart_limit"))


def corpus(tmp_path: Path, *rows: dict[str, Any]) -> str:
    """Write a corpus."""
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


OOM = "Out of memory: Killed process 4242 (java)"


def test_a_corpus_is_measured(tmp_path: Path) -> None:
    """One of two lines found: recall a half, precision whole."""
    file = corpus(
        tmp_path,
        {"line": OOM, "type": "oom_kill", "severity": "critical", "attributes": {"pid": 4242}},
        {"line": "somebody said it ran out of memory", "type": "oom_kill"},
        {"line": "all is well", "type": "log"},
    )
    result = patterns("evaluate", file)
    assert result.exit_code == 0
    [row] = [line.split() for line in result.stdout.splitlines() if line.startswith("all")]
    assert row == ["all", "2", "1.000", "0.500"]
    assert "severity right in 1 of 1, attributes right in 1 of 1" in result.stdout


def test_a_false_alarm_is_an_error_and_shown(tmp_path: Path) -> None:
    """A line of no type that is taken for critical."""
    result = patterns("evaluate", "--wrong", corpus(tmp_path, {"line": OOM, "type": "log"}))
    assert result.exit_code == 1
    assert json.loads(result.stdout.splitlines()[0])["wrong"] == ["type"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense\n", ":1: 'nonsense' is no JSON"),
        ('{"line": 1}\n', "expected an object with `line`"),
        ('{"line":"a","type":"log","x":1}\n', "unknown keys x"),
        ('{"line":"a","type":"log","fields":{"PRIORITY":3}}\n', ":1: `fields` must be an object of texts"),
        ('{"line":"a","type":"log","fields":[]}\n', ":1: `fields` must be an object of texts"),
        ('{"line":"a","type":"log","attributes":[1]}\n', ":1: `attributes` must be an object"),
        ('\n{"line":"a","type":"log","severity":"warn"}\n', ":2: there is no severity 'warn'; did you mean 'warning'?"),
    ],
)
def test_a_broken_corpus_is_reported(tmp_path: Path, content: str, said: str) -> None:
    """With file and line."""
    file = tmp_path / "corpus.jsonl"
    file.write_text(content)
    result = patterns("evaluate", str(file))
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_corpus_that_is_no_text_is_reported(tmp_path: Path) -> None:
    """With file, line and byte."""
    file = tmp_path / "corpus.jsonl"
    file.write_bytes(b'{"line":"a","type":"log"}\n{"line":"\xff","type":"log"}\n')
    result = patterns("evaluate", str(file))
    assert result.exit_code == 1
    assert f"error: {file}:2: byte 0xff is no UTF-8" in result.stderr


def test_a_directory_without_a_corpus_is_an_error(tmp_path: Path) -> None:
    """Nothing measured is not all right."""
    result = patterns("evaluate", str(tmp_path))
    assert result.exit_code == 1
    assert "there is no *.jsonl in this directory" in result.stderr


def test_a_line_of_a_corpus_may_hold_any_character_that_ends_lines_elsewhere(tmp_path: Path) -> None:
    """JSON needs not escape them."""
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"line":"a\u2028b\u0085c","type":"log"}\n', encoding="utf-8")
    result = patterns("evaluate", str(file))
    assert result.exit_code == 0, result.output


def test_output_that_cannot_be_written_is_an_error_in_one_line() -> None:
    """A full disk is told, not shown as a fault of the program."""
    code = "from tapio_otel.cli import main; main(['patterns', 'match'])"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], input=b"x\n", stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: input or output failed: No space left on device\n")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("kern  :err   : [   12.345678] x", "error"),
        ("user  :warn  : [Mon Nov 23 08:00:01 2026] x", "warning"),
        ("<12>Nov 23 08:00:01 node1 app: x", "warning"),
        ("<10>1 2026-11-23T08:00:01.5Z node1 app 7 ID1 - x", "critical"),
    ],
)
def test_a_severity_at_the_beginning_of_a_line_is_the_declared_one(line: str, severity: str) -> None:
    """By the kernel's name, or by syslog's number with its facility."""
    [row] = rows(patterns("match", given=line))
    assert (row["line"], row["severity"], row["classifier"]) == (line, severity, None)
