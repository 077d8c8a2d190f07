"""The `ebpf` receiver on this machine's kernel: what a test does to a process or packet arrives as OTLP, field by field."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bpf_support import require_bpf
from tests.integration.agent import Agent, Record
from tests.kernel import BE_BUSY, EAT_MEMORY, Cgroup, NetworkPair, Side, run_in

MEBIBYTE = 1 << 20
CONTAINER = "0123456789abcdef" * 4
POD = "11111111-2222-3333-4444-555555555555"
POD_SLICE = f"kubepods-burstable-pod{POD.replace('-', '_')}.slice"
POD_PATH = f"/kubepods.slice/kubepods-burstable.slice/{POD_SLICE}/cri-containerd-{CONTAINER}.scope"
FIREWALL = "table inet t {{ chain c {{ type filter hook input priority 0; {what} drop; }}; }}"


@pytest.fixture(scope="module")
def joined() -> Iterator[NetworkPair]:
    """Give the tests two joined network namespaces; the agent looks at no others, so nobody else's packets count."""
    require_bpf()
    with NetworkPair() as pair:
        yield pair


@pytest.fixture
def pair(joined: NetworkPair) -> Iterator[NetworkPair]:
    """Give a test the two namespaces, and undo what it did to them."""
    yield joined
    joined.run("right", "nft", "flush", "ruleset")
    undo = ["tc", "-n", joined.names["left"], "qdisc", "del", "dev", joined.interfaces["left"], "root"]
    subprocess.run(undo, capture_output=True, check=False)


@pytest.fixture(scope="module")
def agent(joined: NetworkPair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Give the tests one agent that watches the kernel, and wait until it does."""
    namespaces = [f"/run/netns/{joined.names['left']}", str(joined.inode("right"))]
    network = {"window": 0, "samples_per_second": 1000, "network_namespaces": namespaces}
    throttle = {"window": "500ms", "min_ratio": 0, "min_throttled": 0}
    probes = {"cpu_throttle": throttle, "net_drop": network, "tcp_retransmit": network, "tcp_reset": network}
    options = {"loader": "libbpf", "required": True, "poll_interval": "50ms", "probes": probes}
    with Agent(tmp_path_factory.mktemp("agent"), {"ebpf": options}) as running:
        running.wait_for(
            lambda one: one["tapio.network_namespace"] == joined.inode("right"),
            lambda: joined.inside("left", lambda: send(joined.ipv4["right"], 9)),
            seconds=40,
        )
        yield running


def send(address: str, port: int, count: int = 1, size: int = 100) -> int:
    """Send UDP packets; returns the port they came from."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            try:
                sender.sendto(b"x" * size, (address, port))
            except ConnectionRefusedError:  # the answer to an earlier one
                continue
            except OSError:  # a full queue of the device
                continue
        return int(sender.getsockname()[1])


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def killed(agent: Agent, pid: int) -> Record:
    """Wait for the event of a process killed for want of memory."""
    return agent.wait_for(lambda one: one.name == "tapio.oom_kill" and one["process.pid"] == pid)


def kernel_log(pid: int) -> str:
    """Return the kernel's own line about the victim."""
    lines = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line for line in reversed(lines) if re.search(rf"Killed process {pid} ", line))


def kilobytes(line: str, name: str) -> int:
    """Return a size that the kernel's line names, in bytes."""
    found = re.search(rf"{name}:(\d+)kB", line)
    assert found, line
    return int(found[1]) * 1024


