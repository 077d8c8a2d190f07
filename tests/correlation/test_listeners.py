"""Who listens where, as this machine's kernel tells it, and which events are told of it."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.correlation.listeners import REMEMBERED, Listeners, Listening, listening, parse
from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference, this_node
from tapio_otel.event import Severity, UnifiedEvent
from tests.kernel import Cgroup, running_in

LOOPBACK = IPv4Address("127.0.0.1")
UNIT = "/system.slice/tapio-test-listener.service"
LISTEN = (
    "import socket, sys, time\n"
    "server = socket.create_server((sys.argv[1], 0))\n"
    "with open(sys.argv[2], 'w') as file:\n"
    "    print(server.getsockname()[1], file=file)\n"
    "time.sleep(60)\n"
)


class Clock:
    """Be a clock that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Tree(EntityMapper):
    """Be a mapper that knows a few cgroups by their ids."""

    paths = {  # noqa: RUF012
        1: "/",
        2: "/system.slice/web.service",
        3: "/system.slice/mail.service",
        4: f"/system.slice/docker-{'0123456789abcdef' * 4}.scope",
        5: "/init.scope",
    }

    def cgroup_path(self, cgroup_id: int, controller: str = "") -> str | None:
        assert controller == "unified"
        return self.paths.get(cgroup_id)


def listeners(*sockets: Listening, clock: Clock | None = None) -> Listeners:
    """Return listeners that have looked once and seen these."""
    made = Listeners(Tree(), lambda: sockets, clock or Clock())
    made.look()
    return made


def name(found: EntityReference | None) -> str | None:
    """Return the name of an entity."""
    return None if found is None else found.name


# --- the kernel -------------------------------------------------------------------------------------------------------------


@contextmanager
def serving(address: str) -> Iterator[int]:
    """Listen at an address; gives the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "127.0.0.77"])
def test_the_kernel_tells_of_a_socket_as_long_as_it_listens(address: str) -> None:
    """With the address that it was bound to; one that is closed, or only connected, is not there."""
    with serving(address) as port:
        with socket.create_connection(("127.0.0.77", port) if address != "127.0.0.1" else (address, port)) as client:
            own = client.getsockname()[1]
            found = {(str(one.address), one.port) for one in listening()}
        assert (address, port) in found
        assert own not in {one for _, one in found}
    assert (address, port) not in {(str(one.address), one.port) for one in listening()}


@pytest.mark.parametrize("dual", [True, False])
def test_the_kernel_tells_whether_a_socket_takes_both_protocols(dual: bool) -> None:
    """One bound to all of IPv6 takes connections by IPv4 unless it was told not to."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=dual) as server:
        port = server.getsockname()[1]
        found = next(one for one in listening() if one.port == port and one.address.version == 6)
    assert (found.address, found.takes_both) == (IPv6Address("::"), dual)


def test_more_sockets_than_one_answer_holds_are_all_told() -> None:
    """The kernel's answer comes in parts."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(400)]
    try:
        ports = {one.port for one in listening()}
        assert {server.getsockname()[1] for server in servers} <= ports
    finally:
        for server in servers:
            server.close()


def test_a_unit_of_this_machine_is_known_by_its_socket_and_after_its_end(tmp_path: Path) -> None:
    """The socket's cgroup is the unit's, whoever asks; what it was is known when it is needed."""
    told, made = tmp_path / "port", Listeners(EntityMapper())
    with Cgroup("unified", UNIT) as cgroup:
        with running_in([cgroup], LISTEN, "127.0.0.1", str(told)):
            while not told.exists() or not told.read_text().endswith("\n"):
                time.sleep(0.01)
            port = int(told.read_text())
            made.look()
            assert name(made.owner(LOOPBACK, port)) == "tapio-test-listener.service"
        made.look()
        assert name(made.owner(LOOPBACK, port)) == "tapio-test-listener.service"


def test_another_user_is_told_the_same() -> None:
    """Neither root nor a capability is needed to ask."""
    script = (
        "from tapio_otel.correlation.listeners import listening\nimport os, socket\n"
        "list(listening())\n"  # what is imported late is readable for root only on some machines
        "server = socket.create_server(('127.0.0.1', 0))\nos.setgroups([]) if os.geteuid() == 0 else None\n"
        "os.setresuid(65534, 65534, 65534) if os.geteuid() == 0 else None\n"
        "assert any(one.port == server.getsockname()[1] for one in listening())\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# --- its messages -------------------------------------------------------------------------------------------------------------


def message(family: int, address: bytes, port: int, *attributes: tuple[int, bytes]) -> bytes:
    """Return an `inet_diag_msg` with attributes, as the kernel writes them."""
    head = struct.pack("=BBBB", family, 10, 0, 0) + struct.pack(">HH", port, 0) + address.ljust(16, b"\0") + bytes(48)
    for kind, content in attributes:
        head += struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)
    return head


@given(
    st.ip_addresses(),
    st.integers(0, 65535),
    st.integers(0, (1 << 64) - 1),
    st.lists(st.tuples(st.integers(30, 99), st.binary())),
)
def test_a_message_is_read_whatever_other_attributes_it_has(
    address: IPv4Address | IPv6Address, port: int, cgroup: int, others: list[tuple[int, bytes]]
) -> None:
    """Of attributes that later kernels may add nothing is known, and nothing is needed."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    content = message(family, address.packed, port, *others, (21, struct.pack("=Q", cgroup)), *others)
    assert parse(content) == Listening(address, port, cgroup, address.version == 6)


