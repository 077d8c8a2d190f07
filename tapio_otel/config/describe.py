"""Options described for people: every option of a Config model with its path, its default as YAML writes it, its meaning."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tapio_otel.config.types import format_duration, parse_duration


@dataclass(frozen=True, slots=True)
class Option:
    """Describe one option; `default` is None where there is none and a value is required."""

    path: str
    default: str | None
    description: str


def options(model: type[BaseModel], prefix: str = "") -> Iterator[Option]:
    """Yield every option with its dotted path; those of a group follow the group's own path."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        groups = _groups(field.annotation)
        if not groups or field.is_required() or any(mark for _, mark in groups):
            yield Option(path, _default(field), " ".join((field.description or "").split()))
        for group, mark in groups:
            yield from options(group, f"{path}{mark}.")


def _groups(annotation: Any) -> list[tuple[type[BaseModel], str]]:
    """Return the option groups in a field's type, each with `[]` if the field is a list of them."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [(annotation, "")]
    mark = "[]" if get_origin(annotation) in {list, tuple} else ""
    return [(group, mark + inner) for part in get_args(annotation) for group, inner in _groups(part)]


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    return _written(field.get_default(call_default_factory=True), _is_duration(field))


def _is_duration(field: FieldInfo) -> bool:
    return any(getattr(extra, "func", None) is parse_duration for extra in field.metadata)


def _written(value: Any, duration: bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):
        return '""'
    if duration and isinstance(value, int | float):
        return format_duration(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(_written(one, False) for one in value)}]"
    if isinstance(value, dict) and not value:
        return "{}"
    return "null" if value is None else " ".join(str(value).split()) or '""'
