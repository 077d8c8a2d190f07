"""Attribute values in JSON and back without loss: the tags for what JSON cannot say. See `event_json` for the form."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from math import isfinite, isnan
from typing import Any, Final

from tapio_otel.event import AttributeValue

MAX_DEPTH: Final = 64
FLOATS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_PLAIN: Final = frozenset((str, bool, type(None)))
_JSON_PLAIN: Final = frozenset((str, bool, type(None), int, float))
_INT64: Final = range(-(1 << 63), 1 << 63)
_TAGS: Final = ("$bytes", "$float", "$int", "$map")


class EventFormatError(ValueError):
    """Report what is wrong in an event's JSON form: where, what was found, what to do."""


def _pack(value: Any, depth: int) -> Any:
    """Return what stands for an attribute value in JSON."""
    if value.__class__ in _PLAIN:
        return value
    if isinstance(value, int):
        return int(value) if value in _INT64 else {"$int": hex(value)}
    if isinstance(value, float):
        return float(value) if isfinite(value) else {"$float": _float_name(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": b64encode(value).decode("ascii")}
    if depth >= MAX_DEPTH:
        raise EventFormatError(f"attributes: more than {MAX_DEPTH} levels of nested values: flatten them")
    return _pack_nested(value, depth + 1)


def _float_name(value: float) -> str:
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def pack_all(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes in their JSON form; raises EventFormatError for a value of another type."""
    return {key: value if value.__class__ in _PLAIN else _pack(value, 0) for key, value in values.items()}


def _pack_nested(value: Any, depth: int) -> Any:
    if isinstance(value, list | tuple):
        return [_pack(element, depth) for element in value]
    if isinstance(value, Mapping):
        packed = {str(key): _pack(element, depth) for key, element in value.items()}
        return {"$map": packed} if len(packed) == 1 and next(iter(packed)).startswith("$") else packed
    if isinstance(value, str):
        return str(value)
    kind = type(value).__name__
    raise EventFormatError(f"attributes: {value!r} is a {kind}: use text, numbers, booleans, bytes, None, lists or maps")


def unpack_all(values: Any) -> dict[str, AttributeValue]:
    """Return attributes from their JSON form; raises EventFormatError."""
    if not isinstance(values, dict):
        raise EventFormatError(f"attributes: found {values!r}: write a JSON object")
    return {
        key: value if value.__class__ in _JSON_PLAIN else _unpack(value, f"attributes.{key}", 0)
        for key, value in values.items()
    }


def _unpack(value: Any, where: str, depth: int) -> AttributeValue:
    if isinstance(value, list | dict) and depth >= MAX_DEPTH:
        raise EventFormatError(f"{where}: more than {MAX_DEPTH} levels of nested values: flatten them")
    if isinstance(value, list):
        return [_unpack(element, f"{where}[{index}]", depth + 1) for index, element in enumerate(value)]
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]
    if len(value) == 1 and next(iter(value)).startswith("$"):
        return _untag(*next(iter(value.items())), where, depth)
    return _unpack_map(value, where, depth)


def _unpack_map(content: Any, where: str, depth: int) -> AttributeValue:
    if not isinstance(content, dict):
        raise EventFormatError(f"{where}: {content!r} is no content for $map: write a JSON object")
    return {key: _unpack(element, f"{where}.{key}", depth + 1) for key, element in content.items()}


def _untag(tag: str, content: Any, where: str, depth: int) -> AttributeValue:
    if tag == "$map":
        return _unpack_map(content, where, depth)
    read = _READERS.get(tag)
    if read is None:
        raise EventFormatError(
            f"{where}: unknown tag {tag!r}: use one of {', '.join(_TAGS)}, or write {{'$map': ...}} for a map"
        )
    try:
        return read(content)
    except (ValueError, TypeError, KeyError, AttributeError, Base64Error):
        raise EventFormatError(f"{where}: {content!r} is no content for {tag}: {_TAG_HELP[tag]}") from None


_READERS: Final[Mapping[str, Callable[[Any], AttributeValue]]] = {
    "$bytes": lambda content: b64decode(content.encode("ascii"), validate=True),
    "$float": lambda content: FLOATS[content],
    "$int": lambda content: int(content, 16 if "x" in content else 10),
}
_TAG_HELP: Final = {
    "$bytes": "write base64 text",
    "$float": "write NaN, Infinity or -Infinity",
    "$int": "write the number as text, decimal or with 0x",
}
