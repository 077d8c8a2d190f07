"""Tests of drops, retransmits and resets told by the counters below /proc/net."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf.config import NetDropConfig, NetworkConfig, TcpResetConfig
from tapio_otel.receivers.ebpf.fallback.drop_counters import DROP_COUNTERS, DropCounter
from tapio_otel.receivers.ebpf.fallback.proc_net import (
    ProcNetFeed,
    parse_devices,
    parse_pairs,
    parse_softnet,
    parse_table,
    rise_of,
    risen,
)
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import Flow, Observation, PacketDrop, TcpReset, TcpRetransmit
from tests.receivers.ebpf.fallback.machine import eventually, open_descriptors, write
from tests.requirements import require

HEADING = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|"
    "bytes    packets errs drop fifo colls carrier compressed\n"
)


def table(**groups: dict[str, int]) -> str:
    """Return a table such as snmp or netstat."""
    lines = []
    for prefix, columns in groups.items():
        lines += [f"{prefix}: {' '.join(columns)}", f"{prefix}: {' '.join(map(str, columns.values()))}"]
    return "\n".join(lines) + "\n"


def host(root: Path, owner: str = "1", **files: str) -> None:
    """Write what is below /proc/<owner>/net; a table of Tcp is there in any case."""
    write(root / "proc" / owner / "net", {"snmp": table(Tcp={"RetransSegs": 1}), **files})


def drops(feed: ProcNetFeed) -> dict[tuple[str, str, str], int]:
    """Return the counts by reason, protocol and interface, after checking what all drops have in common."""
    found: dict[tuple[str, str, str], int] = {}
    for drop in feed.read():
        assert isinstance(drop, PacketDrop) and drop.reason is None and drop.suppressed == 0
        assert drop.flow == Flow(drop.flow.protocol)
        found[drop.reason_name, drop.flow.protocol, drop.interface] = drop.count
    return found


def test_counters_become_drops_by_the_kernels_reasons(tmp_path: Path) -> None:
    """Only what rose is told, once; v4 and v6 of one reason and protocol together."""
    host(tmp_path, snmp=table(Udp={"NoPorts": 5, "RcvbufErrors": 2, "InErrors": 9}), snmp6="Udp6NoPorts \t7\nUdp6InErrors 1\n")
    feed = ProcNetFeed(ProbeName.NET_DROP, tmp_path)
    assert feed.observed_by is ObservedBy.PROC_NET and feed.fileno() is None and feed.interval == 1.0 and feed.lost() == {}
    assert drops(feed) == {}
    host(tmp_path, snmp=table(Udp={"NoPorts": 6, "RcvbufErrors": 5, "InErrors": 14}), snmp6="Udp6NoPorts \t9\nUdp6InErrors 1\n")
    assert drops(feed) == {("NO_SOCKET", "udp", ""): 3, ("SOCKET_RCVBUFF", "udp", ""): 3, ("UDP_IN_ERRORS", "udp", ""): 2}
    assert drops(feed) == {}
    feed.close()
    feed.close()


def test_a_counter_that_includes_another_tells_the_rest(tmp_path: Path) -> None:
    """Listen drops include overflows; header errors include checksums, which another file counts."""
    host(tmp_path, snmp=table(Ip={"InHdrErrors": 0}), netstat=table(TcpExt={"ListenDrops": 0, "ListenOverflows": 0}))
    feed = ProcNetFeed(ProbeName.NET_DROP, tmp_path)
    write(
        tmp_path / "proc/1/net",
        {
            "snmp": table(Ip={"InHdrErrors": 5}),
            "netstat": table(TcpExt={"ListenDrops": 7, "ListenOverflows": 7}, IpExt={"InCsumErrors": 9}),
        },
    )
    # InCsumErrors was not there before, so that nobody knows how much of it is new.
    assert drops(feed) == {("IP_INHDR", "", ""): 5, ("TCP_LISTEN_OVERFLOW", "tcp", ""): 7}
    feed.close()


def test_devices_and_backlogs_are_told(tmp_path: Path) -> None:
    """Each interface has its own counts; the CPUs' are summed up."""
    row = "  eth0: 1 2 0 {} 0 0 0 0 5 6 0 {} 0 0 0 0\n lo:7 8 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
    cpus = "0000e151 {:08x} 00000000\n00031d81 {:08x} 00000000\n"
    host(tmp_path, dev=HEADING + row.format(10, 20), softnet_stat=cpus.format(1, 0xFFFFFFFF))
    feed = ProcNetFeed(ProbeName.NET_DROP, tmp_path)
    row += "veth1: 0 0 0 99 0 0 0 0 0 0 0 99 0 0 0 0\n"
    host(tmp_path, dev=HEADING + row.format(13, 24), softnet_stat=cpus.format(3, 4))
    assert drops(feed) == {
        ("DEVICE_RX_DROPPED", "", "eth0"): 3,
        ("DEVICE_TX_DROPPED", "", "eth0"): 4,
        ("CPU_BACKLOG", "", ""): 7,
    }
    feed.close()


