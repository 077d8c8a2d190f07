"""Lines, journal export and journal JSON become events with the fields they tell."""

from __future__ import annotations

import contextlib
import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.cli.log_lines import LineError, LogLine, line_of, read_lines


def read(content: bytes | str, format: str = "auto") -> list[LogLine]:
    """Read a stream to its end."""
    data = content.encode() if isinstance(content, str) else content
    return list(read_lines(io.BytesIO(data), format))


def test_a_plain_line_is_a_message_of_which_nothing_is_known() -> None:
    """The text is the description; there are no journal fields."""
    [line] = read("something happened\n")
    assert (line.text, line.event.description, line.has_fields) == ("something happened", "something happened", False)


def test_empty_lines_are_left_out_and_carriage_returns_removed() -> None:
    """What separates lines is not part of them."""
    assert [line.text for line in read("a\r\n\n\nb")] == ["a", "b"]


@pytest.mark.parametrize(
    "header",
    [
        "Nov 23 08:00:01 node1 ",
        "Nov  3 08:00:01.123456 node1 ",
        "2026-11-23T08:00:01.5+01:00 node1 ",
        "2026-11-23T08:00:01Z node1 ",
        "<38>Nov 23 08:00:01 node1 ",
        "Mon 2026-11-23 08:00:01 UTC node1 ",
        "Mon 2026-11-23 08:00:01.123456 CET node1 ",
        "1795420801.123456 node1 ",
        "[   12.345678] node1 ",
    ],
)
def test_the_beginning_of_a_syslog_line_is_taken_for_fields(header: str) -> None:
    """Identifier, pid and host are known, and the message is what remains."""
    [line] = read(f"{header}sshd[4242]: Invalid user x\n")
    assert line.text == f"{header}sshd[4242]: Invalid user x"
    assert line.event.description == "Invalid user x"
    assert line.event.get("SYSLOG_IDENTIFIER") == "sshd"
    assert line.event.get("pid") == 4242
    assert line.event.get("_TRANSPORT") == "syslog"


@pytest.mark.parametrize(
    "line",
    [
        "Nov 23 08:00:01 node1 kernel: x",
        "[   12.345678] x",
        "Nov 23 08:00:01 n kernel: [12.345678] x",
        "<3>[12.345678] x",
        "[1.000001][ T123] x",
        "kern  :err   : [   12.345678] x",
        "[Mon Nov 23 08:00:01 2026] x",
        "2026-11-23T08:00:01,123456+00:00 x",
        "[   12.345678] node1 kernel: x",
        "Mon 2026-11-23 08:00:01 UTC node1 kernel: x",
    ],
)
def test_lines_of_the_kernel_are_known_as_such(line: str) -> None:
    """As syslog and as dmesg write them."""
    [found] = read(line)
    assert found.event.description == "x"
    assert found.event.get("_TRANSPORT") == "kernel"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('<34>1 2026-11-23T08:00:01Z node1 app 4242 - [a@1 b="c"][d@1] it is said', "it is said"),
        ("<34>1 2026-11-23T08:00:01Z node1 app 4242 ID7 - \ufeffit is said", "it is said"),
        ("<34>1 - node1 app 4242 - -", ""),
    ],
)
def test_syslog_by_rfc_5424_is_taken_for_fields(line: str, message: str) -> None:
    """Structured data and a byte order mark are no part of the message, which may be missing."""
    [found] = read(line)
    assert (found.event.description, found.text) == (message, line)
    assert (found.event.get("SYSLOG_IDENTIFIER"), found.event.get("pid")) == ("app", 4242)


def test_lines_that_look_like_a_field_are_text() -> None:
    """The firewall writes NAME=value too, and no entry begins so."""
    found = read("IN=eth0 OUT= SRC=192.0.2.7 DST=192.0.2.8\nDST=x is meant\n")
    assert [line.event.description for line in found] == ["IN=eth0 OUT= SRC=192.0.2.7 DST=192.0.2.8", "DST=x is meant"]


@pytest.mark.parametrize("message", ["[]", "[[]]", "[[120]]", "{}", "true", '[{"a":[1]}]'])
def test_a_message_of_no_form_that_journalctl_writes_is_still_one(message: str) -> None:
    """Somebody made the JSON by other means."""
    [line] = read(f'{{"MESSAGE":{message},"_PID":[[],1]}}')
    assert line.has_fields


def test_an_entry_in_the_export_format_has_its_fields() -> None:
    """Text fields, a binary one of several lines, and a repeated one."""
    message = b"first\nsecond"
    entry = (
        b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1763884800000000\nPRIORITY=3\nSYSLOG_IDENTIFIER=app\n_TRANSPORT=journal\n"
        b"TAG=a\nTAG=b\nMESSAGE\n" + struct.pack("<Q", len(message)) + message + b"\n"
    )
    first, second = read(entry + b"\n" + entry.replace(b"app", b"other"))
    assert first.event.description == "first\nsecond"
    assert first.event.timestamp == 1763884800000000000
    assert first.event.get("SYSLOG_IDENTIFIER") == "app"
    assert second.event.get("SYSLOG_IDENTIFIER") == "other"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"__CURSOR=x\nnot a field\n", "line 2: b'not a field\\n' is no field of the journal export format"),
        (b"__CURSOR=x\nMESSAGE\n\x05\x00\x00\x00\x00\x00\x00\x00ab", "line 2: the binary field MESSAGE is cut short"),
        (b"__CURSOR=x\nMESSAGE\n" + b"\xff" * 8, "line 2: the binary field MESSAGE is cut short or its length is wrong"),
    ],
)
def test_a_broken_export_is_reported_with_its_line(content: bytes, said: str) -> None:
    """Where, what was found, what to do."""
    with pytest.raises(LineError) as caught:
        read(content)
    assert said in str(caught.value)


def test_a_journal_entry_as_json_has_its_fields() -> None:
    """As journalctl -o json writes it: text, numbers for bytes that are no text, null for what was too large."""
    entry = {"MESSAGE": list(b"caf\xe9"), "PRIORITY": "4", "_COMM": "app", "_PID": "7", "BIG": None, "__CURSOR": "x"}
    [line] = read(json.dumps(entry))
    assert line.event.description == "caf\ufffd"
    assert line.event.get("comm") == "app"
    assert line.has_fields


def test_json_without_journal_fields_is_a_message() -> None:
    """Programs write JSON as their messages."""
    [line] = read('{"level":"error","msg":"x"}\n')
    assert (line.event.description, line.has_fields) == ('{"level":"error","msg":"x"}', False)


def test_json_that_was_promised_and_is_none_is_reported() -> None:
    """With the line and what to do instead."""
    with pytest.raises(LineError, match=r"line 1: 'plain' is no journal entry.*--format text"):
        read("plain\n", "json")


def test_text_stays_text_when_it_is_said_to_be() -> None:
    """Not even journal JSON is taken apart then."""
    [line] = read('{"MESSAGE":"x","_PID":"1"}', "text")
    assert not line.has_fields


def test_a_line_of_a_corpus_has_the_fields_given() -> None:
    """Fields stand beside the line."""
    assert line_of("x", {"_TRANSPORT": "kernel"}).event.get("_TRANSPORT") == "kernel"


@given(st.binary(max_size=400))
def test_any_input_is_read_or_refused(content: bytes) -> None:
    """Nothing but a LineError comes out."""
    with contextlib.suppress(LineError):
        read(content)
