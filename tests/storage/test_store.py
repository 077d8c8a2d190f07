"""A store on a real disk, under everything that can happen to it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from tapio_otel.component import ComponentError
from tapio_otel.storage import RequestStore, writer
from tapio_otel.storage.row import Totals
from tests.storage.files import LOG, OLD_TABLE, Opened, aside, content, fill, make_file, opened, rows, small_disk


@pytest.fixture
def path(tmp_path):
    """Return where the file goes."""
    return tmp_path / "queue.db"


async def test_what_is_reported_as_written_is_there_after_opening_again(path):
    """In order, and reported in order."""
    bodies = [b"%d" % number for number in range(500)]
    async with opened(path) as one:
        one.put(*bodies)
        await one.until_written(500)
        assert one.store.pending_bytes == 0
    assert [row.body for row in one.written] == bodies
    async with opened(path) as one:
        assert (one.found[0].totals, one.found[0].damaged) == (Totals(500, 500, sum(map(len, bodies))), Totals())
        assert await one.bodies() == bodies


async def test_what_was_put_in_before_closing_is_written(path):
    """Closing waits for the disk."""
    async with opened(path) as one:
        one.put(*(b"%d" % number for number in range(100)))
    assert len(content(path)) == 100


async def test_ids_go_on_where_they_were(path):
    """So that a request is never taken for another one."""
    async with opened(path) as one:
        one.put(b"a", b"b")
        await one.until_written(2)
        one.store.remove(1)
    async with opened(path) as one:
        one.put(b"c")
        await one.until_written(1)
    assert [(row.id, row.body) for row in content(path)] == [(2, b"b"), (3, b"c")]


WRITER = """
import asyncio, logging, sys
from pathlib import Path
from tapio_otel.storage import RequestStore

async def main():
    store = RequestStore(Path(sys.argv[1]), 1 << 30, True, logging.getLogger("x"), lambda problem: None)
    await store.open()
    number = 0
    while True:
        for _ in range(10):
            store.put(b"%d " % number * 500, 1, "proto", lambda row: print(row.body.split()[0].decode(), flush=True))
            number += 1
        await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 50, 500])
async def test_nothing_that_was_reported_is_lost_by_a_kill(path, after):
    """The process is killed in the middle of writing: all that it had been told is written is there, and nothing half."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    reported = [int(await process.stdout.readline()) for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    reported += [int(line) for line in (await process.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")]
    await process.wait()
    async with opened(path) as one:
        bodies = await one.bodies()
    assert one.problems == []
    assert bodies == [b"%d " % number * 500 for number in range(len(bodies))]
    assert len(bodies) >= len(reported) == max(reported) + 1


@pytest.mark.parametrize("room", ["removed", "sent"])
async def test_a_full_disk_makes_requests_wait_until_there_is_room(tmp_path, room):
    """It is reported once, nothing is lost, and it goes on by itself: when somebody makes room, or what is in it was sent."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        async with opened(disk / "queue.db") as one:
            one.put(b"first" * 100_000)
            await one.until_written(1)
            ballast = fill(disk)
            one.put(*(b"%d" % number * 100_000 for number in range(5)))
            await one.until_problem("database or disk is full")
            assert len(await one.bodies()) == len(one.written) < 6  # what is there can still be read
            if room == "removed":
                ballast.unlink()
            else:
                with ballast.open("ab") as file:  # room for two of them, less than the queue's own growth
                    file.truncate(ballast.stat().st_size - 1024 * 1024)
                one.store.remove(one.written[0].id)
            await one.until_written(6)
            await one.until_problem(None)
            assert len(one.problems) == 2
        assert len(content(disk / "queue.db")) == (6 if room == "removed" else 5)