def test_retransmits_are_told(tmp_path: Path) -> None:
    """One observation says how many segments were sent again."""
    host(tmp_path)
    feed = ProcNetFeed(ProbeName.TCP_RETRANSMIT, tmp_path)
    assert feed.read() == []
    host(tmp_path, snmp=table(Tcp={"RetransSegs": 12}))
    [seen] = feed.read()
    assert seen == TcpRetransmit(seen.time_ns, count=11)
    feed.close()


def test_resets_are_told_by_direction(tmp_path: Path) -> None:
    """Connections given up at this end are no resets received."""
    columns = {"OutRsts": 1, "EstabResets": 1}
    host(tmp_path, snmp=table(Tcp=columns), netstat=table(TcpExt={"TCPAbortOnClose": 0, "TCPAbortOnData": 4}))
    feed = ProcNetFeed(ProbeName.TCP_RESET, tmp_path)
    columns = {"EstabResets": 11, "OutRsts": 3}
    host(tmp_path, snmp=table(Tcp=columns), netstat=table(TcpExt={"TCPAbortOnClose": 1, "TCPAbortOnData": 6}))
    sent, received = feed.read()
    assert sent == TcpReset(sent.time_ns, "sent", count=2)
    assert received == TcpReset(sent.time_ns, "received", count=7)
    feed.close()


def test_columns_may_come_in_another_order() -> None:
    """Names tell what a number is, not its place; unknown columns and lines do no harm."""
    text = b"New: A\nNew: 1\nTcp: Strange RetransSegs MaxConn\nTcp: 7 3 -1\nbroken\nUdp: NoPorts Lost\nUdp: 4\nTcp:\n"
    assert parse_table(text) == {"NewA": 1, "TcpStrange": 7, "TcpRetransSegs": 3, "UdpNoPorts": 4}
    dev = b" face |drop bytes|packets drop\neth0:1:5 6 7 8\n"
    assert parse_devices(dev) == {"eth0:1 rx": 5, "eth0:1 tx": 8}


def test_a_cpu_is_known_by_its_number() -> None:
    """When a CPU is taken offline its row is missing, and the others' counts are not mixed up."""
    row = " ".join(["00000000"] * 10)
    text = f"1 00000005 {row} 00000000 0 0\n1 00000007 {row} 00000003 0 0\n"
    assert parse_softnet(text.encode()) == {"cpu 0": 5, "cpu 3": 7}
    old = b"1 00000005 0 0 0 0 0 0 0 0 0\n1 00000007 0 0 0 0 0 0 0 0 0\n"
    assert parse_softnet(old) == {"cpu 0": 5, "cpu 1": 7}


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [(5, 5, 0), (9, 5, 4), (3, 2**32 - 2, 5), (3, 2**64 - 2, 5), (3, 1000, 3), (0, 2**40, 0), (7, 2**33, 7)],
)
def test_overflow_and_reset_are_told_apart(now: int, before: int, expected: int) -> None:
    """A counter near the end of its range ran over; one that fell otherwise was begun again."""
    assert risen(now, before) == expected


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**30 - 1), st.sampled_from([32, 64]))
def test_an_overflow_loses_nothing(before: int, rise: int, bits: int) -> None:
    """Whatever the width, what a counter rose by is found if it is not a quarter of the range."""
    before %= 1 << bits
    if before + rise < 1 << bits or before >= (1 << bits) * 3 // 4:
        assert risen((before + rise) % (1 << bits), before) == rise


@pytest.mark.parametrize("parse", [parse_table, parse_pairs, parse_devices, parse_softnet])
def test_any_content_is_read_without_failing(parse: object) -> None:
    """Nothing is raised, and no number is negative."""
    words = [b"Tcp:", b"|", b"drop", b"eth0:", b"1", b"-1", b"9" * 5000, b"ffffffff", b"\n", b" ", b"\xff"]
    content = st.one_of(st.binary(), st.lists(st.sampled_from(words), max_size=40).map(b"".join))

    @given(content)
    def check(content: bytes) -> None:
        assert callable(parse)
        assert all(value >= 0 for value in parse(content).values())

    check()


