"""Tests of the feeds by libbpf: what really happens in the kernel is told, once and exactly, and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf.config import NetDropConfig
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.libbpf import BpfMap, BpfObject, ProgramRefused
from tapio_otel.receivers.ebpf.libbpf.ring import MOST_RECORDS
from tapio_otel.receivers.ebpf.libbpf_feeds import LibbpfFeed, network
from tapio_otel.receivers.ebpf.libbpf_feeds import feed as feed_module
from tapio_otel.receivers.ebpf.libbpf_feeds.choices import IGNORED, drop_limits, namespace_inodes, reason_names
from tapio_otel.receivers.ebpf.libbpf_feeds.oom import describe_victim
from tapio_otel.receivers.ebpf.libbpf_feeds.slots import DROP_SLOTS, OTHER, reason_of, slot_of
from tapio_otel.receivers.ebpf.libbpf_feeds.throttle import ThrottleSums
from tapio_otel.receivers.ebpf.observations import (
    CgroupFacts,
    CpuThrottle,
    Observation,
    OomKill,
    PacketDrop,
    TcpReset,
    TcpRetransmit,
)
from tapio_otel.receivers.ebpf.records import OOM_LENGTH, ThrottleWindow, Totals
from tests.kernel import BE_BUSY, EAT_MEMORY, Cgroup, NetworkPair, run_in, running_in
from tests.receivers.ebpf.conftest import is_loaded, own_programs, read_until
from tests.requirements import require

OpenProbe = Callable[..., LibbpfFeed]
LIMIT = 30 << 20
CLOSED_PORT = 9
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def drops(seen: list[Observation]) -> list[PacketDrop]:
    """Return the drops of a known flow."""
    return [one for one in seen if isinstance(one, PacketDrop) and one.flow.protocol]


def send_udp(family: int, address: str, count: int = 1) -> int:
    """Send packets of 100 bytes to a port at which nobody listens; returns the port they came from."""
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind(("", 0))
        for _ in range(count):
            sender.sendto(bytes(100), (address, CLOSED_PORT))
        return sender.getsockname()[1]


# --- loading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ProbeName)
def test_every_probe_loads_and_leaves_nothing(open_probe: OpenProbe, name: str) -> None:
    """Programs are in the kernel while a feed is open, and gone after it is closed, even twice."""
    before = own_programs()
    feed = open_probe(name)
    loaded = own_programs() - before
    assert len(loaded) == len(feed.programs)
    assert all(map(is_loaded, loaded))
    assert (feed.observed_by, feed.notes) == (ObservedBy.LIBBPF, [])
    feed.close()
    feed.close()
    end = time.monotonic() + 10
    while any(map(is_loaded, loaded)) and time.monotonic() < end:
        time.sleep(0.05)  # the kernel waits until no CPU runs them any more
    assert not any(map(is_loaded, loaded))


OPEN_ALL = """
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName
from tapio_otel.receivers.ebpf.libbpf_feeds import open_libbpf
for name in ProbeName:
    feed = open_libbpf(name, EbpfConfig())
    feed.read()
    feed.close()
    print(name, *feed.notes)