@given(st.binary(max_size=200))
def test_what_is_no_message_is_refused(content: bytes) -> None:
    """Nothing but ValueError comes of it."""
    try:
        parse(content)
    except ValueError as error:
        assert "is no inet_diag_msg" in str(error)


# --- memory -------------------------------------------------------------------------------------------------------------------


def test_the_nearest_address_counts() -> None:
    """A socket bound to one address is meant by that one, and one bound to all by every other of this machine's."""
    found = listeners(Listening(IPv4Address("0.0.0.0"), 80, 2), Listening(IPv4Address("127.0.0.5"), 80, 3))
    assert name(found.owner(LOOPBACK, 80)) == "web.service"
    assert name(found.owner(IPv4Address("127.0.0.5"), 80)) == "mail.service"
    assert found.owner(LOOPBACK, 81) is None
    assert found.owner(IPv4Address("192.0.2.1"), 80) is None  # of nobody here
    assert found.owner(IPv6Address("::1"), 80) is None


@pytest.mark.parametrize(("takes_both", "expected"), [(True, "web.service"), (False, None)])
def test_a_socket_of_both_protocols_is_reached_by_both(takes_both: bool, expected: str | None) -> None:
    """One that is bound to all of IPv6 alone is not meant by an address of IPv4."""
    found = listeners(Listening(IPv6Address("::"), 80, 2, takes_both))
    assert name(found.owner(IPv6Address("::1"), 80)) == "web.service"
    assert name(found.owner(LOOPBACK, 80)) == expected


def test_an_address_that_moves_to_another_machine_is_not_taken_for_ones_own_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look asks again which addresses are this machine's, as a virtual one goes where the service is."""
    found = Listeners(Tree(), lambda: [Listening(IPv4Address("0.0.0.0"), 80, 2)], Clock())
    found.look()
    monkeypatch.setattr(Listeners, "_is_own", lambda self, address: self._own.get(address) or self._own.keep(address, is_here))
    is_here = True
    assert name(found.owner(IPv4Address("192.0.2.1"), 80)) == "web.service"
    is_here = False
    found.look()
    assert found.owner(IPv4Address("192.0.2.1"), 80) is None


def test_who_listens_last_counts_and_is_forgotten_in_the_end() -> None:
    """A port that another takes over is that one's; what has gone is remembered for an hour."""
    clock, seen = Clock(), [Listening(LOOPBACK, 80, 2)]
    found = Listeners(Tree(), lambda: seen, clock)
    found.look()
    seen[:] = [Listening(LOOPBACK, 80, 3)]
    found.look()
    assert name(found.owner(LOOPBACK, 80)) == "mail.service"
    seen.clear()
    clock.now += REMEMBERED - 1
    found.look()
    assert name(found.owner(LOOPBACK, 80)) == "mail.service"
    clock.now += 2
    assert found.owner(LOOPBACK, 80) is None


