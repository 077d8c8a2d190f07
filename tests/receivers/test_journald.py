"""The receiver against real journal files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from systemd import _reader

from tapio_otel.component import ComponentError, SourceUnavailable
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.normalizers.journald import normalize
from tapio_otel.receivers.journald import JournaldConfig, JournaldReceiver, missing
from tapio_otel.receivers.journald.reader import JournalReader
from tests.collect import CollectingOutput, context, running
from tests.journal import BEGIN, BOOT, awkward_entries, entries, entry, journalctl, link_journal, write_journal
from tests.receivers.conftest import LARGE, SMALL
from tests.receivers.isolation import isolation

__all__ = ["isolation"]


def receiver(directory: Path, **options: Any) -> JournaldReceiver:
    """Return a receiver that reads a directory from the beginning to the end, unless told otherwise."""
    options = {"start_at": "beginning", "follow": False, **options}
    return JournaldReceiver(context("journald"), JournaldConfig(directory=directory, **options))


async def read(directory: Path, checkpoint: Any = None, **options: Any) -> CollectingOutput:
    """Return what such a receiver emits."""
    output = CollectingOutput(checkpoint)
    await receiver(directory, **options).run(output)
    return output


def cursors(events: list[UnifiedEvent]) -> list[int]:
    """Return the sequence numbers the ids were made from: their last 15 digits."""
    return [int(event.id.replace("-", "")[-15:], 16) for event in events]


def numbers(found: list[str]) -> list[int]:
    """Return the sequence numbers of cursors."""
    return [int(cursor.split(";")[1][2:], 16) for cursor in found]


async def test_every_entry_of_a_large_awkward_journal_is_read_once_and_in_order(large_journal: Path) -> None:
    """100,000 entries come out as 100,000 events with different ids, with nothing of their content lost."""
    output = await read(large_journal)
    assert len(output.events) == LARGE
    assert len({event.id for event in output.events}) == LARGE
    assert cursors(output.events) == list(range(1, LARGE + 1))
    assert [event.timestamp for event in output.events] == [(BEGIN + n * 1000) * 1000 for n in range(LARGE)]
    for event, wrote in zip(output.events, awkward_entries(LARGE), strict=True):
        assert_same(event, wrote)


def assert_same(event: UnifiedEvent, wrote: dict[str, Any]) -> None:
    """Compare an event with the entry that was written."""
    message = wrote.get("MESSAGE", "")
    if isinstance(message, list):
        assert sorted(event.get("MESSAGE")) == sorted(message)
    elif isinstance(message, bytes):
        assert event.get("MESSAGE") == message
        assert event.description == message.decode(errors="replace")
    else:
        assert event.description == message
    for name in ("BLOB", "REQUEST_ID", "CODE_FILE"):
        assert event.get(name) == wrote.get(name)
    assert event.get("TAG") is None or sorted(map(str, event.get("TAG"))) == sorted(map(str, wrote["TAG"]))
    assert event.get("CODE_LINE") == (12 if "CODE_LINE" in wrote else None)
    pid = wrote.get("_PID")
    assert sorted(event.get("pid")) == [1, 2] if isinstance(pid, list) else event.get("pid") == pid


async def test_reading_again_gives_the_same_ids(small_journal: Path) -> None:
    """The same entry read twice has the same id."""
    first, second = await read(small_journal), await read(small_journal, batch_size=7)
    assert [event.id for event in first.events] == [event.id for event in second.events]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, SMALL), max_size=4), batch=st.integers(1, 300))
async def test_resuming_at_any_point_repeats_and_misses_nothing(small_journal: Path, cuts: list[int], batch: int) -> None:
    """Interrupted wherever, the events of all runs together are those of one run."""
    whole = [event.id for event in (await read(small_journal)).events]
    seen: list[str] = []
    checkpoint = None
    for cut in [*sorted(cuts), None]:
        output = CollectingOutput(checkpoint, stop_after=None if cut is None else max(0, cut - len(seen)))
        try:
            await receiver(small_journal, batch_size=batch).run(output)
        except asyncio.CancelledError:
            assert cut is not None
        seen += [event.id for event in output.events]
        checkpoint = output.checkpoint
    assert seen == whole


async def test_a_finite_run_tells_its_progress(small_journal: Path) -> None:
    """The total is known from the start and reached at the end."""
    output = await read(small_journal, batch_size=100)
    assert {total for _, total in output.progressed} == {SMALL}
    assert output.progressed[-1][0] == SMALL
    count, begun = output.batches[0]
    assert 0 < count <= 100
    assert (await read(small_journal, begun)).progressed[-1] == (SMALL - count, SMALL - count)


async def test_entries_vacuumed_while_stopped_are_reported_with_their_number(large_journal: Path, tmp_path: Path) -> None:
    """After the first file is deleted the gap says exactly how many entries went with it, and the rest follows."""
    directory = link_journal(large_journal, tmp_path / "j")
    output = CollectingOutput(stop_after=1000)
    with pytest.raises(asyncio.CancelledError):
        await receiver(directory, batch_size=1000).run(output)
    last = cursors(output.events)[-1]
    sorted(directory.glob("x@*"))[0].unlink()
    kept = numbers(journalctl(directory))
    collecting = CollectingOutput(output.checkpoint)
    reading = receiver(directory)
    await reading.run(collecting)
    gap, *rest = collecting.events
    assert gap.type == "journal_gap" and gap.severity is Severity.WARNING and gap.source == "journald"
    assert gap.get("missing") == kept[0] - 1 - last
    assert (gap.get("from_sequence_number"), gap.get("to_sequence_number")) == (last + 1, kept[0] - 1)
    assert cursors(rest) == kept
    assert reading.context.counters.values["dropped/vacuumed"] == kept[0] - 1 - last  # type: ignore[attr-defined]
    normalize(collecting.events)
    assert collecting.events[0].type == "journal_gap"


async def test_a_vacuumed_cursor_is_reported_with_filters_too(large_journal: Path, tmp_path: Path) -> None:
    """The size of a gap counts all entries, whichever the filter would have let through."""
    directory = link_journal(large_journal, tmp_path / "j")
    output = CollectingOutput(stop_after=10)
    with pytest.raises(asyncio.CancelledError):
        await receiver(directory, batch_size=10, units=["svc3"]).run(output)
    last = cursors(output.events)[-1]
    sorted(directory.glob("x@*"))[0].unlink()
    again = await read(directory, output.checkpoint, units=["svc3"])
    head = numbers(journalctl(directory))[0]
    assert again.events[0].get("missing") == head - last - 1
    assert cursors(again.events[1:]) == numbers(journalctl(directory, "--unit=svc3"))


async def test_a_changed_filter_is_no_gap(small_journal: Path) -> None:
    """A checkpoint whose entry the new filter leaves out is still a place to go on from."""
    output = CollectingOutput(stop_after=50)
    with pytest.raises(asyncio.CancelledError):
        await receiver(small_journal, batch_size=50, units=["svc1"]).run(output)
    last = cursors(output.events)[-1]
    again = await read(small_journal, output.checkpoint, units=["svc2"])
    assert cursors(again.events) == [n for n in numbers(journalctl(small_journal, "--unit=svc2")) if n > last]


async def test_files_vacuumed_under_a_slow_reader_are_reported(large_journal: Path, tmp_path: Path) -> None:
    """What disappears between two reads is found by the numbers, even when libsystemd says nothing."""
    directory = link_journal(large_journal, tmp_path / "j")
    reader = JournalReader(JournaldConfig(directory=directory, start_at="beginning", follow=False).reader_options())
    reader.open()
    try:
        seen, gaps = len(reader.read(100).entries), []  # as many as it gets in the time it may take
        assert 0 < seen <= 100
        sorted(directory.glob("x@*"))[0].unlink()
        reader.process()
        kept = numbers(journalctl(directory))
        while not reader.at_end:
            chunk = reader.read(5000)
            seen += len(chunk.entries)
            gaps += chunk.gaps
    finally:
        reader.close()
    assert seen + sum(gap.missing or 0 for _, gap in gaps) == LARGE
    assert [gap.after.number for _, gap in gaps] == [kept[0]]


async def test_start_at_end_replays_nothing_and_misses_nothing(tmp_path: Path) -> None:
    """The first event is the first entry written after the start; a restart before it does not change that."""
    directory = write_journal(tmp_path / "j", entries(50))
    output = CollectingOutput()
    tail = receiver(directory, follow=True, start_at="end", read_interval="1ms", poll_interval="50ms")
    async with running(tail, output):
        await output.until(lambda: output.checkpoint is not None)
        assert output.events == []
    write_journal(directory, entries(3, begin=50))
    async with running(tail, output):
        await output.until(lambda: len(output.events) >= 3)
        write_journal(directory, entries(4, begin=53))
        await output.until(lambda: len(output.events) >= 7)
    assert output.messages == [f"message {n}" for n in range(50, 57)]


async def test_start_at_end_of_a_journal_where_nothing_matches(tmp_path: Path) -> None:
    """With a filter that no entry passes, the first that does is delivered."""
    directory = write_journal(tmp_path / "j", entries(20))
    output = CollectingOutput()
    tail = receiver(directory, follow=True, start_at="end", identifiers=["new"], poll_interval="50ms")
    async with running(tail, output):
        for n in range(20, 80, 3):  # nothing tells when it has found the end of a journal that has nothing for it
            write_journal(directory, [entry(n), entry(n + 1, SYSLOG_IDENTIFIER="new", MESSAGE="hello"), entry(n + 2)])
            with contextlib.suppress(TimeoutError):
                await output.until(lambda: bool(output.events), seconds=1)
                break
    assert set(output.messages) == {"hello"}


FILTERED = [
    entry(0, MESSAGE="plain"),
    entry(1, PRIORITY=0),
    entry(2, PRIORITY=3, SYSLOG_IDENTIFIER="kernel", _TRANSPORT="kernel", _PID=None, _SYSTEMD_UNIT=None),
    entry(3, PRIORITY=7),
    entry(4, PRIORITY=None),
    entry(5, PRIORITY=4, _SYSTEMD_UNIT="init.scope", _PID=1, UNIT="nginx.service", MESSAGE="Started"),
    entry(6, PRIORITY=4, UNIT="nginx.service", MESSAGE="a lie: not from PID 1"),
    entry(7, _SYSTEMD_UNIT="nginx.service", PRIORITY=5),
    entry(8, _SYSTEMD_UNIT="x.service", COREDUMP_UNIT="nginx.service", MESSAGE_ID="fc2e22bc6ee647b6b90729ab34a250b1"),
    entry(9, _SYSTEMD_UNIT="x.service", OBJECT_SYSTEMD_UNIT="nginx.service"),
    entry(10, _SYSTEMD_UNIT="x.service", OBJECT_SYSTEMD_UNIT="nginx.service", _UID=1000),
    entry(11, _SYSTEMD_UNIT="y.service", _SYSTEMD_SLICE="web.slice"),
    entry(12, _SYSTEMD_UNIT="mnt-my\\x20disk.mount", SYSLOG_IDENTIFIER="mount"),
    entry(13, _BOOT_ID="c" * 32, SYSLOG_IDENTIFIER="sshd", _SYSTEMD_UNIT="ssh.service"),
    entry(14, _BOOT_ID="c" * 32, SYSLOG_IDENTIFIER="sshd", PRIORITY=2, _TRANSPORT="kernel", COLOUR="red"),
    entry(15, _BOOT_ID="c" * 32, SYSLOG_IDENTIFIER="a b=c", COLOUR="green", SHAPE="round"),
    entry(16, _BOOT_ID="c" * 32, COREDUMP_UNIT="dumped.service", MESSAGE_ID="fc2e22bc6ee647b6b90729ab34a250b1"),
    entry(17, _BOOT_ID="c" * 32, COREDUMP_UNIT="dumped.service", MESSAGE="no core dump"),
]


@pytest.fixture(scope="module")
def filtered_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a journal in which every filter has something to choose."""
    return write_journal(tmp_path_factory.mktemp("filtered"), FILTERED)


