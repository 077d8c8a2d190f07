"""Salvage: whatever happens to a file, what can be read of it goes on, nothing wrong does, and the rest is kept aside."""

from __future__ import annotations

import random
import sqlite3

import pytest

from tapio_otel.storage.queue_file import APPLICATION_ID, PAGE_BYTES, QueueFile
from tapio_otel.storage.row import Row, Totals, values
from tapio_otel.storage.salvage import FILES_KEPT, finish, put_back, salvage, set_aside
from tests.storage.files import OLD_TABLE, aside, content, make_file, rows


@pytest.fixture
def path(tmp_path):
    """Return where the file goes."""
    return tmp_path / "queue.db"


def test_a_healthy_file_is_copied_whole(path):
    """Every request is saved, and the file it came from is kept."""
    wanted = rows(300, size=5000)
    make_file(path, wanted)
    result = salvage(path, "damaged")
    assert (result.saved.requests, result.damaged) == (300, Totals())
    assert content(path) == wanted
    assert aside(path) == [result.aside]


def test_altered_requests_are_counted_and_left_out(path):
    """Their events are known, as the file says how many they were."""
    wanted = rows(10)
    make_file(path, wanted)
    database = sqlite3.connect(path)
    database.execute("UPDATE request SET body = x'00' WHERE id IN (3, 4)")
    database.commit()
    database.close()
    result = salvage(path, "damaged")
    assert (result.damaged.requests, result.damaged.items) == (2, wanted[2].items + wanted[3].items)
    assert content(path) == [row for row in wanted if row.id not in (3, 4)]


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_spoils_only_what_it_hits(path, seed):
    """Bits flipped and ends cut off anywhere: what comes out was written, and most of it comes out."""
    draw = random.Random(seed)
    wanted = rows(400, size=3000)
    make_file(path, wanted)
    damaged = bytearray(path.read_bytes())
    flips = draw.choice([1, 3, 10])
    for _ in range(flips):
        damaged[draw.randrange(4096, len(damaged))] ^= 1 << draw.randrange(8)
    cut = draw.choice([0, 0, 100_000])
    path.write_bytes(damaged[: len(damaged) - cut])
    result = salvage(path, "damaged")
    found = content(path)
    assert set(found) <= set(wanted)
    assert result.saved.requests == len(found) == len({row.id for row in found})
    # A page has at most five of these requests; cutting makes everything behind it unreadable.
    assert len(found) >= 400 - 6 * flips - cut // 3000 - 60 * bool(cut)


@pytest.mark.parametrize(
    "content_of_file", [b"", b"x", b"SQLite format 3\0", b"\xff" * 100_000], ids=["empty", "x", "head", "ff"]
)
def test_a_file_with_nothing_in_it_gives_an_empty_queue(path, content_of_file):
    """No error, whatever it is."""
    path.write_bytes(content_of_file)
    assert salvage(path, "damaged").saved == Totals()
    assert content(path) == []


def test_the_damaged_header_of_a_file_costs_nothing_but_its_numbers(path):
    """Application id and version may be wrong: the table's columns say what it is."""
    wanted = rows(20)
    make_file(path, wanted)
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id=12345")
    database.execute("PRAGMA user_version=77777")
    database.close()
    with pytest.raises(sqlite3.DatabaseError, match="its header is damaged"):
        QueueFile(path).open()
    salvage(path, "damaged")
    assert content(path) == wanted


@pytest.mark.parametrize("marked", [False, True])
def test_a_file_of_an_older_version_is_brought_up_to_date(path, marked):
    """Its requests have no checksums, and are protobuf; with or without the application's mark."""
    database = sqlite3.connect(path)
    database.execute(OLD_TABLE)
    if marked:
        database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    database.executemany("INSERT INTO request VALUES (?, ?, ?, ?)", [(id, id + 1, id + 2, b"%d" % id) for id in range(1, 200)])
    database.commit()
    database.close()
    assert salvage(path, "old").saved == Totals(199, sum(range(2, 201)), sum(len(str(id)) for id in range(1, 200)))
    assert content(path) == [Row(id, id + 1, id + 2, "proto", b"%d" % id) for id in range(1, 200)]