@pytest.mark.parametrize("limited", ["leaf", "parent"])
def test_an_oom_kill_tells_victim_limit_and_sizes(agent, limited):
    """Whether the cgroup's own limit or one above was hit; the sizes are those of the kernel's own message."""
    limit = 30 * MEBIBYTE
    with (
        Cgroup("memory", memory_limit=limit if limited == "parent" else None) as parent,
        parent.child("leaf", memory_limit=limit if limited == "leaf" else None) as leaf,
    ):
        pid, status = run_in([leaf], EAT_MEMORY)
        event = killed(agent, pid)
        line = kernel_log(pid)
        hit = leaf if limited == "leaf" else parent
    assert status == -9
    assert event.body == f"OOM Kill: {event['process.command']} (PID: {pid})"
    assert event["process.command"] in line
    assert event["tapio.scope"] == "cgroup"
    assert (event["tapio.memory_limit"], event["tapio.limit_cgroup"]) == (limit, hit.path)
    assert limit - 256 * 4096 <= event["tapio.memory_usage"] <= limit
    assert event["tapio.anon_rss"] == kilobytes(line, "anon-rss")
    assert event["tapio.file_rss"] == kilobytes(line, "file-rss")
    assert event["tapio.shmem_rss"] == kilobytes(line, "shmem-rss")
    assert event["tapio.total_vm"] == kilobytes(line, "total-vm")
    assert event["tapio.page_tables"] == kilobytes(line, "pgtables")
    assert (event["process.user.id"], event["tapio.oom_score_adj"]) == (0, 0)
    assert (event["tapio.trigger_pid"], event["tapio.observed_by"]) == (pid, "ebpf/libbpf")
    assert event.severity == "critical"
    assert abs(event.time - time.time_ns()) < 60 * 10**9


def test_the_victims_container_and_pod_are_named_though_both_are_gone(agent):
    """The cgroup is removed as soon as the process is dead, before anybody could have looked it up."""
    with Cgroup("memory", POD_PATH, memory_limit=20 * MEBIBYTE) as memory, Cgroup("unified", POD_PATH) as unified:
        pid, _ = run_in([memory, unified], EAT_MEMORY)
        memory.close()
        unified.close()
    event = killed(agent, pid)
    assert (event["container.id"], event["k8s.pod.uid"]) == (CONTAINER, POD)
    assert event["process.linux.cgroup"] == POD_PATH
    assert event["tapio.entity.type"] == "container"


def test_the_victims_unit_is_named(agent):
    """A service of the host is known by its cgroup."""
    with Cgroup("memory", memory_limit=20 * MEBIBYTE) as memory, Cgroup("unified", "/system.slice/tapio-test.service") as unit:
        pid, _ = run_in([memory, unit], EAT_MEMORY)
        event = killed(agent, pid)
    assert event["systemd.unit.name"] == "tapio-test.service"
    assert event["tapio.memory_cgroup"] == memory.path


def test_a_short_lived_throttled_container_is_told(agent):
    """It is gone before the window in which it was throttled ends."""
    with Cgroup("cpu", POD_PATH, quota=(10_000, 50_000)) as cgroup:
        run_in([cgroup], BE_BUSY.format(seconds=0.4))
    event = agent.wait_for(lambda one: one.name == "tapio.cpu_throttle" and one["container.id"] == CONTAINER)
    assert event["process.linux.cgroup"] == POD_PATH
    assert event["tapio.throttled_periods"] > 0


def test_throttling_adds_up_to_what_the_kernel_counts(agent):
    """The sums over all events are those of cpu.stat, and quota and period are the cgroup's."""

    def events() -> list[Record]:
        return [
            one for one in agent.records() if one.name == "tapio.cpu_throttle" and one["process.linux.cgroup"] == cgroup.path
        ]

    def total(name: str) -> int:
        return sum(one[f"tapio.{name}"] for one in events())

    with Cgroup("cpu", quota=(20_000, 100_000)) as cgroup:
        run_in([cgroup], BE_BUSY.format(seconds=2.2))
        counted, before = cgroup.numbers("cpu.stat"), dict[str, int]()
        while counted != before:  # the last period is counted when it ends
            time.sleep(0.3)
            before, counted = counted, cgroup.numbers("cpu.stat")
        agent.wait_for(lambda _: total("throttled_ns") >= counted["throttled_time"])
        assert counted["nr_throttled"] > 5
        assert total("throttled_ns") == counted["throttled_time"]
        assert total("throttled_periods") == counted["nr_throttled"]
    assert len(events()) >= 3
    for event in events():
        assert (event["tapio.quota_ns"], event["tapio.period_ns"]) == (20_000_000, 100_000_000)
        assert event["tapio.throttle_ratio"] == event["tapio.throttled_periods"] / event["tapio.periods"]
    used = total("runtime_ns")
    assert 0.5 * 0.2 * 2.2e9 < used < 2 * 0.2 * 2.2e9


