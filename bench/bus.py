"""A bus with a systemd that replays a recording: answers what a subscriber asks, then sends signals as fast as they are read.

    python -m bench.bus SOCKET UNITS TIMES

Prints how many signals there will be; sends them when a line comes on its standard input. It ends with the connection.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
from collections.abc import Iterator
from typing import Any

from dbus_fast import Message, MessageType, Variant

from bench.signals import Signal, decode, messages, recording

ANSWERS: dict[str, tuple[str, list[Any]]] = {
    "Hello": ("s", [":1.7"]),
    "GetNameOwner": ("s", [":1.0"]),
    "NameHasOwner": ("b", [True]),
    "ListUnits": ("a(ssssssouso)", [[]]),
    "ListUnitsFiltered": ("a(ssssssouso)", [[]]),
    "ListUnitsByPatterns": ("a(ssssssouso)", [[]]),
    "ListJobs": ("a(usssoo)", [[]]),
    "GetAll": (
        "a{sv}",
        [
            {
                "LoadState": Variant("s", "loaded"),
                "FragmentPath": Variant("s", "/etc/systemd/system/bench@.service"),
                "UnitFileState": Variant("s", "static"),
                "Slice": Variant("s", "system-bench.slice"),
                "ControlGroup": Variant("s", "/system.slice/system-bench.slice/bench@1.service"),
            }
        ],
    ),
}
VALUES = {
    "JobType": Variant("s", "start"),
    "ControlGroup": Variant("s", "/system.slice/system-bench.slice/bench@1.service"),
    "Slice": Variant("s", "system-bench.slice"),
    "FragmentPath": Variant("s", "/etc/systemd/system/bench@.service"),
    "UnitFileState": Variant("s", "static"),
}
ROOM = 4 << 20


def answer(asked: Message, serial: int) -> bytes:
    """Return the reply to a call."""
    signature, body = ANSWERS.get(asked.member or "", ("", []))
    if asked.member == "Get":
        signature, body = "v", [VALUES.get(asked.body[1], Variant("s", ""))]
    reply = Message.new_method_return(asked, signature, body)
    reply.serial, reply.sender = serial, "org.freedesktop.DBus"
    reply.destination = ":1.7"
    return bytes(reply._marshall(False))


def flood(signals: list[Signal], times: int) -> Iterator[bytes]:
    """Yield the recording again and again, each time as another story."""
    for number in range(times):
        for signal in signals:
            yield signal.replay(number)


class Connection:
    """Serve one client."""

    def __init__(self, client: socket.socket, signals: Iterator[bytes]) -> None:
        self.client = client
        self.signals = signals
        self.read = b""
        self.unsent = bytearray()
        self.serial = 1

    def authenticate(self) -> None:
        """Let the client in (D-Bus specification, authentication)."""
        while True:
            while b"\r\n" not in self.read:
                self.read += self.client.recv(4096)
            line, _, self.read = self.read.lstrip(b"\0").partition(b"\r\n")
            if line == b"BEGIN":
                return
            self.client.sendall(b"AGREE_UNIX_FD\r\n" if line == b"NEGOTIATE_UNIX_FD" else b"OK 0123456789abcdef\r\n")

    def take(self) -> bool:
        """Answer what has come; returns False when the client has gone."""
        data = self.client.recv(1 << 20)
        self.read += data
        self.answer()
        return bool(data)

    def answer(self) -> None:
        """Answer the calls that were read."""
        for raw in messages(self.read):
            self.read = self.read[len(raw) :]
            asked = decode(raw)
            if asked.message_type is MessageType.METHOD_CALL:
                self.serial += 1
                self.unsent += answer(asked, self.serial)

    def fill(self) -> None:
        """Have some more of the signals to send."""
        while len(self.unsent) < ROOM:
            one = next(self.signals, None)
            if one is None:
                return
            self.unsent += one


def serve(connection: Connection) -> None:
    """Answer, and send the signals from the moment when a line comes on standard input."""
    client = connection.client
    begun = False
    with selectors.DefaultSelector() as ready:
        ready.register(sys.stdin, selectors.EVENT_READ)
        ready.register(client, selectors.EVENT_READ)
        while True:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
            ready.modify(client, wanted)
            for key, events in ready.select():
                if key.fileobj is not client:
                    sys.stdin.readline()
                    ready.unregister(sys.stdin)
                    begun = True
                    continue
                if events & selectors.EVENT_READ and not connection.take():
                    return
                if events & selectors.EVENT_WRITE:
                    del connection.unsent[: client.send(connection.unsent[: 1 << 18])]
            if begun:
                connection.fill()


def main() -> None:
    """Serve the first client that connects."""
    path, units, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    signals = recording(units)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print(len(signals) * times, flush=True)
        client, _ = listening.accept()
    with client, contextlib.suppress(ConnectionError):
        connection = Connection(client, flood(signals, times))
        connection.authenticate()
        connection.answer()  # what came together with the end of the authentication
        client.setblocking(False)
        serve(connection)


if __name__ == "__main__":
    main()
