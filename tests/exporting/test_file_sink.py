"""The file that only holds whole entries."""

from __future__ import annotations

import fcntl
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import ComponentError
from tapio_otel.exporting.file_age import birth_time
from tapio_otel.exporting.file_sink import DAY, FileSink, RotationLimits


class Now:
    """A clock that is set."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


def test_age_puts_a_file_aside_and_removes_old_ones(tmp_path):
    """After max_days a new file is begun; files put aside longer ago than that are removed."""
    now, path = Now(), tmp_path / "events.json"
    sink = FileSink(str(path), rotation=RotationLimits(max_days=2), now=now)
    sink.open()
    for day in range(8):
        sink.write([b"%d\n" % day])
        now.time += DAY
    sink.close()
    kept = {backup.name: backup.read_bytes() for backup in sink.backups()}
    assert kept == {
        "events-2023-11-18T22-13-20.000.json": b"2\n3\n",
        "events-2023-11-20T22-13-20.000.json": b"4\n5\n",
    }
    assert path.read_bytes() == b"6\n7\n"


def test_the_age_of_a_file_goes_on_over_restarts(tmp_path):
    """max_days counts from when the file was made, however often a new run opens it and writes to it."""
    path = tmp_path / "events.json"
    for day in (0, 0.4, 0.8, 1.2):
        sink = FileSink(str(path), rotation=RotationLimits(max_days=1), now=lambda day=day: time.time() + day * DAY)
        sink.open()
        sink.write([b"%d\n" % (day * 10)])
        os.utime(path, times=(time.time(), time.time() + day * DAY))
        sink.close()
    assert [backup.read_bytes() for backup in sink.backups()] == [b"0\n4\n8\n"]
    assert path.read_bytes() == b"12\n"


def test_a_file_is_as_old_as_its_last_change_where_its_birth_is_not_known(tmp_path, monkeypatch):
    """A file system that keeps no birth times, or a file restored from a backup: content of long ago is old."""
    path = tmp_path / "events.json"
    path.write_bytes(b"old\n")
    with path.open() as opened:
        assert abs((birth_time(opened.fileno()) or time.time()) - time.time()) < DAY
    os.utime(path, (0, time.time() - 2 * DAY))
    monkeypatch.setattr("tapio_otel.exporting.file_age.birth_time", lambda _descriptor: None)
    sink = FileSink(str(path), rotation=RotationLimits(max_days=1))
    sink.open()
    sink.write([b"new\n"])
    sink.close()
    assert [backup.read_bytes() for backup in sink.backups()] == [b"old\n"]


def test_a_second_writer_is_refused_and_changes_nothing(tmp_path):
    """Neither a torn tail nor the content of somebody else's file is touched; once that one is closed it can be had."""
    path = tmp_path / "events"
    first, second = FileSink(str(path)), FileSink(str(path), append=False)
    first.open()
    first.write([b"whole\n", b"half"])
    with pytest.raises(ComponentError, match=r"another exporter or agent writes '.*/events'; give it a path of its own"):
        second.open()
    second.close()
    assert path.read_bytes() == b"whole\nhalf"
    first.close()
    second.open()
    second.close()
    assert path.read_bytes() == b""


def test_the_file_that_follows_a_rotated_one_is_locked_too(tmp_path):
    """A rotation does not open the door to a second writer; the file put aside is free."""
    path = tmp_path / "events"
    first = FileSink(str(path), rotation=RotationLimits(max_bytes=1))
    first.open()
    first.write([b"a\n", b"b\n"])
    with pytest.raises(ComponentError, match="another exporter or agent writes"):
        FileSink(str(path)).open()
    with first.backups()[0].open("rb") as aside:
        fcntl.flock(aside, fcntl.LOCK_EX | fcntl.LOCK_NB)
    first.close()


def test_a_path_taken_while_the_file_was_moved_away_is_not_written_to(tmp_path):
    """The own file is gone on with, and that is reported, until the path is free."""
    path, moved, problems = tmp_path / "events", tmp_path / "moved", []
    first, second = FileSink(str(path), report=problems.append), FileSink(str(path))
    first.open()
    path.rename(moved)
    second.open()
    first.write([b"a\n"])
    assert (moved.read_bytes(), path.read_bytes()) == (b"a\n", b"")
    second.close()
    first.write([b"b\n"])
    first.close()
    assert (moved.read_bytes(), path.read_bytes()) == (b"a\n", b"b\n")
    assert "another exporter or agent writes; going on with the removed file" in problems[0]
    assert problems[1:] == [None]


def test_a_file_system_without_locks_is_written_to(tmp_path, monkeypatch):
    """Where nothing can be locked there is only the operator's word that the file has one writer."""

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    sink = FileSink(str(tmp_path / "events"))
    sink.open()
    sink.write([b"a\n"])
    sink.close()
    assert (tmp_path / "events").read_bytes() == b"a\n"


