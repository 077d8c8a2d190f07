"""klog: the header of glog and klog, plain and structured."""

from __future__ import annotations

import pytest

from tapio_otel.event import Severity
from tests.classifiers.support import ask

HEADER = "1123 08:44:01.123456    1234 store/file.go:123] "


@pytest.mark.parametrize(
    ("letter", "severity"), [("I", Severity.INFO), ("W", Severity.WARNING), ("E", Severity.ERROR), ("F", Severity.CRITICAL)]
)
def test_the_header_gives_severity_and_place(letter, severity):
    """The letter is the severity; file, line and thread are in the header."""
    said = ask("klog", f"{letter}{HEADER}it broke\nmore of it")
    assert (said.severity, said.title) == (severity, "it broke")
    assert said.attributes == {"code.file.path": "store/file.go", "code.line.number": 123, "tid": 1234}


def test_a_structured_message_is_unquoted_and_its_error_read():
    """The message stands in quotes, fields follow."""
    said = ask("klog", f'E{HEADER}"Unable to sync \\"a\\"" err="no such \\"pod\\"" pod="default/a"')
    assert said.title == 'Unable to sync "a"'
    assert said.attributes["exception.message"] == 'no such "pod"'


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ('"Started \\"a\\"" pod="b"', 'Started "a"'),
        ('"Started" pod="b"', "Started"),
        ('"Started"', "Started"),
        ('"path C:\\\\a\\tb"', "path C:\\a\tb"),
        ('"Started', "Started"),
        ('"" pod="b"', '"" pod="b"'),
        ('"a"b"', "a"),
    ],
)
def test_a_structured_message_is_read_to_its_closing_quote(message, title):
    """With escaped quotes and other escapes in it, or without its end."""
    assert ask("klog", f"I{HEADER}{message}\nmore of it").title == title


@pytest.mark.parametrize("fields", ['err="gone"', '"error"="gone" a=1', 'a=1 err=gone\nx="err"'])
def test_the_error_is_read_wherever_it_stands_among_the_fields(fields):
    """On the line of the message."""
    said = ask("klog", f'E{HEADER}"Unable to sync" {fields}')
    assert said.attributes.get("exception.message") == ("gone" if fields[0] != '"' else None)


def test_glogs_header_with_a_year_is_read():
    """Recent glog writes the whole date."""
    assert ask("klog", "E20261123 08:44:01.123456 1234 file.cc:7] it broke").severity is Severity.ERROR


@pytest.mark.parametrize(
    "text",
    [
        "E1123 it broke",
        "X" + HEADER,
        " E" + HEADER,
        "E1123 08:44:01.123456 abc file.go:1] x",
        "Info1123 08:44:01.1 1 f:1] x",
        "E9923 08:44:01.123456 1 f.go:1] x",
        "",
    ],
)
def test_other_texts_have_no_such_header(text):
    """Every part of the header must be there."""
    assert ask("klog", text) is None