RECENT = {f"TcpExt{name}" for name in ("TCPAORequired", "TCPAOKeyNotFound", "TCPAOBad", "BeyondWindow", "TSEcrRejected")}
RECENT |= {f"TcpExt{name}" for name in ("PAWSOldAck", "PAWSTimewait")} | {"UdpMemErrors", "UdpLiteMemErrors"}


def test_this_kernels_counters_are_known() -> None:
    """All counters of the table but recent ones and, without IPv6, its ones are the running kernel's: none is misspelt."""
    base = Path("/proc/self/net")
    known = parse_table((base / "snmp").read_bytes()) | parse_table((base / "netstat").read_bytes())
    has_ipv6 = (base / "snmp6").exists()
    known |= parse_pairs((base / "snmp6").read_bytes()) if has_ipv6 else {}
    names = {what.counter for what in DROP_COUNTERS}
    assert {
        name for name in names - known.keys() - RECENT if "6" not in name or (has_ipv6 and "MemErrors" not in name)
    } == set()
    assert {name for what in DROP_COUNTERS for name in what.minus} <= {what.counter for what in DROP_COUNTERS}
    assert len({what.counter for what in DROP_COUNTERS}) == len(DROP_COUNTERS)


def test_what_others_tell_is_never_taken_off_twice() -> None:
    """The rest is not negative, even when counters are read in the middle of a rise."""
    assert rise_of(DropCounter("a", "A", minus=("b",)), {"a": 1, "b": 3}) == 0


def test_a_host_without_process_1_is_read_through_the_own(tmp_path: Path) -> None:
    """Where the first process may not be looked at, it is the agent's own namespace."""
    host(tmp_path, owner="self")
    feed = ProcNetFeed(ProbeName.TCP_RETRANSMIT, tmp_path)
    host(tmp_path, owner="self", snmp=table(Tcp={"RetransSegs": 2}))
    assert len(feed.read()) == 1
    shutil.rmtree(tmp_path / "proc")
    assert feed.read() == []
    host(tmp_path, owner="self", snmp=table(Tcp={"RetransSegs": 5}))
    assert [one.count for one in feed.read() if isinstance(one, TcpRetransmit)] == [3]
    feed.close()


def test_without_counters_the_cause_is_told(tmp_path: Path) -> None:
    """The message says which file and what to do."""
    with pytest.raises(ProbeUnavailable, match=r"proc/1/net/snmp cannot be read \(No such file") as error:
        ProcNetFeed(ProbeName.NET_DROP, tmp_path)
    assert "/proc" in error.value.remedy


def test_other_namespaces_cannot_be_served(tmp_path: Path) -> None:
    """Who wants only other network namespaces is told that these counters are the host's."""
    host(tmp_path)
    write(tmp_path / "proc/1/ns", {"net": ""})
    inode = (tmp_path / "proc/1/ns/net").stat().st_ino
    for wanted in (["host"], [str(inode)], [str(tmp_path / "proc/1/ns/net")], ["7", "host"]):
        ProcNetFeed(ProbeName.NET_DROP, tmp_path, options=NetDropConfig(network_namespaces=wanted)).close()
    for unwanted in (["7"], ["/run/netns/none"], ["9" * 5000]):
        with pytest.raises(ProbeUnavailable, match="no other network namespace"):
            ProcNetFeed(ProbeName.NET_DROP, tmp_path, options=NetDropConfig(network_namespaces=unwanted))


@pytest.mark.parametrize("options", [NetDropConfig(cgroups=["/a"]), TcpResetConfig(cgroups=["*"])])
def test_counters_of_certain_cgroups_are_refused(tmp_path: Path, options: NetworkConfig) -> None:
    """No count could pass, and who reads nothing would believe that nothing happened."""
    host(tmp_path)
    with pytest.raises(ProbeUnavailable, match="the option cgroups is set") as error:
        ProcNetFeed(ProbeName.NET_DROP, tmp_path, options=options)
    assert error.value.remedy