@pytest.mark.parametrize(
    ("options", "journalctl_options"),
    [
        ({}, []),
        ({"units": ["nginx"]}, ["--unit=nginx"]),
        ({"units": ["nginx.service", "ssh.service"]}, ["--unit=nginx", "--unit=ssh"]),
        ({"units": ["web.slice"]}, ["--unit=web.slice"]),
        ({"units": ["/mnt/my disk"]}, ["--unit=/mnt/my disk"]),
        ({"units": ["ngin*"]}, ["--unit=ngin*"]),
        ({"units": ["we*"]}, ["--unit=we*"]),
        ({"units": ["*.slice"]}, ["--unit=*.slice"]),
        ({"units": ["dum*"]}, ["--unit=dum*"]),
        ({"units": ["svc[12].service", "ssh"]}, ["--unit=svc[12].service", "--unit=ssh"]),
        ({"identifiers": ["sshd"]}, ["--identifier=sshd"]),
        ({"identifiers": ["sshd", "a b=c"]}, ["--identifier=sshd", "--identifier=a b=c"]),
        ({"priority": "info"}, ["--priority=info"]),
        ({"priority": 3}, ["--priority=3"]),
        ({"priority": "emerg..err"}, ["--priority=emerg..err"]),
        ({"priority": "debug..notice"}, ["--priority=debug..notice"]),
        ({"dmesg": True}, ["--dmesg"]),
        ({"current_boot_only": True}, ["--boot"]),
        ({"matches": [{"COLOUR": "red"}]}, ["COLOUR=red"]),
        ({"matches": [{"COLOUR": "green", "SHAPE": "round"}]}, ["COLOUR=green", "SHAPE=round"]),
        ({"matches": [{"COLOUR": ["green", "red"]}]}, ["COLOUR=green", "COLOUR=red"]),
        (
            {"matches": [{"COLOUR": "red", "PRIORITY": 2}, {"SYSLOG_IDENTIFIER": "mount"}]},
            ["COLOUR=red", "PRIORITY=2", "+", "SYSLOG_IDENTIFIER=mount"],
        ),
        ({"units": ["nginx", "ssh"], "priority": "notice"}, ["--unit=nginx", "--unit=ssh", "--priority=notice"]),
        ({"units": ["ssh"], "matches": [{"COLOUR": "red"}]}, ["--unit=ssh", "COLOUR=red"]),
        (
            {"identifiers": ["sshd", "svc6"], "priority": "info", "current_boot_only": True},
            ["--identifier=sshd", "--identifier=svc6", "--priority=info", "--boot"],
        ),
    ],
    ids=str,
)
async def test_filters_select_what_journalctl_selects(
    filtered_journal: Path, options: dict[str, Any], journalctl_options: list[str]
) -> None:
    """Every filter option gives the entries that journalctl gives for its own."""
    output = await read(filtered_journal, **options)
    assert cursors(output.events) == numbers(journalctl(filtered_journal, *journalctl_options))