async def test_a_disk_so_full_that_nothing_can_be_removed_begins_anew_once_all_is_sent(tmp_path, monkeypatch):
    """Removing takes room as well: when every request in the file was answered for, it is made anew in place."""
    monkeypatch.setattr(writer, "RETRY_SECONDS", 3600)  # it stands still while the rest of the disk is filled
    with small_disk(tmp_path / "disk", "2m") as disk:
        async with opened(disk / "queue.db") as one:
            one.put(*(b"x" * 90_000 for _ in range(40)))
            await one.until_problem("full")
            fill(disk)
            for row in list(one.written):
                one.store.remove(row.id)
            removed = len(one.written)
            assert 0 < removed < 40
            monkeypatch.setattr(writer, "RETRY_SECONDS", 0.1)
            await one.bodies()  # who asks wakes it
            async with asyncio.timeout(60):
                while len(one.written) < 40:
                    for row in one.written[removed:]:
                        one.store.remove(row.id)
                    removed = len(one.written)
                    one.changed.clear()
                    await one.changed.wait()


async def test_a_store_opens_on_a_full_disk_and_waits(tmp_path):
    """The agent starts; what is put in is written once there is room, and what was found is told then."""
    with small_disk(tmp_path / "disk") as disk:
        ballast = fill(disk)
        async with opened(disk / "queue.db") as one:
            assert one.problems
            assert one.found == []
            one.put(b"a")
            ballast.unlink()
            await one.until_written(1)
            assert len(one.found) == 1
        assert len(content(disk / "queue.db")) == 1


async def test_closing_on_a_full_disk_does_not_hang(tmp_path):
    """What could not be written is given up: its batches are not settled."""
    with small_disk(tmp_path / "disk") as disk:
        async with opened(disk / "queue.db") as one:
            fill(disk)
            one.put(b"x" * 1_000_000)
            await one.until_problem("full")
        assert one.written == []


async def test_a_damaged_file_is_salvaged_at_the_start(path, caplog):
    """The log says how much could be saved and where the damaged file is."""
    wanted = rows(200, size=3000)
    make_file(path, wanted)
    with path.open("r+b") as file:
        file.seek(300_000)
        file.write(b"\xff" * 16_384)
    async with opened(path) as one:
        found = (await one.store.read(-1, 1 << 40)).rows
    assert 150 < len(found) < 200
    assert set(found) < set(wanted)
    (kept,) = aside(path, "damaged")
    assert f"{path} is damaged" in caplog.text
    assert f"{len(found)} requests" in caplog.text
    assert kept in caplog.text


async def test_a_file_damaged_while_it_is_in_use_is_salvaged_then(path):
    """Reading goes on with what is left, and says how much that is."""
    wanted = rows(5000, size=20_000)  # beyond what is checked as a whole at the start
    make_file(path, wanted)
    async with opened(path) as one:
        assert one.found[0].totals.requests == 5000
        with path.open("r+b") as file:
            file.seek(50_000_000)
            file.write(b"\xff" * 100_000)
        first = await one.store.read(-1, 1 << 40)
        assert first.beyond == Totals()
        found = list(first.rows)
        one.put(b"more")
        await one.until_written(1)
        assert one.written[0].id == 5001
    assert set(found) < set(wanted)
    assert 4980 < len(found) < 5000
    assert len(aside(path, "damaged")) == 1


async def test_an_id_beyond_all_that_was_written_is_damage(path):
    """It must not make the queue believe that everything was read."""
    make_file(path, rows(5000, size=20_000))
    async with opened(path) as one:
        await one.store.read(-1, 1)
        database = one.store._writer._file._open
        one.put(b"last")
        await one.until_written(1)
        database.execute("UPDATE request SET id = 1 << 40 WHERE id = 2500")
        answer = await one.store.read(-1, 1 << 40)
    assert [row.id for row in answer.rows] == [*range(1, 2500), *range(2501, 5002)]
    assert len(aside(path, "damaged")) == 1


