"""The pure parsing of journal entries."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.identity import sequence_id, sequence_prefix
from tapio_otel.receivers.journald import EntryParser
from tapio_otel.receivers.journald.entry import MAX_NAMES, MAX_ORIGINS, PROCESS_START
from tapio_otel.receivers.journald.fields import FieldSelection
from tapio_otel.receivers.journald.process import OwnEntries

SEQUENCE = "5" * 32
NAMES = [
    *("_PID", "_UID", "_COMM", "_EXE", "_CMDLINE", "_SYSTEMD_UNIT", "_HOSTNAME", "_MACHINE_ID", "_BOOT_ID", "_TRANSPORT"),
    *("MESSAGE", "PRIORITY", "MESSAGE_ID", "CODE_LINE", "REQUEST_ID", "TRACEPARENT", "_STREAM_ID", "SYSLOG_RAW", "_X", "Y"),
]


def cursor(number: int = 7, realtime: int = 0x1000) -> str:
    """Return a cursor as libsystemd writes it."""
    return f"s={SEQUENCE};i={number:x};b={'a' * 32};m=5;t={realtime:x};x=123"


def parse(fields: Mapping[str, Any], parser: EntryParser | None = None, **options: Any) -> UnifiedEvent:
    """Return the event of one entry, its values given as bytes or text."""
    raw = {name: value.encode() if isinstance(value, str) else value for name, value in fields.items()}
    event = (parser or EntryParser(**options)).parse(raw, cursor(), 1)
    assert event is not None
    return event


def test_an_entry_becomes_an_event_with_its_time_and_a_stable_id() -> None:
    """Id and timestamp come from the cursor, the description from MESSAGE; the severity waits for normalize."""
    event = parse({"MESSAGE": "hello", "PRIORITY": "3", "_PID": "12", "_HOSTNAME": "n1", "_MACHINE_ID": "m"})
    assert event.id == sequence_id(sequence_prefix(SEQUENCE), 7)
    assert event.timestamp == 0x1000 * 1000
    assert (event.source, event.type, event.severity) == ("journald", "log", Severity.INFO)
    assert (event.title, event.description) == ("hello", "hello")
    assert event.get("pid") == 12
    assert (event.entity.type, event.entity.name, event.entity.uid) == ("node", "n1", "m")


FULL = {
    "MESSAGE": "x",
    "PRIORITY": "6",
    "_PID": "1",
    "_UID": "0",
    "_GID": "0",
    "_COMM": "c",
    "_EXE": "/c",
    "_CMDLINE": "c -x",
    "_HOSTNAME": "h",
    "_MACHINE_ID": "m",
    "_BOOT_ID": "b",
    "_TRANSPORT": "stdout",
    "_STREAM_ID": "s",
    "_CAP_EFFECTIVE": "1ff",
    "_SOURCE_REALTIME_TIMESTAMP": "5",
    "_SYSTEMD_UNIT": "u.service",
    "SYSLOG_IDENTIFIER": "c",
    "SYSLOG_TIMESTAMP": "Nov 1",
    "SYSLOG_FACILITY": "3",
    "MESSAGE_ID": "id",
    "CODE_FILE": "f.c",
    "CODE_LINE": "10",
    "REQUEST_ID": "r",
    "COREDUMP_PROC_MAPS": "...",
}
ALWAYS = {"pid", "comm", "exe", "cmdline", "_HOSTNAME", "_MACHINE_ID", "SYSLOG_IDENTIFIER"}


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ("default", {"uid", "_GID", "_BOOT_ID", "_TRANSPORT", "MESSAGE_ID", "CODE_FILE", "CODE_LINE", "REQUEST_ID"}),
        (["REQUEST_ID", "_STREAM_ID"], {"REQUEST_ID", "_STREAM_ID"}),
        ([], set()),
    ],
)
def test_the_fields_option_chooses_the_attributes(fields: Any, more: set[str]) -> None:
    """The identity is always there; `default` adds what is useful, a list exactly itself."""
    event = parse(FULL, selection=FieldSelection(fields))
    assert set(event.attributes) == ALWAYS | more


def test_all_fields_means_all_but_the_message() -> None:
    """With `all` every field is an attribute, numbers as numbers; the message is the description already."""
    event = parse(FULL, selection=FieldSelection("all"))
    assert len(event.attributes) == len(FULL) - 1
    assert (event.get("PRIORITY"), event.get("CODE_LINE"), event.get("SYSLOG_FACILITY")) == (6, 10, 3)


def test_what_does_not_change_is_shared_between_entries() -> None:
    """Entries of one process share their origin; fields of the entry itself do not make another."""
    parser = EntryParser()
    first, second = (parse({**FULL, "MESSAGE": text, "REQUEST_ID": text, "_STREAM_ID": text}, parser) for text in ("a", "b"))
    assert first.shared is second.shared
    assert (first.own["REQUEST_ID"], second.own["REQUEST_ID"]) == ("a", "b")
    assert parse({**FULL, "_CMDLINE": "c -y"}, parser).shared is not first.shared


def test_invalid_utf8_is_repaired_in_the_text_and_kept_in_an_attribute() -> None:
    """Nothing of a broken message or field is lost."""
    event = parse({"MESSAGE": b"a\xffb", "REQUEST_ID": b"\xfe", "_COMM": b"\xc3"})
    assert event.description == "a\ufffdb"
    assert (event.get("MESSAGE"), event.get("REQUEST_ID"), event.get("comm")) == (b"a\xffb", b"\xfe", b"\xc3")


def test_repeated_fields_become_lists() -> None:
    """A repeated message is described by its first value and kept whole."""
    event = parse({"MESSAGE": [b"one", b"t\xffo"], "TAG": [b"a", b"b"], "_PID": [b"1", b"x"], "PRIORITY": [b"3"]})
    assert event.description == "one"
    assert (event.get("MESSAGE"), event.get("TAG"), event.get("pid")) == (["one", b"t\xffo"], ["a", "b"], [1, "x"])


@pytest.mark.parametrize("fields", [{}, {"MESSAGE": ""}, {"PRIORITY": "6"}, {"_PID": "1"}, {"MESSAGE": "", "_COMM": "x"}])
def test_missing_fields_and_empty_messages_make_valid_events(fields: dict[str, str]) -> None:
    """An entry without text is an event with an empty description."""
    event = parse(fields)
    assert event.description == "" and event.entity.type == "node"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("é" * 40, 65, "é" * 32),
        ("é" * 40, 64, "é" * 32),
        ("✓" * 40, 64, "✓" * 21),
        ("😀" * 40, 66, "😀" * 16),
        ("a" * 64, 64, "a" * 64),
        ("a" * 65, 64, "a" * 64),
    ],
)
def test_a_long_message_is_cut_between_characters(text: str, limit: int, expected: str) -> None:
    """The limit counts bytes, and no character is cut in two."""
    parser = EntryParser(max_message_size=limit)
    event = parse({"MESSAGE": text}, parser)
    assert event.description == expected
    assert parser.truncated == (expected != text)
    assert event.get("truncated") == (["MESSAGE"] if expected != text else None)
    assert event.get("MESSAGE") is None


def test_excluded_origins_are_left_out() -> None:
    """The question is asked once for every origin."""
    asked: list[Any] = []

    def excluded(record: Mapping[str, Any]) -> bool:
        asked.append(record["_PID"])
        return bool(record["_PID"] == b"1")

    parser = EntryParser(excluded=excluded)
    batch = [({"_PID": b"%d" % (n % 2), "MESSAGE": b"m"}, cursor(n)) for n in range(10)]
    assert [event.get("pid") for event in parser.parse_batch(batch)] == [0] * 5
    assert sorted(asked) == [b"0", b"1"]


def test_the_start_of_a_process_is_asked_only_where_no_unit_names_the_writer() -> None:
    """With a unit the process is not the entity."""
    alone = parse({"_PID": "5", "MESSAGE": "x"}, process_start=lambda record, realtime: b"42")
    assert alone.shared is not None and alone.shared.record[PROCESS_START] == b"42"
    unit = parse({"_PID": "5", "_SYSTEMD_UNIT": "u.service"}, process_start=lambda record, realtime: b"42")
    assert unit.shared is not None and PROCESS_START not in unit.shared.record


def test_the_caches_stay_bounded() -> None:
    """A new process for every entry does not fill the memory."""
    parser = EntryParser()
    parser.parse_batch([({"_PID": b"%d" % n, "MESSAGE": b"m"}, cursor(n)) for n in range(3 * MAX_ORIGINS)])
    assert len(parser._origins) <= MAX_ORIGINS and len(parser._profiles) <= MAX_ORIGINS


values = st.one_of(
    st.binary(max_size=6), st.sampled_from([b"1", b"2", b"x"]), st.lists(st.binary(max_size=3), min_size=2, max_size=3)
)
entry_fields = st.dictionaries(st.sampled_from(NAMES), values, max_size=12)


@given(st.lists(entry_fields, min_size=1, max_size=12), st.sampled_from(["default", "all", ["REQUEST_ID"]]), st.integers(0, 1))
def test_what_was_parsed_before_changes_nothing(entries: list[dict[str, Any]], fields: Any, order: int) -> None:
    """A parser with its caches gives for every entry what a new one gives, whatever came before."""
    entries = entries * 2 if order else [dict(reversed(one.items())) for one in entries for _ in range(2)]
    parser = EntryParser(FieldSelection(fields), 64)
    for number, one in enumerate(entries):
        kept = parser.parse(dict(one), cursor(number), 1)
        fresh = EntryParser(FieldSelection(fields), 64).parse(dict(one), cursor(number), 1)
        assert kept == fresh
        assert kept is not None and fresh is not None and kept.raw == fresh.raw
        assert kept.shared is not None and fresh.shared is not None and kept.shared.record == fresh.shared.record


OWN = OwnEntries(b"10", b"boot", b"machine", b"/usr/bin/python3", b"tapio.service", b"c" * 64)


@pytest.mark.parametrize(
    ("record", "own"),
    [
        ({"_PID": b"10", "_BOOT_ID": b"boot", "_MACHINE_ID": b"machine", "_EXE": b"/usr/bin/python3"}, True),
        ({"_PID": b"10", "_BOOT_ID": b"boot", "_MACHINE_ID": b"machine"}, True),
        ({"_PID": b"10", "_BOOT_ID": b"boot", "_MACHINE_ID": b"machine", "_EXE": b"/bin/sh"}, False),
        ({"_PID": b"10", "_BOOT_ID": b"before", "_MACHINE_ID": b"machine"}, False),
        ({"_PID": b"11", "_BOOT_ID": b"boot", "_MACHINE_ID": b"machine"}, False),
        ({"_PID": b"11", "_SYSTEMD_UNIT": b"tapio.service", "_MACHINE_ID": b"machine"}, True),
        ({"_PID": b"11", "_SYSTEMD_UNIT": b"tapio.service", "_MACHINE_ID": b"other"}, False),
        ({"_PID": b"1", "UNIT": b"tapio.service", "_MACHINE_ID": b"machine"}, False),
        ({"_PID": b"900", "CONTAINER_ID_FULL": b"c" * 64, "_MACHINE_ID": b"machine"}, True),
        ({"_PID": b"900", "CONTAINER_ID_FULL": b"d" * 64, "_MACHINE_ID": b"machine"}, False),
    ],
)
def test_own_entries_are_told_from_others(record: dict[str, bytes], own: bool) -> None:
    """Pid, boot and program; or the unit on this machine; or the container. What PID 1 says about the agent is not its own."""
    assert OWN.wrote(record) is own


def test_entries_of_hundreds_of_random_fields_leave_nothing_behind() -> None:
    """A program that names its fields at random does not fill the memory; its entries are read all the same."""
    parser = EntryParser()
    usual = {"MESSAGE": b"m", "_PID": b"1", "_HOSTNAME": b"h"}
    tracemalloc.start()
    for entry in range(400):
        event = parser.parse(usual | {f"F{entry}_{n}": b"v" for n in range(MAX_NAMES * 4)}, cursor(entry), 1)
        assert event is not None and event.get(f"F{entry}_7") == "v"
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 2_000_000