"""


def test_two_capabilities_suffice(bpf_objects: Path) -> None:
    """No probe needs more than CAP_BPF and CAP_PERFMON."""
    rights = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf,+perfmon"]
    done = subprocess.run([*rights, sys.executable, "-c", OPEN_ALL], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == ([str(name) for name in ProbeName], "")


def test_only_what_is_rare_wakes_the_receiver(open_probe: OpenProbe) -> None:
    """Kills and throttling have a descriptor, packets wait for the tick."""
    urgent = {name for name in ProbeName if open_probe(name).fileno() is not None}
    assert urgent == {ProbeName.OOM, ProbeName.CPU_THROTTLE}


def test_a_missing_object_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_probe: OpenProbe
) -> None:
    """An installation that was built without clang says how to get the objects."""
    monkeypatch.setattr(feed_module.resources, "files", lambda _: tmp_path)
    with pytest.raises(ProbeUnavailable) as caught:
        open_probe("oom")
    assert caught.value.cause == "this installation has no BPF objects for that: it was built without clang"
    assert "apt-get install clang llvm libbpf-dev, then make bpf" in caught.value.remedy


def test_an_object_of_another_version_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch, open_probe: OpenProbe) -> None:
    """An object with other maps or variables than this package asks for was built of other sources."""
    monkeypatch.setattr(LibbpfFeed, "ring_name", "pages")
    with pytest.raises(ProbeUnavailable) as caught:
        open_probe("oom")
    assert caught.value.cause == "the BPF object is of another version: oom.bpf.o has no map 'pages'"
    assert caught.value.remedy == "Build the programs anew with make bpf"


def test_a_program_that_is_refused_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch, open_probe: OpenProbe) -> None:
    """The other programs of the object go on."""
    attach = BpfObject.attach

    def refuse(self: BpfObject, program: str | None = None) -> None:
        if program == "retransmit_synack":
            raise ProgramRefused("no such tracepoint", "Report this", program)
        attach(self, program)

    monkeypatch.setattr(BpfObject, "attach", refuse)
    feed = open_probe("tcp_retransmit")
    assert (feed.skipped, feed.notes) == (["no such tracepoint. Report this"], [])
    assert open_probe("oom").skipped == []


@pytest.mark.parametrize("name", ProbeName)
def test_a_reading_while_nothing_happens_asks_the_kernel_nothing(
    monkeypatch: pytest.MonkeyPatch, open_probe: OpenProbe, name: str
) -> None:
    """The ring buffers are looked at in memory; counters only after something was there, or once a second."""
    options = {} if name in {"oom", "cpu_throttle"} else {"network_namespaces": ["1"]}
    feed = open_probe(name, **options)
    feed.read()
    feed.lost()
    asked = []
    for method in ("lookup", "items"):
        monkeypatch.setattr(BpfMap, method, lambda *_: asked.append(1) or [])
    monkeypatch.setattr(network, "LOOK_INTERVAL", 60.0)
    feed.read()
    feed.lost()
    assert asked == []


def test_a_probe_whose_last_program_is_refused_is_unavailable(monkeypatch: pytest.MonkeyPatch, open_probe: OpenProbe) -> None:
    """Without any program there is nothing to see, and nothing stays in the kernel."""

    def refuse(self: BpfObject, program: str | None = None) -> None:
        raise ProgramRefused("not here", "", program or "")

    monkeypatch.setattr(BpfObject, "attach", refuse)
    for name in ("tcp_reset", "oom"):
        with pytest.raises(ProbeUnavailable, match="not here"):
            open_probe(name)


# --- out of memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limited", ["leaf", "parent"])
def test_an_oom_kill_is_told_with_whose_limit_it_was(open_probe: OpenProbe, limited: str) -> None:
    """The victim, its memory and its cgroup are known, and the cgroup whose limit was hit."""
    feed = open_probe("oom")
    with (
        Cgroup("memory", memory_limit=LIMIT if limited == "parent" else None) as parent,
        parent.child("leaf", memory_limit=LIMIT if limited == "leaf" else None) as leaf,
        Cgroup("unified") as unified,
    ):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        pid, status = run_in([leaf, unified], EAT_MEMORY)
        assert status == -signal.SIGKILL
        hit = leaf if limited == "leaf" else parent
        ours = CgroupFacts(leaf.id, leaf.path), CgroupFacts(hit.id, hit.path), CgroupFacts(unified.id, unified.path)
    seen = read_until(feed, lambda seen: any(isinstance(one, OomKill) and one.pid == pid for one in seen))
    [kill] = [one for one in seen if isinstance(one, OomKill) and one.pid == pid]
    assert (kill.memory_cgroup, kill.limit_cgroup, kill.cgroup) == ours
    assert (kill.scope, kill.memory_limit, kill.kills) == ("cgroup", LIMIT, 1)
    assert (kill.comm, kill.trigger_pid, kill.trigger_comm) == ("python", pid, "python")
    assert (kill.uid, kill.oom_score_adj) == (0, int(Path("/proc/self/oom_score_adj").read_text()))
    assert kill.start_boottime_ns is not None
    assert before < kill.start_boottime_ns < kill.time_ns < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert kill.memory_usage is not None
    assert LIMIT - (1 << 20) <= kill.memory_usage <= LIMIT
    assert kill.anon_rss is not None
    assert LIMIT / 2 < kill.anon_rss < 2 * LIMIT
    assert kill.total_vm is not None
    assert kill.total_vm > kill.anon_rss
    assert kill.page_tables
    assert kill.shmem_rss is not None
    assert kill.shmem_rss < LIMIT
    assert feed.lost() == {"ring_full": 0}


FILL = """
import mmap, sys, time
usage, limit, left = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kept = []
while limit - int(open(usage).read()) > left:
    kept.append(mmap.mmap(-1, 4096))
    kept[-1][0] = 1