@pytest.mark.parametrize("framed", [False, True])
def test_a_file_emptied_meanwhile_has_no_hole(framed, tmp_path):
    """logrotate's copytruncate empties the file under the writer: the next entry is the first, and sizes count anew."""
    path = tmp_path / "events"
    entry = b"\0\0\0\1z" if framed else b"zzzz\n"
    sink = FileSink(str(path), framed, rotation=RotationLimits(max_bytes=12))
    sink.open()
    for _ in range(4):
        sink.write([entry, entry])
        assert path.read_bytes() == entry * 2
        os.truncate(path, 0)
    sink.close()
    assert sink.backups() == []


def test_a_failed_write_to_a_file_emptied_meanwhile_leaves_no_hole(tmp_path):
    """What is cut off is measured from the file as it is, not from the size it once had."""
    path = tmp_path / "events"
    sink = FileSink(str(path))
    sink._stop.wait = lambda _seconds: False  # type: ignore[method-assign]
    sink.open()
    sink.write([b"first\n" * 100])
    write_all, failures = sink._write_all, []

    def tear(content: bytes) -> None:
        if not failures:
            failures.append(1)
            os.truncate(path, 0)
            write_all(content[:3])
            raise OSError(28, "No space left on device")
        write_all(content)

    sink._write_all = tear  # type: ignore[method-assign]
    sink.write([b"second\n"])
    sink.write([b"third\n"])
    sink.close()
    assert path.read_bytes() == b"second\nthird\n"


def test_what_others_append_is_kept(tmp_path):
    """Entries go to the end of the file, wherever that is by then."""
    path = tmp_path / "events"
    sink = FileSink(str(path))
    sink.open()
    sink.write([b"a\n"])
    with path.open("ab") as other:
        other.write(b"by hand\n")
    sink.write([b"b\n"])
    sink.close()
    assert path.read_bytes() == b"a\nby hand\nb\n"


def test_two_rotations_in_one_millisecond_have_names_of_their_own(tmp_path):
    """No backup is overwritten."""
    sink = FileSink(str(tmp_path / "events"), rotation=RotationLimits(max_bytes=10), now=Now())
    sink.open()
    for number in range(5):
        sink.write([b"entry %d\n" % number])
    sink.close()
    assert [backup.read_bytes() for backup in sink.backups()] == [b"entry %d\n" % number for number in range(4)]
    assert (tmp_path / "events").read_bytes() == b"entry 4\n"


def test_an_entry_larger_than_the_limit_has_a_file_of_its_own(tmp_path):
    """A huge entry is neither cut nor makes an empty backup."""
    sink = FileSink(str(tmp_path / "events"), rotation=RotationLimits(max_bytes=10))
    sink.open()
    sink.write([b"x" * 100 + b"\n", b"y" * 100 + b"\n"])
    sink.close()
    assert [backup.stat().st_size for backup in sink.backups()] == [101]


def test_local_time_can_be_used_in_names(tmp_path, monkeypatch):
    """localtime names files by the machine's own time."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        sink = FileSink(str(tmp_path / "e"), rotation=RotationLimits(max_bytes=1, localtime=True), now=Now())
        sink.open()
        sink.write([b"a\n", b"b\n"])
        sink.close()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [backup.name for backup in sink.backups()] == ["e-2023-11-15T07-13-20.000"]


def test_a_failed_write_leaves_whole_entries(tmp_path):
    """Whatever part of an entry a failing write got to the disk is removed, then all of it is written."""
    path = tmp_path / "events"
    problems: list[str | None] = []
    sink = FileSink(str(path), report=problems.append)
    sink._stop.wait = lambda _seconds: False  # type: ignore[method-assign]
    sink.open()
    sink.write([b"first\n"])
    write_all, seen = sink._write_all, []

    def tear(content: bytes) -> None:
        if len(seen) < 3:
            write_all(content[: 3 + len(seen)])
            seen.append(path.read_bytes())
            raise OSError(28, "No space left on device")
        seen.append(path.read_bytes())
        write_all(content)

    sink._write_all = tear  # type: ignore[method-assign]
    sink.write([b"second\n"])
    sink.close()
    assert seen[-1] == b"first\n"
    assert path.read_bytes() == b"first\nsecond\n"
    assert [problem is None for problem in problems] == [False, True]


@given(st.lists(st.binary(max_size=50).map(lambda text: text.replace(b"\n", b"")), max_size=6), st.integers(0, 400))
def test_a_file_cut_anywhere_is_repaired_to_its_whole_entries(tmp_path_factory, entries, length):
    """Lines and frames: what was complete stays, the rest goes, and writing goes on."""
    for framed in (False, True):
        path = tmp_path_factory.mktemp("sink") / "events"
        encoded = [len(entry).to_bytes(4, "big") + entry if framed else entry + b"\n" for entry in entries]
        path.write_bytes(b"".join(encoded)[:length])
        sink = FileSink(str(path), framed=framed)
        sink.open()
        sink.write([b"\0\0\0\1z" if framed else b"z\n"])
        sink.close()
        whole, position = [], 0
        for entry in encoded:
            position += len(entry)
            if position <= length:
                whole.append(entry)
        assert path.read_bytes() == b"".join(whole) + (b"\0\0\0\1z" if framed else b"z\n")
