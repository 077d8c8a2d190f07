"""The smaller parts of the journald receiver: options, cursors, file headers, numbers left out, processes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.receivers.journald import JournaldConfig
from tapio_otel.receivers.journald.config import priority_range
from tapio_otel.receivers.journald.cursor import BadCheckpoint, Checkpoint, Cursor
from tapio_otel.receivers.journald.gaps import GapWitness
from tapio_otel.receivers.journald.header import FileHeader, Inventory, journal_files
from tapio_otel.receivers.journald.matches import unit_name
from tapio_otel.receivers.journald.process import ProcessStarts, boot_id
from tests.journal import entries, write_journal
from tests.receivers.conftest import LARGE, SMALL


@pytest.mark.parametrize(
    ("text", "expected"),
    [("info", range(7)), ("emerg..err", range(4)), ("warning..warning", range(4, 5)), ("3", range(4)), ("7..5", range(5, 8))],
)
def test_priorities_are_words_numbers_or_ranges(text: str, expected: range) -> None:
    """One priority means it and everything worse."""
    assert priority_range(text) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"priority": "loud"}, "'loud' is no priority"),
        ({"matches": [{"lower": "x"}]}, "'lower' is no journal field"),
        ({"fields": ["a-b"]}, "'a-b' is no journal field"),
        ({"directory": "/x", "files": ["/y"]}, "directory and files exclude each other"),
        ({"max_message_size": 1}, "greater than or equal to 64"),
        ({"start_at": "middle"}, "'beginning' or 'end'"),
        ({"unit": ["x"]}, "Extra inputs are not permitted"),
        ({"directory": ""}, "'' is no directory"),
        ({"units": [""]}, "'' selects nothing"),
        ({"identifiers": [" "]}, "' ' selects nothing"),
        ({"namespace": "a/b"}, "'a/b' is no journal namespace"),
        ({"matches": [{}]}, "an empty group matches nothing"),
        ({"matches": [{"PRIORITY": 1}, {"PRIORITY": []}]}, "PRIORITY has no values"),
    ],
)
def test_wrong_options_are_refused_with_what_was_found(options: dict[str, Any], expected: str) -> None:
    """Each message names the wrong value."""
    with pytest.raises(ValidationError, match=expected):
        JournaldConfig(**options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", "nginx.service"),
        ("nginx.socket", "nginx.socket"),
        ("a@b", "a@b.service"),
        ("/home", "home.mount"),
        ("/mnt/a b", "mnt-a\\x20b.mount"),
        ("/", "-.mount"),
        ("/dev/sda-1", "dev-sda\\x2d1.device"),
        ("/.hidden/x.y", "\\x2ehidden-x.y.mount"),
    ],
)
def test_unit_names_are_completed_as_systemd_does(text: str, expected: str) -> None:
    """The expected names are what systemd-escape prints."""
    assert unit_name(text) == expected


hexadecimal = st.integers(0, 2**63).map(lambda n: f"{n:x}")


@given(
    st.integers(1, 2**40), st.integers(0, 2**50), st.dictionaries(st.text("ab", min_size=1), st.integers(0, 2**60), max_size=3)
)
def test_checkpoints_survive_being_saved(number: int, realtime: int, numbers: dict[str, int]) -> None:
    """What is dumped loads equal."""
    text = f"s={'1' * 32};i={number:x};b={'2' * 32};m=0;t={realtime:x};x=0"
    checkpoint = Checkpoint(text, "m", numbers, dict(numbers))
    assert Checkpoint.load(checkpoint.dump()) == checkpoint
    assert (Cursor.parse(text).number, Cursor.parse(text).realtime) == (number, realtime)


@given(st.one_of(st.text(), st.binary(), st.dictionaries(st.text(), st.integers()), st.lists(st.none())))
def test_anything_else_is_a_bad_checkpoint(saved: Any) -> None:
    """Whatever lies in the store, loading it raises nothing but BadCheckpoint."""
    with pytest.raises(BadCheckpoint):
        Checkpoint.load(saved)


def test_headers_count_the_entries_of_real_files(large_journal: Path, small_journal: Path) -> None:
    """Entries, first and last number agree with what was written."""
    inventory = Inventory(journal_files(large_journal))
    assert len(inventory.headers) > 1
    assert inventory.entries == LARGE
    assert inventory.complete() == inventory.horizon and set(inventory.horizon.values()) == {LARGE}
    (header,) = Inventory(journal_files(small_journal)).headers
    assert (header.head, header.tail, header.entries) == (1, SMALL, SMALL)
    assert Inventory([header.path]).after(None) == SMALL


@given(st.binary(max_size=400))
def test_a_file_that_is_no_journal_has_no_header(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Any other content is None, never an exception, save that a well-formed header may be read from it."""
    path = tmp_path_factory.getbasetemp() / "any.journal"
    path.write_bytes(content)
    assert FileHeader.read(path) is None
    path.write_bytes(b"LPKSHHRH" + content)
    assert FileHeader.read(path) is None or len(content) >= 200
    assert FileHeader.read(path.with_name("absent")) is None