print("full", flush=True)
time.sleep(60)
"""


def killed(feed: LibbpfFeed, *pids: int) -> OomKill:
    """Return the kill of one of the processes."""

    def ours(seen: list[Observation]) -> list[OomKill]:
        return [one for one in seen if isinstance(one, OomKill) and one.pid in pids]

    return ours(read_until(feed, lambda seen: bool(ours(seen))))[0]


@pytest.mark.parametrize("left", [0, 200_000])
def test_a_victim_that_has_nearly_reached_its_own_limit_dies_for_the_limit_above(open_probe: OpenProbe, left: int) -> None:
    """What asked for memory is elsewhere below the cgroup whose limit was hit: neither the victim's own nor the machine's."""
    feed = open_probe("oom")
    with (
        Cgroup("memory", memory_limit=2 * LIMIT) as parent,
        parent.child("victim", memory_limit=LIMIT * 4 // 3) as full,
        parent.child("asking") as other,
    ):
        require("root", not full.is_v2, "the test fills a cgroup by its usage as v1 tells it")
        usage = str(full.directory / "memory.usage_in_bytes")
        with running_in([full], FILL, usage, str(LIMIT * 4 // 3), str(left)) as filled:
            end = time.monotonic() + 20
            while LIMIT * 4 // 3 - int(full.read("memory.usage_in_bytes")) > left and time.monotonic() < end:
                time.sleep(0.05)
            with running_in([other], EAT_MEMORY) as asking:
                kill = killed(feed, filled.pid, asking.pid)
        assert (kill.pid, kill.trigger_pid) == (filled.pid, asking.pid)
        assert (kill.scope, kill.memory_limit) == ("cgroup", 2 * LIMIT)
        assert (kill.limit_cgroup, kill.memory_cgroup.path) == (CgroupFacts(parent.id, parent.path), full.path)


def limit_by_log(pid: int) -> str | None:
    """Return the cgroup whose limit a process died for, as the kernel's log has it, which leaves out some of many kills."""
    for line in reversed(subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout.splitlines()):
        if found := re.search(rf"oom-kill:constraint=CONSTRAINT_MEMCG.*oom_memcg=([^,]+),.*,pid={pid},", line):
            return found[1]
    return None


@pytest.mark.parametrize("difference", [-65536, -4096, 0, 4096, 65536, 1 << 20])
def test_of_two_limits_that_are_nearly_full_the_one_that_was_hit_is_told(open_probe: OpenProbe, difference: int) -> None:
    """It is the one that the kernel's own log names."""
    feed = open_probe("oom")
    with Cgroup("memory", memory_limit=LIMIT) as parent, parent.child("leaf", memory_limit=LIMIT + difference) as leaf:
        expected = None
        for _ in range(10):
            pid, _ = run_in([leaf], EAT_MEMORY)
            kill, expected = killed(feed, pid), limit_by_log(pid)
            if expected is not None:
                break
            time.sleep(1)
        names = {parent.path: LIMIT, leaf.path: LIMIT + difference}
    require("root", expected is not None, "the kernel's log told nothing of ten kills")
    assert kill.limit_cgroup.path == expected
    assert kill.memory_limit == names[expected]


