"""Substitution of environment variables and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapio_otel.config.located import Located, plain, walk
from tapio_otel.config.source import read

ENV = {
    "HOST": "example.org", "PORT": "4317", "YES": "true", "EMPTY": "", "LIST": "[a, b]", "MAP": "a: 1", "BAD": "[a",
    "QUOTED": "'5'", "INJECT": "${env:PORT}", "DOLLAR": "a$$b", "_x1": "u", "TOKEN": "t", "LINES": "a\nb: c: d",
}  # fmt: skip


def _value(text: str, env: dict[str, str] | None = None) -> object:
    reading = read([("f", f"k: {text}")], [], ENV if env is None else env)
    assert [str(problem) for problem in reading.problems] == []
    assert reading.root is not None
    return plain(reading.root)["k"]


def _problem(text: str, env: dict[str, str] | None = None) -> str:
    (problem,) = read([("f", f"k: {text}")], [], ENV if env is None else env).problems
    return str(problem)


def _node(text: str) -> Located:
    root = read([("f", f"k: {text}")], [], ENV).root
    assert root is not None
    node = root.child("k")
    assert node is not None
    return node


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:PORT}", 4317),
        ("'${env:PORT}'", 4317),
        ("${PORT}", 4317),
        ("${env:YES}", True),
        ("${env:EMPTY}", None),
        ("${env:EMPTY:-x}", None),
        ("${env:LIST}", ["a", "b"]),
        ("${env:MAP}", {"a": 1}),
        ("${env:BAD}", "[a"),
        ("${env:QUOTED}", "'5'"),
        ("${env:LINES}", "a\nb: c: d"),
        ("${env:NONE:-}", None),
        ("${env:NONE:-5}", 5),
        ("${env:NONE:-a:-b}", "a:-b"),
        ("${NONE:-x}", "x"),
        ("${env:_x1}", "u"),
        ("${env:HOST}:${env:PORT}", "example.org:4317"),
        ("p${env:PORT}", "p4317"),
        ("${env:PORT} ", 4317),
        ("'${env:PORT} '", "4317 "),
        ("[x, '${env:PORT}']", ["x", 4317]),
        ("$$", "$"),
        ("$${env:PORT}", "${env:PORT}"),
        ("$$${env:PORT}", "$4317"),
        ("a$", "a$"),
        ("$PORT", "$PORT"),
        ("^a$|b$$", "^a$|b$"),
        ("'$${'", "${"),
    ],
)
def test_references_are_replaced(text: str, expected: object) -> None:
    """A whole value is read as YAML, a part of one stays text."""
    assert _value(text) == expected


def test_what_was_put_in_is_not_searched_again() -> None:
    """A variable cannot bring in another one, nor are its dollar signs touched."""
    assert _value("${env:INJECT}") == "${env:PORT}"
    assert _value("x${env:INJECT}") == "x${env:PORT}"
    assert _value("${env:DOLLAR}") == "a$$b"


def test_keys_are_left_alone() -> None:
    """As in the collector, only values are substituted."""
    assert _value("{'${env:PORT}': 1}") == {"${env:PORT}": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "${env:HOSTS}",
            "the environment variable HOSTS is not set; set it, or write ${env:HOSTS:-default}; did you mean HOST?",
        ),
        ("${NOTHING}", "the environment variable NOTHING is not set; set it, or write ${env:NOTHING:-default}"),
        ("${env:A B}", "'A B' is no name of an environment variable; write ${env:NAME}, or $${ for the two characters"),
        ("'${}'", "'' is no name of an environment variable; write ${env:NAME}, or $${ for the two characters"),
        ("${1}", "'1' is no name of an environment variable; write ${env:NAME}, or $${ for the two characters"),
        ("${http:x}", "${http:...} is not supported; write ${env:NAME} or ${file:PATH}, or $${ for the two characters"),
        ("a${env:HOST", "${ has no closing }; add it, or write $${ for the two characters"),
        ("${env:A:-${env:B}}", "substitutions cannot stand inside one another; use one ${...} here"),
        ("${file:/no/such}", "${file:/no/such} cannot be put in: there is no such file; check the path"),
        ("${file:/}", "${file:/} cannot be put in: this is a directory; name a file in it"),
        ("${file:}", "${file:} cannot be put in: this is a directory; name a file in it"),
        ("${env:RAW}", "the environment variable RAW is not valid UTF-8; set it to UTF-8 text"),
    ],
)
def test_what_cannot_be_replaced_is_told_at_its_line(text: str, message: str) -> None:
    """With what to write instead."""
    assert _problem(text, {**ENV, "RAW": "\udcff"}) == f"f:1: k: {message}"


def test_a_file_is_put_in_without_its_last_line_end(tmp_path: Path) -> None:
    """Secrets are usually mounted as files that end with one."""
    (tmp_path / "v").write_text("a\nb\n")
    (tmp_path / "n").write_text("12\r\n")
    assert _value(f"${{file:{tmp_path}/v}}") == "a\nb"
    assert _value(f"${{file:{tmp_path}/n}}") == 12
    assert _value(f"x${{file:{tmp_path}/n}}y") == "x12y"


def test_the_text_and_the_origin_of_a_value_are_kept() -> None:
    """For options that want text, and for messages."""
    assert (_node("${env:PORT}").text, _node("${env:PORT}").origin) == ("4317", "${env:PORT}")
    assert _node("${HOST}:${env:PORT}").origin == "${env:HOST} and ${env:PORT}"


@pytest.mark.parametrize("text", ["${env:TOKEN}", "a${env:TOKEN}b", "${file:/proc/self/../../etc/hostname-secret}"])
def test_what_comes_from_something_called_secret_is_hidden(text: str) -> None:
    """The name of the variable or file tells."""
    assert _node(text).hidden or _node(text).broken


def test_a_file_in_a_directory_of_secrets_is_hidden(tmp_path: Path) -> None:
    """As they are mounted into containers."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pin").write_text("1")
    assert _node(f"${{file:{tmp_path}/secrets/pin}}").hidden


def test_places_are_those_of_the_configuration() -> None:
    """A list from a variable is where the variable is named."""
    node = _node("\n\n  ${env:LIST}")
    assert {one.position.line for _, one in walk(node)} <= {1, 3}


def test_what_substitutions_bring_in_is_limited(tmp_path: Path) -> None:
    """Neither many references nor one large value can fill the memory."""
    (tmp_path / "v").write_text("x" * 1_000_000)
    many = "[" + ", ".join([f"'${{file:{tmp_path}/v}}'"] * 50) + "]"
    found = [str(problem) for problem in read([("f", f"k: {many}")], [], {}).problems]
    assert len(found) == 46
    assert found[0] == "f:1: k[4]: substitutions bring in more than 4194304 characters in all; make the values smaller"


def test_an_alias_bomb_in_a_variable_stays_text() -> None:
    """Nothing is expanded."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    assert _value("${env:BOMB}", {"BOMB": bomb}) == bomb


def test_many_structured_variables_are_limited() -> None:
    """The values of all substitutions count together."""
    large = "[" + ",".join(["1"] * 20_000) + "]"
    found = read([("f", "k: ['${A}', '${A}', '${A}']")], [], {"A": large}).problems
    assert str(found[0]) == "f:1: k[2]: substitutions bring in more than 50000 values in all; make them smaller"
