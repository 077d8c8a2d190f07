"""Reading YAML with positions, and refusing what a configuration must not contain."""

from __future__ import annotations

import resource
import time

import pytest
import yaml

from tapio_otel.config import compose as compose_module
from tapio_otel.config.compose import MAX_WEIGHT, Composed, compose
from tapio_otel.config.located import plain, walk


def _messages(text: str) -> list[str]:
    return [str(problem) for problem in compose(text, "f").problems]


def _lines(composed: Composed) -> dict[str, int | None]:
    assert composed.root is not None
    return {".".join(map(str, path)): node.position.line for path, node in walk(composed.root)}


POSITIONS = """\
# comment
a: 1
b:
  c: [1,
      2]
"d": >
  folded
  text
e: &anchor
  f: x
g: *anchor
h:
  <<: *anchor
  i: y
"""


@pytest.mark.parametrize("loader", [compose_module.LOADER, yaml.SafeLoader])
def test_every_value_knows_its_line(monkeypatch: pytest.MonkeyPatch, loader: type) -> None:
    """A member of a mapping is where its key is, with the C parser as with the Python one."""
    monkeypatch.setattr(compose_module, "LOADER", loader)
    assert _lines(compose(POSITIONS, "f")) == {
        "": 2, "a": 2, "b": 3, "b.c": 4, "b.c.0": 4, "b.c.1": 5, "d": 6, "e": 9, "e.f": 10, "g": 11, "g.f": 10,
        "h": 12, "h.i": 14, "h.f": 10,
    }  # fmt: skip


