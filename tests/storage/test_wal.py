"""The write-ahead log: what follows a damaged place in it was reported as written, and is not passed over."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tapio_otel.storage.queue_file import PAGE_BYTES, QueueFile
from tapio_otel.storage.salvage import FILES_KEPT, salvage
from tapio_otel.storage.wal import damaged_log, log_of
from tests.storage.files import aside, content, rows

HEADER, FRAME = 32, 24 + PAGE_BYTES
COUNT = 40


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return a file as SIGKILL leaves it: a transaction for each request, all of them in the log."""
    path, left = tmp_path / "queue.db", tmp_path / "left" / "queue.db"
    left.parent.mkdir()
    file = QueueFile(path)
    file.open()
    for row in rows(COUNT, size=3000):
        file.commit([row], [])
    shutil.copyfile(path, left)
    shutil.copyfile(log_of(path), log_of(left))
    file.close()
    return left


def flip(path: Path, place: int, bit: int = 1) -> None:
    """Turn over one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(content)


def test_a_whole_log_and_one_that_is_cut_off_are_not_damaged(killed):
    """The missing end was never reported as written; without a log there is nothing to look at."""
    log = log_of(killed)
    whole = log.read_bytes()
    assert damaged_log(killed) is None
    for length in (len(whole) - 1, len(whole) // 2, HEADER + 7, 5, 0):
        log.write_bytes(whole[:length])
        assert damaged_log(killed) is None
    log.unlink()
    assert damaged_log(killed) is None


def test_the_rest_of_an_earlier_round_is_no_damage(killed):
    """A log that is written from its beginning again ends with frames of before, which have other salts."""
    log = bytearray(log_of(killed).read_bytes())
    for place in range(HEADER + 10 * FRAME, len(log), FRAME):
        log[place + 8 : place + 16] = b"earlier!"
    log_of(killed).write_bytes(log)
    assert damaged_log(killed) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_in_the_log_costs_one_request_at_most(killed, seed):
    """SQLite alone would read none of what follows, and say nothing."""
    draw = random.Random(seed)
    log = log_of(killed)
    flip(log, draw.randrange(HEADER, log.stat().st_size * 3 // 4), 1 << draw.randrange(8))
    with pytest.raises(sqlite3.DatabaseError, match="write-ahead log is damaged"):
        QueueFile(killed).open()
    result = salvage(killed, "damaged")
    wanted = rows(COUNT, size=3000)
    found = content(killed)
    assert [row for row in found if row not in wanted] == []
    assert len(found) >= COUNT - 1
    assert len(found) == result.saved.requests
    assert aside(killed, "damaged") == [result.aside]
    assert len(list(killed.parent.glob("queue.db-wal.damaged-*"))) == 1


def test_logs_kept_aside_are_bounded(killed):
    """A disk that damages logs is not filled up by them."""
    db, log = killed.read_bytes(), log_of(killed).read_bytes()
    for _ in range(FILES_KEPT + 2):
        killed.write_bytes(db)
        log_of(killed).write_bytes(log)
        flip(log_of(killed), HEADER + FRAME + 100)
        salvage(killed, "damaged")
    assert len(list(killed.parent.glob("queue.db-wal.damaged-*"))) == FILES_KEPT
