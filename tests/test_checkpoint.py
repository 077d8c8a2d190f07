"""Checkpoints survive restarts, refuse a second agent, and never stop the agent when they are broken."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel import checkpoint
from tapio_otel.checkpoint import SCHEMA_VERSION, CheckpointStore, StateDirectory
from tapio_otel.component import ComponentError
from tests import strategies as _profile  # noqa: F401 - sets the profile without a deadline
from tests.requirements import require

LOG = logging.getLogger("tapio.test")


def opened(directory: Path) -> CheckpointStore:
    """Return an opened store."""
    store = CheckpointStore(directory, LOG)
    store.open()
    return store


async def test_the_latest_checkpoint_is_there_after_a_restart(tmp_path: Path) -> None:
    """What was put last before the flush is what the next start finds."""
    store = opened(tmp_path)
    store.put("receivers/journald", {"cursor": "a"})
    store.put("receivers/journald", {"cursor": "b"})
    await store.flush()
    store.close()
    again = opened(tmp_path)
    assert again.saved == {"receivers/journald": {"cursor": "b"}}
    again.close()


async def test_checkpoints_are_written_as_they_move(tmp_path: Path) -> None:
    """The writing task writes without being asked to flush."""
    store = opened(tmp_path)
    writing = asyncio.create_task(store.keep_writing())
    store.put("receivers/a", 1)
    reader = sqlite3.connect(tmp_path / "checkpoints.db")
    while not (rows := reader.execute("SELECT component, value FROM checkpoint").fetchall()):
        await asyncio.sleep(0.01)
    assert rows == [("receivers/a", "1")]
    reader.close()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    store.close()


async def test_a_write_under_way_is_finished_before_the_store_closes(tmp_path: Path) -> None:
    """Cancelling the writing task, as every shutdown does, neither loses the last move nor meets a closed file."""
    for number in range(200):
        store = opened(tmp_path)
        writing = asyncio.create_task(store.keep_writing())
        for step in range(3):
            store.put("receivers/a", [number, step])
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await store.flush()
        store.close()
        again = opened(tmp_path)
        assert again.saved == {"receivers/a": [number, 2]}
        again.close()


@pytest.mark.parametrize(
    "content", [b"this is no database, and long enough to be looked at by SQLite " * 20, b"SQLite format 3\0" + b"\xff" * 4096]
)
async def test_a_corrupt_file_is_set_aside_and_the_agent_goes_on(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The bytes stay for whoever wants to look, the log says where, and a new file works."""
    (tmp_path / "checkpoints.db").write_bytes(content)
    store = opened(tmp_path)
    assert store.saved == {}
    assert "set aside as checkpoints.db.unreadable-" in caplog.text
    assert [path.read_bytes() for path in tmp_path.glob("*.unreadable-*")] == [content]
    store.put("a", 1)
    await store.flush()
    store.close()


async def test_a_file_of_a_newer_schema_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An older agent does not misread what a newer one wrote."""
    database = sqlite3.connect(tmp_path / "checkpoints.db")
    database.execute("PRAGMA user_version=99")
    database.close()
    opened(tmp_path).close()
    assert "it has schema version 99, this agent knows 2" in caplog.text


def test_a_second_agent_on_the_same_directory_is_refused_by_pid(tmp_path: Path) -> None:
    """The message names the directory and the process that has it; after release the directory is free."""
    first, second = StateDirectory(tmp_path / "state"), StateDirectory(tmp_path / "state")
    first.acquire()
    with pytest.raises(ComponentError, match=rf"another agent \(pid {os.getpid()}\) uses .*state_dir of its own"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_directory_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A path below a file is refused with the option's name and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ComponentError, match=r"service\.state_dir: cannot use .*Not a directory.*Set service\.state_dir"):
        StateDirectory(tmp_path / "file" / "state").acquire()


SAVED = {"receivers/journald": {"cursor": "s=1;i=2"}, "receivers/kmsg": 7, "receivers/kubernetes": ["a", None]}


async def filled(directory: Path, saved: dict[str, Any] = SAVED) -> bytes:
    """Write checkpoints; returns the bytes of the file."""
    store = opened(directory)
    for component, value in saved.items():
        store.put(component, value)
    assert await store.flush()
    store.close()
    return (directory / "checkpoints.db").read_bytes()


@pytest.fixture(scope="module")
def good() -> bytes:
    """Return a file with checkpoints, as it is after a clean end."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(filled(Path(directory)))


