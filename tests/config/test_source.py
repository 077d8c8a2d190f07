"""Several sources laid over one another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tapio_otel.config.compose import MAX_BYTES
from tapio_otel.config.located import plain
from tapio_otel.config.source import read


def _merged(*texts: str, overrides: list[str] | None = None) -> object:
    reading = read([(f"{index}.yaml", text) for index, text in enumerate(texts)], overrides or [], {})
    assert reading.problems == []
    assert reading.root is not None
    return plain(reading.root)


def _messages(*sources: str | Path | tuple[str, str], overrides: list[str] | None = None) -> list[str]:
    return [str(problem) for problem in read(list(sources), overrides or [], {}).problems]


def test_mappings_are_merged_and_everything_else_is_replaced() -> None:
    """As the collector does it."""
    first = "a: {x: 1, y: [1, 2], z: {p: 1}}\nb: 1\nd: {k: v}"
    assert _merged(first, "a: {y: [3], z: {q: 2}}\nc: 2\nd: ") == {
        "a": {"x": 1, "y": [3], "z": {"p": 1, "q": 2}}, "b": 1, "d": None, "c": 2,
    }  # fmt: skip


def test_merging_does_not_change_what_an_alias_shares() -> None:
    """Two components made from one anchor stay independent."""
    assert _merged("a: &a {x: 1}\nb: *a", "a: {x: 2}") == {"a": {"x": 2}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=c", {"a": {"b": "c"}}),
        ("a::b=5", {"a": {"b": 5}}),
        ("a::b.c=5", {"a": {"b.c": 5}}),
        ("r.journald/boot.units=[x, y]", {"r": {"journald/boot": {"units": ["x", "y"]}}}),
        ("a.b=", {"a": {"b": None}}),
        ("a.b={c: 1}", {"a": {"b": {"c": 1}}}),
        ("a.b='1'", {"a": {"b": "1"}}),
        ("a=x=y", {"a": "x=y"}),
        (" a.b =c", {"a": {"b": "c"}}),
        ("a=$${x}", {"a": "${x}"}),
    ],
)
def test_an_override_sets_one_path(override: str, expected: object) -> None:
    """Its value is YAML; dots or the collector's double colons separate."""
    assert _merged(overrides=[override]) == expected


def test_overrides_come_last_and_in_order() -> None:
    """The last one wins, and mappings are merged here too."""
    assert _merged("a: {b: 1, c: 1}", overrides=["a.b=2", "a.b=3", "a={d: 4}"]) == {"a": {"b": 3, "c": 1, "d": 4}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a.b", "--set: 'a.b' names no option; write --set path=value, such as --set receivers.journald.follow=false "
         "(:: separates like a dot)"),
        ("=x", "--set: '' names no option; write --set path=value, such as --set receivers.journald.follow=false "
         "(:: separates like a dot)"),
        ("a..b=x", "--set: 'a..b' names no option; write --set path=value, such as --set receivers.journald.follow=false "
         "(:: separates like a dot)"),
        ("a.b={", "--set: a.b: not valid YAML: while parsing a flow node did not find expected node content; "
         "check indentation, colons and quotes here and on the line before"),
        ("a.b=!X y", "--set: a.b: the tag !X is not supported; write the plain value, or ${env:NAME} or ${file:PATH}"),
    ],
)  # fmt: skip
def test_a_bad_override_says_how_to_write_it(override: str, message: str) -> None:
    """Without its value, which may be a secret."""
    assert _messages(("a.yaml", "a: {}"), overrides=[override]) == [message]


def test_a_very_long_path_is_refused() -> None:
    """It must not exhaust the stack."""
    assert "names no option" in _messages(overrides=[".".join("a" * 5000) + "=1"])[0]


@pytest.mark.parametrize("text", ["", "# comment\n", "---\n", "~", "null\n"])
def test_an_empty_file_is_an_error(text: str) -> None:
    """It is most likely not what was meant."""
    assert _messages(("a.yaml", text)) == [
        "a.yaml:1: there is no configuration in it; write the sections receivers, exporters and service"
    ]


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b", "a list"), ("just text", "a single value"), ("5", "a single value")])
def test_yaml_that_is_no_mapping_is_an_error(text: str, kind: str) -> None:
    """The message says what was found."""
    assert _messages(("a.yaml", text)) == [
        f"a.yaml:1: expected a mapping with sections such as receivers and service, found {kind}"
    ]


def test_every_unreadable_file_is_told(tmp_path: Path) -> None:
    """Missing, a directory, no path: all at once."""
    found = _messages(tmp_path / "no.yaml", tmp_path, "a\0b", "/proc/self/mem")
    assert found[:3] == [
        f"{tmp_path}/no.yaml: there is no such file; check the path",
        f"{tmp_path}: this is a directory; name a file in it",
        "a\0b: it cannot be read: embedded null byte",
    ]
    assert found[3].startswith("/proc/self/mem: it cannot be read: ")


def test_a_file_without_permission_says_for_whom(tmp_path: Path) -> None:
    """Run as another user, since root may read everything."""
    file = tmp_path / "secret.yaml"
    file.write_text("a: 1")
    file.chmod(0)
    program = (
        "import os, sys\nfrom tapio_otel.config.source import read\n"
        "os.geteuid() or os.setuid(65534)\n"
        "print(*read([sys.argv[1]]).problems)"
    )
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    user = os.geteuid() or 65534
    assert done.stdout.strip() == f"{file}: permission denied for user id {user}; make the file readable for it"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\n".encode("utf-16"), "1: it is encoded as UTF-16; save it as UTF-8"),
        ("a: 1\n".encode("utf-16-le"), "1: it is encoded as UTF-16 or UTF-32; save it as UTF-8"),
        ("a: 1\n".encode("utf-32"), "1: it is encoded as UTF-32; save it as UTF-8"),
        (b"a: 1\nb: caf\xe9\n", "2: found the byte 0xE9, which is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbfa: 1\nb: \xff\n", "2: found the byte 0xFF, which is not UTF-8; save the file as UTF-8"),
        (b"a: 1\nb: \0\n", "2: found the control character U+0000; remove it, or write it as an escape in double quotes"),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """With the line of the first byte that is wrong."""
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    assert _messages(file) == [f"{file}:{message}"]


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    """Editors write them."""
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: caf\xc3\xa9\r\n")
    reading = read([file], [], {})
    assert reading.root is not None
    assert (plain(reading.root), reading.problems) == ({"a": 1, "b": "café"}, [])


def test_a_file_without_end_is_refused() -> None:
    """Reading stops at the limit."""
    assert _messages("/dev/zero") == [f"/dev/zero: it is larger than {MAX_BYTES // 1024 // 1024} MiB; make it smaller"]
