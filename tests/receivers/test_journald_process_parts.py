"""What passes between the agent and its reading process, and the options that go there."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.journald import JournaldConfig, frames, reading_process
from tapio_otel.receivers.journald.chunk import CHUNK, Chunk, Portions
from tapio_otel.receivers.journald.cursor import Cursor
from tapio_otel.receivers.journald.gaps import Gap
from tapio_otel.receivers.journald.options import ReaderOptions
from tapio_otel.receivers.journald.packing import MAX_BYTES, MAX_TEMPLATES, NO_TEMPLATE, Packer, Unpacker
from tapio_otel.receivers.journald.patience import BUSY_SECONDS, IDLE_PERIODS, Patience
from tests.journal import awkward_entries

NAMES = ("MESSAGE", "PRIORITY", "_PID", "_COMM", "_CMDLINE", "SYSLOG_IDENTIFIER", "_SOURCE_REALTIME_TIMESTAMP", "CODE_FILE")
CURSOR = f"s={'1' * 32};i=9;b={'2' * 32};m=1;t=1;x=1"

values = st.one_of(st.binary(max_size=4), st.lists(st.binary(max_size=4), min_size=2, max_size=3))
entry_fields = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.sampled_from([b"1", b"2"]), values))
entry_lists = st.lists(st.tuples(entry_fields, st.just(CURSOR)), max_size=20)


@given(st.lists(entry_lists, max_size=4))
def test_entries_come_out_as_they_went_in(chunks: list[list[tuple[dict[str, Any], str]]]) -> None:
    """Whatever fields they have, in whichever order, also where one process changes them."""
    packer, unpacker = Packer(), Unpacker()
    for entries in chunks:
        packed = frames.unpack(frames.pack(packer.pack(entries))[frames.LENGTH.size :])
        found = unpacker.unpack(packed)
        assert found == entries
        assert [list(fields) for fields, _ in found] == [list(fields) for fields, _ in entries]


def fields_of(number: int, **changes: Any) -> dict[str, Any]:
    """Return an entry's fields as libsystemd gives them."""
    fields = {"MESSAGE": f"message {number}", "_PID": "7", "_COMM": "a", "_EXE": "/bin/a", "PRIORITY": "6", **changes}
    return {name: str(value).encode() for name, value in fields.items()}


def test_what_a_process_always_writes_is_sent_once() -> None:
    """The first entry goes whole, the next ones as their message and priority, also when two forms alternate."""
    packer = Packer()
    plain = packer.pack([(fields_of(n), CURSOR) for n in range(3)])
    assert [type(rest) for _, _, rest in plain] == [dict, tuple, tuple]
    assert plain[1] == (0, CURSOR, (b"message 1", b"6"))
    mixed = packer.pack([(fields_of(n, **({"UNIT": f"u{n}"} if n % 2 else {})), CURSOR) for n in range(6)])
    assert [(number, type(rest)) for number, _, rest in mixed] == [(0, tuple), (1, dict), *[(0, tuple), (1, tuple)] * 2]


def test_the_memory_of_templates_is_bounded() -> None:
    """Ever new processes, and entries that are large in what they have in common, do not fill it."""
    packer, unpacker = Packer(), Unpacker()
    for pid in range(3 * MAX_TEMPLATES):
        entries = [(fields_of(n, _PID=pid), CURSOR) for n in range(2)]
        assert unpacker.unpack(packer.pack(entries)) == entries
    assert len(packer._known) <= MAX_TEMPLATES and len(packer._last) <= MAX_TEMPLATES
    assert len(unpacker._templates) <= MAX_TEMPLATES
    ((number, _, _),) = packer.pack([(fields_of(1, _CMDLINE="x" * MAX_BYTES), CURSOR)])
    assert number == NO_TEMPLATE
    ((number, _, _),) = packer.pack([(fields_of(1) | {f"F{n}": b"" for n in range(100)}, CURSOR)])
    assert number == NO_TEMPLATE


def test_a_large_message_is_not_kept_with_the_template() -> None:
    """What differs each time is let go at once."""
    packer, unpacker = Packer(), Unpacker()
    unpacker.unpack(packer.pack([(fields_of(1, MESSAGE="x" * 100_000), CURSOR)]))
    ((fields, _names),) = unpacker._templates.values()
    assert fields["MESSAGE"] is None and fields["_COMM"] == b"a"


def test_awkward_entries_survive_a_pipe() -> None:
    """Chunks of all kinds of entries, with gaps, arrive equal over a pipe that holds less than one of them."""
    entries = [({name: str(value).encode() for name, value in wrote.items()}, CURSOR) for wrote in awkward_entries(200)]
    gap = Gap(CURSOR, Cursor.parse(CURSOR), None)
    sent = Chunk(entries, [(3, gap)], 2, True, False, {"cursor": CURSOR, "seqnums": {"1": 2}})
    reading, writing = os.pipe()
    writer = threading.Thread(target=frames.write, args=(writing, sent.dump(Packer())))
    writer.start()
    try:
        assert Chunk.load(frames.read(reading), Unpacker()) == sent
        writer.join()
        os.close(writing)
        with pytest.raises(EOFError):
            frames.read(reading)
    finally:
        os.close(reading)


