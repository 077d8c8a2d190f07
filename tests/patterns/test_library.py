"""The library: files become ranked patterns, or a list of everything that is wrong with them."""

# ruff: noqa: E501 - messages in full
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapio_otel.config.problem import ConfigError
from tapio_otel.event import Severity
from tapio_otel.patterns import Extraction, FieldConditions, SubjectRule, load_library
from tapio_otel.patterns.expressions import Refused, check_expression
from tapio_otel.patterns.file import PatternFile
from tests.patterns.library_files import library, write

ENTRY = """
  - name: {name}
    pattern: {pattern}
    event_type: something
    severity: {severity}
    {more}
"""


def entry(name="one", pattern="'some text'", severity="error", more=""):
    """Return one entry of a pattern file."""
    return ENTRY.format(name=name, pattern=pattern, severity=severity, more=more)


def file(tmp_path: Path, name: str, *entries: str) -> str:
    """Write a file of entries; returns its path."""
    path = tmp_path / name
    path.write_text("patterns:" + "".join(entries))
    return str(path)


def problems(*entries: str, disabled: tuple[str, ...] = (), provided: dict[str, Path] | None = None) -> list[str]:
    """Return what is wrong with these entries."""
    with pytest.raises(ConfigError) as raised:
        load_library(entries, disabled, provided or {})
    return [str(problem) for problem in raised.value.problems]


def test_a_pattern_is_what_its_entry_says(tmp_path):
    """Every key has its place; file and line are kept."""
    found = library(
        tmp_path,
        """
        patterns:
          - name: oom
            description: Memory ran out.
            pattern: 'Kill process (?P<pid>\\d+) \\((?P<name>.+)\\)'
            event_type: oom_kill
            severity: critical
            category: memory
            fields: {transport: kernel, priority: warning, identifier: [kern*, dmesg]}
            extract: {pid: int}
            entity: {process: pid, name: name}
            title: 'OOM: {name}'
            examples: ['Kill process 1 (a)', {text: b, priority: error, attributes: {pid: 1}, entity: {type: process}}]
            counter_examples: ['no']
        """,
    ).get("oom")
    assert found.expressions == (r"Kill process (?P<pid>\d+) \((?P<name>.+)\)",)
    assert (found.event_type, found.severity, found.category) == ("oom_kill", Severity.CRITICAL, "memory")
    assert found.fields == FieldConditions(
        identifier=("kern*", "dmesg"),
        transport=("kernel",),
        severities=frozenset(one for one in Severity if one >= Severity.WARNING),
    )
    assert found.extract == Extraction((), {"pid": "int"})
    assert found.entity == SubjectRule("process", "pid", "name")
    assert (found.title, found.description) == ("OOM: {name}", "Memory ran out.")
    assert [one.text for one in found.examples] == ["Kill process 1 (a)", "b"]
    assert (found.examples[1].priority, found.examples[1].attributes) == (Severity.ERROR, {"pid": 1})
    assert (found.examples[1].line, found.line) == (13, 3)
    assert found.file == str(tmp_path / "patterns.yaml")


def test_a_list_of_priorities_means_exactly_these(tmp_path):
    """A single one means that or worse."""
    found = load_library([file(tmp_path, "a.yaml", entry(more="fields: {priority: [info, error]}"))])
    assert found.get("one").fields.severities == {Severity.INFO, Severity.ERROR}


def test_the_seed_s_list_names_unnamed_groups(tmp_path):
    """In their order."""
    found = load_library([file(tmp_path, "a.yaml", entry(pattern=r"'(\d+) (\w+)'", more="extract: [pid, process_name]"))])
    assert found.get("one").extract == Extraction(("pid", "process_name"), {})


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path):
    """By name, wherever it comes from."""
    first = file(tmp_path, "a.yaml", entry("one"), entry("two"))
    second = file(tmp_path, "b.yaml", entry("one", severity="debug"))
    found = load_library([first, second])
    assert found.get("one").severity == Severity.DEBUG
    assert found.names == ["two", "one"]


