"""Tests of reading the kernel's log as a device: stand-ins of its form, and the real one."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf.clock import boottime_ns
from tapio_otel.receivers.ebpf.fallback.kmsg import KmsgFeed, Record, Records, parse_record
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import CgroupFacts, OomKill
from tests.receivers.ebpf.fallback import kernel_logs
from tests.receivers.ebpf.fallback.machine import eventually, limit_memory, open_descriptors, real_cgroup, require_v1, starve
from tests.requirements import require

VICTIM = "Memory cgroup out of memory: Killed process {pid} (x) total-vm:1kB"


def line(text: str, sequence: int = 1, priority: int = 3, microseconds: int = 5_000_000, flags: str = "-") -> bytes:
    """Return a record as the device has it."""
    escaped = b"".join(bytes((byte,)) if 32 <= byte < 127 and byte != 92 else b"\\x%02x" % byte for byte in text.encode())
    return b"%d,%d,%d,%s;%s\n" % (priority, sequence, microseconds, flags.encode(), escaped)


def log(root: Path, content: bytes = b"") -> Path:
    """Make a stand-in for the device, a regular file."""
    path = root / "dev/kmsg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def append(path: Path, content: bytes) -> None:
    """Write records to a stand-in."""
    with path.open("ab") as file:
        file.write(content)


def device(chunks: Iterable[bytes | OSError]) -> Records:
    """Return records as the device gives them: one a read, or an error."""
    left = iter(chunks)

    def read() -> bytes:
        chunk = next(left, BlockingIOError(errno.EAGAIN, "no more"))
        if isinstance(chunk, OSError):
            raise chunk
        return chunk

    return Records(read)


def test_a_record_is_taken_apart() -> None:
    """Facility, sequence, time and writer are told; escaped bytes are UTF-8 again."""
    record = parse_record(b"30,347,11865912742,-,caller=T11918;a \\xc3\\xbc;b\\x5cx")
    assert record == Record(3, 347, 11865912742, "-", "T11918", "a ü;b\\x")


@pytest.mark.parametrize("text", [b"", b" SUBSYSTEM=acpi", b"6,1;no", b"x,1,2,-;no", b"6,1,2,-", b"6,1,2,-no"])
def test_other_lines_are_no_records(text: bytes) -> None:
    """Continuation lines tell of devices, which nobody asked for."""
    assert parse_record(text) is None


@given(st.binary() | st.builds(lambda content: b"6,1,2,-;" + content, st.binary()))
def test_any_bytes_are_read_without_failing(content: bytes) -> None:
    """Nothing is raised, whatever the log holds."""
    parse_record(content)
    list(device([content, content]).new())


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_escaping(text: str) -> None:
    """What the kernel escapes comes back."""
    record = parse_record(line(text).rstrip(b"\n"))
    assert record is not None and record.text == text


def test_programs_cannot_tell_of_kills(tmp_path: Path) -> None:
    """Only records of facility kern are believed: what programs write to the device has another one."""
    feed = KmsgFeed(tmp_path) if log(tmp_path) else None
    assert feed is not None
    for priority in (8 | 3, 1 << 3, 3 << 3 | 3):
        append(tmp_path / "dev/kmsg", line(VICTIM.format(pid=66), priority=priority))
    append(tmp_path / "dev/kmsg", line(VICTIM.format(pid=7), priority=3))
    assert [kill.pid for kill in feed.read() if isinstance(kill, OomKill)] == [7]
    feed.close()


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    """What was logged before the feed was opened is left alone; later kills are told once, in order."""
    path = log(tmp_path, line(VICTIM.format(pid=1)))
    feed = KmsgFeed(tmp_path)
    assert feed.observed_by is ObservedBy.KMSG and feed.read() == []
    append(path, line(VICTIM.format(pid=2)) + b" SUBSYSTEM=x\n" + line(VICTIM.format(pid=3)) + line(VICTIM.format(pid=4))[:-9])
    assert [kill.pid for kill in feed.read()] == [2, 3]
    append(path, line(VICTIM.format(pid=4))[-9:])
    assert [kill.pid for kill in feed.read()] == [4]
    assert feed.read() == [] and feed.fileno() is None and feed.interval == 0
    feed.close()


def boot(root: Path, name: str = "b1") -> None:
    """Say which boot this is."""
    path = root / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{name}\n")


def kills_behind(root: Path, position: dict[str, Any] | None) -> tuple[list[tuple[int | None, int | None]], KmsgFeed]:
    """Return pid and number of each kill that a feed tells which goes on behind a position, and the closed feed."""
    feed = KmsgFeed(root)
    assert position is not None
    feed.resume(position)
    found = [(one.pid, one.sequence) for one in feed.read() if isinstance(one, OomKill)]
    feed.close()
    return found, feed


def test_a_position_is_gone_on_from(tmp_path: Path) -> None:
    """What was logged while nobody read is told, once and with its number; nothing before it is told again."""
    boot(tmp_path)
    path = log(tmp_path)
    feed = KmsgFeed(tmp_path)
    append(path, line(VICTIM.format(pid=1), 10) + line("x", 11))
    assert [kill.pid for kill in feed.read()] == [1]
    position = feed.position
    feed.close()
    assert position == {"boot": "b1", "sequence": 11}
    append(path, line(VICTIM.format(pid=2), 12) + line(VICTIM.format(pid=3), 13))
    found, later = kills_behind(tmp_path, position)
    assert found == [(2, 12), (3, 13)] and later.lost() == {}
    assert kills_behind(tmp_path, later.position)[0] == []


def test_what_was_overwritten_behind_a_position_is_counted(tmp_path: Path) -> None:
    """The log begins later than it was read."""
    boot(tmp_path)
    log(tmp_path, line(VICTIM.format(pid=2), 15))
    found, feed = kills_behind(tmp_path, {"boot": "b1", "sequence": 11})
    assert found == [(2, 15)] and feed.lost() == {"overwritten": 3}


def test_after_a_boot_all_of_the_log_is_new(tmp_path: Path) -> None:
    """Its numbers begin anew."""
    boot(tmp_path, "b2")
    log(tmp_path, line(VICTIM.format(pid=2), 3))
    assert kills_behind(tmp_path, {"boot": "b1", "sequence": 11})[0] == [(2, 3)]


@pytest.mark.parametrize("position", [{}, {"boot": 1, "sequence": 0}, {"boot": "b1"}, {"boot": "b1", "sequence": "0"}])
def test_what_is_no_position_is_left_alone(tmp_path: Path, position: dict[str, Any]) -> None:
    """Then what is new is read, as without one."""
    boot(tmp_path)
    log(tmp_path, line(VICTIM.format(pid=2), 3))
    assert kills_behind(tmp_path, position)[0] == []


def test_a_feed_that_has_read_is_not_taken_back(tmp_path: Path) -> None:
    """A receiver that is run again goes on with it."""
    boot(tmp_path)
    log(tmp_path, line(VICTIM.format(pid=2), 3))
    feed = KmsgFeed(tmp_path)
    assert feed.read() == []
    feed.resume({"boot": "b1", "sequence": 1})
    assert feed.read() == []
    feed.close()


def test_the_real_log_is_gone_on_from() -> None:
    """Records written between two feeds are behind the position of the first, and none is missing."""
    require("root", os.geteuid() == 0, "only root may write to /dev/kmsg")
    first = KmsgFeed(Path("/"))
    position = first.position
    first.close()
    assert position is not None
    for number in range(3):
        Path("/dev/kmsg").write_text(f"tapio test {number}\n")
    second = KmsgFeed(Path("/"))
    second.resume(position)
    for _ in range(100):  # a long log is read in parts
        second.read()
    assert second.position is not None and second.lost() == {}
    assert second.position["sequence"] >= position["sequence"] + 3
    second.close()


def test_a_fifo_wakes_its_reader_only_for_news(tmp_path: Path) -> None:
    """A FIFO in place of the device is readable when something was written, also after its writer has gone."""
    path = tmp_path / "dev/kmsg"
    path.parent.mkdir()
    os.mkfifo(path)
    feed = KmsgFeed(tmp_path)
    descriptor = feed.fileno()
    assert descriptor is not None
    for pid in (1, 2):
        assert select.select([descriptor], [], [], 0)[0] == []
        writer = os.open(path, os.O_WRONLY)
        os.write(writer, line(VICTIM.format(pid=pid)))
        os.close(writer)
        assert select.select([descriptor], [], [], 5)[0] == [descriptor]
        assert [kill.pid for kill in feed.read()] == [pid]
    feed.close()


def test_a_whole_report_is_read_from_a_stand_in(tmp_path: Path) -> None:
    """Time is that of the victim's record, counted with the time asleep."""
    path = log(tmp_path)
    feed = KmsgFeed(tmp_path)
    append(path, b"".join(line(text, number, 6) for number, text in enumerate(kernel_logs.V6_18.splitlines())))
    [kill] = feed.read()
    assert isinstance(kill, OomKill) and (kill.comm, kill.memory_limit) == ("a) b, (c)", 30 << 20)
    asleep = boottime_ns() - time.monotonic_ns()
    assert abs(kill.time_ns - asleep - 5_000_000_000) < 1_000_000_000
    feed.close()