def test_a_cgroups_names_are_told_whole_however_long_they_are(open_probe: OpenProbe) -> None:
    """Of a path with more names than a record has room for, the lowest are told, and the limit's cgroup by its id at least."""
    feed = open_probe("oom")
    for names in (["p" * 255, "l" * 255], [letter * 250 for letter in "abcdefg"]):
        path = "".join(f"/{name}" for name in names)
        with Cgroup("memory", f"/{names[0]}", memory_limit=LIMIT) as parent, Cgroup("memory", path) as leaf:
            pid, _ = run_in([leaf], EAT_MEMORY)
            kill = killed(feed, pid)
            assert (kill.memory_cgroup.id, kill.limit_cgroup.id) == (leaf.id, parent.id)
        if len(names) == 2:
            assert (kill.memory_cgroup.path, kill.limit_cgroup.path) == (path, parent.path)
        else:
            assert kill.memory_cgroup.path == "/…" + "".join(f"/{name}" for name in names[2:])
            assert kill.limit_cgroup.path == ""


def test_hundreds_of_kills_wait_until_they_are_read(open_probe: OpenProbe) -> None:
    """As long as what comes after the receiver takes nothing, nobody reads."""
    room = open_probe("oom")._bpf.map("records").max_entries
    assert room // (OOM_LENGTH + 8) >= 300  # each record has a header


def test_proc_tells_of_a_victim_what_an_old_kernel_does_not(tmp_path: Path) -> None:
    """Where only the pid was passed, the victim is still in /proc for a moment."""
    directory = tmp_path / "41"
    directory.mkdir()
    (directory / "stat").write_text("41 (a ) b) S " + " ".join(["0"] * 18) + " 500 0 0\n")
    (directory / "status").write_text("Name:\ta ) b\nTgid:\t41\nUid:\t1000\t1000\t1000\t1000\n")
    (directory / "oom_score_adj").write_text("-5\n")
    (directory / "cgroup").write_text("4:memory:/m\n1:name=systemd:/s\n0::/u\n")
    kill = describe_victim(OomKill(7, 41, scope="global"), tmp_path)
    assert (kill.comm, kill.uid, kill.oom_score_adj) == ("a ) b", 1000, -5)
    assert kill.start_boottime_ns == 500 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert (kill.cgroup, kill.memory_cgroup) == (CgroupFacts(path="/u"), CgroupFacts(path="/m"))
    gone = OomKill(7, 42)
    assert describe_victim(gone, tmp_path) is gone


# --- throttling -----------------------------------------------------------------------------------------------------------