def dropped(reason: str, namespace: int, **ends: Any) -> Callable[[Record], bool]:
    """Return a condition for the event of a packet dropped for a reason in a network namespace."""
    names = {"src": "source.address", "dst": "destination.address", "port": "destination.port"}

    def matches(one: Record) -> bool:
        if one.name != "tapio.network_drop" or one["tapio.network_namespace"] != namespace or one["tapio.reason"] != reason:
            return False
        return all(one[names[end]] == value for end, value in ends.items())

    return matches


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_a_packet_to_a_closed_port_is_a_drop_for_want_of_a_socket(agent, pair, version):
    """Both ends, transport, interface, namespace and length are the packet's."""
    ends = getattr(pair, version)
    port = pair.inside("left", lambda: send(ends["right"], 4242, size=77))
    event = agent.wait_for(dropped("NO_SOCKET", pair.inode("right"), src=ends["left"], dst=ends["right"], port=4242))
    assert (event["source.port"], event["network.transport"]) == (port, "udp")
    assert event["network.interface.name"] == pair.interfaces["right"]
    assert (event["tapio.count"], event.body) == (1, "Network Packet Drop")
    assert 77 <= event["tapio.length"] <= 77 + 8 + 40 + 14


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_a_packet_that_the_firewall_drops(agent, pair, version):
    """The reason is the netfilter's."""
    pair.run(
        "right", "nft", "-f", "-", input="table inet t { chain c { type filter hook input priority 0; udp dport 4343 drop; }; }"
    )
    ends = getattr(pair, version)
    pair.inside("left", lambda: send(ends["right"], 4343))
    event = agent.wait_for(dropped("NETFILTER_DROP", pair.inode("right"), dst=ends["right"], port=4343))
    assert event["source.address"] == ends["left"]


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_packets_for_a_reader_that_does_not_read(agent, pair, version):
    """The socket's buffer is full, and the counts add up to what the socket itself counts."""
    address = getattr(pair, version)["right"]

    def listen() -> socket.socket:
        reader = socket.socket(_family(address), socket.SOCK_DGRAM)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.bind((address, 4444))
        return reader

    with pair.inside("right", listen):
        pair.inside("left", lambda: send(address, 4444, count=200, size=1000))
        matches = dropped("SOCKET_RCVBUFF", pair.inode("right"), dst=address, port=4444)
        agent.wait_for(matches)
        name = "Udp6RcvbufErrors" if version == "ipv6" else "RcvbufErrors"
        counted = udp_errors(pair, name)
        agent.wait_for(lambda _: sum(one["tapio.count"] for one in agent.records() if matches(one)) >= counted)
        assert sum(one["tapio.count"] for one in agent.records() if matches(one)) == counted > 0


def udp_errors(pair: NetworkPair, name: str) -> int:
    """Return a counter of UDP errors of the right namespace."""
    if name.startswith("Udp6"):
        lines = pair.run("right", "cat", "/proc/net/snmp6").splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[0] == name)
    names, values = (
        line.split() for line in pair.run("right", "cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")
    )
    return int(values[names.index(name)])


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_packets_that_the_queue_of_the_device_cannot_take(agent, pair, version):
    """A full traffic control queue drops on the sender's side."""
    queue = ("root", "tbf", "rate", "8kbit", "burst", "1600", "limit", "3000")
    pair.run("left", "tc", "qdisc", "add", "dev", pair.interfaces["left"], *queue)
    address = getattr(pair, version)["right"]
    pair.inside("left", lambda: send(address, 4545, count=100, size=1000))
    event = agent.wait_for(dropped("QDISC_DROP", pair.inode("left"), dst=address, port=4545))
    assert event["network.interface.name"] == pair.interfaces["left"]


