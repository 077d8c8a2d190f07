"""The JSON form of events, without loss: for storage, replay, `tapio schema --events` and whoever reads events elsewhere.

Keys are the event model's; times are RFC 3339 in UTC with nanoseconds; empty optional ids are left out. What JSON cannot say
is tagged: `{"$bytes": base64}`, `{"$float": "NaN"}`, `{"$int": "0x8000000000000000"}` for integers beyond 64 bits, and
`{"$map": {...}}` around a map whose only key begins with `$`, so that no map is mistaken for a tag. Two lone surrogates that
happen to follow each other as a pair come back as the character they stand for; nothing else changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from tapio_otel.event import EntityReference, Severity, UnifiedEvent
from tapio_otel.event_values import FLOATS, MAX_DEPTH, EventFormatError, pack_all, unpack_all

__all__ = ["EventFormatError", "events_schema", "from_dict", "from_json", "to_dict", "to_json"]

_SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_HELP: Final = "write an RFC 3339 time such as 2026-01-31T12:00:00.000000001Z"
_LENGTH_OF_TIME: Final = 30
_SECOND_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_REQUIRED: Final = ("id", "timestamp", "source", "type", "severity", "entity")
_OPTIONAL: Final = (
    "observed",
    "title",
    "description",
    "attributes",
    "trace_id",
    "span_id",
    "parent_id",
    "labels",
    "annotations",
)
_KEYS: Final = frozenset((*_REQUIRED, *_OPTIONAL))
_ONLY_TEXT: Final = {str}
_CACHE_KEY: Final = "event_json"
_ENTITY_KEYS: Final = frozenset(("type", "name", "namespace", "uid", "parent", "attributes"))
_SEVERITIES: Final = {severity.keyword: severity for severity in Severity}
_KEYWORDS: Final = {severity: severity.keyword for severity in Severity}


def to_json(event: UnifiedEvent) -> bytes:
    """Return an event as one line of JSON (UTF-8, without line end)."""
    content = _dictionary(event)
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:  # lone surrogates: only escapes can carry them
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def from_json(text: bytes | str) -> UnifiedEvent:
    """Return the event that a JSON text describes; raises EventFormatError."""
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        content = _loads_with_surrogates(text, error)
    return from_dict(content)


def _loads_with_surrogates(text: bytes | str, error: orjson.JSONDecodeError) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise EventFormatError(f"not JSON: {error}: give one JSON object for each event") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def to_dict(event: UnifiedEvent) -> dict[str, Any]:
    """Return an event as the dictionary its JSON form consists of; raises EventFormatError for what no JSON can hold."""
    seen = event.view()
    attributes, labels, annotations = pack_all(seen.attributes), dict(seen.labels), dict(seen.annotations)
    return _content(event, _entity_to_dict(seen.entity), attributes, labels, annotations)


def _dictionary(event: UnifiedEvent) -> dict[str, Any]:
    """Return what `to_dict` does, for reading only: what the origin says is prepared once for all of its events."""
    origin = event.shared
    if origin is None:
        entity = _entity_to_dict(event.entity)
        return _content(event, entity, pack_all(event.attributes), event.labels, event.annotations)
    shared = origin.cache.get(_CACHE_KEY)
    if shared is None:
        shared = (_entity_to_dict(origin.entity), pack_all(origin.attributes), dict(origin.labels), dict(origin.annotations))
        origin.cache[_CACHE_KEY] = shared
    entity, attributes, labels, annotations = shared
    return _content(event, entity, {**attributes, **pack_all(event.own)} if event.own else attributes, labels, annotations)


def _content(event: UnifiedEvent, entity: Any, attributes: Any, labels: Any, annotations: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": event.id,
        "timestamp": _format_time(event.timestamp, "timestamp"),
        "observed": _format_time(event.observed, "observed"),
        "source": event.source,
        "type": event.type,
        "severity": _KEYWORDS[event.severity],
        "entity": entity,
        "title": event.title,
        "description": event.description,
        "attributes": attributes,
        "labels": labels,
        "annotations": annotations,
    }
    if event.trace_id:
        content["trace_id"] = event.trace_id
    if event.span_id:
        content["span_id"] = event.span_id
    if event.parent_id:
        content["parent_id"] = event.parent_id
    return content


def from_dict(content: Any) -> UnifiedEvent:
    """Return the event that a dictionary in the JSON form describes; raises EventFormatError."""
    fields = _object(content, "event", _KEYS, _REQUIRED)
    find = fields.get
    texts = (
        *(fields["id"], fields["source"], fields["type"], fields["severity"], find("title", ""), find("description", "")),
        *(find("trace_id", ""), find("span_id", ""), find("parent_id", "")),
    )
    if set(map(type, texts)) != _ONLY_TEXT:
        _refuse_non_text(
            fields, ("id", "source", "type", "severity", "title", "description", "trace_id", "span_id", "parent_id")
        )
    id_, source, type_, keyword, title, description, trace_id, span_id, parent_id = texts
    timestamp = _parse_time(fields["timestamp"], "timestamp")
    observed = _parse_time(fields["observed"], "observed") if "observed" in fields else timestamp
    event = UnifiedEvent(
        *(id_, timestamp, source, type_, _severity(keyword), _entity_from_dict(fields["entity"], "entity", 0)),
        title=title,
        description=description,
        attributes=unpack_all(find("attributes", {})),
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        labels=_texts(find("labels", {}), "labels"),
        annotations=_texts(find("annotations", {}), "annotations"),
        observed=observed or 1,
    )
    event.observed = observed
    _check(event)
    return event


def _severity(keyword: str) -> Severity:
    found = _SEVERITIES.get(keyword)
    if found is None:
        raise EventFormatError(f"severity: {keyword!r} is none of {', '.join(_SEVERITIES)}: use one of these")
    return found


def _format_time(nanoseconds: int, where: str) -> str:
    seconds, fraction = divmod(nanoseconds, _SECOND)
    try:
        return f"{_format_second(seconds)}{fraction:09d}Z"
    except OverflowError:
        raise EventFormatError(f"{where}: {nanoseconds!r} ns is outside the years 1 to 9999: give ns since 1970") from None


@lru_cache(maxsize=1024)
def _format_second(seconds: int) -> str:
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]}."


def _parse_time(text: Any, where: str) -> int:
    if text.__class__ is str and len(text) == _LENGTH_OF_TIME and text[29] == "Z" and _is_number(digits := text[20:29]):
        return _parse_second(text[:20], "Z", where) * _SECOND + int(digits)
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise EventFormatError(f"{where}: found {text!r}: {_TIME_HELP}")
    return _parse_second(match[1].upper() + ".", match[3].upper(), where) * _SECOND + int((match[2] or "").ljust(9, "0"))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


@lru_cache(maxsize=1024)
def _parse_second(text: str, zone: str, where: str) -> int:
    """Return the seconds since the epoch of `2026-01-31T12:00:00.` in a zone."""
    try:
        if not _SECOND_FORM.fullmatch(text):
            raise ValueError("not of this form")
        moment = datetime.fromisoformat(text[:19] + ("+00:00" if zone == "Z" else zone)) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise EventFormatError(f"{where}: found {text[:19]!r} ({error}): {_TIME_HELP}") from None
    return moment.days * 86400 + moment.seconds


def _entity_to_dict(entity: EntityReference) -> dict[str, Any]:
    parent: dict[str, Any] | None = None
    content: dict[str, Any] = {}
    for member in (entity,) if entity.parent is None else reversed(entity.lineage()):
        content = {"type": member.type, "name": member.name, "uid": member.uid}
        if member.namespace:
            content["namespace"] = member.namespace
        if parent is not None:
            content["parent"] = parent
        if member.attributes:
            content["attributes"] = dict(member.attributes)
        parent = content
    return content


def _entity_from_dict(content: Any, where: str, depth: int) -> EntityReference:
    if depth > MAX_DEPTH:
        raise EventFormatError(f"{where}: more than {MAX_DEPTH} parents: give the nearest ones")
    fields = _object(content, where, _ENTITY_KEYS, ("type", "name"))
    find = fields.get
    texts = (fields["type"], fields["name"], find("namespace", ""), find("uid", ""))
    if set(map(type, texts)) != _ONLY_TEXT:
        _refuse_non_text(fields, ("type", "name", "namespace", "uid"), f"{where}.")
    parent = find("parent")
    above = None if parent is None else _entity_from_dict(parent, f"{where}.parent", depth + 1)
    attributes = _texts(fields["attributes"], f"{where}.attributes") if "attributes" in fields else None
    return EntityReference(*texts, above, attributes)


def _object(value: Any, where: str, allowed: frozenset[str] | None = None, required: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EventFormatError(f"{where}: found {value!r}: write a JSON object")
    for key in required:
        if key not in value:
            raise EventFormatError(f"{where}: {key!r} is missing: add it")
    if allowed is not None and not allowed.issuperset(value):
        unknown = sorted(set(value) - allowed)
        raise EventFormatError(f"{where}: unknown key {unknown[0]!r}: use {', '.join(sorted(allowed))}")
    return value


def _texts(value: Any, where: str) -> dict[str, str]:
    fields = _object(value, where)
    if not _ONLY_TEXT.issuperset(map(type, fields.values())):
        _refuse_non_text(fields, tuple(fields), f"{where}.")
    return fields


def _refuse_non_text(fields: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> None:
    for key in keys:
        if not isinstance(fields.get(key, ""), str):
            raise EventFormatError(f"{prefix}{key}: found {fields[key]!r}: write text")


def _check(event: UnifiedEvent) -> None:
    if not (event.id and event.source and event.type):
        name = next(name for name in ("id", "source", "type") if not getattr(event, name))
        raise EventFormatError(f"{name}: found '': it must not be empty")
    if event.trace_id or event.span_id:
        _check_hex("trace_id", event.trace_id, 32)
        _check_hex("span_id", event.span_id, 16)


def _check_hex(name: str, value: str, digits: int) -> None:
    if value and (len(value) != digits or value.strip("0123456789abcdef")):
        raise EventFormatError(f"{name}: {value!r} is no id: write {digits} lower-case hex digits, or leave it out")


def events_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the JSON form."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "UnifiedEvent",
        "description": "What happened, to which entity, when, and how bad it is.",
        **_closed({name: {"description": text, **form} for name, (text, form) in _PROPERTIES.items()}, _REQUIRED),
        "$defs": _DEFINITIONS,
    }


def _closed(properties: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _tag(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return _closed({name: content}, (name,))


_STRING: Final = {"type": "string"}
_FILLED: Final = {"type": "string", "minLength": 1}
_TIME_FORM: Final = {"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000000001Z"]}
_STRINGS: Final = {"type": "object", "additionalProperties": _STRING}
_VALUES: Final = {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}}
_TYPE_FORM: Final = {"type": "string", "minLength": 1, "examples": ["log", "oom_kill", "service_state", "correlation"]}

_PROPERTIES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "id": ("Identifies the occurrence: the same one, read twice, has the same id. A UUID.", _FILLED),
    "timestamp": ("When it happened, by the origin's clock.", _TIME_FORM),
    "observed": ("When the agent saw it; the timestamp where it is missing.", _TIME_FORM),
    "source": ("Who says so: ebpf, systemd, journald, kubernetes, correlation, or a plugin's own.", _FILLED),
    "type": ("What kind of thing happened, in lower_snake_case.", _TYPE_FORM),
    "severity": ("How bad it is, by syslog's keywords.", {"enum": list(_SEVERITIES)}),
    "entity": ("What it happened to.", {"$ref": "#/$defs/entity"}),
    "title": ("One line for a reader.", _STRING),
    "description": ("The whole message.", _STRING),
    "attributes": ("Further facts.", _VALUES),
    "trace_id": ("The trace it belongs to.", {"type": "string", "pattern": "^([0-9a-f]{32})?$"}),
    "span_id": ("The span it belongs to.", {"type": "string", "pattern": "^([0-9a-f]{16})?$"}),
    "parent_id": ("The parent of the span.", _STRING),
    "labels": ("Labels of the entity or its source.", _STRINGS),
    "annotations": ("Annotations of the entity or its source.", _STRINGS),
}
_DEFINITIONS: Final[Mapping[str, Any]] = {
    "entity": {
        "description": "An entity and, through `parent`, its lineage.",
        **_closed(
            {
                "type": {"description": "Such as pod, container, node, process, systemd_unit.", **_STRING},
                "name": _STRING,
                "namespace": _STRING,
                "uid": {"description": "Unique among entities of the type; the name where it is missing.", **_STRING},
                "parent": {"anyOf": [{"$ref": "#/$defs/entity"}, {"type": "null"}]},
                "attributes": _STRINGS,
            },
            ("type", "name"),
        ),
    },
    "value": {
        "description": "An attribute's value. What JSON cannot say is tagged by a single key that begins with $.",
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": {"$ref": "#/$defs/value"}},
            _tag("$bytes", {"type": "string", "contentEncoding": "base64"}),
            _tag("$float", {"enum": list(FLOATS)}),
            _tag("$int", {"type": "string", "pattern": "^-?(0x[0-9a-f]+|[0-9]+)$"}),
            _tag("$map", _VALUES),
            {**_VALUES, "not": {"maxProperties": 1, "minProperties": 1, "propertyNames": {"pattern": "^\\$"}}},
        ],
    },
}