def test_what_the_options_cannot_have_is_noted(tmp_path: Path) -> None:
    """Reasons that some counter stands for, or that are ignored by default, are nothing to tell."""
    host(tmp_path)
    ignored = ["NO_SOCKET", "CPU_BACKLOG", "TCP_OLD_DATA", "NO_SUCH"]
    feed = ProcNetFeed(ProbeName.NET_DROP, tmp_path, options=NetDropConfig(exclude_cgroups=["/a"], ignored_reasons=ignored))
    assert feed.notes == [
        "counters know no cgroups: exclude_cgroups leaves out none",
        "no counter is for the ignored reason 'NO_SUCH'",
    ]
    assert ProcNetFeed(ProbeName.NET_DROP, tmp_path, options=NetDropConfig()).notes == []


def test_no_descriptor_is_kept(tmp_path: Path) -> None:
    """All files are closed after each reading."""
    host(tmp_path)
    before = open_descriptors()
    feed = ProcNetFeed(ProbeName.NET_DROP, tmp_path)
    feed.read()
    assert open_descriptors() == before
    feed.close()


# Runs in a network namespace of its own: does what it is told on its standard input, and answers when it is done.
NAMESPACE = """
import socket, struct, sys
def udp(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for _ in range(3):
            try:
                sender.sendto(b"x", (address, 9))
            except OSError:
                pass
def full():
    datagrams = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*datagrams) as receiver, socket.socket(*datagrams) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        receiver.bind(("127.0.0.1", 0))
        for _ in range(50):
            sender.sendto(bytes(1000), receiver.getsockname())
def reset():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        try:
            accepted.recv(1)
        except ConnectionResetError:
            pass
        accepted.close()
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Namespace:
    """Be a process in a network namespace of its own, with a working loopback, and a host's root that shows it as process 1."""

    def __init__(self, root: Path) -> None:
        setup = 'ip link set lo up && exec "$0" -c "$1"'
        self.process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", setup, sys.executable, NAMESPACE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"
        (root / "proc").mkdir()
        (root / "proc/1").symlink_to(f"/proc/{self.process.pid}")
        self.inode = Path(f"/proc/{self.process.pid}/ns/net").stat().st_ino

    def do(self, command: str) -> None:
        """Let it run a line of Python."""
        assert self.process.stdin and self.process.stdout
        print(command, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.process.communicate("", timeout=20)


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Namespace]:
    """Make a network namespace and remove it."""
    require("root", os.geteuid() == 0, "making a network namespace takes root")
    require("root", shutil.which("ip") is not None, "no program ip (apt package iproute2)")
    namespace = Namespace(tmp_path)
    yield namespace
    namespace.end()


def gather(feed: ProcNetFeed, into: list[Observation]) -> list[Observation]:
    """Read once more; return all that was read so far."""
    into += feed.read()
    return into


def test_real_packets_to_closed_ports_are_told(tmp_path: Path, namespace: Namespace) -> None:
    """Three packets over IPv4 and three over IPv6 that nobody waits for are six drops for want of a socket."""
    feed = ProcNetFeed(ProbeName.NET_DROP, tmp_path)
    namespace.do('udp(socket.AF_INET, "127.0.0.1"); udp(socket.AF_INET6, "::1")')
    seen: list[Observation] = []
    eventually(lambda: sum(one.count for one in gather(feed, seen) if isinstance(one, PacketDrop)) >= 6)
    feed.close()
    assert {(one.reason_name, one.flow, one.network_namespace) for one in seen if isinstance(one, PacketDrop)} == {
        ("NO_SOCKET", Flow("udp"), namespace.inode)
    }
    assert sum(one.count for one in seen if isinstance(one, PacketDrop)) == 6


def test_a_real_full_buffer_is_told(tmp_path: Path, namespace: Namespace) -> None:
    """Packets that a slow receiver has no room for are told by that reason."""
    feed = ProcNetFeed(ProbeName.NET_DROP, tmp_path)
    namespace.do("full()")
    [drop] = feed.read()
    feed.close()
    assert isinstance(drop, PacketDrop) and (drop.reason_name, drop.flow.protocol) == ("SOCKET_RCVBUFF", "udp")
    assert 40 < drop.count <= 50


def test_a_real_reset_is_told_at_both_ends(tmp_path: Path, namespace: Namespace) -> None:
    """Over loopback the same namespace sends the reset and receives it."""
    feed = ProcNetFeed(ProbeName.TCP_RESET, tmp_path)
    namespace.do("reset()")
    seen = feed.read()
    feed.close()
    assert [(one.direction, one.count) for one in seen if isinstance(one, TcpReset)] == [("sent", 1), ("received", 1)]