def connected(pair: NetworkPair, version: str, port: int) -> tuple[socket.socket, socket.socket, socket.socket]:
    """Return a listener on the right, and both ends of a connection to it from the left."""
    address = getattr(pair, version)["right"]
    listener = pair.inside("right", lambda: socket.create_server((address, port), family=_family(address)))
    client = pair.inside("left", lambda: socket.create_connection((address, port), timeout=10))
    return listener, client, listener.accept()[0]


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_segments_sent_again_are_told_with_their_connection(agent, pair, version):
    """What the other side never sees is sent again."""
    ends = getattr(pair, version)
    listener, client, accepted = connected(pair, version, 4646)
    with listener, client, accepted:
        pair.run("right", "nft", "-f", "-", input=FIREWALL.format(what="tcp dport 4646"))
        client.sendall(b"lost")
        port = client.getsockname()[1]
        event = agent.wait_for(lambda one: one.name == "tapio.tcp_retransmit" and one["source.port"] == port)
    assert (event["source.address"], event["destination.address"]) == (ends["left"], ends["right"])
    assert (event["destination.port"], event["network.connection.state"]) == (4646, "established")
    assert event["tapio.network_namespace"] == pair.inode("left")


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_a_refused_connection_is_a_reset_sent_and_one_received(agent, pair, version):
    """Each side tells of the same segment: its source is who refused."""
    ends = getattr(pair, version)
    with pytest.raises(ConnectionRefusedError):
        pair.inside("left", lambda: socket.create_connection((ends["right"], 4747), timeout=10))

    def reset(side: Side, direction: str) -> Callable[[Record], bool]:
        return lambda one: (
            one.name == "tapio.tcp_reset"
            and one["tapio.network_namespace"] == pair.inode(side)
            and one["network.io.direction"] == direction
            and (one["source.address"], one["source.port"]) == (ends["right"], 4747)
        )

    received, sent = agent.wait_for(reset("left", "receive")), agent.wait_for(reset("right", "transmit"))
    assert received["destination.address"] == ends["left"]
    assert (sent["destination.address"], sent["destination.port"]) == (ends["left"], received["destination.port"])


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_a_connection_closed_in_anger_is_a_reset(agent, pair, version):
    """A socket closed with unread data, or without lingering, resets its connection."""
    listener, client, accepted = connected(pair, version, 4848)
    with listener, accepted:
        port = client.getsockname()[1]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        both = [agent.wait_for(reset_told(direction, port)) for direction in ("transmit", "receive")]
    ends = getattr(pair, version)
    for event, side in zip(both, ("left", "right"), strict=True):
        assert event["tapio.network_namespace"] == pair.inode(side)
        assert (event["source.address"], event["destination.address"]) == (ends["left"], ends["right"])
        assert event["destination.port"] == 4848
    assert {event.severity for event in both} == {"warning"}
    assert "in state CLOSE" not in both[0]["tapio.description"]


def reset_told(direction: str, port: int) -> Callable[[Record], bool]:
    """Return a condition for the event of a reset from a port, sent or received."""
    told = ("tapio.tcp_reset", port, direction)
    return lambda one: (one.name, one["source.port"], one["network.io.direction"]) == told


def ours() -> set[int]:
    """Return the ids of the BPF programs and maps that are loaded."""
    found = set()
    for kind in ("prog", "map", "link"):
        listing = subprocess.run(["bpftool", kind, "-j"], capture_output=True, text=True, check=False, env=_path()).stdout
        found |= {hash((kind, one["id"])) for one in json.loads(listing or "[]")}
    return found


def _path() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def test_nothing_of_it_stays_in_the_kernel(tmp_path):
    """Programs, maps and links are gone with the agent, also when it was killed."""
    require_bpf()
    before = ours()
    for end in ("terminate", "kill"):
        room = tmp_path / end
        room.mkdir()
        with Agent(room, {"ebpf": {"required": True}}) as agent, Cgroup("memory", memory_limit=20 * MEBIBYTE) as cgroup:
            agent.wait_for(
                lambda one: one.name == "tapio.oom_kill" and one["tapio.limit_cgroup"] == cgroup.path,
                lambda: run_in([cgroup], EAT_MEMORY),
            )
            assert len(ours() - before) >= 5
            assert agent.process is not None
            getattr(agent.process, end)()
            agent.process.wait(timeout=20)
        for _ in range(100):
            if ours() <= before:
                break
            time.sleep(0.05)
        assert ours() <= before