def test_overwritten_records_are_counted() -> None:
    """The device says that records are gone; their number is in the next one's sequence number."""
    gone = BrokenPipeError(errno.EPIPE, "gone")
    records = device([gone, line("a", 5), gone, line("b", 9), line("c", 10), gone, line("d", 11)])
    assert [record.text for record in records.new()] == ["a", "b", "c", "d"]
    assert records.lost == {"overwritten": 1 + 3 + 1}


def test_a_record_too_long_for_the_buffer_is_counted() -> None:
    """The kernel skips such a record, and reading goes on."""
    records = device([OSError(errno.EINVAL, "too long"), line("a")])
    assert [record.text for record in records.new()] == ["a"] and records.lost == {"too_long": 1}


def test_other_errors_are_raised() -> None:
    """A device that fails is for the receiver to replace."""
    with pytest.raises(OSError, match="broken"):
        list(device([OSError(errno.EIO, "broken")]).new())


def test_not_all_of_a_long_log_is_read_at_once() -> None:
    """A flood of records does not keep the event loop from its other work."""
    records = device([line(str(number)) for number in range(50)])
    assert [len(list(records.new(20))) for _ in range(3)] == [20, 20, 10]
    assert records.at_end


def test_lines_in_parts_are_put_together() -> None:
    """Kernels before 4.10 wrote a line with a path in several records."""
    parts = [("Task in ", "c"), ("/a b", "+"), (" killed as a result of limit of ", "+"), ("/a", "+"), ("memory: usage", "-")]
    records = device([line(text, flags=flags) for text, flags in parts])
    assert [record.text for record in records.new()][-2:] == ["Task in /a b killed as a result of limit of /a", "memory: usage"]


