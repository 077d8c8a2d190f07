"""Validation of options against their model, with pydantic's complaints told in plain words at the line they concern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from tapio_otel.config.located import Located, Scalar, plain, walk
from tapio_otel.config.options import annotations_at, is_secret_option, leaves, models_at, models_in, names, words_of
from tapio_otel.config.problem import Path, Problem
from tapio_otel.config.secrecy import is_secret_name, mask_text
from tapio_otel.config.suggest import nearest, suggestion

M = TypeVar("M", bound=BaseModel)
_LONGEST: Final = 80
_MOST: Final = 200

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text",
    "path_type": "a path",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list, such as [one, two]",
    "tuple_type": "a list, such as [one, two]",
    "set_type": "a list, such as [one, two]",
    "dict_type": "a mapping of names to values",
    "mapping_type": "a mapping of names to values",
    "model_type": "a mapping of options",
    "model_attributes_type": "a mapping of options",
    "none_required": "nothing",
    "greater_than": "a value greater than {gt}",
    "greater_than_equal": "a value of at least {ge}",
    "less_than": "a value less than {lt}",
    "less_than_equal": "a value of at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} character(s)",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
    "literal_error": "{expected}",
    "enum": "{expected}",
}


_EMPTY: Final[Mapping[str, Any]] = {
    "model_type": {},
    "model_attributes_type": {},
    "dict_type": {},
    "mapping_type": {},
    "list_type": [],
    "tuple_type": [],
    "set_type": [],
}


@dataclass(slots=True)
class Checked(Generic[M]):
    """Hold validated options (None when they are not valid), what is wrong, and where text took the place of a typed value."""

    config: M | None = None
    problems: list[Problem] = field(default_factory=list)
    as_text: dict[Path, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Complaint:
    """Hold one of pydantic's errors with the node it is about. `path` is relative to the options; `tagged` tells of a union."""

    error: Mapping[str, Any]
    node: Located
    path: Path
    tagged: bool
    broken: bool


def check(model: type[M], node: Located, path: Path) -> Checked[M]:
    """Validate the options at `path`.

    What does not fit is tried once more: a substituted value as the text it came from, and nothing as an empty list or mapping.
    """
    instead: dict[Path, Any] = {}
    while True:
        try:
            config = model.model_validate(plain(node, instead, bare=True))
        except ValidationError as error:
            complaints = [_placed(one, node) for one in error.errors(include_url=False)]
        except Exception as error:  # a plugin's own validator may raise anything
            message = f"these options cannot be checked: {type(error).__name__} in {model.__module__}; report it to its author"
            return Checked(problems=[node.position.problem(path, message)])
        else:
            complaints = []
        again = {one.path: other for one in complaints if one.path not in instead and (other := _otherwise(one)) is not None}
        if not again:
            break
        instead |= again
    problems = [*_told(model, complaints, path), *_numbered(model, node, path, complaints)]
    texts = {(*path, *inner): text for inner, text in instead.items() if isinstance(text, str)}
    return Checked(None if problems or complaints else config, problems, texts)


def _otherwise(complaint: _Complaint) -> Any:
    """Return what else the value may be taken for; None for nothing else."""
    if complaint.node.text is not None:
        return complaint.node.text
    return _EMPTY.get(complaint.error["type"]) if complaint.node.value is None else None


def _numbered(model: type[BaseModel], node: Located, path: Path, complaints: Sequence[_Complaint]) -> Iterator[Problem]:
    """Report where `true` is given for a number, which pydantic takes for 1 and nobody means."""
    known = {one.path for one in complaints}
    for inner, at in walk(node):
        if isinstance(at.value, bool) and inner not in known:
            types = [kind for one in annotations_at(model, inner) for kind in leaves(one)]
            if bool not in types and (int in types or float in types) and str not in types:
                yield at.position.problem((*path, *inner), f"expected a number, found {show(at)}")


def _placed(error: Mapping[str, Any], root: Located) -> _Complaint:
    """Follow an error's location as far as the written tree has it; what is left are the names of union members."""
    node, broken = root, root.broken
    path: Path = ()
    location: Sequence[str | int] = error["loc"]
    for part in location:
        child = node.child(part)
        if child is not None:
            node, path, broken = child, (*path, part), broken or child.broken
    tagged = len(path) < len(location)
    if error["type"] == "missing":
        path, tagged = (*path, location[-1]), False
    return _Complaint(error, node, path, tagged, broken)


