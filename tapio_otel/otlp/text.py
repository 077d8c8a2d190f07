"""Text that any event may carry, made fit for both encodings."""

from __future__ import annotations

import re
from typing import Any, Final

_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_DEPTH: Final = 24
"""Levels of nested values kept: parsers of protobuf stop at 100 messages, and each level takes up to three."""
TOO_DEEP: Final = "(nested too deeply)"


def repair(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot express, by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def encode_text(text: str) -> bytes:
    """Return a text as valid UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repair(text).encode()


def clamp(nanoseconds: int) -> int:
    """Return the nearest time that OTLP's unsigned 64 bits can hold."""
    return min(max(int(nanoseconds), 0), (1 << 64) - 1)


def as_text(value: Any) -> str:
    """Return what stands for a value of a type OTLP does not know; never raises."""
    try:
        return str(value)
    except Exception:
        return f"(unprintable {type(value).__name__})"


def identifier(text: str, size: int) -> bytes:
    """Return the bytes of a trace or span id in hex; empty when it is not a valid id of `size` bytes."""
    try:
        value = bytes.fromhex(text) if len(text) == 2 * size else b""
    except ValueError:
        return b""
    return value if len(value) == size and value.strip(b"\0") else b""