def reopened(content: bytes) -> dict[str, Any]:
    """Return what a store finds in a file of these bytes, after making sure that it can be written and read again."""

    async def scenario(directory: Path) -> dict[str, Any]:
        (directory / "checkpoints.db").write_bytes(content)
        store = opened(directory)
        found = dict(store.saved)
        store.put("receivers/new", 1)
        assert await store.flush()
        store.close()
        again = opened(directory)
        assert again.saved == {**found, "receivers/new": 1}
        again.close()
        return found

    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(scenario(Path(directory)))


@given(st.data())
def test_a_file_cut_anywhere_never_gives_a_wrong_checkpoint(good: bytes, data: st.DataObject) -> None:
    """All of them or none; the store works either way."""
    length = data.draw(st.integers(0, len(good) - 1))
    assert reopened(good[:length]) in ({}, SAVED)


@given(st.data())
def test_flipped_bits_anywhere_never_give_a_wrong_checkpoint(good: bytes, data: st.DataObject) -> None:
    """What is found is a part of what was saved, value for value; the store works."""
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    found = reopened(bytes(content))
    assert all(SAVED.get(name) == value for name, value in found.items())


def test_a_flipped_bit_in_one_checkpoint_leaves_the_others(good: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The damaged one is named; the two beside it are used."""
    assert good.count(b"s=1;i=2") == 1
    found = reopened(good.replace(b"s=1;i=2", b"s=1;i=3"))
    assert found == {name: value for name, value in SAVED.items() if name != "receivers/journald"}
    assert (
        "the checkpoints of receivers/journald are damaged and left out. These start anew, as their start_at says"
        in caplog.text
    )


async def test_a_file_of_the_schema_before_is_taken_over(tmp_path: Path) -> None:
    """An agent that is updated resumes where the old one was."""
    database = sqlite3.connect(tmp_path / "checkpoints.db")
    database.execute("CREATE TABLE checkpoint (component TEXT PRIMARY KEY, value TEXT NOT NULL, moved_ns INTEGER NOT NULL)")
    database.execute("""INSERT INTO checkpoint VALUES ('receivers/journald', '{"cursor": "x"}', 1)""")
    database.execute("PRAGMA user_version=1")
    database.commit()
    database.close()
    for _ in range(2):
        store = opened(tmp_path)
        assert store.saved == {"receivers/journald": {"cursor": "x"}}
        store.close()
    assert await filled(tmp_path)


@pytest.mark.parametrize("version", [0, 1, SCHEMA_VERSION])
@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE checkpoint (a TEXT, b TEXT, c TEXT, d TEXT)",
        "CREATE VIEW checkpoint AS SELECT 1 AS component",
        "CREATE TABLE users (name TEXT)",
    ],
)
def test_a_database_of_somebody_else_is_set_aside(
    tmp_path: Path, table: str, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program's tables are kept for it and not written to, whatever their names and their version."""
    database = sqlite3.connect(tmp_path / "checkpoints.db")
    database.execute(table)
    database.execute(f"PRAGMA user_version={version}")
    database.close()
    store = opened(tmp_path)
    assert store.saved == {}
    store.close()
    assert "set aside as" in caplog.text
    (aside,) = tmp_path.glob("checkpoints.db.unreadable-*[0-9]")
    database = sqlite3.connect(aside)
    assert database.execute("SELECT sql FROM sqlite_master").fetchall() == [(table,)]
    database.close()


@pytest.mark.parametrize("kind", ["directory", "pipe", "dangling link"])
def test_something_that_is_no_file_is_set_aside(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Opening neither hangs nor fails."""
    path = tmp_path / "checkpoints.db"
    {"directory": path.mkdir, "pipe": lambda: os.mkfifo(path), "dangling link": lambda: path.symlink_to("/nowhere/x")}[kind]()
    store = opened(tmp_path)
    assert store.saved == {}
    store.close()
    assert "it is no regular file" in caplog.text
    assert path.is_file()


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_told_once_and_written_to_again_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts go on in silence; the latest checkpoint is written in the end, and the log says so."""
    monkeypatch.setattr(checkpoint, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(checkpoint, "LONGEST_PAUSE", 0.01)
    store = opened(tmp_path)
    writing = asyncio.create_task(store.keep_writing())
    with full_disk():
        for number in range(20):
            store.put("receivers/journald", number)
            await asyncio.sleep(0.01)
        assert not writing.done()
        caplog.clear()
        await asyncio.sleep(0.05)
        assert caplog.messages == []
    while "are written to" not in caplog.text:
        await asyncio.sleep(0.005)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    store.close()
    again = opened(tmp_path)
    assert again.saved == {"receivers/journald": 19}
    again.close()


async def test_a_disk_that_is_full_at_the_start_still_gives_what_was_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent starts, resumes where it was, and writes when there is room."""
    await filled(tmp_path)
    directory = StateDirectory(tmp_path)
    with full_disk():
        directory.acquire()
        store = opened(tmp_path)
        assert store.saved == SAVED
        store.put("receivers/kmsg", 8)
        assert not await store.flush()
    assert "They are kept and tried again" in caplog.text
    assert await store.flush()
    store.close()
    directory.release()
    again = opened(tmp_path)
    assert again.saved == {**SAVED, "receivers/kmsg": 8}
    again.close()


ANOTHER_USER = """
import asyncio, logging, os, sys
import urllib.parse  # what Path.as_uri() imports: the other user may not read the interpreter's files
from pathlib import Path
from tapio_otel.checkpoint import CheckpointStore

def opened():
    store = CheckpointStore(Path(sys.argv[1]), logging.getLogger())
    store.open()
    return store

async def written(store, value):
    store.put("receivers/kmsg", value)
    return await store.flush()

async def main():
    store = opened()
    print(await written(store, 7))
    store.close()
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    store = opened()
    print(dict(store.saved), await written(store, 8))

asyncio.run(main())
"""


def test_a_file_that_may_only_be_read_still_gives_what_was_saved() -> None:
    """Another user's file in another user's directory: its checkpoints are used, and writing is tried without a crash."""
    require("root", os.geteuid() == 0, "becoming another user takes root")
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    try:
        done = subprocess.run([sys.executable, "-c", ANOTHER_USER, str(directory)], capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(directory)
    assert done.stdout == "True\n{'receivers/kmsg': 7} False\n", done.stderr
    assert "checkpoints cannot be written to" in done.stderr


async def test_a_file_deleted_or_replaced_while_running_is_made_anew_with_everything(tmp_path: Path) -> None:
    """Not only what moves after that: the next start finds every checkpoint."""
    await filled(tmp_path)
    store = opened(tmp_path)
    for replacement in (None, b"garbage" * 999):
        for file in tmp_path.glob("checkpoints.db*"):
            file.unlink()
        if replacement is not None:
            (tmp_path / "checkpoints.db").write_bytes(replacement)
        store.put("receivers/kmsg", 8)
        assert await store.flush()
        again = CheckpointStore(tmp_path, LOG)
        again.open()
        assert again.saved == {**SAVED, "receivers/kmsg": 8}
        again.close()
    store.close()


async def test_a_table_that_is_gone_while_running_is_made_anew_with_nothing_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The write that meets the damage goes to a new file, with all checkpoints."""
    await filled(tmp_path)
    store = opened(tmp_path)
    other = sqlite3.connect(tmp_path / "checkpoints.db")
    other.execute("DROP TABLE checkpoint")
    other.close()
    for number in range(3):
        store.put("receivers/kmsg", number)
        assert await store.flush()
    store.close()
    assert "Those of this run are written anew" in caplog.text
    again = opened(tmp_path)
    assert again.saved == {**SAVED, "receivers/kmsg": 2}
    again.close()


async def test_a_checkpoint_that_is_not_json_harms_nobody_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The component is named; what others put is written."""
    store = opened(tmp_path)
    store.put("receivers/plugin", {1, 2})
    store.put("receivers/kmsg", 8)
    assert await store.flush()
    store.close()
    assert "receivers/plugin: its checkpoint {1, 2} cannot be saved, for it is not JSON" in caplog.text
    again = opened(tmp_path)
    assert again.saved == {"receivers/kmsg": 8}
    again.close()


async def test_an_idle_agent_writes_nothing(tmp_path: Path) -> None:
    """One write for each time that a checkpoint has moved, and none while none does: the file's counter of changes stays."""
    store = opened(tmp_path)
    writing = asyncio.create_task(store.keep_writing())
    looking = sqlite3.connect(tmp_path / "checkpoints.db")

    def changes() -> int:
        looking.execute("SELECT count(*) FROM checkpoint").fetchone()
        return int(looking.execute("PRAGMA data_version").fetchone()[0])

    for number in range(5):
        before = changes()
        store.put("receivers/kmsg", number)
        while changes() == before:
            await asyncio.sleep(0.002)
        settled, stamps = changes(), _stamps(tmp_path)
        await asyncio.sleep(0.1)
        assert changes() == settled
        assert _stamps(tmp_path) == stamps
    looking.close()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    store.close()


def _stamps(directory: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of what holds the checkpoints."""
    return {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in directory.iterdir()
        if not path.name.endswith("-shm")  # readers write their marks there
    }