def run(*numbers: int) -> list[tuple[dict[str, Any], str]]:
    """Return entries with these numbers."""
    return [({}, f"s={'1' * 32};i={number:x};b={'2' * 32};m=1;t=1;x=1") for number in numbers]


def test_numbers_left_out_count_only_where_all_were_there(small_journal: Path) -> None:
    """In a complete journal every hole is a loss; beyond the horizon only where every file can be seen."""
    empty = Inventory([])
    sees_all, blind = GapWitness(empty, True), GapWitness(empty, False)
    assert sees_all.find(run(1, 2, 3)) is None
    assert sees_all.find(run(4, 6, 7)) == (1, 1)
    sees_all.note("1" * 32, 6, "2" * 32)
    assert sees_all.find(run(4, 6, 7), 2) is None
    assert blind.find(run(1, 2, 9)) is None
    (header,) = Inventory(journal_files(small_journal)).headers
    history = GapWitness(Inventory([header.path]), True)
    rows = [({}, f"s={header.sequence};i={number:x};b={'2' * 32};m=1;t=1;x=1") for number in (1, 2, 5)]
    assert history.find(rows) == (2, 2)


def test_old_holes_are_no_losses(small_journal: Path) -> None:
    """Where numbers were missing before reading began, holes up to there are history."""
    (header,) = Inventory(journal_files(small_journal)).headers
    inventory = Inventory([])
    inventory.headers = [FileHeader(header.path, "m", "1" * 32, entries=3, head=1, tail=10, head_realtime=0, tail_realtime=9)]
    witness = GapWitness(inventory, True)
    assert witness.find(run(1, 5, 10)) is None
    assert witness.find(run(11, 13)) == (1, 1)


SYSTEM, USER, OTHER = "1" * 32, "3" * 32, "4" * 32


def header(name: str, sequence: str, head: int, tail: int, entries: int, machine: str = "m") -> FileHeader:
    """Return the header of a file in one directory."""
    return FileHeader(Path("/j") / name, machine, sequence, entries, head, tail, 0, 9)


def row(sequence: str, number: int, boot: str = "2") -> tuple[dict[str, Any], str]:
    """Return an entry of a sequence."""
    return ({}, f"s={sequence};i={number:x};b={boot * 32};m=1;t=1;x=1")


def witness(*headers: FileHeader, checkpoint: Checkpoint | None = None) -> GapWitness:
    """Return the witness of a journal with these files."""
    inventory = Inventory([])
    inventory.headers = list(headers)
    return GapWitness(inventory, True, checkpoint)


def test_the_sequences_of_one_journald_are_one_number_line() -> None:
    """Numbers that the system's file lacks are in a user's; what neither has is missing, in history and beyond."""
    files = header("system.journal", SYSTEM, 1, 8, 5), header("user-1000.journal", USER, 3, 7, 3)
    rows = [row(SYSTEM, 1), row(SYSTEM, 2), row(USER, 3), row(SYSTEM, 4), row(USER, 6), row(SYSTEM, 5), row(USER, 7)]
    assert witness(*files).find([*rows, row(SYSTEM, 8)]) is None
    assert witness(*files).find([*rows[:4], row(USER, 7), row(SYSTEM, 8)]) == (4, 2)
    live = witness(*files)
    assert live.find([*rows, row(SYSTEM, 8), row(SYSTEM, 9)]) is None
    assert live.find([row(USER, 10), row(SYSTEM, 14)]) == (1, 3)
    archived = header("user-1000@0-1-2.journal~", OTHER, 9, 9, 1)
    assert witness(*files, archived).find([*rows, row(SYSTEM, 8), row(OTHER, 9), row(SYSTEM, 10)]) is None


