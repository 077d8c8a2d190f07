"""The schemas of the API's answers, for its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tapio_otel.event import Severity
from tapio_otel.event_json import events_schema

Schema = dict[str, Any]
_REF: Final = "#/components/schemas/"
_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NUMBER: Final[Schema] = {"type": "number"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_EVENT: Final[Schema] = {"$ref": f"{_REF}Event"}
_SEVERITY: Final[Schema] = {"enum": [severity.keyword for severity in Severity]}
_STATES: Final = ["listening", "degraded", "failing", "ended", "failed", "off"]


def _object(**properties: Any) -> Schema:
    """Return the schema of an object that has all of these, and maybe more later on."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items, **({"description": description} if description else {})}


def _tuple(description: str, size: int, *types: str) -> Schema:
    """Return the schema of a list of so many parts; loose, as not every tool knows `prefixItems`."""
    items = {"type": list(types) if len(types) > 1 else types[0]}
    return {"type": "array", "items": items, "minItems": size, "maxItems": size, "description": description}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _about(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def schemas() -> dict[str, Schema]:
    """Return the schemas by name."""
    event = _moved(events_schema())
    definitions = event.pop("$defs")
    del event["$schema"], event["title"]
    finding_properties = {**event["properties"], "events": {"type": "object", "additionalProperties": _EVENT}}
    finding = {**event, "properties": finding_properties, "description": "An event of type correlation, with events by id."}
    return {
        **definitions,
        "Event": event,
        "Finding": finding,
        "Findings": _object(findings=_list({"$ref": f"{_REF}Finding"})),
        "Events": _object(events=_list(_EVENT), next=_about(_or_null(_TEXT), "The cursor to go on with; null at the end.")),
        "Entities": _object(entities=_list(_entity())),
        "Overview": _overview(),
        "Timeline": _timeline(),
        "Health": _health(),
        "Metrics": _object(time=_TIME, metrics=_list(_metric())),
        "Sources": _object(sources=_list(_source())),
        "Settings": _object(trace_url=_or_null(_TEXT), node=_TEXT, version=_TEXT),
        "Login": {**_object(token=_TEXT), "additionalProperties": False},
        "Document": {"type": "object"},
        "Error": _object(error=_object(code=_TEXT, message=_TEXT, field=_or_null(_TEXT))),
    }


def _moved(content: Any) -> Any:
    """Return a schema with its references to definitions as references to components."""
    if isinstance(content, Mapping):
        return {key: value.replace("#/$defs/", _REF) if key == "$ref" else _moved(value) for key, value in content.items()}
    return [_moved(one) for one in content] if isinstance(content, list) else content


def _entity() -> Schema:
    return _object(
        **{"type": _TEXT, "namespace": _TEXT, "name": _TEXT, "uid": _TEXT},
        path=_list(_TEXT, "The names of its lineage, the outermost first, its own last."),
        **{"first": _TIME, "last": _TIME, "events": _COUNT, "worst": _SEVERITY},
    )


def _overview() -> Schema:
    return _object(
        since=_TIME,
        until=_TIME,
        total=_about(_COUNT, "Events in the range. Where they are more than `limit`, `density` has them."),
        lanes=_list(_object(path=_list(_TEXT), type=_TEXT, namespace=_TEXT, name=_TEXT), "In the order of their paths."),
        lanes_left_out=_about(_COUNT, "Entities without a lane, as they are too many."),
        marks=_list(
            _tuple(
                "Place of the lane, time in ms since 1970, severity's number, source, type, id, title.", 7, "number", "string"
            ),
            "The events; where `density` has them, only findings and the events that findings name.",
        ),
        density=_list(_tuple("Place of the lane, begin and end in ms, severity's number, count.", 5, "number")),
        links=_list(_tuple("Id of the root cause, id of the impact, id of the finding; both are marks.", 3, "string")),
    )


def _timeline() -> Schema:
    impact = _object(score=_NUMBER, severity=_NUMBER, breadth=_NUMBER, duration=_NUMBER, user_facing=_NUMBER)
    entry = _object(index=_COUNT, relative=_NUMBER, relation=_TEXT, correlated=_list(_TEXT), impact=impact, event=_EVENT)
    pattern = _object(kind=_TEXT, subject=_TEXT, first=_TIME, last=_TIME, entries=_list(_COUNT), description=_TEXT)
    return _object(focus=_TEXT, start=_TIME, end=_TIME, left_out=_COUNT, patterns=_list(pattern), entries=_list(entry))


def _health() -> Schema:
    counts = {name: _or_null(_COUNT) for name in ("events", "findings", "entities", "bytes")}
    store = _object(
        kind={"enum": ["sqlite", "memory"]}, path=_or_null(_TEXT), **counts, oldest=_or_null(_TIME), newest=_or_null(_TIME)
    )
    names = {name: _list(_TEXT) for name in ("receivers", "processors", "exporters")}
    return _object(
        status={"enum": ["ok", "degraded"]},
        problems=_list(_object(component=_TEXT, problem=_TEXT)),
        **{"version": _TEXT, "node": _TEXT, "started": _TIME, "uptime_seconds": _NUMBER},
        pipelines=_list(_object(id=_TEXT, **names, received=_COUNT, passed_on=_COUNT)),
        store=store,
    )


def _metric() -> Schema:
    attributes = {"type": "object", "additionalProperties": _TEXT}
    return _object(name=_TEXT, kind={"enum": ["counter", "gauge"]}, attributes=attributes, value=_NUMBER)


def _source() -> Schema:
    return _object(
        id=_about(_TEXT, "The receiver's id."),
        type=_about(_TEXT, "The receiver's type."),
        state={"enum": _STATES},
        listening={"type": "boolean"},
        reason=_about(_or_null(_TEXT), "Why it is not as it should be."),
        hint=_about(_or_null(_TEXT), "What to do."),
        events=_about(_COUNT, "Handed over since the start."),
        last=_about(_or_null(_TIME), "When it last handed over events."),
    )