def test_ranks_are_by_origin_then_fields_then_severity_then_place(tmp_path):
    """The user's before plugins' before built-in ones, and so on."""
    plugin = file(tmp_path, "plugin.yaml", entry("plugged", severity="emergency"))
    user = file(
        tmp_path,
        "user.yaml",
        entry("plain", severity="critical"),
        entry("minor", severity="info"),
        entry("minor_too", severity="info"),
        entry("asking", severity="info", more="fields: {transport: kernel}"),
    )
    found = load_library(["builtin", "plugins", user], provided={"acme": Path(plugin)})
    assert found.names[:5] == ["asking", "plain", "minor", "minor_too", "plugged"]
    assert len(found) > 5


def test_a_directory_is_read_in_the_order_of_names(tmp_path):
    """A later file takes the place of an earlier one's; what is no YAML is left alone."""
    file(tmp_path, "20.yaml", entry("one", severity="alert"))
    file(tmp_path, "10.yaml", entry("one"), entry("two"))
    (tmp_path / "README").write_text("not a pattern")
    assert load_library([str(tmp_path)]).get("one").severity == Severity.ALERT


def test_a_plugin_s_set_can_be_named(tmp_path):
    """Alone, without the other plugins'."""
    sets = {name: Path(file(tmp_path, f"{name}.yaml", entry(name))) for name in ("acme", "other")}
    assert load_library(["acme"], provided=sets).names == ["acme"]
    assert set(load_library(["plugins"], provided=sets).names) == {"acme", "other"}


def test_disabled_patterns_are_left_out(tmp_path):
    """By name; the rest stays."""
    path = file(tmp_path, "a.yaml", entry("one"), entry("two"))
    assert load_library([path], ["one"]).names == ["two"]
    assert problems(path, disabled=("onee",)) == [
        "disabled_patterns[0]: there is no pattern 'onee' to leave out; did you mean 'one'?"
    ]


