"""Checkpoints survive restarts, refuse a second agent, and never stop the agent when they are broken."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from pathlib import Path

import pytest

from tapio_otel.checkpoint import CheckpointStore, StateDirectory
from tapio_otel.component import ComponentError

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
    assert "it has schema version 99, this agent knows 1" in caplog.text


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