def test_what_is_only_in_the_log_beside_the_file_is_saved_too(path):
    """A crash leaves the last transactions in the WAL."""
    file = QueueFile(path)
    file.open()
    file.commit(rows(5), [])
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    file.close()
    salvage(copy, "damaged")
    assert content(copy) == rows(5)


def test_a_complete_new_file_is_taken_after_a_crash_in_between(path):
    """The old one is set aside then."""
    make_file(path, rows(3))
    make_file(path.with_name("queue.db.salvage"), rows(2))
    assert finish(path) in aside(path, "damaged")
    assert content(path) == rows(2)


def test_a_complete_new_file_is_taken_when_the_old_one_is_gone_already(path):
    """The crash came between the two renamings."""
    make_file(path.with_name("queue.db.salvage"), rows(2))
    assert finish(path) is not None
    assert content(path) == rows(2)


@pytest.mark.parametrize("begun", [b"", b"half of a file"])
def test_an_incomplete_new_file_is_removed_after_a_crash(path, begun):
    """The salvage begins anew from the old one, which is as it was."""
    make_file(path, rows(3))
    path.with_name("queue.db.salvage").write_bytes(begun)
    assert finish(path) is None
    assert [one.name for one in path.parent.iterdir()] == ["queue.db"]
    assert content(path) == rows(3)


def test_without_an_interrupted_salvage_nothing_happens(path):
    """As at every ordinary start."""
    assert finish(path) is None


def test_a_removed_file_is_put_back_from_the_open_one(path):
    """Nothing of it is lost."""
    file = QueueFile(path)
    file.open()
    file.commit(rows(20), [])
    path.unlink()
    put_back(file)
    assert list(file.rows()) == rows(20)
    file.close()
    assert content(path) == rows(20)
    assert aside(path) == []


def test_only_the_last_files_set_aside_are_kept(path):
    """A disk that damages files is not filled up by them."""
    names = []
    for number in range(FILES_KEPT + 3):
        path.write_bytes(b"%d" % number)
        names.append(set_aside(path, "damaged"))
    assert aside(path) == names[-FILES_KEPT:]


def test_a_request_met_twice_is_saved_once(path):
    """A damaged tree may lead to the same place on two ways; ids are unique in the new file whatever happens."""
    make_file(path, rows(5))
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE twice AS SELECT * FROM request")
    database.execute("INSERT INTO twice SELECT * FROM request")
    database.execute("DROP TABLE request")
    database.execute("ALTER TABLE twice RENAME TO request")
    database.commit()
    database.close()
    assert salvage(path, "damaged").saved.requests == 5
    assert content(path) == rows(5)


def test_an_id_that_jumped_hides_no_request(path):
    """A flipped bit in an id makes it a damaged row far from its place: those behind it are found all the same."""
    wanted = rows(50)
    make_file(path, wanted)
    database = sqlite3.connect(path)
    database.execute("UPDATE request SET id = 1000000 WHERE id = 20")
    database.execute("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?)", (2_000_000, *values(wanted[0])[1:]))
    database.commit()
    database.close()
    result = salvage(path, "damaged")
    assert result.damaged.requests == 2
    assert content(path) == [row for row in wanted if row.id != 20]


def test_what_is_behind_a_wide_gap_is_read_from_the_end(path, monkeypatch):
    """Where the ids behind a damaged place cannot be guessed, reading goes on backwards."""
    monkeypatch.setattr("tapio_otel.storage.salvage.MOST_MISSES", 1)
    wanted = rows(400, size=3000)
    make_file(path, wanted)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
        file.write(b"\xa5" * 2 * PAGE_BYTES)
    salvage(path, "damaged")
    found = content(path)
    assert (found[0], found[-1]) == (wanted[0], wanted[-1])
    assert 350 < len(found) < 400