def test_anchors_aliases_and_merge_keys_are_supported() -> None:
    """What a mapping says itself wins over what is merged into it, and the first merged over the later."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {<<: *a}\ne: *a\n"
    root = compose(text, "f").root
    assert root is not None
    got = plain(root)
    assert got["c"] == {"x": 3, "y": 1, "z": 2}
    assert got["d"] == got["e"] == {"x": 1, "y": 1}


def test_scalars_follow_yaml_1_2() -> None:
    """No word is taken for a boolean, a date or a number to base sixty."""
    text = (
        "no: off\nyes: on\ny: n\nt: 1:30\nd: 2026-01-01\nz: 0123\nu: 1_000\nh: 0x1f\no: 0o17\nf: 1e3\nn: ~\nb: true\ns: '5'\n"
    )
    root = compose(text, "f").root
    assert root is not None
    assert plain(root) == {
        "no": "off", "yes": "on", "y": "n", "t": "1:30", "d": "2026-01-01", "z": "0123", "u": "1_000", "h": 31, "o": 15,
        "f": 1000.0, "n": None, "b": True, "s": "5",
    }  # fmt: skip


def test_standard_tags_are_honoured() -> None:
    """`!!str 5` is another way to write quotes."""
    root = compose(
        "a: !!str 5\nb: !!int 5\nc: !!float 5\nd: !!bool true\ne: !!null ''\nf: !!seq [a]\ng: !!map {a: 1}\nh: ! 5", "f"
    ).root
    assert root is not None
    assert plain(root) == {"a": "5", "b": 5, "c": 5, "d": True, "e": None, "f": ["a"], "g": {"a": 1}, "h": "5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: a: this key is already there (line 1); remove one of the two"),
        ("x:\n  - a: 1\n    a: 2", "f:3: x[0].a: this key is already there (line 2); remove one of the two"),
        ("true: 1", "f:1: the key true is read as true or false, and a key must be text; write it as 'true'"),
        ("a:\n  404: x", "f:2: a: the key 404 is read as a number, and a key must be text; write it as '404'"),
        ("~: 1", "f:1: the key ~ is read as nothing, and a key must be text; write it as '~'"),
        ("? \n: 1", "f:1: the key null is read as nothing, and a key must be text; write it as 'null'"),
        ("? [a]\n: 1", "f:1: a list is used as a key; a key must be text (text with braces or brackets needs quotes)"),
        ("{a: 1}: 1", "f:1: a mapping is used as a key; a key must be text (text with braces or brackets needs quotes)"),
        ("a: &x 5\n*x : 1", "f:2: the alias used as a key does not name text; write the key out"),
        ("a: !Ref b", "f:1: a: the tag !Ref is not supported; write the plain value, or ${env:NAME} or ${file:PATH}"),
        ("a: !!set {b}", "f:1: a: the tag !!set is not supported; write the plain value, or ${env:NAME} or ${file:PATH}"),
        ("a: !!python/object:os.system x", "f:1: a: the tag !!python/object:os.system is not supported; "
         "write the plain value, or ${env:NAME} or ${file:PATH}"),
        ("a: !!timestamp 2026-01-01", "f:1: a: the tag !!timestamp is not supported; "
         "write the plain value, or ${env:NAME} or ${file:PATH}"),
        ("a: !!int x", "f:1: a: the value does not fit its tag !!int; remove the tag or change the value"),
        ("a: !!int true", "f:1: a: the value does not fit its tag !!int; remove the tag or change the value"),
        ("a: 1\n---\nb: 2", "f:2: a second document starts here; write one document a file and give several files instead"),
        ("a: *b", "f:1: a: the alias *b has no anchor &b before it; define it first"),
        ("a: &b [*b]", "f:1: a[0]: the alias *b stands inside what it names, which would never end; remove it"),
        ("a: {<<: [1]}", "f:1: a: << merges mappings only; give it an alias of a mapping, or a list of such"),
        ("a: \x07", "f:1: found the control character U+0007; remove it, or write it as an escape in double quotes"),
        ("a: 1\nb: \0", "f:2: found the control character U+0000; remove it, or write it as an escape in double quotes"),
        ("a: \udcff", "f:1: the text is not valid UTF-8; save it as UTF-8"),
        ("a:\n\tb: 1", "f:2: not valid YAML: while scanning for the next token found character that cannot start any token; "
         "a tab indents this line, use spaces"),
        ("a: {b: ${env:X}}", "f:1: not valid YAML: while parsing a flow mapping did not find expected ',' or '}'; put values "
         'with ${...} between braces or brackets in quotes, such as ["${env:NAME}"]'),
        ("a: 'x", "f:1: not valid YAML: while scanning a quoted scalar found unexpected end of stream; "
         "check indentation, colons and quotes here and on the line before"),
        ("a: b: c", "f:1: not valid YAML: mapping values are not allowed in this context; "
         "check indentation, colons and quotes here and on the line before"),
        ("%YAML 2.0\n---\na: 1", "f:1: not valid YAML: found incompatible YAML document; "
         "check indentation, colons and quotes here and on the line before"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line_and_path(text: str, message: str) -> None:
    """One message for each way to get YAML wrong."""
    assert _messages(text) == [message]


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000 + "a", "\n".join(" " * n + "a:" for n in range(500))]
)
def test_deep_nesting_is_refused(text: str) -> None:
    """However it is written, and without exhausting the stack."""
    assert _messages(text)[0].endswith("nested deeper than 64 levels; no option needs that")


def _bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [" + ", ".join(["lol"] * width) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * width) + "]" for n in range(1, levels)]
    return "\n".join(lines)


BOMBS = {
    "lists": _bomb(30, 10),
    "merge keys": "a0: &a0 {x: 1}\n"
    + "\n".join(f"a{n}: &a{n} {{k: *a{n - 1}, l: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 60)),
    "one long text": "a: &a " + "x" * 1_000_000 + "\nb: [" + ", ".join(["*a"] * 50_000) + "]",
    "very many values": "- a\n" * 1_000_000,
    "keys": "a0: &a0 [1, 2]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, {{? *a{n - 1} : 1}}]" for n in range(1, 60)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_alias_bombs_are_refused_quickly_and_in_little_memory(name: str) -> None:
    """What aliases expand to is counted, not built. The limits are far from what is needed: a machine may be busy."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = _messages(BOMBS[name])
    assert found[-1].endswith(
        f"the document holds more than {MAX_WEIGHT} values once its aliases are expanded; make it smaller"
    )
    assert time.process_time() - begun < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_an_empty_document_has_no_root() -> None:
    """Comments and directives are nothing."""
    for text in ("", "\n\n", "# only this\n"):
        assert compose(text, "f") == Composed(None)


def test_syntax_errors_do_not_quote_the_text() -> None:
    """There may be a secret in the line."""
    assert "hunter22" not in "".join(_messages("password: hunter22: x\n"))