@pytest.mark.parametrize("cgroup", [0, 1, 99])
def test_a_socket_of_nobody_in_particular_names_nobody(cgroup: int) -> None:
    """Where the kernel tells no cgroup, or one that is no unit's, the address stays an address."""
    assert listeners(Listening(LOOPBACK, 80, cgroup)).owner(LOOPBACK, 80) is None


# --- events -------------------------------------------------------------------------------------------------------------------

UNIT_ENTITY = EntityReference("systemd_unit", "shop.service", uid="shop.service", parent=this_node())


def event(
    entity: EntityReference = UNIT_ENTITY, type: str = "connection_failed", age: float = 0, **attributes: object
) -> UnifiedEvent:
    """Return an event about something that could not be reached, so many seconds ago."""
    now = time.time_ns() - round(age * 1e9)
    return UnifiedEvent(
        id="1",
        timestamp=now,
        observed=now,
        source="journald",
        type=type,
        severity=Severity.ERROR,
        entity=entity,
        attributes=attributes,
    )


def told(one: UnifiedEvent, *sockets: Listening) -> tuple[object, object]:
    """Return what an event is told."""
    listeners(*sockets or (Listening(LOOPBACK, 80, 2),)).tell([one])
    return one.get("target_unit"), one.get("target_container")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::ffff:127.0.0.1"])
def test_an_event_is_told_whom_it_could_not_reach(host: str) -> None:
    """However the address is written."""
    assert told(event(host=host, port=80)) == ("web.service", None)


@pytest.mark.parametrize("port", ["80", 80])
def test_a_port_may_be_a_text(port: object) -> None:
    """As patterns of one's own extract it."""
    assert told(event(host="127.0.0.1", port=port)) == ("web.service", None)


def test_a_refused_connection_is_told_by_who_refused_it() -> None:
    """A reset's source is the end that could not be reached."""
    reset = {
        "direction": "received",
        "state": "SYN_SENT",
        "src_ip": "127.0.0.1",
        "src_port": 80,
        "dst_ip": "127.0.0.1",
        "dst_port": 5,
    }
    assert told(event(type="tcp_reset", **reset)) == ("web.service", None)


def test_a_container_in_the_machines_network_is_told_by_its_id() -> None:
    """It is no unit, though a unit of systemd may hold it."""
    assert told(event(host="127.0.0.1", port=80), Listening(LOOPBACK, 80, 4)) == (None, "0123456789abcdef" * 4)


CONTAINER = EntityReference("container", "c", uid="c", parent=this_node())
ELSEWHERE = EntityReference(
    "systemd_unit", "shop.service", uid="shop.service", parent=EntityReference("node", "another", uid="x")
)


@pytest.mark.parametrize(
    "one",
    [
        event(host="127.0.0.1", port=81),
        event(host="192.0.2.1", port=80),
        event(host="db.example.com", port=80),
        event(host="127.0.0.1"),
        event(type="log", host="127.0.0.1", port=80),
        event(CONTAINER, host="127.0.0.1", port=80),
        event(ELSEWHERE, host="127.0.0.1", port=80),
        event(host="127.0.0.1", port=80, network_namespace=1),
        event(host="127.0.0.1", port=80, age=REMEMBERED + 10),
    ],
    ids=["port", "address", "name", "no port", "type", "container", "machine", "network", "old"],
)
def test_an_event_about_something_else_is_left_alone(one: UnifiedEvent) -> None:
    """Another address, another machine or network, the loopback of a container, what happened long ago."""
    assert told(one) == (None, None)


def test_what_an_event_says_already_stays() -> None:
    """A recording that is read again keeps what was known then."""
    assert told(event(host="127.0.0.1", port=80, target_unit="old.service"))[0] == "old.service"


def test_an_address_written_in_any_way_raises_nothing() -> None:
    """Logs hold anything."""
    odd: Iterable[object] = ("", "127.0.0.1:80", "[::1]", "::1%lo", "x" * 300, 7, None, "127.1", "\0")
    for host in odd:
        told(event(host=host, port=80))
        told(event(host="127.0.0.1", port=host))
    told(event(host=["127.0.0.1"], port=[80]))
    assert ip_address("127.0.0.1") == LOOPBACK