@pytest.mark.parametrize("cut", [1, 5000, 20_000, 200_000])
async def test_a_truncated_log_loses_only_its_end(path, cut):
    """A power cut may leave the WAL's end unwritten: what is before is whole, and nothing is reported as damaged."""
    async with opened(path, fsync=False) as one:
        for number in range(50):
            one.put(b"%02d" % number * 5000)
            await one.until_written(number + 1)
        copy = path.with_name("copy.db")
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    log = copy.with_name("copy.db-wal")
    os.truncate(log, log.stat().st_size - cut)
    async with opened(copy) as one:
        bodies = await one.bodies()
    assert bodies == [b"%02d" % number * 5000 for number in range(len(bodies))]
    assert 49 - cut // 10_000 * 2 - 2 <= len(bodies) < 50
    assert aside(copy) == []


async def test_an_older_file_is_brought_up_to_date_at_the_start(path, caplog):
    """Its requests are sent on, and nothing of it is left over."""
    caplog.set_level("INFO")
    database = sqlite3.connect(path)
    database.execute(OLD_TABLE)
    database.executemany("INSERT INTO request VALUES (?, ?, ?, ?)", [(id, 2, 7, b"%d" % id) for id in range(1, 100)])
    database.commit()
    database.close()
    async with opened(path) as one:
        assert one.found[0].totals == Totals(99, 198, sum(len(str(id)) for id in range(1, 100)))
        assert len(await one.bodies()) == 99
    assert "was brought up to date: 99 requests" in caplog.text
    assert aside(path) == []


@pytest.mark.parametrize(("version", "suffix"), [(2, "newer"), (None, "foreign")])
async def test_a_file_of_a_newer_agent_or_of_another_program_is_kept_aside(path, version, suffix, caplog):
    """A new queue is begun, and the log says where the other file is."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE song (title TEXT)")
    if version:
        database.execute(f"PRAGMA application_id={0x74617069}")
        database.execute(f"PRAGMA user_version={version}")
    database.commit()
    database.close()
    async with opened(path) as one:
        one.put(b"a")
        await one.until_written(1)
    (kept,) = aside(path, suffix)
    assert kept in caplog.text
    assert len(content(path)) == 1


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_removed_while_it_is_in_use_is_written_anew(path, replaced, caplog):
    """Somebody cleaned up: nothing is lost, and what took its place is kept aside."""
    async with opened(path) as one:
        one.put(b"a", b"b")
        await one.until_written(2)
        for part in path.parent.iterdir():
            part.unlink()
        if replaced:
            path.write_bytes(b"something else")
        one.put(b"c")
        await one.until_written(3)
    assert [row.body for row in content(path)] == [b"a", b"b", b"c"]
    assert len(aside(path, "replaced")) == replaced
    assert "It is written anew, nothing is lost" in caplog.text


async def test_a_directory_removed_while_it_is_in_use_is_waited_for(tmp_path):
    """Nothing is taken as written that is nowhere."""
    directory = tmp_path / "queues"
    directory.mkdir()
    async with opened(directory / "queue.db") as one:
        one.put(b"a")
        await one.until_written(1)
        directory.rename(tmp_path / "elsewhere")
        one.put(b"b")
        await one.until_problem("waiting until it works")
        assert len(one.written) == 1
        directory.mkdir()
        await one.until_written(2)
    assert [row.body for row in content(directory / "queue.db")] == [b"a", b"b"]


async def test_a_path_that_cannot_be_used_is_refused(tmp_path):
    """The error says which and what to do; nothing is left running."""
    (tmp_path / "file").touch()
    one = Opened(tmp_path / "file" / "queue.db")
    with pytest.raises(
        ComponentError, match=r"sending_queue\.storage: cannot open '.*/file/queue\.db': Not a directory\. Correct"
    ):
        await one.store.open()
    await one.store.close()


async def test_closing_is_safe_without_opening(path):
    """And tells so, so that the name can be used again."""
    closed = []
    store = RequestStore(path, 1, True, LOG, lambda problem: None)
    store.closed = lambda: closed.append(True)
    await store.close()
    assert closed == [True]
    assert not path.exists()
