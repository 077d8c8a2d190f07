"""The messages of the container runtime interface (CRI, runtime.v1) that are read: lists of pod sandboxes and containers.

Protobuf's wire form is read here, as far as these messages need it: what is not named below is passed over, as protobuf wants
it. Field numbers are those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10
_WORD: Final = (1 << 64) - 1
STATES: Final = {0: "waiting", 1: "running", 2: "terminated"}
"""States of containers by their numbers, as the Kubernetes API calls them; the runtime's UNKNOWN is none."""

Value = int | bytes


class Sandbox(NamedTuple):
    """Hold what the runtime knows of a pod; `created` is nanoseconds since the Unix epoch, 0 where nobody told."""

    id: str
    name: str
    namespace: str
    uid: str
    created: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class RuntimeContainer(NamedTuple):
    """Hold what the runtime knows of a container; `image` is what was asked for, `image_ref` what was found by that."""

    id: str
    sandbox: str
    name: str
    attempt: int
    image: str
    image_ref: str
    state: str
    labels: Mapping[str, str]


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the numbers and values of a message's fields; raises ValueError where it is none."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            size, at = _varint(message, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at} is unknown")
        if size > end - at:
            raise ValueError(f"a field of {size} bytes at byte {at} is cut off")
        if kind == _LENGTH:
            yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= len(message):
            raise ValueError(f"a number at byte {at} is cut off")
        byte = message[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & _WORD, at + index + 1
    raise ValueError(f"a number at byte {at} has more than {_LONGEST_VARINT} bytes")


def read_runtime_name(answer: bytes) -> str:
    """Return `runtime_name` of a VersionResponse."""
    return _Message(answer).text(2)


def read_sandboxes(answer: bytes) -> list[Sandbox]:
    """Return the items of a ListPodSandboxResponse; raises ValueError where it is none."""
    found = []
    for message in _Message(answer).messages(1):
        metadata = message.message(2)
        found.append(
            Sandbox(
                message.text(1),
                metadata.text(1),
                metadata.text(3),
                metadata.text(2),
                message.number(4),
                message.words(5),
                message.words(6),
            )
        )
    return found


def read_containers(answer: bytes) -> list[RuntimeContainer]:
    """Return the items of a ListContainersResponse; raises ValueError where it is none."""
    found = []
    for message in _Message(answer).messages(1):
        metadata, image = message.message(3), message.message(4)
        found.append(
            RuntimeContainer(
                message.text(1),
                message.text(2),
                metadata.text(1),
                metadata.number(2),
                image.text(18) or image.text(1),
                message.text(5),
                STATES.get(message.number(6), ""),
                message.words(8),
            )
        )
    return found


class _Message:
    """Hold the fields of one message; a field that is of another type than expected counts as not told."""

    def __init__(self, encoded: bytes) -> None:
        self._fields: dict[int, list[Value]] = {}
        for number, value in fields(encoded):
            self._fields.setdefault(number, []).append(value)

    def text(self, number: int) -> str:
        """Return a text, the last one that was told."""
        return self._bytes(number).decode("utf-8", "replace")

    def number(self, number: int) -> int:
        """Return a number."""
        value = self._fields.get(number, [0])[-1]
        return value if isinstance(value, int) else 0

    def message(self, number: int) -> _Message:
        """Return a message within this one; its parts may have been told one after the other."""
        return _Message(b"".join(one for one in self._fields.get(number, ()) if isinstance(one, bytes)))

    def messages(self, number: int) -> Iterator[_Message]:
        """Yield the messages of a list."""
        for one in self._fields.get(number, ()):
            if isinstance(one, bytes):
                yield _Message(one)

    def words(self, number: int) -> dict[str, str]:
        """Return a map of texts."""
        return {entry.text(1): entry.text(2) for entry in self.messages(number)}

    def _bytes(self, number: int) -> bytes:
        value = self._fields.get(number, [b""])[-1]
        return value if isinstance(value, bytes) else b""
