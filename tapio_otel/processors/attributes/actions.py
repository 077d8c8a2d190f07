"""The actions of the `attributes` processor: their options, and the change that each one makes.

A change is a pure function of attributes, labels and annotations, so that it can be made once for all events that share them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from typing import Any, Final, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.conditions import ConditionText
from tapio_otel.conditions.regexp import compiled

Kind = Literal["insert", "update", "upsert", "set", "delete", "rename", "hash", "extract", "convert"]
Scalar = StrictStr | StrictBool | StrictInt | StrictFloat

_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "rename": ("key", "new_key"),
    "extract": ("key", "pattern"),
    "convert": ("key", "converted_type"),
}
_TAKES: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("insert", "update", "upsert", "set"), frozenset(("key", "value", "from_attribute"))),
    **dict.fromkeys(("delete", "hash"), frozenset(("key", "pattern"))),
    **{kind: frozenset(needed) for kind, needed in _NEEDS.items()},
}
_OWN: Final = ("key", "value", "from_attribute", "pattern", "new_key", "converted_type")


class Action(ComponentConfig):
    """Be one change of an attribute."""

    key: str | None = Field(None, min_length=1, description="Key of the attribute.")
    action: Kind = Field(
        "upsert",
        description="`insert` where the key is missing, `update` where it is there, `upsert` (or `set`) in any case, `delete`, "
        "`rename` to `new_key`, `hash` to the SHA-256 in hex, `extract` named groups of `pattern`, `convert`.",
    )
    value: Scalar | list[Scalar] | None = Field(None, description="What to set: a scalar or a list.")
    from_attribute: str | None = Field(None, min_length=1, description="Key whose value to set; nothing where it is missing.")
    pattern: str | None = Field(
        None, description="RE2 pattern: the keys to `delete` or `hash`, or what to `extract` from a text by named groups."
    )
    new_key: str | None = Field(None, min_length=1, description="Key to `rename` to; what it held is replaced.")
    converted_type: Literal["int", "double", "string", "bool"] | None = Field(None, description="Type to `convert` to.")
    context: Literal["attributes", "labels", "annotations"] = Field(
        "attributes", description="Where the keys are: attributes, or labels or annotations, which hold nothing but text."
    )
    when: ConditionText | None = Field(None, description="Condition in CEL: only where it is true. Always when left out.")

    @model_validator(mode="after")
    def _fits_together(self) -> Action:
        given = {name for name in _OWN if getattr(self, name) is not None}
        for name in _NEEDS.get(self.action, ()):
            if name not in given:
                raise ValueError(f"{self.action} needs {name}: add it")
        for name in _OWN:
            if name in given - _TAKES[self.action]:
                raise ValueError(f"{self.action} takes no {name}: remove it")
        _check_keys(self)
        _check_value(self)
        _check_pattern(self)
        return self


def _check_keys(action: Action) -> None:
    by_pattern = action.action in {"delete", "hash"}
    if action.key is None and not (by_pattern and action.pattern is not None):
        raise ValueError(f"{action.action} needs key{' or pattern' if by_pattern else ''}: add it")


def _check_value(action: Action) -> None:
    if "value" in _TAKES[action.action] and (action.value is None) == (action.from_attribute is None):
        raise ValueError(f"{action.action} needs one of value and from_attribute: write either")
    if action.context == "attributes":
        return
    if action.value is not None and not isinstance(action.value, str):
        raise ValueError(f"{action.context} hold nothing but text: put the value in quotes")
    if action.action == "convert":
        raise ValueError(f"{action.context} hold nothing but text: there is nothing to convert")


def _check_pattern(action: Action) -> None:
    if action.pattern is None:
        return
    try:
        groups = compiled(action.pattern).groupindex
    except ValueError as error:
        raise ValueError(f"RE2 cannot take the pattern {action.pattern!r}: {error}") from None
    if action.action == "extract" and not groups:
        raise ValueError(f"the pattern {action.pattern!r} names no group to extract: write one as (?P<key>...)")


@dataclass(slots=True)
class Draft:
    """Hold what an action may change, and how many values could not be converted."""

    attributes: MutableMapping[str, Any]
    labels: MutableMapping[str, str]
    annotations: MutableMapping[str, str]
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """Tell what an action does, and which attributes it may read or write."""

    apply: Callable[[Draft], None]
    names: frozenset[str]
    touches: Callable[[str], bool] | None = None
    """Tells further attributes by their name."""


def change_of(action: Action) -> Change:
    """Return the change that an action describes."""
    make = _MAKERS[action.action]
    where = action.context
    change, written = make(action)

    def apply(draft: Draft) -> None:
        change(getattr(draft, where), draft)

    if where != "attributes":
        return Change(apply, frozenset())
    names = frozenset(name for name in (action.key, action.new_key, action.from_attribute, *written) if name is not None)
    by_name = action.pattern is not None and action.action in {"delete", "hash"}
    return Change(apply, names, _memory_of(action.pattern) if by_name and action.pattern is not None else None)


_Values = MutableMapping[str, Any]
_Made = tuple[Callable[[_Values, Draft], None], tuple[str, ...]]
"""What an action does to values, and the keys that it writes beside those in its options."""


def _memory_of(pattern: str) -> Callable[[str], bool]:
    search = compiled(pattern).search

    @lru_cache(maxsize=1024)
    def touches(name: str) -> bool:
        return search(name.encode("utf-8", "replace").decode()) is not None

    return touches


def _setting(action: Action) -> _Made:
    key, value, origin = str(action.key), _exact(action.value), action.from_attribute
    insert, update = action.action == "insert", action.action == "update"

    def change(values: _Values, _draft: Draft) -> None:
        known = values.get(key) is not None
        new = value if origin is None else values.get(origin)
        if new is not None and not (known and insert) and not (update and not known):
            values[key] = list(new) if isinstance(new, list) else new

    return change, ()


def _exact(value: Any) -> Any:
    """Return a value of the plain types; what the configuration's own number types stand for."""
    if isinstance(value, list):
        return [_exact(one) for one in value]
    return float(value) if isinstance(value, float) else value


