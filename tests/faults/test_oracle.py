"""The oracle finds what it is there to find."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults import balances
from tests.faults.in_flight import sequence_number
from tests.faults.oracle import Arrivals, CollectorFile
from tests.faults.report import Figures, save, table


def arrivals(*records: tuple[str, str]) -> Arrivals:
    """Return what such records make."""
    found = Arrivals()
    found.add(records)
    return found


def test_what_is_missing_is_found():
    """One of three entries has not arrived; that it was expected to is no excuse for another number."""
    found = arrivals(("message 0", "a"), ("message 2", "c"))
    with pytest.raises(AssertionError, match=r"1 of 3 are missing, 0 expected: \[1\]"):
        found.check(3)
    found.check(3, lost=1)
    with pytest.raises(AssertionError, match="2 expected"):
        found.check(3, lost=2)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ((("message 0", "a"), ("message 0", "b")), "several ids"),
        ((("message 0", "a"), ("message 1", "a")), "the same id"),
        ((("message 0", "a"), ("message 7", "b")), "nobody has written"),
        ((("message 0", ""),), "without an id"),
    ],
)
def test_wrong_ids_and_invented_entries_are_found(records, words):
    """Each is an error of its own."""
    found = arrivals(*records)
    with pytest.raises(AssertionError, match=words):
        found.check(2 if ("message 1", "a") in records else 1)


def test_repeats_are_counted():
    """By arrivals, not by entries; records that are no entries do not count."""
    found = arrivals(("sent 0 xxx", "a"), ("sent 0 xxx", "a"), ("sent 0 xxx", "a"), ("Started a service.", "z"))
    found.check(1)
    assert (found.delivered, found.repeated, found.different) == (1, 2, 2)


def test_a_line_that_is_being_written_is_read_later(tmp_path: Path):
    """What the collector has written half does not count yet, and counts once when it is whole."""
    record = {"body": {"stringValue": "message 0"}, "attributes": [{"key": "log.record.uid", "value": {"stringValue": "a"}}]}
    line = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}) + "\n"
    file = tmp_path / "received.jsonl"
    file.write_text("from before\n")
    follower = CollectorFile(file)
    with file.open("a") as opened:
        opened.write(line[:20])
    assert follower.read().total == 0
    with file.open("a") as opened:
        opened.write(line[20:] + line)
    assert follower.read().total == follower.read().total == 2


GOOD = (
    "info service: received 1,200 (journald 1,200), journald dropped 7, otlphttp sent 1,190, otlphttp failed 10,"
    " undelivered 0, in 2.0 s\ninfo service: pipeline logs: received 1,200 = passed on 1,200; otlphttp settled 1,200\n"
)


def test_a_balance_is_read():
    """What the receiver calls dropped was never received."""
    balances.check_whole(GOOD, 1, 1200)
    (found,) = balances.runs(GOOD)
    assert (found.received, found.gone, found.counted) == (1200, 7, {"sent": 1190, "failed": 10})


@pytest.mark.parametrize(
    ("log", "ends", "written"),
    [
        (GOOD, 2, 2400),
        (GOOD, 1, 1201),
        (GOOD.replace("sent 1,190", "sent 1,189"), 1, 1200),
        (GOOD + "pipeline logs: NOT ACCOUNTED FOR 3\n", 1, 1200),
        ("", 1, 0),
    ],
    ids=["one end without", "not all received", "not all settled", "not accounted for", "none"],
)
def test_a_balance_that_is_not_exact_is_found(log, ends, written):
    """Each of these is an error."""
    with pytest.raises(AssertionError):
        balances.check_whole(log, ends, written)


def test_an_id_tells_the_sequence_number():
    """Its last fifteen digits are what journald counts."""
    assert sequence_number("e34e9ad1-9963-8044-8000-0000000007c7") == 0x7C7


def test_the_table_and_the_file_have_every_row(tmp_path: Path):
    """As Markdown, and as JSON in a directory that need not exist."""
    rows = [Figures("killed", 1000, 999, 5, lost=1, more={"kills": 3}), Figures("full", 10, 10)]
    lines = table(rows)
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert "1,000" in lines[2] and "kills 3" in lines[2]
    save(rows, tmp_path / "new" / "faults.json")
    assert [row["scenario"] for row in json.loads((tmp_path / "new" / "faults.json").read_text())] == ["killed", "full"]
