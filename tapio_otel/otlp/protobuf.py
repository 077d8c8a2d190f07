"""The protobuf wire format of OTLP's common messages: varints, AnyValue, KeyValue.

Field numbers are those of opentelemetry/proto/common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from tapio_otel.otlp.text import MAX_DEPTH, TOO_DEEP, as_text, encode_text

_double = Struct("<d").pack
_REMEMBERED: Final = 256
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


@lru_cache(maxsize=8192)
def _text_item(tag: int, key: str, value: str) -> bytes:
    return key_value(tag, key, value)


def key_values(values: Mapping[Any, Any], tag: int, depth: int = 0) -> bytes:
    """Encode every item of a mapping as a KeyValue field; those with a short text, which come again and again, from memory."""
    return b"".join(
        [
            _text_item(tag, key, value)
            if value.__class__ is str and key.__class__ is str and len(value) < _REMEMBERED
            else key_value(tag, as_text(key), value, depth)
            for key, value in values.items()
        ]
    )