def test_throttling_adds_up_to_what_cpu_stat_counts(open_probe: OpenProbe) -> None:
    """Several windows, the last of which only the agent can close, and a pause: the sums are the kernel's own."""
    feed = open_probe("cpu_throttle", window="500ms")
    with Cgroup("cpu", quota=(10_000, 50_000)) as cgroup:
        for _ in range(2):
            run_in([cgroup], BE_BUSY.format(seconds=0.8))
            time.sleep(0.3)
        facts = CgroupFacts(cgroup.id, cgroup.path)
        stat = settled(cgroup)
        throttled_ns = stat["throttled_time"] if "throttled_time" in stat else stat["throttled_usec"] * 1000

        def ours(seen: list[Observation]) -> list[CpuThrottle]:
            return [one for one in seen if isinstance(one, CpuThrottle) and one.cgroup == facts]

        seen = ours(read_until(feed, lambda seen: sum(one.throttled_ns for one in ours(seen)) >= throttled_ns // 1000 * 1000))
    assert sum(one.throttled_periods for one in seen) == stat["nr_throttled"] > 0
    assert sum(one.throttled_ns for one in seen) == pytest.approx(throttled_ns, abs=999 if "throttled_usec" in stat else 0)
    assert sum(one.periods for one in seen) <= stat["nr_periods"]
    assert len(seen) >= 2
    for one in seen:
        assert (one.quota_ns, one.period_ns) == (10_000_000, 50_000_000)
        assert one.throttled_periods <= one.periods
        assert one.window_ns > 0
        assert one.runtime_ns
    assert feed.lost() == {"ring_full": 0}


@pytest.mark.parametrize("leave_out", [None, "cgroup_removed"])
def test_a_cgroup_that_is_removed_at_once_is_told_with_its_path(
    monkeypatch: pytest.MonkeyPatch, open_probe: OpenProbe, leave_out: str | None
) -> None:
    """A container that lives shorter than a window: by the program that sees it go, or by what was counted before."""
    attach = BpfObject.attach

    def attach_others(self: BpfObject, program: str | None = None) -> None:
        if program != leave_out:
            attach(self, program)

    monkeypatch.setattr(BpfObject, "attach", attach_others)
    feed = open_probe("cpu_throttle", window="5s")
    with Cgroup("cpu", quota=(10_000, 50_000)) as cgroup:
        facts = CgroupFacts(cgroup.id, cgroup.path)
        with running_in([cgroup], BE_BUSY.format(seconds=60)):
            time.sleep(1)
            stat = cgroup.numbers("cpu.stat")
    assert stat["nr_throttled"] > 5

    def ours(seen: list[Observation]) -> list[CpuThrottle]:
        return [one for one in seen if isinstance(one, CpuThrottle) and one.cgroup == facts]

    [told] = ours(read_until(feed, lambda seen: bool(ours(seen))))
    assert stat["nr_throttled"] <= told.throttled_periods <= stat["nr_throttled"] + 3
    assert told.throttled_ns > 0
    assert (told.quota_ns, told.period_ns, bool(told.runtime_ns)) == (10_000_000, 50_000_000, leave_out is None)


def test_finishing_tells_what_open_windows_hold(open_probe: OpenProbe) -> None:
    """When the agent ends, all is told up to the last period, and only once."""
    feed = open_probe("cpu_throttle", window="60s")
    with Cgroup("cpu", quota=(10_000, 50_000)) as cgroup, running_in([cgroup], BE_BUSY.format(seconds=60)):
        facts = CgroupFacts(cgroup.id, cgroup.path)
        time.sleep(1)
        before = cgroup.numbers("cpu.stat")["nr_throttled"]
        seen = feed.finish()
        after = cgroup.numbers("cpu.stat")["nr_throttled"]
    [told] = [one for one in seen if isinstance(one, CpuThrottle) and one.cgroup == facts]
    assert 5 < before - 1 <= told.throttled_periods <= after


def settled(cgroup: Cgroup) -> dict[str, int]:
    """Return cpu.stat once it does not change any more."""
    before, now = {}, cgroup.numbers("cpu.stat")
    while before != now:
        time.sleep(0.3)
        before, now = now, cgroup.numbers("cpu.stat")
    return now


@st.composite
def histories(draw: st.DrawFn) -> list[Totals]:
    """Draw what a cgroup's bandwidth counts over time."""
    steps = draw(st.lists(st.tuples(*[st.integers(0, 5)] * 4), min_size=2, max_size=12))
    totals = [Totals(1, 0, 0, 0, 0)]
    for step in steps:
        last = totals[-1]
        grown = (count + more for count, more in zip(last[1:], step, strict=True))
        totals.append(Totals(last.time + 1, *grown))
    return totals


@given(history=histories(), data=st.data())
def test_each_throttled_period_is_told_once(history: list[Totals], data: st.DataObject) -> None:
    """Whoever closes windows, and however their readings overlap, the sums are those of the kernel."""
    sums, cgroup = ThrottleSums(), CgroupFacts(1, "/a")
    told: list[CpuThrottle] = []
    begin = 0
    for now in range(1, len(history)):
        by_agent, by_program = data.draw(st.booleans()), data.draw(st.booleans()) or now == len(history) - 1
        for is_closed in (by_agent, by_program):
            one = sums.settle(ThrottleWindow(history[begin], history[now], 1, 2), cgroup) if is_closed else None
            told += [one] if one is not None else []
        begin = now if by_program else begin
    assert sum(one.throttled_ns for one in told) == history[-1].throttled
    assert sum(one.throttled_periods for one in told) == history[-1].throttled_periods
    assert all(one.window_ns > 0 and one.periods >= 0 for one in told)


# --- packets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", LOOPBACK)
def test_a_packet_to_a_closed_port_is_told_with_its_flow(open_probe: OpenProbe, family: int) -> None:
    """Both ends, the reason's name, the interface, the namespace and the whole packet's length are known."""
    with NetworkPair() as pair:
        feed = open_probe("net_drop", network_namespaces=[str(pair.inode("left"))])
        port = pair.inside("left", lambda: send_udp(family, LOOPBACK[family]))
        seen = drops(read_until(feed, lambda seen: any(one.flow.src_port == port for one in drops(seen))))
        inode = pair.inode("left")
    [drop] = [one for one in seen if one.flow.src_port == port]
    flow = drop.flow
    assert (flow.protocol, flow.src_ip, flow.dst_ip, flow.dst_port) == ("udp", LOOPBACK[family], LOOPBACK[family], CLOSED_PORT)
    assert (drop.reason_name, drop.interface, drop.network_namespace) == ("NO_SOCKET", "lo", inode)
    assert drop.length == 100 + 8 + (20 if family == socket.AF_INET else 40)
    assert (drop.count, drop.suppressed) == (1, 0)


def test_every_drop_is_counted_however_many_there_are(open_probe: OpenProbe) -> None:
    """Samples are limited, the counts are not; what is not sampled is told as suppressed."""
    sent = 20_000
    with NetworkPair() as pair:
        feed = open_probe("net_drop", network_namespaces=[f"/run/netns/{pair.names['left']}"], samples_per_second=100)
        seen: list[Observation] = []
        for _ in range(4):
            pair.inside("left", lambda: send_udp(socket.AF_INET, "127.0.0.1", sent // 4))
            seen += feed.read()
        seen += feed.finish()
    dropped = [one for one in seen if isinstance(one, PacketDrop) and one.reason_name == "NO_SOCKET"]
    assert sum(one.count + one.suppressed for one in dropped) == sent
    sampled = sum(one.count for one in dropped if one.flow.protocol)
    assert 0 < sampled < sent
    assert feed.lost() == {"suppressed": sent - sampled, "ring_full": 0}


def test_a_burst_that_takes_several_readings_is_counted_once(open_probe: OpenProbe) -> None:
    """Samples that one reading leaves to the next are told there, and nowhere else."""
    sent = 20_000
    with NetworkPair() as pair:
        feed = open_probe("net_drop", network_namespaces=[str(pair.inode("left"))], samples_per_second=1_000_000)
        pair.inside("left", lambda: send_udp(socket.AF_INET, "127.0.0.1", sent))
        seen = [*feed.read(), *feed.read(), *feed.finish()]
    dropped = [one for one in seen if isinstance(one, PacketDrop) and one.reason_name == "NO_SOCKET"]
    assert sum(one.count for one in dropped if one.flow.protocol) > MOST_RECORDS
    assert sum(one.count + one.suppressed for one in dropped) == sent
    assert feed.lost()["ring_full"] > 0


def test_drops_without_samples_are_told_without_a_flow(open_probe: OpenProbe) -> None:
    """With no samples at all there is one observation a reading for each reason."""
    with NetworkPair() as pair:
        feed = open_probe("net_drop", network_namespaces=[str(pair.inode("left"))], samples_per_reason={"NO_SOCKET": 0})
        pair.inside("left", lambda: send_udp(socket.AF_INET, "127.0.0.1", 5))
        seen = feed.read()
    [drop] = [one for one in seen if isinstance(one, PacketDrop) and one.reason_name == "NO_SOCKET"]
    assert (drop.count, drop.suppressed, drop.flow.src_ip) == (5, 0, "")
    assert drop.length
    assert feed.lost()["suppressed"] == 5


def test_a_tick_is_asked_for_while_it_would_find_something(open_probe: OpenProbe) -> None:
    """The first sample after a reading makes the descriptor readable, and wakes whoever waits for it."""
    with NetworkPair() as pair:
        options = {"samples_per_second": 0, "samples_per_reason": {"NO_SOCKET": 10}}  # and of nothing that others send
        feed = open_probe("net_drop", network_namespaces=[str(pair.inode("left"))], **options)
        descriptor = feed.stirred()
        assert descriptor is not None
        for _ in range(2):
            feed.read()
            assert not select.select([descriptor], [], [], 0)[0]
            with ThreadPoolExecutor(1) as others:
                waiting = others.submit(select.select, [descriptor], [], [], 20)
                pair.inside("left", lambda: send_udp(socket.AF_INET, "127.0.0.1"))
                assert waiting.result()[0] == [descriptor]


def test_ignored_reasons_and_other_namespaces_are_not_even_counted(open_probe: OpenProbe) -> None:
    """What the configuration leaves out does not appear in any way."""
    with NetworkPair() as pair:
        elsewhere = open_probe("net_drop", network_namespaces=[str(pair.inode("right"))])
        ignoring = open_probe("net_drop", ignored_reasons=["NO_SOCKET"], network_namespaces=[str(pair.inode("left"))])
        pair.inside("left", lambda: send_udp(socket.AF_INET, "127.0.0.1", 5))
        for feed in (elsewhere, ignoring):
            assert not [one for one in feed.read() if isinstance(one, PacketDrop) and one.reason_name == "NO_SOCKET"]


@pytest.mark.parametrize("family", LOOPBACK)
def test_a_refused_connection_is_a_reset_sent_and_received(open_probe: OpenProbe, family: int) -> None:
    """Both directions tell the reset's own source and destination."""

    def connect() -> None:
        with socket.socket(family) as client, contextlib.suppress(ConnectionRefusedError):
            client.connect((LOOPBACK[family], CLOSED_PORT))

    with NetworkPair() as pair:
        feed = open_probe("tcp_reset", network_namespaces=[str(pair.inode("left"))])
        pair.inside("left", connect)
        seen = {one.direction: one for one in feed.read() if isinstance(one, TcpReset)}
        inode = pair.inode("left")
    assert set(seen) == {"sent", "received"}
    for one in seen.values():
        flow = one.flow
        assert (flow.protocol, flow.src_ip, flow.src_port, flow.dst_ip) == (
            "tcp",
            LOOPBACK[family],
            CLOSED_PORT,
            LOOPBACK[family],
        )
        assert (one.network_namespace, one.count, one.suppressed) == (inode, 1, 0)
    assert seen["sent"].flow == seen["received"].flow
    assert seen["received"].state == "SYN_SENT"
    assert seen["received"].uid == os.geteuid()
    assert seen["sent"].reason in {"NO_SOCKET", ""}  # before 6.10 the kernel does not tell


@pytest.mark.parametrize("why", ["unread", "linger"])
def test_both_sides_tell_the_same_connection_when_one_breaks_it_off(open_probe: OpenProbe, why: str) -> None:
    """The socket that sends the reset is closed by then and has given up its port."""
    with NetworkPair() as pair:
        feed = open_probe("tcp_reset", network_namespaces=[str(pair.inode("left"))])
        with pair.inside("left", lambda: socket.create_server(("127.0.0.1", 0))) as listener:
            client = pair.inside("left", lambda: socket.create_connection(listener.getsockname(), timeout=10))
            ends = (*client.getsockname(), *listener.getsockname())
            with listener.accept()[0] as accepted:
                if why == "unread":
                    accepted.sendall(b"unread")
                    client.recv(1, socket.MSG_PEEK)
                else:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                seen = {one.direction: one for one in feed.read() if isinstance(one, TcpReset)}
    assert set(seen) == {"sent", "received"}
    for one in seen.values():
        assert (one.flow.src_ip, one.flow.src_port, one.flow.dst_ip, one.flow.dst_port) == ends
    assert (seen["sent"].state, seen["received"].state) == ("CLOSE", "ESTABLISHED")


@pytest.mark.parametrize("lost", ["first", "answer"])
def test_a_segment_that_gets_no_answer_is_sent_again(open_probe: OpenProbe, lost: str) -> None:
    """A connection's first segment is sent again by its socket, the answer by the one that listens."""
    side = "right" if lost == "first" else "left"
    rules = "table inet t {\n chain c {\n type filter hook input priority 0\n tcp dport 7777 drop\n }\n }\n"
    with NetworkPair() as pair:
        pair.run(side, "nft", "-f", "-", input=rules if lost == "first" else rules.replace("dport", "sport"))
        feed = open_probe("tcp_retransmit", network_namespaces=[str(pair.inode(s)) for s in ("left", "right")])

        def listen() -> socket.socket:
            listener = socket.create_server((pair.ipv4["right"], 7777))
            listener.settimeout(0)
            return listener

        def connect() -> socket.socket:
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex((pair.ipv4["right"], 7777))
            return client

        state, source = ("SYN_SENT", "left") if lost == "first" else ("SYN_RECV", "right")

        def ours(seen: list[Observation]) -> list[TcpRetransmit]:
            return [one for one in seen if isinstance(one, TcpRetransmit) and one.state == state]

        with pair.inside("right", listen), pair.inside("left", connect):
            seen = ours(read_until(feed, lambda seen: bool(ours(seen))))
            inode = pair.inode("left" if source == "left" else "right")
    assert seen
    other = "right" if source == "left" else "left"
    assert (seen[0].flow.src_ip, seen[0].flow.dst_ip) == (pair.ipv4[source], pair.ipv4[other])
    assert 7777 in {seen[0].flow.src_port, seen[0].flow.dst_port}
    assert (seen[0].network_namespace, seen[0].flow.protocol) == (inode, "tcp")
    assert seen[0].count >= 1


# --- choices --------------------------------------------------------------------------------------------------------------


def test_reasons_that_the_kernel_lacks_are_told() -> None:
    """A misspelt reason is told with the nearest; those ignored unless told otherwise may be of another version."""
    options = NetDropConfig(ignored_reasons=["NO_SOKET", "TCP_OLD_DATA"], samples_per_reason={"NETFILTER_DROP": 3})
    limits, notes = drop_limits(options, {3: "NO_SOCKET", 8: "NETFILTER_DROP"})
    assert notes == ["this kernel knows no drop reason 'NO_SOKET': did you mean NO_SOCKET?"]
    assert (limits[3], limits[8], len(limits)) == (options.samples_per_second, 3, DROP_SLOTS)


def test_the_running_kernel_names_its_reasons(bpf_objects: Path) -> None:
    """The default list is of names that a current kernel has."""
    reasons = reason_names("skb_drop_reason", "SKB_DROP_REASON_")
    limits, notes = drop_limits(NetDropConfig(), reasons)
    assert notes == []
    assert IGNORED in limits
    assert "NO_SOCKET" in reasons.values()


def test_network_namespaces_are_named_by_path_or_number(tmp_path: Path) -> None:
    """One that is not there is told, and does not mean all."""
    missing = str(tmp_path / "gone")
    inodes, notes = namespace_inodes(["4026531999", "/proc/self/ns/net", missing])
    assert inodes == [4026531999, Path("/proc/self/ns/net").stat().st_ino]
    assert notes == [f"network namespace {missing!r} is not there (No such file or directory): nothing of it will be seen"]
    assert namespace_inodes([missing])[0] == [IGNORED]
    assert namespace_inodes([]) == ([], [])


def test_the_hosts_network_namespace_is_that_of_the_first_process(tmp_path: Path) -> None:
    """Where the agent may not look at it, its own has to do, and that is told."""
    (tmp_path / "ns").touch()
    assert namespace_inodes(["host"], host=tmp_path / "ns") == ([(tmp_path / "ns").stat().st_ino], [])
    inodes, notes = namespace_inodes(["host"], host=tmp_path / "gone")
    assert inodes == [Path("/proc/self/ns/net").stat().st_ino]
    assert notes == ["the host's network namespace cannot be seen (No such file or directory): the agent's own is taken for it"]


@given(reason=st.integers(0, 2**32 - 1))
def test_a_slot_stands_for_one_reason_or_for_all_others(reason: int) -> None:
    """Counting by slots mixes up no two reasons that have a name."""
    slot = slot_of(reason)
    assert 0 <= slot < DROP_SLOTS
    assert slot == OTHER or reason_of(slot) == reason
