"""The protobuf wire format of OTLP's common messages: varints, AnyValue, KeyValue.

Field numbers are those of opentelemetry/proto/common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from tapio_otel.otlp.text import MAX_DEPTH, TOO_DEEP, as_text, encode_text

_double = Struct("<d").pack
_MAX_KEYS: Final = 512
_MAX_SIZE: Final = 256
_MAX_NUMBERS: Final = 256
INT64: Final = range(-(1 << 63), 1 << 63)


def varint(number: int) -> bytes:
    """Encode an unsigned integer below 2**64."""
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def delimited(tag: int, content: bytes) -> bytes:
    """Encode a length-delimited field: a message, text or bytes."""
    return varint(tag) + varint(len(content)) + content


def any_value(value: Any, depth: int = 0) -> bytes:
    """Encode the content of an AnyValue message; a type OTLP does not know becomes text."""
    if isinstance(value, str):
        return delimited(0x0A, encode_text(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value & (1 << 64) - 1) if value in INT64 else any_value(digits(value))
    if isinstance(value, float):
        return b"\x21" + _double(value)
    if value is None:
        return b""
    if isinstance(value, bytes | bytearray | memoryview):
        return delimited(0x3A, bytes(value))
    return _nested(value, depth)


def digits(value: int) -> str:
    """Return an integer as text, in hexadecimal when it is too long for Python's decimal limit."""
    return str(value) if value.bit_length() <= 4096 else hex(value)


def _nested(value: Any, depth: int) -> bytes:
    is_container = isinstance(value, Mapping | list | tuple | set | frozenset)
    if is_container and depth >= MAX_DEPTH:
        return any_value(TOO_DEEP)
    if isinstance(value, Mapping):
        return delimited(0x32, key_values(value, 0x0A, depth + 1))
    if is_container:
        return delimited(0x2A, b"".join(delimited(0x0A, any_value(element, depth + 1)) for element in value))
    return any_value(as_text(value))


def key_value(tag: int, key: str, value: Any, depth: int = 0) -> bytes:
    """Encode a KeyValue message as the field `tag` of the message around it."""
    return delimited(tag, delimited(0x0A, encode_text(key)) + delimited(0x12, any_value(value, depth)))


class Heads(dict[int, bytes]):
    """Hold, for the KeyValues of one key, what precedes a text of each short length.

    Of the texts that a key has many differ, but few of their lengths do: so this much is kept, and the text itself added.
    """

    __slots__ = ("named", "numbers", "tag")

    def __init__(self, tag: int, key: str) -> None:
        self.tag = tag
        self.named = delimited(0x0A, encode_text(key))
        self.numbers: dict[int, bytes] = {}

    def __missing__(self, size: int) -> bytes:
        """Return what precedes `size` bytes of text."""
        text = b"\x0a" + varint(size)
        value = b"\x12" + varint(len(text) + size) + text
        head = varint(self.tag) + varint(len(self.named) + len(value) + size) + self.named + value
        if size < _MAX_SIZE:
            self[size] = head
        return head

    def number(self, value: int) -> bytes:
        """Return the whole field for an integer of 64 bits; negative ones as their two's complement."""
        field = self.numbers.get(value)
        if field is None:
            content = b"\x18" + varint(value & (1 << 64) - 1)
            field = delimited(self.tag, self.named + delimited(0x12, content))
            if len(self.numbers) < _MAX_NUMBERS:
                self.numbers[value] = field
        return field


class _Keys(dict[str, Heads]):
    """Hold the heads of the keys that were seen under one tag; looking a new one up adds it."""

    __slots__ = ("tag",)

    def __init__(self, tag: int) -> None:
        self.tag = tag

    def __missing__(self, key: str) -> Heads:
        heads = Heads(self.tag, key)
        if len(self) < _MAX_KEYS and len(key) < _MAX_SIZE:
            self[key] = heads
        return heads


HEADS: Final[Mapping[int, Mapping[str, Heads]]] = {tag: _Keys(tag) for tag in (0x0A, 0x32)}
"""What is kept of the KeyValues that are the field `tag`, for the tags there are: of a resource or map, and of a record."""


def key_values(values: Mapping[Any, Any], tag: int, depth: int = 0) -> bytes:
    """Encode every item of a mapping as a KeyValue field `tag`, which is one of `HEADS`."""
    known = HEADS[tag]
    fields: list[bytes] = []
    for key, value in values.items():
        if key.__class__ is not str:
            fields.append(key_value(tag, as_text(key), value, depth))
        elif value.__class__ is str:
            try:
                text = value.encode()
            except UnicodeEncodeError:
                text = encode_text(value)
            fields += (known[key][len(text)], text)
        elif value.__class__ is int and value in INT64:
            fields.append(known[key].number(value))
        else:
            fields.append(key_value(tag, key, value, depth))
    return b"".join(fields)
