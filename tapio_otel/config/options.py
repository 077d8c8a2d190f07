"""What a model says about the option at a path: which words are known there, which types it takes, whether it is secret."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from tapio_otel.config.located import Located, walk
from tapio_otel.config.problem import Path

_SECRET: Final = (SecretStr, SecretBytes)


def names(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return the words an option may be written with."""
    alias = field.validation_alias if isinstance(field.validation_alias, str) else field.alias
    return (alias,) if alias else (name,)


def words_of(models: Sequence[type[BaseModel]]) -> set[str]:
    """Return all options that the models have."""
    return {word for model in models for key, field in model.model_fields.items() for word in names(key, field)}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation mentions."""
    return [leaf for leaf in leaves(annotation) if isinstance(leaf, type) and issubclass(leaf, BaseModel)]


def leaves(annotation: Any) -> list[Any]:
    """Return the types that an annotation is made of."""
    arguments = get_args(annotation)
    return [leaf for argument in arguments for leaf in leaves(argument)] if arguments else [annotation]


def annotations_at(model: type[BaseModel], path: Path) -> list[Any]:
    """Return the annotations that apply at a path; indexes and free keys lead through lists and mappings."""
    annotations: list[Any] = [model]
    for part in path:
        annotations = _inside(annotations, part)
    return annotations


def _inside(annotations: list[Any], part: str | int) -> list[Any]:
    models = [model for one in annotations for model in models_in(one)]
    named = [field.annotation for one in models for key, field in one.model_fields.items() if part in names(key, field)]
    return named or annotations


def models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """Return the models whose options stand at a path."""
    return [inner for one in annotations_at(model, path) for inner in models_in(one)]


def is_secret_option(model: type[BaseModel], path: Path) -> bool:
    """Tell whether the option at a path has a secret type."""
    return _is_secret(annotations_at(model, path))


def _is_secret(annotations: list[Any]) -> bool:
    return any(leaf in _SECRET for one in annotations for leaf in leaves(one))


def secret_options(model: type[BaseModel], node: Located, path: Path) -> Iterator[Path]:
    """Yield the paths of all values below a node that belong to options of a secret type, valid or not."""
    return _secret_below([model], node, path)


def _secret_below(annotations: list[Any], node: Located, path: Path) -> Iterator[Path]:
    if _is_secret(annotations):
        yield from (inner for inner, _ in walk(node, path))
        return
    children = enumerate(node.value) if isinstance(node.value, list) else node.members().items()
    for part, child in children:
        yield from _secret_below(_inside(annotations, part), child, (*path, part))