async def test_files_are_read_by_name_and_pattern(small_journal: Path) -> None:
    """`files` reads the same entries as `directory`."""
    for file in ("x.journal", "*.journal"):
        config = JournaldConfig(files=[small_journal / file], start_at="beginning", follow=False)
        output = CollectingOutput()
        await JournaldReceiver(context("journald"), config).run(output)
        assert len(output.events) == SMALL


async def test_the_journals_of_two_machines_in_one_directory_make_no_false_gaps(tmp_path: Path) -> None:
    """Two sequences interleave by time; each keeps its own numbers, also after a restart."""
    directory = tmp_path / "j"
    write_journal(directory, [entry(n, _HOSTNAME="even", _BOOT_ID="d" * 32) for n in range(0, 400, 2)], "even.journal")
    write_journal(directory, [entry(n, _HOSTNAME="odd") for n in range(1, 400, 2)], "odd.journal")
    output = CollectingOutput(stop_after=150)
    with pytest.raises(asyncio.CancelledError):
        await receiver(directory, batch_size=50).run(output)
    rest = await read(directory, output.checkpoint)
    messages = output.messages + rest.messages
    assert sorted(messages) == sorted(f"message {n}" for n in range(400))
    assert {event.type for event in output.events + rest.events} == {"log"}


@pytest.mark.parametrize(
    "checkpoint",
    [
        "nonsense",
        {"version": 2, "cursor": "x"},
        {"version": 1, "cursor": "s=1;i=2"},
        {"version": 1, "cursor": f"s={'0' * 32};i=1;b={'1' * 32};m=1;t=1;x=1", "seqnums": {"a": "b"}},
        {"version": 1, "cursor": f"s={'0' * 32};i=1;b={'1' * 32};m=1;t=1;x=1", "machine": "2" * 32},
    ],
    ids=["no mapping", "other version", "no cursor", "wrong numbers", "other machine"],
)
async def test_a_useless_checkpoint_is_reported_and_reading_starts_anew(
    small_journal: Path, checkpoint: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A corrupt or foreign checkpoint gives one error that says where reading starts, and no failure."""
    output = await read(small_journal, checkpoint)
    assert len(output.events) == SMALL
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "checkpoint" in record.getMessage() and "starts at the beginning" in record.getMessage()


async def test_a_journal_replaced_on_the_same_machine_is_a_gap_of_unknown_size(tmp_path: Path) -> None:
    """After a volatile journal was lost, what is newer than the last entry read is delivered, after a gap."""
    old = write_journal(tmp_path / "old", entries(10))
    first = await read(old)
    directory = write_journal(tmp_path / "new", (entry(n, _BOOT_ID="e" * 32) for n in range(10, 30)))
    again = await read(directory, {**first.checkpoint, "machine": machine_of(directory)})
    assert again.events[0].type == "journal_gap"
    assert again.events[0].get("missing") is None
    assert again.messages[1:] == [f"message {n}" for n in range(10, 30)]


async def test_entries_renumbered_by_journald_are_not_repeated(tmp_path: Path) -> None:
    """When journald has moved the entries to other files and numbered them anew, reading goes on after the last one."""
    first = await read(write_journal(tmp_path / "run", entries(10)))
    directory = write_journal(tmp_path / "var", entries(30))
    again = await read(directory, {**first.checkpoint, "machine": machine_of(directory)})
    assert again.messages == [f"message {n}" for n in range(10, 30)]


def machine_of(directory: Path) -> str:
    """Return the id of the machine that wrote the journal, from its header."""
    (file,) = directory.glob("*.journal")
    return file.read_bytes()[40:56].hex()


async def test_long_messages_are_cut_marked_and_counted(tmp_path: Path) -> None:
    """A message over `max_message_size` loses its end, not within a character, and says so."""
    directory = write_journal(
        tmp_path / "j",
        [
            entry(0, MESSAGE="é" * 500),
            entry(1, MESSAGE="short"),
            entry(2, MESSAGE=b"\xff" * 300_000),
            entry(3, MESSAGE="z" * 3_000_000, NOTE="n" * 200_000),
            entry(4, MESSAGE="y" * 101),
        ],
    )
    reading = receiver(directory, max_message_size=101)
    output = CollectingOutput()
    await reading.run(output)
    texts = output.messages
    assert texts == ["é" * 50, "short", "\ufffd" * 101, "z" * 101, "y" * 101]
    assert [event.get("truncated") for event in output.events] == [["MESSAGE"], None, ["MESSAGE"], ["MESSAGE", "NOTE"], None]
    assert output.events[2].get("MESSAGE") == b"\xff" * 101
    assert reading.context.counters.values["truncated"] == 4  # type: ignore[attr-defined]


def damaged(source: Path, target: Path, *changes: tuple[bytes, bytes]) -> Path:
    """Return a directory with the same journal in which bytes have been overwritten."""
    target.mkdir()
    for file in source.glob("*.journal"):
        content = file.read_bytes()
        for old, new in changes:
            assert content.count(old) == 1 and len(old) == len(new)
            content = content.replace(old, new)
        (target / file.name).write_bytes(content)
    return target


@pytest.mark.parametrize("options", [{}, {"priority": "info"}], ids=["all", "filtered"])
async def test_a_damaged_entry_is_passed_over_and_counted(
    small_journal: Path, tmp_path: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes overwritten in one message cost that entry and no other, and are no deletion."""
    changes = [(b"MESSAGE=message 50\0", b"MESSAGExmessage 50\0"), (b"MESSAGE=message 51\0", b"MESSAG\xff=message 51\0")]
    directory = damaged(small_journal, tmp_path / "j", *changes)
    reading, output = receiver(directory, **options), CollectingOutput()
    async with asyncio.timeout(20):
        await reading.run(output)
    assert output.messages == [f"message {n}" for n in range(SMALL) if n not in {50, 51}]
    assert reading.context.counters.values == {"refused/damaged": 2}  # type: ignore[attr-defined]
    (record,) = caplog.records
    assert record.getMessage().startswith("2 journal entries are damaged")


async def test_a_damaged_value_costs_no_entry_that_shares_it(small_journal: Path, tmp_path: Path) -> None:
    """journald keeps a value once for all entries: when it is damaged, they come without it, and say so."""
    directory = damaged(small_journal, tmp_path / "j", (b"_HOSTNAME=node1", b"_HOSTNAMExnode1"))
    reading, output = receiver(directory), CollectingOutput()
    async with asyncio.timeout(20):
        await reading.run(output)
    assert output.messages == [f"message {n}" for n in range(SMALL)]
    assert {event.get("TAPIO_DAMAGED") for event in output.events} == {"1"}
    assert {event.get("SYSLOG_IDENTIFIER") for event in output.events} == {f"svc{n}" for n in range(7)}
    assert reading.context.counters.values == {}  # type: ignore[attr-defined]


def without_entry(source: Path, target: Path, index: int) -> Path:
    """Return the same journal with an entry that libsystemd passes over, and behind which it cannot seek."""
    target.mkdir()
    (file,) = source.glob("*.journal")
    content = bytearray(file.read_bytes())
    compact = content[12] & 16  # then entries are at 32-bit offsets
    size, form = (4, "<I") if compact else (8, "<Q")
    (array,) = struct.unpack_from("<Q", content, 176)
    while index >= (length := (struct.unpack_from("<Q", content, array + 8)[0] - 24) // size):
        index -= length
        (array,) = struct.unpack_from("<Q", content, array + 16)
    (entry_object,) = struct.unpack_from(form, content, array + 24 + size * index)
    content[entry_object] = 0xFF  # an object of no known type
    (target / file.name).write_bytes(content)
    return target


async def test_behind_a_hole_in_a_damaged_file_everything_else_is_read(small_journal: Path, tmp_path: Path) -> None:
    """Where libsystemd can walk but not seek, nothing is lost, neither in one go nor resuming at any place."""
    directory = without_entry(small_journal, tmp_path / "j", 115)  # the last in an array of entries: seeking compares with it
    readable = walk(directory)
    assert SMALL - 10 < len(readable) < SMALL, "the test needs a journal with a hole"
    reading, whole = receiver(directory), CollectingOutput()
    await reading.run(whole)
    assert cursors(whole.events) == readable
    assert reading.context.counters.values == {"refused/damaged": SMALL - len(readable)}  # type: ignore[attr-defined]
    for options in ({}, {"units": ["svc*"]}):
        seen: list[int] = []
        output = CollectingOutput()
        for _ in range(100):
            output = CollectingOutput(output.checkpoint, stop_after=40)
            try:
                await receiver(directory, batch_size=40, **options).run(output)
                break
            except asyncio.CancelledError:
                continue
            finally:
                seen += cursors(output.events)
        assert seen == readable


def walk(directory: Path) -> list[int]:
    """Return the numbers of the entries that libsystemd comes by from the first on."""
    journal = _reader._Reader(flags=0, path=str(directory))
    found = []
    journal.seek_head()
    while journal._next():
        found.append(journal._get_cursor())
    journal.close()
    return numbers(found)


async def test_files_that_cannot_be_read_are_named(
    small_journal: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """libsystemd passes over them without a word; the others are read."""
    directory = link_journal(small_journal, tmp_path / "j")
    content = next(small_journal.glob("*.journal")).read_bytes()
    (directory / "cut.journal").write_bytes(content[: len(content) // 2])
    (directory / "other.journal").write_bytes(os.urandom(300))
    (directory / "empty.journal").touch()
    reading, output = receiver(directory), CollectingOutput()
    await reading.run(output)
    await reading.run(CollectingOutput())
    assert len(output.events) == SMALL
    messages = sorted(record.getMessage() for record in caplog.records)
    assert [Path(message.split(" ")[0]).name for message in messages] == ["cut.journal", "empty.journal", "other.journal"]
    assert "it is cut off" in messages[0] and "no journal file" in messages[2]


@pytest.mark.parametrize("isolation", ["none"], indirect=True)  # Python itself may be out of that user's reach
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user without rights")
async def test_one_file_without_rights_names_the_group(
    small_journal: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What may be read is read, and the rest is a question of groups."""
    directory = write_journal(tmp_path / "j", entries(5))
    write_journal(directory, entries(3, begin=5), "secret.journal")
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o005 != 0o005 and path.is_relative_to("/tmp/pytest-of-root"):
            path.chmod(0o755)
    (directory / "x.journal").chmod(0o644)
    (directory / "secret.journal").chmod(0o600)
    output = CollectingOutput()
    os.seteuid(65534)
    try:
        await receiver(directory).run(output)
    finally:
        os.seteuid(0)
    assert len(output.events) == 5
    (record,) = caplog.records
    assert "secret.journal" in record.getMessage() and "systemd-journal" in record.getMessage()


async def test_what_is_not_followed_is_read_from_where_it_was_asked(small_journal: Path) -> None:
    """`follow: false` reads everything unless `start_at: end` is said, which leaves nothing."""
    for options, expected in (({}, SMALL), ({"start_at": "beginning"}, SMALL), ({"start_at": "end"}, 0)):
        output = CollectingOutput()
        config = JournaldConfig(directory=small_journal, follow=False, **options)
        await JournaldReceiver(context("journald"), config).run(output)
        assert len(output.events) == expected
        assert output.checkpoint is not None


def last_number(output: CollectingOutput) -> int:
    """Return the number up to which the checkpoint says everything is read."""
    assert output.checkpoint is not None
    return numbers([output.checkpoint["cursor"]])[0]


@pytest.mark.parametrize("units", [["svc1"], ["svc1*"]], ids=["name", "pattern"])
async def test_what_a_filter_leaves_out_moves_the_checkpoint(tmp_path: Path, units: list[str]) -> None:
    """A restart reads on after the last entry there was, and its deletion before that is no gap."""
    directory = write_journal(tmp_path / "j", [entry(n) if n < 8 else entry(0) for n in range(400)])
    output = await read(directory, units=units)
    assert len(output.events) == 1
    assert last_number(output) == 400
    again = await read(directory, output.checkpoint, units=units)
    assert again.batches == [] and again.checkpoint == output.checkpoint


async def test_while_nothing_passes_the_filter_the_checkpoint_follows(tmp_path: Path) -> None:
    """Following, the checkpoint comes to the journal's end soon, without an event and without repetition."""
    directory = write_journal(tmp_path / "j", entries(5))
    output = CollectingOutput()
    tail = receiver(directory, follow=True, identifiers=["rare"], read_interval="1ms")
    async with running(tail, output):
        await output.until(lambda: output.checkpoint is not None)
        for count in (20, 40):
            write_journal(directory, entries(20, begin=count - 20 + 5))
            await output.until(lambda expected=count + 5: last_number(output) == expected)  # type: ignore[misc]
        emitted = len(output.batches)
        await asyncio.sleep(0.1)
        assert len(output.batches) == emitted
    assert output.events == []


async def test_what_comes_while_stopped_is_read_though_nothing_ever_matched(tmp_path: Path) -> None:
    """`start_at: end` with a filter that no entry passed yet has a place to go on from all the same."""
    directory = write_journal(tmp_path / "j", entries(20))
    output = CollectingOutput()
    options: dict[str, Any] = {"follow": True, "start_at": "end", "identifiers": ["new"], "poll_interval": "50ms"}
    async with running(receiver(directory, **options), output):
        await output.until(lambda: output.checkpoint is not None)
    write_journal(directory, [entry(20, SYSLOG_IDENTIFIER="new", MESSAGE="while stopped")])
    async with running(receiver(directory, **options), output):
        await output.until(lambda: bool(output.events))
    assert output.messages == ["while stopped"]


async def test_a_directory_made_anew_is_read_on(tmp_path: Path) -> None:
    """When the directory is removed and comes back while the receiver runs, its entries are read."""
    directory = write_journal(tmp_path / "j", entries(5))
    output = CollectingOutput()
    async with running(receiver(directory, follow=True, poll_interval="50ms"), output):
        await output.until(lambda: len(output.events) >= 5)
        directory.rename(tmp_path / "gone")
        write_journal(tmp_path / "new", entries(5, begin=5)).rename(directory)
        await output.until(lambda: len(output.messages) >= 10)
    assert output.messages == [f"message {n}" for n in range(10)]


async def test_a_checkpoint_among_the_journals_of_several_machines_is_known(tmp_path: Path) -> None:
    """Received journals carry the receiving machine in their headers: what counts is that a sequence is still there."""
    directory = write_journal(tmp_path / "j", (entry(n, _MACHINE_ID="d" * 32) for n in range(100)), "remote-d.journal")
    write_journal(directory, [entry(100)], "remote-c.journal")
    first = await read(directory)
    (directory / "remote-c.journal").unlink()
    write_journal(directory, (entry(n, _MACHINE_ID="d" * 32) for n in range(200, 210)), "remote-d.journal")
    again = await read(directory, first.checkpoint)
    assert again.messages == [f"message {n}" for n in range(200, 210)]


def descriptors() -> list[Path]:
    """Return the open descriptors."""
    return sorted(Path("/proc/self/fd").iterdir())


async def test_no_descriptor_is_left_open(small_journal: Path) -> None:
    """Whichever way a run ends, the journal's files are closed."""
    await read(small_journal)
    before = descriptors()
    for _ in range(3):
        await read(small_journal)
        with pytest.raises(asyncio.CancelledError):
            await receiver(small_journal, batch_size=10).run(CollectingOutput(stop_after=10))
        async with running(receiver(small_journal, follow=True), CollectingOutput()):
            await asyncio.sleep(0.05)
    assert descriptors() == before


async def test_a_failing_open_leaves_nothing_open(tmp_path: Path, small_journal: Path) -> None:
    """A journal that libsystemd refuses is a component error, and nothing stays open."""
    broken = tmp_path / "broken.journal"
    broken.write_bytes(b"LPKSHHRH" + b"\xff" * 5000)
    before = descriptors()
    config = JournaldConfig(files=[broken], start_at="beginning", follow=False)
    with pytest.raises(ComponentError, match="journal cannot be opened"):
        await JournaldReceiver(context("journald"), config).run(CollectingOutput())
    assert descriptors() == before


async def test_what_this_process_wrote_is_left_out_by_default(tmp_path: Path) -> None:
    """Entries with this process's pid, boot and program are the agent's own; the same pid elsewhere is not."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    machine = Path("/etc/machine-id").read_text().strip() if Path("/etc/machine-id").exists() else "b" * 32
    exe = str(Path("/proc/self/exe").readlink())
    mine = {"_PID": os.getpid(), "_BOOT_ID": boot, "_MACHINE_ID": machine, "_EXE": exe}
    directory = write_journal(
        tmp_path / "j",
        [
            entry(0, MESSAGE="other"),
            entry(1, MESSAGE="own", **mine),
            entry(2, MESSAGE="earlier boot", **{**mine, "_BOOT_ID": BOOT}),
            entry(3, MESSAGE="other program", **{**mine, "_EXE": "/bin/other"}),
            entry(4, MESSAGE="own again", **mine),
        ],
    )
    assert (await read(directory)).messages == ["other", "earlier boot", "other program"]
    assert len((await read(directory, exclude_self=False)).events) == 5


async def test_without_a_journal_the_error_names_the_directories_and_the_remedy(tmp_path: Path) -> None:
    """Each kind of absence says what was looked for and what to do."""
    empty = tmp_path / "empty"
    empty.mkdir()
    for config, expected in (
        (JournaldConfig(directory=empty), f"no journal files in {empty}"),
        (JournaldConfig(directory=tmp_path / "none"), "does not exist"),
        (JournaldConfig(files=[tmp_path / "a.journal"]), f"{tmp_path}/a.journal not found"),
        (JournaldConfig(namespace="nowhere"), "no journal of the namespace 'nowhere' in /var/log/journal/"),
    ):
        problem = missing(config)
        assert problem is not None and expected in str(problem) and problem.remedy
        with pytest.raises(SourceUnavailable):
            await JournaldReceiver(context("journald"), config).run(CollectingOutput())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user without rights")
def test_a_user_without_rights_is_told_which_group_is_missing(small_journal: Path, tmp_path: Path) -> None:
    """A journal that may not be read gives the name of the group."""
    directory = link_journal(small_journal, tmp_path / "j")
    directory.chmod(0o700)
    os.seteuid(65534)
    try:
        problem = missing(JournaldConfig(directory=directory))
    finally:
        os.seteuid(0)
    assert problem is not None and "systemd-journal" in problem.remedy