def test_an_unknown_name_is_asked_about(tmp_path):
    """Names of library and error agree."""
    found = load_library([file(tmp_path, "a.yaml", entry("kernel_oom"))])
    with pytest.raises(LookupError, match="did you mean 'kernel_oom'"):
        found.get("kernel_om")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (entry(pattern="'ab(?=c)'"), ":3: patterns[0].pattern: the expression of 'one' is refused by RE2 at column 3: invalid perl operator: (?= (RE2 has no look-ahead); it is ab(?=c)"),
        (entry(pattern="['fine', 'x*|*']"), ":3: patterns[0].pattern[1]: expression 2 of 'one' is refused by RE2 at column 4: no argument for repetition operator: *; it is x*|*"),
        (entry(pattern=r"'(a)b\1'"), "at column 5: invalid escape sequence: \\1 (RE2 has no back-references)"),
        (entry(pattern="'a [b) (c'"), "missing ]"),
        (entry(pattern="'a (b (c)'"), "at column 3: this ( is never closed"),
        (entry(pattern=r"'a\(b [)] c)'"), "at column 11: this ) closes nothing"),
        (entry(pattern="'x*'"), "matches the empty text"),
        (entry(pattern="'a{1001}'"), "at column 2: invalid repetition size: {1001}"),
        (entry(pattern="'(?P<a>x)(?P<a>y)'"), "names two groups 'a', at columns 1 and 9"),
        (entry(pattern="'x(?P<Pid>y)'"), "names a group 'Pid' at column 2; use lower-case"),
        (entry(pattern=r"'\pL{60}'"), "instructions, more than"),
        (entry(pattern="'x(?P<pattern>y)'"), "the group 'pattern' says how a text was classified"),
        (entry(pattern="[]"), "at least 1 item"),
        (entry(pattern="7"), ":3: patterns[0].pattern: expected text or a list"),
        (entry(name="One"), ":2: patterns[0].name: expected text that matches"),
        (entry(severity="critcal"), "found 'critcal'; did you mean 'critical'?"),
        (entry(more="titel: x"), ":6: patterns[0].titel: unknown option 'titel'; did you mean 'title'?"),
        (entry(more="extract: {pid: int}"), ":6: patterns[0].extract.pid: no expression has a group 'pid'"),
        (entry(pattern="'(?P<pid>x)'", more="extract: {pid: integer}"), "found 'integer'; did you mean 'int'?"),
        (entry(pattern="'(x)'", more="extract: [a, b]"), "2 names for 1 unnamed groups"),
        (entry(pattern="'(?P<pid>x)'", more="entity: {process: pdi}"), "patterns[0].entity.process: no expression has a group 'pdi'; did you mean 'pid'?"),
        (entry(pattern="'(?P<pid>x)'", more="entity: {process: pid, unit: pid}"), "found process and unit; a pattern has one subject"),
        (entry(pattern="'(?P<pid>x)'", more="entity: {name: pid}"), "found none of them"),
        (entry(pattern="'(?P<pid>x)'", more="entity: {unit: pid, uid: pid}"), "uid cannot stand beside unit"),
        (entry(more="title: '{name}'"), "patterns[0].title: no expression has a group 'name'"),
        (entry(pattern="'(?P<pid>x)'", more="title: '{pid:>5}'"), "{pid} is more than a group's name"),
        (entry(more="title: 'a } b'"), "write {{ and }} for braces"),
        (entry(more="fields: {transport: kernal}"), "did you mean 'kernel'?"),
        (entry() + entry(), ":8: patterns[1].name: a pattern 'one' is already at line 2; rename one"),
        (entry(more="severity: error"), ":6: patterns[0].severity: this key is already there (line 5)"),
        (entry(more="examples: [{txt: a}]"), "patterns[0].examples[0].txt: unknown option 'txt'; did you mean 'text'?"),
        ("\n  - just text", ":2: patterns[0]: expected a mapping of options, found 'just text'"),
        ("\nother: 1", ":2: other: unknown key 'other'"),
        (" none", ":1: patterns: expected a list under patterns:, found 'none'"),
        ("\n  - name: [", "not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path, given, expected):
    """File, line, path, what was found and what to do."""
    path = file(tmp_path, "a.yaml", given)
    told = problems(path)
    assert all(one.startswith(path) for one in told)
    assert any(expected in one for one in told), told


def test_everything_wrong_is_said_at_once(tmp_path):
    """In two files, an entry and a disabled name."""
    first = file(tmp_path, "a.yaml", entry(pattern="'a(b'", severity="bad", more="titel: x"))
    second = file(tmp_path, "b.yaml", entry("two", pattern="'(?!x)'"))
    told = problems(first, second, "biultin", disabled=("oen",))
    assert len(told) == 6
    assert told[-2].startswith(
        "patterns[2]: 'biultin' is none of builtin, plugins, and there is no such file; did you mean 'builtin'"
    )
    assert told[-1] == "disabled_patterns[0]: there is no pattern 'oen' to leave out; did you mean 'one'?"


def test_files_that_cannot_be_read_are_told(tmp_path):
    """An empty one, one in another encoding, an empty directory, and one that is not there."""
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "utf16.yaml").write_text("patterns: []", "utf-16")
    (tmp_path / "directory").mkdir()
    told = problems(*(str(tmp_path / name) for name in ("empty.yaml", "utf16.yaml", "directory", "none.yaml")))
    assert "the file is empty" in told[0]
    assert "UTF-16" in told[1]
    assert "no *.yaml in this directory" in told[2]
    assert "there is no such file; check the path" in told[3]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path):
    """With the user that may not."""
    path = Path(file(tmp_path, "a.yaml", entry()))
    path.chmod(0)
    assert "permission denied" in problems(str(path))[0].lower()


def test_a_disabled_name_is_not_doubted_while_a_file_is_unreadable(tmp_path):
    """It may be in there."""
    path = write(tmp_path / "a.yaml", "patterns:\n  - name: [")
    assert len(problems(path, disabled=("one",))) == 1


@given(st.text(st.sampled_from("ab(|)[]^$*+?{}\\QEPpLwd,1:<>=!-i.é\ud800\0"), max_size=30))
def test_no_expression_makes_checking_it_fail(text):
    """It is compiled, or refused with a reason in one line."""
    try:
        check_expression(text)
    except Refused as refused:
        assert str(refused)


_PIECES = st.sampled_from([*"[]{}:,-'\"\n &*!|>ab1", "patterns:", "  - name: a\n", "    pattern: b\n", "    title: "])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_PIECES, max_size=40).map("".join))
def test_no_file_makes_reading_it_fail(tmp_path, text):
    """Whatever is in it: patterns, or problems that name the file."""
    path = tmp_path / "any.yaml"
    path.write_text("patterns:\n  - name: a\n" + text)
    read = PatternFile(path)
    assert read.patterns or read.problems or "patterns" in text
    assert all(problem.file == str(path) for problem in read.problems)
