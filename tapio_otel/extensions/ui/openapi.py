"""The OpenAPI 3.1 document of the API, served at `/api/v1/openapi.json`; parameters and schemas come from their modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from tapio_otel.extensions.ui import parameters
from tapio_otel.extensions.ui.parameters import Parameter
from tapio_otel.extensions.ui.schemas import schemas
from tapio_otel.timeline.focus import KINDS
from tapio_otel.version import VERSION

_REF: Final = "#/components/schemas/"
_ID: Final = {"name": "id", "in": "path", "required": True, "description": "An event's id.", "schema": {"type": "string"}}
_STORE_REFUSALS: Final = ("400", "500", "503")


@cache
def openapi_document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tapio",
            "version": VERSION,
            "summary": "What happened on this node, and why.",
            "description": "Served by the agent's extension `ui`. Times in answers are RFC 3339 in UTC with nanoseconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{}, {"token": []}, {"session": []}],
        "paths": {**_event_paths(), **_timeline_paths(), **_agent_paths(), **_session_path()},
        "components": {
            "schemas": schemas(),
            "responses": {name: _refusal(text) for name, text in _REFUSALS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The token of extensions.ui.token, if it is set."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "tapio_session_8321",
                    "description": "Set by POST /session; its name ends with the configured port.",
                },
            },
        },
    }


_REFUSALS: Final = {
    "400": "A parameter is unknown or makes no sense; `field` names it.",
    "401": "A token is needed.",
    "403": "A page of another site asks.",
    "404": "There is no such thing (any more).",
    "413": "The body is too long.",
    "415": "The body is not JSON.",
    "421": "The Host header names another host.",
    "500": "What was found cannot be told, or a defect.",
    "503": "The store cannot be read at the moment, or too much is asked at once.",
}


def _refusal(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": f"{_REF}Error"}}}}


def _parameter(one: Parameter) -> dict[str, Any]:
    content: dict[str, Any] = {"name": one.name, "in": "query", "description": one.description, "schema": dict(one.schema)}
    return {**content, "style": "form", "explode": True} if one.many else content


def _get(
    name: str,
    summary: str,
    schema: str,
    known: Sequence[Parameter] = (),
    path: Sequence[Mapping[str, Any]] = (),
    refusals: Sequence[str] = _STORE_REFUSALS,
) -> dict[str, Any]:
    answer = {"description": summary, "content": {"application/json": {"schema": {"$ref": f"{_REF}{schema}"}}}}
    return {"get": _operation(name, summary, {"200": answer}, refusals, [*path, *map(_parameter, known)])}


def _operation(
    name: str, summary: str, answers: Mapping[str, Any], refusals: Sequence[str], known: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    references = {code: {"$ref": f"#/components/responses/{code}"} for code in sorted({*refusals, "401", "403", "421"})}
    operation = {"operationId": name, "summary": summary, "responses": {**answers, **references}}
    return {**operation, "parameters": list(known)} if known else operation


def _event_paths() -> dict[str, Any]:
    with_id = (*_STORE_REFUSALS, "404")
    return {
        "/events": _get("events", "Events, newest first", "Events", parameters.EVENTS),
        "/events/{id}": _get("event", "One event", "Event", (), [_ID], with_id),
        "/entities": _get("entities", "Entities that events are about", "Entities", parameters.ENTITIES),
        "/findings": _get("findings", "What the rules of correlation conclude, newest first", "Findings", parameters.FINDINGS),
        "/findings/{id}": _get("finding", "One finding with its events", "Finding", (), [_ID], with_id),
    }


def _timeline_paths() -> dict[str, Any]:
    entity = [
        {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string", **more}}
        for name, text, more in (
            ("type", "The entity's type, such as pod.", {"enum": list(KINDS)}),
            ("namespace", "Its namespace; `-` where it has none.", {}),
            ("name", "Its name.", {}),
        )
    ]
    stream = {
        "description": "Messages `event` and `finding` with an Event each, and `lost` with the count of events that passed "
        "while the client was too slow. Each has an id; Last-Event-ID goes on after it.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    resume = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The id of the last message that was received.",
        "schema": {"type": "string", "maxLength": 100},
    }
    live = _operation(
        "stream",
        "Events as they pass",
        {"200": stream},
        ("400", "503"),
        [*map(_parameter, parameters.STREAM), resume],
    )
    return {
        "/timeline": _get("overview", "What happened when to which entity", "Overview", parameters.TIMELINE),
        "/timeline/{type}/{namespace}/{name}": _get(
            "timeline", "What happened to one entity", "Timeline", parameters.ONE_TIMELINE, entity, (*_STORE_REFUSALS, "404")
        ),
        "/stream": {"get": live},
    }


def _agent_paths() -> dict[str, Any]:
    refusals = ("400", "500")
    return {
        "/health": _get("health", "How the agent is", "Health", refusals=refusals),
        "/metrics": _get("metrics", "What the agent counts about itself", "Metrics", refusals=refusals),
        "/sources": _get("sources", "What is listened to and what is not, and why", "Sources", refusals=refusals),
        "/settings": _get("settings", "What the page needs to know", "Settings", refusals=refusals),
        "/openapi.json": _get("openapi", "This document", "Document", refusals=refusals),
    }


def _session_path() -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": f"{_REF}Login"}}}}
    opened = {"204": {"description": "The session is open: its cookie counts as the token for twelve hours."}}
    closed = {"204": {"description": "The cookie is taken back."}}
    post = _operation("open_session", "Exchange the token for a cookie", opened, ("400", "413", "415", "500"))
    delete = _operation("close_session", "Give the cookie back", closed, ("400", "500"))
    return {"/session": {"post": {**post, "requestBody": body, "security": []}, "delete": {**delete, "security": []}}}