def looks(patience: Patience) -> int:
    """Look until patience is over and return how many looks that took."""
    for count in range(1, 10_000):
        patience.look()
        if patience.is_over:
            return count
    raise AssertionError("it is never over")


@pytest.mark.parametrize("period", [0.5, 10.0, 600.0])
def test_a_silent_process_is_given_longer_while_it_works(period: float) -> None:
    """Three of its periods when it does nothing, ten minutes or more when it does."""
    idle = Patience(period, lambda: 1.0)
    assert 0 <= looks(idle) * idle.interval - IDLE_PERIODS * period <= idle.interval
    work = itertools.count()
    busy = Patience(period, lambda: float(next(work)))
    assert looks(busy) * busy.interval == pytest.approx(max(BUSY_SECONDS, IDLE_PERIODS * period))


def test_a_process_that_is_heard_of_has_all_the_time_again() -> None:
    """Only what it does after its last message counts."""
    patience = Patience(10.0, lambda: 1.0)
    first = looks(patience)
    patience.heard()
    assert not patience.is_over and looks(patience) >= first - 1


async def test_the_work_of_a_process_shows() -> None:
    """One that runs has used more of the processor at the second look; one that is stopped, or gone, has not."""
    reader = reading_process.ReadingProcess(lambda _line: None)
    try:
        before = reader.ran()
        while reader.ran() <= before:
            await asyncio.sleep(0.01)
        os.kill(reader.pid, signal.SIGSTOP)
        while Path(f"/proc/{reader.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            await asyncio.sleep(0.01)
        assert reader.ran() == reader.ran() > 0
    finally:
        await reader.close()
    assert reader.ran() == 0


async def test_a_message_that_comes_in_pieces_is_received_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits that end in the midst of it lose nothing, however large it is and however it is cut."""
    monkeypatch.setattr(reading_process, "COMMAND", (sys.executable, "-S", "-c", PIECES))
    reader = reading_process.ReadingProcess(lambda _line: None)
    found: list[Any] = []
    waits = 0
    try:
        while len(found) < 3:
            message = await reader.receive(time.monotonic() + 0.005)
            waits += message is None
            found += [] if message is None else [message]
    finally:
        await reader.close()
    assert found == [["a"], "b" * 200_000, 3] and waits > 3


PIECES = """
import marshal, os, struct, sys, time
for message in (["a"], "b" * 200_000, 3):
    body = marshal.dumps(message, 2)
    left = struct.pack("=I", len(body)) + body
    for size in (2, 1, 3, 70_000, len(left)):
        os.write(int(sys.argv[1]), left[:size])
        left = left[size:]
        time.sleep(0.02)
time.sleep(60)
"""


@pytest.mark.parametrize("size", [1, 7, 64, 100, 1000])
def test_portions_fill_a_batch_exactly(size: int) -> None:
    """Full chunks end with the batch; a short one begins a new batch."""
    portions = Portions(size)
    for _ in range(3):
        room = size
        while room:
            assert portions.limit == min(CHUNK, room)
            room -= portions.limit
            portions.take(Chunk([({}, CURSOR)] * portions.limit, is_full=True))
    portions.take(Chunk([({}, CURSOR)] * min(3, size)))
    assert portions.limit == min(CHUNK, size)


def test_options_arrive_as_they_were_configured() -> None:
    """Every option that decides what is read passes the frame unchanged."""
    config = JournaldConfig(
        directory=Path("/j"),
        units=["a*"],
        identifiers=["x"],
        matches=[{"A": ["1", "2"]}],
        priority="err",
        dmesg=True,
        current_boot_only=True,
        max_message_size="2KiB",
        batch_size=5,
        poll_interval="1s",
        read_interval="1ms",
    )
    options = config.reader_options()
    assert ReaderOptions.load(frames.unpack(frames.pack(options.dump())[frames.LENGTH.size :])) == options
    assert options.priorities == (0, 1, 2, 3) and options.begin == "end" and options.poll_interval == 1.0
    other = JournaldConfig(files=[Path("/a"), Path("/b")], follow=False).reader_options()
    assert ReaderOptions.load(other.dump()) == other
    assert (options.sign_of_life, other.sign_of_life) == (10.0, 10.0)
    assert JournaldConfig(read_interval="1m").reader_options().sign_of_life == 60.0
    assert JournaldConfig(poll_interval="2m").reader_options().sign_of_life == 120.0
    assert other.begin == "beginning" and other.files == (Path("/a"), Path("/b"))
