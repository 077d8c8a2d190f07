"""The chain of classifiers: their order, their triggers, and that no text whatever breaks one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.classification import Classification
from tapio_otel.classifiers import CLASSIFIERS
from tapio_otel.event import Severity
from tests.classifiers.support import ask, claimant, trigger

PIECES = st.sampled_from(
    [
        *'{}[]()<>"\\=:,;-/ \n\t\x1b',
        "ERROR",
        "[error]",
        "level=",
        '"level":',
        '"msg"',
        "E1123 08:44:01.123456 1 a.go:1] ",
        "<3>",
        "2026-11-23 08:00:00,123 ",
        '" 502 1',
        "GET / HTTP/1.1",
        "\ud800",
        "é",
        "٣",
        "9" * 30,
        "Nov 23 ",
        "[23/Nov/2026:08:00:00 +0000] ",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join) | st.text()


def test_the_order_is_from_exact_fields_to_mere_words():
    """Whole-body formats are asked before prefixes, and words last."""
    assert list(CLASSIFIERS) == ["json", "logfmt", "klog", "access_log", "kernel_prefix", "severity_word"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"level":"error","msg":"ERROR: x"}', "json"),
        ('level=error msg="[error] x"', "logfmt"),
        ("E1123 08:44:01.123456 1 a.go:1] ERROR: x", "klog"),
        ('192.0.2.1 - - [23/Nov/2026:08:00:00 +0000] "GET /error HTTP/1.1" 200 1', "access_log"),
        ("<3>ERROR: x", "kernel_prefix"),
        ("ERROR: x", "severity_word"),
        ("Started Session 42 of user root.", ""),
    ],
)
def test_the_first_that_claims_a_text_has_it(text, name):
    """A text that several could read goes to the one that reads most of it."""
    assert claimant(text) == name


@pytest.mark.parametrize("name", CLASSIFIERS)
@given(text=TEXTS)
def test_no_text_breaks_a_classifier(name, text):
    """Whatever the text, the answer is None or sound, and only where the trigger is met."""
    said = CLASSIFIERS[name](text, None) if name != "json" else ask(name, text)
    if said is None:
        return
    assert isinstance(said, Classification)
    assert said.severity is None or isinstance(said.severity, Severity)
    assert len(said.title) <= 200
    assert "\n" not in said.title
    assert all(isinstance(value, (str, int)) and value != "" for value in said.attributes.values())
    assert trigger(name).search(text.encode("utf-8", "replace").decode())


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    "text",
    [
        'a="' + '\\"' * 500_000,
        "[" * 1_000_000,
        '{"a":' * 200_000,
        "level=error " * 90_000,
        '"' * 1_000_000,
        "<" * 1_000_000,
        "08:00:00 " * 110_000 + "ERROR x",
        '192.0.2.1 - - ["' + "x" * 1_000_000,
        "a b=" * 250_000,
    ],
)
def test_a_megabyte_is_answered(name, text):
    """A long line, of which 16 KiB are given to a classifier, is answered within the test's time."""
    ask(name, text)


def test_importing_classifiers_loads_no_expression_library():
    """Commands that match nothing stay quick."""
    code = "import sys, tapio_otel.classifiers; sys.exit(bool({'re2', 'orjson'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
