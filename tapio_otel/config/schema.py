"""JSON Schema of the configuration file, for YAML editors and for documentation: generated from the options' models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tapio_otel.component import Component, Kind
from tapio_otel.config.service import SIGNAL, ServiceConfig
from tapio_otel.config.types import UNIT, format_duration

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final = r"/[^\s/]+"
_ANNOTATIONS: Final = ("title", "description", "default", "examples", "deprecated")
_SUBSTITUTED: Final[Schema] = {"$ref": "#/$defs/substitution"}
_SUBSTITUTION: Final[Schema] = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "${env:NAME}, ${env:NAME:-default} or ${file:PATH}, replaced when the configuration is read",
}
_DESCRIPTIONS: Final[Mapping[Kind, str]] = {
    Kind.RECEIVER: "Where events come from, by id",
    Kind.PROCESSOR: "What is done with events, by id",
    Kind.EXPORTER: "Where events go, by id",
    Kind.EXTENSION: "What serves the agent itself, by id",
}


def json_schema(components: Iterable[type[Component[Any]]]) -> Schema:
    """Return a JSON Schema (draft 2020-12) that knows these component types; every value may be a `${...}` instead."""
    known = sorted(components, key=lambda component: (component.kind, component.type))
    models: list[type[BaseModel]] = list(dict.fromkeys([ServiceConfig, *(component.Config for component in known)]))
    references, collected = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions = {name: _opened_definition(body) for name, body in collected.get("$defs", {}).items()}
    by_model = {model: references[(model, "validation")] for model in models}
    service = _definition(definitions, by_model[ServiceConfig])
    service["properties"]["pipelines"] = _pipelines(service["properties"]["pipelines"])
    return {
        "$schema": DIALECT,
        "title": "tapio configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{kind.value: _section(kind, [one for one in known if one.kind == kind], by_model) for kind in Kind},
            "service": _optional(by_model[ServiceConfig], "Pipelines, and what concerns the agent as a whole"),
        },
        "$defs": {**definitions, "substitution": _SUBSTITUTION},
    }


def _definition(definitions: Mapping[str, Schema], reference: Schema) -> Schema:
    found: Schema = definitions[reference["$ref"].rpartition("/")[2]]
    return found


def _optional(schema: Schema, description: str) -> Schema:
    return {"description": description, "anyOf": [schema, {"type": "null"}, _SUBSTITUTED]}


def _section(kind: Kind, components: list[type[Component[Any]]], by_model: Mapping[type[BaseModel], Schema]) -> Schema:
    options = {one.type: _optional(by_model[one.Config], _first_line(one)) for one in components}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": options,  # the same as the bare names of the patterns, but editors complete these
        "patternProperties": {f"^{name}({_NAME})?$": schema for name, schema in options.items()},
    }
    return _optional(schema, _DESCRIPTIONS[kind])


def _first_line(component: type[Component[Any]]) -> str:
    return (component.__doc__ or component.type).strip().partition("\n")[0]


def _pipelines(schema: Schema) -> Schema:
    """Return the schema with the pipelines' names spelled out, which pydantic leaves open."""
    pipeline = {"$ref": "#/$defs/PipelineConfig"}
    named = {
        "type": "object",
        "additionalProperties": False,
        "properties": {SIGNAL: pipeline},
        "patternProperties": {f"^{SIGNAL}({_NAME})?$": pipeline},
    }
    return {"description": schema["description"], "anyOf": [named, _SUBSTITUTED]}


def _opened_definition(schema: Schema) -> Schema:
    """Return a model's schema with all its members open to substitution."""
    return schema if "properties" not in schema else _inside(schema)


def _inside(schema: Schema) -> Schema:
    """Open what a schema holds, not the schema itself."""
    opened = dict(schema)
    if "properties" in opened:
        opened["properties"] = {name: _opened(child) for name, child in opened["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if isinstance(opened.get(keyword), dict):
            opened[keyword] = _opened(opened[keyword])
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in opened:
            opened[keyword] = [_inside(child) for child in opened[keyword]]
    return opened


def _opened(schema: Schema) -> Schema:
    """Allow a `${...}` text in the place of a value; annotations stay outside, where editors look for them."""
    unit = _unit(schema)
    inner = _inside({key: value for key, value in schema.items() if key not in _ANNOTATIONS and key != UNIT})
    outer = {key: value for key, value in schema.items() if key in _ANNOTATIONS}
    if unit == "duration" and isinstance(outer.get("default"), int | float):
        outer["default"] = format_duration(outer["default"])
    if inner in ({}, {"type": "string"}):
        return {**outer, **inner}
    choices = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    # Nothing after a group's or a list's name is as good as an empty one.
    empty = [{"type": "null"}] if any("$ref" in one or one.get("type") in {"array", "object"} for one in choices) else []
    known = [one for one in choices if one != {"type": "null"} or not empty]
    return {**outer, "anyOf": [*map(_without_unit, known), *empty, _SUBSTITUTED]}


def _unit(schema: Schema) -> str | None:
    units = [one.get(UNIT) for one in (schema, *schema.get("anyOf", ()))]
    return next((unit for unit in units if unit), None)


def _without_unit(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != UNIT}