def _told(model: type[BaseModel], complaints: list[_Complaint], path: Path) -> Iterator[Problem]:
    # A union complains once for each member: what a member has to say about a part of the value is the better explanation.
    outer = {one.path[:end] for one in complaints for end in range(len(one.path))}
    groups: dict[Path, list[_Complaint]] = {}
    for one in complaints:
        if not (one.broken or (one.tagged and one.path in outer)):
            groups.setdefault(one.path, []).append(one)
    for inner, group in islice(groups.items(), _MOST):
        yield group[0].node.position.problem((*path, *inner), _message(model, group))
    if len(groups) > _MOST:
        first = complaints[0].node.position
        yield first.problem(path, f"{len(groups) - _MOST} more problems here are not listed; correct these first")


def _message(model: type[BaseModel], group: list[_Complaint]) -> str:
    first, kind = group[0], group[0].error["type"]
    if kind == "extra_forbidden":
        return unknown_option(str(first.path[-1]), *models_at(model, first.path[:-1]))
    if kind == "missing":
        return "this option is required; add it"
    secret = is_hidden(first.node, first.path) or is_secret_option(model, first.path)
    shown = "a secret value (not shown)" if secret and not isinstance(first.node.value, dict | list) else show(first.node)
    expected = list(dict.fromkeys(text for one in group if (text := _expected(one.error))))
    if expected:
        return f"expected {' or '.join(expected)}, found {shown}{_hint(group, first.node, secret)}"
    said = "; ".join(dict.fromkeys(_said(one, secret) for one in group))
    value = first.node.value
    known = secret or isinstance(value, dict | list) or (isinstance(value, str) and _names_it(said, mask_text(value)))
    return said if known else f"{said}, found {shown}"


def _names_it(said: str, value: str) -> bool:
    return repr(value) in said or (len(value) > 2 and value in said)


def _expected(error: Mapping[str, Any]) -> str:
    return _EXPECTED.get(error["type"], "").format_map(error.get("ctx", {}))


def _said(one: _Complaint, secret: bool) -> str:
    """Return a validator's own words, on one line and without the value when it is secret."""
    raised = one.error.get("ctx", {}).get("error")
    words = " ".join(str(raised if raised is not None else one.error["msg"]).split())
    text = str(one.node.value)
    if secret and text:
        return words.replace(repr(one.node.value), "the value").replace(text, "the value")
    return mask_text(words)


def _hint(group: list[_Complaint], node: Located, secret: bool) -> str:
    """Return a last word of help: what was meant, or how to write it."""
    kinds = {one.error["type"] for one in group}
    if isinstance(node.value, str) and not secret and kinds & {"literal_error", "enum"}:
        choices = [word.strip(" '") for one in group for word in _expected(one.error).replace(" or ", ",").split(",")]
        near = nearest(node.value, choices)
        return f"; did you mean {near!r}?" if near and near != node.value else ""
    if "string_type" in kinds and isinstance(node.value, bool | int | float):
        return "; put it in quotes"
    return ""


def show(node: Located) -> str:
    """Write a value for a message: short, with secrets masked, and with the substitution it came from."""
    if node.hidden:
        return f"a secret value from {node.origin}" if node.origin else "a secret value"
    if isinstance(node.value, dict | list):
        return "a mapping" if isinstance(node.value, dict) else "a list"
    text = _written(node.value)
    return f"{text} (from {node.origin})" if node.origin else text


def _written(value: Scalar) -> str:
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    return repr(_short(mask_text(value))) if isinstance(value, str) else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def is_hidden(node: Located, path: Path) -> bool:
    """Tell whether a value must not be shown, by its origin or by the names on its path."""
    return node.hidden or any(isinstance(part, str) and is_secret_name(part) for part in path)


def unknown_option(name: str, *models: type[BaseModel]) -> str:
    """Say that an option is unknown, and which was meant: one beside it, or one of the same name a level below."""
    fields = {word: field for model in models for key, field in model.model_fields.items() for word in names(key, field)}
    below = next((word for word, field in fields.items() if name in words_of(models_in(field.annotation))), None)
    if below is not None and nearest(name, fields) is None:
        return f"unknown option {name!r} here; it belongs under {below}"
    return f"unknown option {name!r}; {suggestion(name, fields, 'known are')}"
