"""Listeners: which unit or container of this machine listens at an address, and did so last where nobody listens any more.

"Connection refused: 127.0.0.1:8080" names nobody. The kernel knows whose socket that is, as long as there is one: `look`
asks it for all that listen (sock_diag(7), no rights needed, a fraction of a millisecond), each with the id of the cgroup in
which the socket was made. Who listened is remembered after its end, because that is when others cannot reach it.

`tell` puts the answer on events that say what could not be reached, as `target_unit` or `target_container`, while they pass: a
recording has it, and a replay needs nobody to ask. Only for what this machine's own network namespace says: the loopback
address of a container is another. Sockets that systemd made for a unit are not the unit's to the kernel, and stay unnamed.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.lineage import host_of, targets_of
from tapio_otel.entities import EntityMapper
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import UnifiedEvent

TARGET_UNIT: Final = "target_unit"
TARGET_CONTAINER: Final = "target_container"
REMEMBERED: Final = 3600.0
"""Seconds for which who listened is known after its end, and how old an event may be that is told of it."""
_KEPT: Final = 4096
_SECOND: Final = 1_000_000_000
_TYPES: Final = frozenset(CLASSES["connection_failed"].types)
_PORTS: Final = ("port", "dst_port", "server_port", "src_port")
_PLAIN: Final = frozenset((int, str))
_ATTRIBUTES: Final = {EntityType.SYSTEMD_UNIT: TARGET_UNIT, EntityType.CONTAINER: TARGET_CONTAINER}
_LOOPBACK: Final = "loopback@"
"""What the keys of loopback addresses begin with; the machine's name follows."""
_INSIDE: Final = frozenset((EntityType.CONTAINER, EntityType.POD))
_OWN_NETWORK: Final = Path("/proc/self/ns/net")

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301
_ERROR, _DONE = 2, 3
_LISTENING: Final = 1 << 10
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_MESSAGE_LENGTH: Final = 72  # inet_diag_msg, without the attributes behind it
_ONLY_VERSION_6: Final = 11
_CGROUP: Final = 21
_LONGEST_ANSWER: Final = 1 << 16

Address = IPv4Address | IPv6Address


class Listening(NamedTuple):
    """Describe one listening socket: `takes_both` tells whether one of IPv6 takes connections by IPv4 as well."""

    address: Address
    port: int
    cgroup_id: int
    takes_both: bool = False


