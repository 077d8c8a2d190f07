"""The file that only holds whole entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
    import time

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