def test_sequences_that_do_not_share_their_numbers_are_apart() -> None:
    """Files of other machines, or that others than journald wrote, count for themselves."""
    for other in (header("system@x.journal", USER, 500, 502, 3, "n"), header("remote-a.journal", USER, 500, 502, 3)):
        apart = witness(header("system.journal", SYSTEM, 1, 3, 3), other)
        assert apart.find([row(SYSTEM, 1), row(USER, 500), row(SYSTEM, 2), row(USER, 501), row(USER, 502)]) is None
        assert apart.find([row(SYSTEM, 3), row(SYSTEM, 4), row(USER, 505)]) == (2, 2)


def test_a_number_line_goes_on_after_a_restart_also_where_its_sequence_is_gone() -> None:
    """The checkpoint knows which sequences belong together, when no file tells it any more."""
    before = witness(header("system.journal", SYSTEM, 1, 4, 3), header("user-1000.journal", USER, 3, 3, 1))
    assert before.find([row(SYSTEM, 1), row(SYSTEM, 2), row(USER, 3), row(SYSTEM, 4), row(USER, 5)]) is None
    text = row(USER, 5)[1]
    saved = Checkpoint.load(Checkpoint(text, "m", before.numbers, before.horizon, before.lines).dump())
    after = witness(header("system.journal", SYSTEM, 1, 9, 5), checkpoint=saved)
    assert after.previous(USER) == 5
    assert after.find([row(SYSTEM, 6), row(SYSTEM, 9)]) == (1, 2)


def test_numbers_that_begin_anew_with_a_boot_are_followed() -> None:
    """After a boot journald may count from lower numbers: no gap, but what lacks afterwards is one."""
    files = header("system.journal", SYSTEM, 1, 50, 40), header("user-1000.journal", USER, 3, 60, 10)
    rebooted = witness(*files)
    assert rebooted.find([row(SYSTEM, 61), row(USER, 80), row(SYSTEM, 62, "5"), row(SYSTEM, 63, "5"), row(USER, 81, "5")]) == (
        1,
        18,
    )
    rebooted.note(USER, 80, "2" * 32)
    assert rebooted.find([row(SYSTEM, 62, "5"), row(SYSTEM, 63, "5"), row(USER, 81, "5"), row(SYSTEM, 82, "5")]) is None
    assert rebooted.find([row(USER, 85, "5")]) == (0, 2)


def test_the_start_of_a_living_process_is_found() -> None:
    """Field 22 of /proc/PID/stat, for the same boot and command, begun before the entry was written."""
    with subprocess.Popen(["sleep", "20"]) as process:
        while Path(f"/proc/{process.pid}/comm").read_text().strip() != "sleep":
            time.sleep(0.01)
        record = {"_PID": b"%d" % process.pid, "_COMM": b"sleep", "_BOOT_ID": boot_id().encode()}
        now = int(time.time() * 1e6)
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        starts = ProcessStarts()
        assert starts.find(record, now) == ticks.encode()
        assert starts.find({**record, "_COMM": b"other"}, now) == b""
        assert starts.find({**record, "_BOOT_ID": b"0" * 32}, now) == b""
        assert starts.find(record, now - 3_600_000_000) == b""
        process.kill()
    assert starts.find(record, now) == b""
    assert starts.find({"_BOOT_ID": record["_BOOT_ID"]}, now) == b""


def test_journal_files_are_found_in_machine_directories(tmp_path: Path) -> None:
    """As libsystemd looks: in the directory itself, and in those named by a machine id."""
    write_journal(tmp_path / "j" / ("a" * 32), entries(1))
    write_journal(tmp_path / "j" / "other", entries(1))
    write_journal(tmp_path / "j", entries(1), "own.journal")
    assert {path.name for path in journal_files(tmp_path / "j")} == {"x.journal", "own.journal"}
    assert journal_files(tmp_path / "none") == []
    assert os.fspath(tmp_path)