class Listeners:
    """Remember who listens where. Not thread-safe: for the event loop's thread. Knows nothing until `look` was called."""

    def __init__(
        self,
        entities: EntityMapper,
        read: Callable[[], Iterable[Listening]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._entities = entities
        self._read = read or listening
        self._clock = clock
        self._owners: Bounded[tuple[Address | None, int], tuple[EntityReference, float]] = Bounded(_KEPT)
        """By address (None: all of IPv4, the unspecified one of IPv6: all of that) and port: who, and when it was seen last."""
        self._ports: frozenset[int | str] = frozenset()
        """The ports among them, also as texts: most events name another one."""
        self._own: Bounded[Address, bool] = Bounded(_KEPT)
        self._network: int | None = None

    def look(self) -> None:
        """Ask the kernel who listens now; raises `OSError` where it does not answer."""
        now = self._clock()
        self._own = Bounded(_KEPT)  # an address may have moved to another machine since
        for one in self._read():
            path = self._entities.cgroup_path(one.cgroup_id, "unified") if one.cgroup_id else None
            entity = self._entities.of_cgroup_path(path) if path else None
            if entity is None or entity.type not in _ATTRIBUTES:
                continue
            for address in _places(one):
                self._owners.keep((address, one.port), (entity, now))
        ports = {port for _, port in self._owners}
        self._ports = frozenset((*ports, *map(str, ports)))

    def owner(self, address: Address, port: int) -> EntityReference | None:
        """Return the unit or container that listens at an address of this machine, or did so last; None where none is known."""
        found = self._owners.get((address, port))
        if found is None:
            anywhere = self._owners.get((None if address.version == 4 else _ANY_VERSION_6, port))
            found = anywhere if anywhere is not None and self._is_own(address) else None
        return found[0] if found is not None and self._clock() - found[1] <= REMEMBERED else None

    def tell(self, events: Iterable[UnifiedEvent]) -> None:
        """Put on events that name an address of this machine as out of reach who listened there."""
        if not self._owners:
            return
        for event in events:
            if event.type in _TYPES and self._names_port(event):
                entity = self._owner_of(event)
                if entity is not None:
                    event.set(_ATTRIBUTES[EntityType(entity.type)], entity.uid)

    def _names_port(self, event: UnifiedEvent) -> bool:
        """Tell whether an event names a port that is known, and is not told already."""
        named = [value for name in _PORTS if (value := event.get(name)).__class__ in _PLAIN]
        if self._ports.isdisjoint(named):
            return False
        return event.get(TARGET_UNIT) is None and event.get(TARGET_CONTAINER) is None

    def _owner_of(self, event: UnifiedEvent) -> EntityReference | None:
        if not self._is_here(event):
            return None
        for key in targets_of(event):
            if key[0] == "address" and len(key) == 3:
                for address in _LOOPBACKS if key[1].startswith(_LOOPBACK) else _addresses(key[1]):
                    entity = self.owner(address, key[2])
                    if entity is not None:
                        return entity
        return None

    def _is_here(self, event: UnifiedEvent) -> bool:
        """Tell whether an event is of this machine and its own network namespace, and not an old one."""
        if abs(self._clock() - event.timestamp / _SECOND) > REMEMBERED:
            return False
        network = event.get("network_namespace")
        if network is not None and network != self._own_network():
            return False
        kinds = {one.type for one in event.entity.lineage()}
        return _INSIDE.isdisjoint(kinds) and host_of(event) == self._entities.node.name

    def _own_network(self) -> int:
        if self._network is None:
            self._network = _OWN_NETWORK.stat().st_ino
        return self._network

    def _is_own(self, address: Address) -> bool:
        """Tell whether an address is this machine's: only to those can a socket be bound."""
        known = self._own.get(address)
        if known is not None:
            return known
        if address.is_loopback:
            return self._own.keep(address, True)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((str(address), 0))
        except OSError as error:
            return self._own.keep(address, False) if error.errno == errno.EADDRNOTAVAIL else False
        return self._own.keep(address, True)


_ANY_VERSION_6: Final = IPv6Address("::")
_LOOPBACKS: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


def _places(one: Listening) -> Iterator[Address | None]:
    """Yield the addresses that a socket listens at, as `Listeners` keeps them."""
    if not one.address.is_unspecified:
        yield one.address
    elif one.address.version == 4:
        yield None
    else:
        yield _ANY_VERSION_6
        if one.takes_both:
            yield None


def _addresses(text: str) -> tuple[Address, ...]:
    try:
        return (ip_address(text),)
    except ValueError:
        return ()  # a name: who has it is not known here


def listening() -> Iterator[Listening]:
    """Yield the TCP sockets that listen in this network namespace; raises `OSError`."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(1)
            request = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 0, _LISTENING)
            header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
            kernel.send(header + request)
            yield from _answers(kernel, family)


def _answers(kernel: socket.socket, family: int) -> Iterator[Listening]:
    while True:
        answer = memoryview(kernel.recv(_LONGEST_ANSWER))
        while len(answer) >= _HEADER.size:
            length, kind, _flags, _sequence, _port = _HEADER.unpack_from(answer)
            if kind == _DONE:
                return
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", answer, _HEADER.size)
                if family == socket.AF_INET6 and -code in {errno.ENOENT, errno.EAFNOSUPPORT}:
                    return  # a kernel without IPv6
                raise OSError(-code, "sock_diag")
            yield parse(bytes(answer[_HEADER.size : length]))
            answer = answer[(length + 3) & ~3 :]


def parse(message: bytes) -> Listening:
    """Return what an `inet_diag_msg` with its attributes says of a socket; raises `ValueError` for what is none."""
    if len(message) < _MESSAGE_LENGTH or message[0] not in {socket.AF_INET, socket.AF_INET6}:
        raise ValueError(f"{message[:80]!r} is no inet_diag_msg")
    (port,) = struct.unpack_from(">H", message, 4)
    address: Address = IPv4Address(message[8:12]) if message[0] == socket.AF_INET else IPv6Address(message[8:24])
    attributes = dict(_attributes(message))
    cgroup_id = int.from_bytes(attributes.get(_CGROUP, b""), "little" if struct.pack("=H", 1)[0] else "big")
    takes_both = address.version == 6 and attributes.get(_ONLY_VERSION_6, b"\0")[:1] == b"\0"
    return Listening(address, port, cgroup_id, takes_both)


def _attributes(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = _MESSAGE_LENGTH
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, message[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