def _on_keys(action: Action, do: Callable[[_Values, str], None]) -> _Made:
    """Return what does something with a key, with the keys of a pattern, or with both."""
    key = action.key
    touches = _memory_of(action.pattern) if action.pattern is not None else None

    def change(values: _Values, _draft: Draft) -> None:
        if key is not None and values.get(key) is not None:
            do(values, key)
        if touches is not None:
            for name in [name for name, value in values.items() if name != key and value is not None and touches(name)]:
                do(values, name)

    return change, ()


def _deleting(action: Action) -> _Made:
    return _on_keys(action, lambda values, key: values.pop(key))


def _hashing(action: Action) -> _Made:
    def replace(values: _Values, key: str) -> None:
        values[key] = sha256(_as_bytes(values[key])).hexdigest()

    return _on_keys(action, replace)


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return _as_text(value).encode("utf-8", "surrogatepass")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        return json.dumps(value, default=_as_text)
    except (ValueError, RecursionError):  # too long a number, or too deep a list
        return hex(value) if isinstance(value, int) else type(value).__name__


def _renaming(action: Action) -> _Made:
    key, new_key = str(action.key), str(action.new_key)

    def change(values: _Values, _draft: Draft) -> None:
        value = values.get(key)
        if value is not None and key != new_key:
            del values[key]
            values[new_key] = value

    return change, ()


def _extracting(action: Action) -> _Made:
    key, pattern = str(action.key), compiled(str(action.pattern))
    search = pattern.search

    def change(values: _Values, _draft: Draft) -> None:
        value = values.get(key)
        if isinstance(value, str):
            match = search(value.encode("utf-8", "replace").decode())
            if match is not None:
                values.update((name, text) for name, text in match.groupdict().items() if text is not None)

    return change, tuple(pattern.groupindex)


def _converting(action: Action) -> _Made:
    key, convert = str(action.key), _CONVERSIONS[str(action.converted_type)]

    def change(values: _Values, draft: Draft) -> None:
        value = values.get(key)
        if value is None:
            return
        try:
            values[key] = convert(value)
        except (ValueError, TypeError, OverflowError):
            draft.refused += 1

    return change, ()


def _to_int(value: Any) -> int:
    if isinstance(value, str):
        value = int(_number(value))
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    number = int(value)
    if not _LEAST_INT <= number <= _GREATEST_INT:  # OTLP's numbers have 64 bits
        raise OverflowError("beyond 64 bits")
    return number


def _to_double(value: Any) -> float:
    if isinstance(value, str):
        value = float(_number(value))
    if not isinstance(value, int | float) or not isfinite(value):
        raise TypeError("not a number")
    return float(value)


def _number(text: str) -> str:
    """Return a text as it is written for a number; Python takes more, such as 1_000."""
    text = text.strip()
    if len(text) > _LONGEST_NUMBER or "_" in text or not text.isascii():
        raise ValueError("not a number")
    return text


_LONGEST_NUMBER: Final = 40
_LEAST_INT: Final = -(2**63)
_GREATEST_INT: Final = 2**63 - 1
_TRUE: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _to_bool(value: Any) -> bool:
    if isinstance(value, int | float):
        return value != 0
    found = _TRUE.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("neither true nor false")
    return found


_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": _to_int,
    "double": _to_double,
    "string": _as_text,
    "bool": _to_bool,
}
_MAKERS: Final[dict[str, Callable[[Action], _Made]]] = {
    **dict.fromkeys(("insert", "update", "upsert", "set"), _setting),
    "delete": _deleting,
    "hash": _hashing,
    "rename": _renaming,
    "extract": _extracting,
    "convert": _converting,
}