def test_a_kill_in_parts_has_its_cgroup(tmp_path: Path) -> None:
    """The reader of texts gets whole lines."""
    path = log(tmp_path)
    feed = KmsgFeed(tmp_path)
    parts = [("Task in ", "c"), ("/a/b", "+"), (" killed as a result of limit of ", "+"), ("/a", "+"), ("\n", "+")]
    rest = "memory: usage 2kB, limit 2kB, failcnt 1\nMemory cgroup stats for /a: cache:0KB\n"
    rest += "Memory cgroup out of memory: Kill process 7 (x) score 88 or sacrifice child\nKilled process 7 (x) total-vm:1kB"
    append(path, b"".join(line(text, flags=flags) for text, flags in parts))
    append(path, b"".join(line(text) for text in rest.splitlines()))
    [kill] = feed.read()
    assert isinstance(kill, OomKill)
    assert (kill.memory_cgroup.path, kill.limit_cgroup.path, kill.memory_limit) == ("/a/b", "/a", 2048)
    feed.close()


def test_a_victim_that_is_still_there_is_identified(tmp_path: Path) -> None:
    """Its start makes the pid unmistakable; a service without memory accounting is told by systemd's hierarchy."""
    (tmp_path / "sys/fs/cgroup/memory/system.slice").mkdir(parents=True)
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/stat").write_text("7 (x) S " + " ".join(map(str, range(4, 53))))
    (tmp_path / "proc/7/cgroup").write_text("4:memory:/system.slice\n0::/system.slice/web.service\n")
    path = log(tmp_path)
    feed = KmsgFeed(tmp_path)
    report = kernel_logs.V6_18.replace("/fbcap/leaf (x) y", "/system.slice").replace("11918", "7").replace("a) b, (c)", "x")
    append(path, b"".join(map(line, report.splitlines())))
    [kill] = feed.read()
    assert isinstance(kill, OomKill)
    assert kill.start_boottime_ns == 22 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert kill.cgroup == CgroupFacts(path="/system.slice/web.service")
    inode = (tmp_path / "sys/fs/cgroup/memory/system.slice").stat().st_ino
    assert kill.memory_cgroup == CgroupFacts(inode, "/system.slice")
    feed.close()


