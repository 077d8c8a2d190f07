"""Record what a real systemd sends on D-Bus while many units start at once: raw messages, kept in the cache.

A recording is made once, by booting a systemd (root), from the number of units and the content of this file.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast._private.unmarshaller import Unmarshaller

from bench.journal import cache_directory
from tests.lab import BootedSystemd, obstacle

MANAGER = "org.freedesktop.systemd1.Manager"
SYSTEMD = "org.freedesktop.systemd1"
ROOT_PATH = "/org/freedesktop/systemd1"
LAST = "bench-last.service"
UNITS = {"bench@.service": "[Service]\nType=oneshot\nExecStart=true\n", LAST: "[Service]\nType=oneshot\nExecStart=true\n"}


@dataclass
class Signal:
    """One recorded message, and where in it the times and the invocation stand that make each replay another story."""

    raw: bytearray
    stamps: list[tuple[int, int]]
    invocations: list[int]

    def replay(self, number: int) -> bytes:
        """Return the message as if everything had happened again, later."""
        for offset, value in self.stamps:
            struct.pack_into("<Q", self.raw, offset, value + number * 10_000_000_000)
        for offset in self.invocations:
            self.raw[offset] = number % 255 + 1
        return bytes(self.raw)


def messages(stream: bytes) -> Iterator[bytes]:
    """Cut a stream of bytes into whole messages (D-Bus specification, message format)."""
    offset = 0
    while offset + 16 <= len(stream):
        body, _serial, fields = struct.unpack_from("<III", stream, offset + 4)
        end = offset + 16 + (fields + 7) // 8 * 8 + body
        if end > len(stream):
            return
        yield stream[offset:end]
        offset = end


def decode(raw: bytes) -> Message:
    """Return a message from its bytes."""
    message = Unmarshaller(io.BytesIO(raw)).unmarshall()  # type: ignore[arg-type]  # any stream that is read will do
    assert message is not None
    return message


def signal(raw: bytes) -> Signal | None:
    """Return a recorded signal of systemd; None for any other message."""
    message = decode(raw)
    if message.message_type is not MessageType.SIGNAL or message.interface == "org.freedesktop.DBus":
        return None
    found = Signal(bytearray(raw), [], [])
    if message.member == "PropertiesChanged":
        _mark(found, raw, message.body[1])
    return found


def _mark(found: Signal, raw: bytes, changed: dict[str, Variant]) -> None:
    stamps = {v.value for name, v in changed.items() if "Timestamp" in name and v.signature == "t" and v.value}
    for value in stamps:
        found.stamps += [(offset, value) for offset in _places(raw, struct.pack("<Q", value))]
    invocation = bytes(changed["InvocationID"].value) if "InvocationID" in changed else b""
    if invocation:
        found.invocations += _places(raw, invocation)


def _places(raw: bytes, part: bytes) -> Iterator[int]:
    offset = raw.find(part)
    while offset >= 0:
        yield offset
        offset = raw.find(part, offset + 1)


def call(serial: int, destination: str, path: str, interface: str, member: str, signature: str = "", *body: Any) -> bytes:
    """Return a method call as bytes."""
    message = Message(destination, path, interface, member, serial=serial, signature=signature, body=list(body))
    return bytes(message._marshall(False))


def subscription() -> bytes:
    """Return the calls that make systemd send its signals."""
    bus = "org.freedesktop.DBus"
    return (
        call(1, bus, "/org/freedesktop/DBus", bus, "Hello")
        + call(2, bus, "/org/freedesktop/DBus", bus, "AddMatch", "s", f"type='signal',sender='{SYSTEMD}'")
        + call(3, SYSTEMD, ROOT_PATH, MANAGER, "Subscribe")
    )


def record(units: int) -> Iterator[bytes]:
    """Yield the messages of a systemd that starts so many units at once, then one more."""
    with BootedSystemd(UNITS) as lab, socket.socket(socket.AF_UNIX) as bus:
        bus.connect(str(lab.bus))
        bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        bus.recv(100)
        bus.sendall(b"BEGIN\r\n" + subscription())
        names = [f"bench@{number}.service" for number in range(units)]
        with subprocess.Popen(lab.inside(["sh", "-c", f"systemctl start {' '.join(names)}; systemctl start {LAST}"])):
            stream = b"".join(_until_the_last(bus))
    yield from messages(stream)


def _until_the_last(bus: socket.socket) -> Iterator[bytes]:
    tail = b""
    while b"JobRemoved" not in tail or LAST.encode() not in tail.rpartition(b"JobRemoved")[2]:
        part = bus.recv(1 << 20)
        yield part
        tail = (tail + part)[-4096:]


def recording(units: int) -> list[Signal]:
    """Return the signals of `units` units that start at once, recorded at the first call; SystemExit where that cannot be."""
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    place = cache_directory() / f"signals-{units}-{version}"
    if not place.exists():
        reason = obstacle()
        if reason:
            raise SystemExit(f"bench: no systemd can be recorded here: {reason}")
        print(f"recording a systemd that starts {units} units (once)", file=sys.stderr)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.writelines(record(units))
        Path(file.name).rename(place)
    return list(_signals(messages(place.read_bytes())))


def _signals(raw: Iterable[bytes]) -> Iterator[Signal]:
    for one in raw:
        found = signal(one)
        if found is not None:
            yield found