def test_closing_twice_releases_everything_once(tmp_path: Path) -> None:
    """A closed feed has no descriptor and reads nothing."""
    log(tmp_path)
    before = open_descriptors()
    feed = KmsgFeed(tmp_path)
    feed.close()
    feed.close()
    assert feed.read() == [] and feed.fileno() is None and open_descriptors() == before


def test_a_missing_device_is_told_with_its_remedy(tmp_path: Path) -> None:
    """The message says which file and what to do."""
    with pytest.raises(ProbeUnavailable, match=r"dev/kmsg cannot be opened \(No such file") as error:
        KmsgFeed(tmp_path)
    assert "/dev" in error.value.remedy


def test_an_unreadable_device_is_told_with_its_remedy(tmp_path: Path) -> None:
    """Reading the log takes CAP_SYSLOG where the sysctl says so."""
    require("root", os.geteuid() == 0, "giving rights away takes root")
    path = log(tmp_path)
    path.chmod(0)
    for directory in (tmp_path, *tmp_path.parents[:-2]):
        directory.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(ProbeUnavailable, match=r"may not be read .*CAP_SYSLOG.*dmesg_restrict"):
            KmsgFeed(tmp_path)
    finally:
        os.seteuid(0)


def test_a_real_kill_is_seen_in_the_real_log() -> None:
    """A process killed in a cgroup of 30 MiB is told with its pid, name, cgroups and limit as soon as it was logged."""
    memory = require_v1("memory")
    before = boottime_ns()
    with real_cgroup(memory) as parent:
        leaf = parent / "leaf (x) y"
        leaf.mkdir()
        ids = parent.stat().st_ino, leaf.stat().st_ino
        limit_memory(parent, 30 << 20)
        feed = KmsgFeed(Path("/"))
        descriptor = feed.fileno()
        assert descriptor is not None
        pid = starve(leaf, "a) b, (c)")
        assert select.select([descriptor], [], [], 20)[0]
        kills: list[OomKill] = []
        eventually(lambda: kills.extend(kill for kill in feed.read() if isinstance(kill, OomKill) and kill.pid == pid) or kills)
        after = boottime_ns()
        feed.close()
    [kill] = kills
    assert (kill.comm, kill.scope, kill.uid, kill.memory_limit) == ("a) b, (c)", "cgroup", 0, 30 << 20)
    assert (kill.trigger_comm, kill.trigger_pid) == ("a) b, (c)", pid)
    assert kill.memory_usage is not None and 29 << 20 < kill.memory_usage <= 30 << 20
    assert kill.memory_cgroup == CgroupFacts(ids[1], f"/{parent.name}/leaf (x) y") == kill.cgroup
    assert kill.limit_cgroup == CgroupFacts(ids[0], f"/{parent.name}")
    assert kill.total_vm and kill.total_vm > 30 << 20 and kill.anon_rss and kill.page_tables
    assert before <= kill.time_ns <= after
