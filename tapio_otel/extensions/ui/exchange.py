"""What handlers have in common: reading requests and making answers."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from aiohttp import web

from tapio_otel.extensions.ui.errors import ApiError, invalid

BODY_SECONDS: Final = 5.0
LONGEST_NAME: Final = 1000
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "tapio",
}
_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


async def with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer the headers that keep browsers from doing more with it than the page does."""
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def json_answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer with a body that is JSON already."""
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})


def refusal(error: ApiError, as_json: bool) -> web.Response:
    """Return the answer for what is refused: JSON from the API, else text."""
    if as_json:
        return json_answer(orjson.dumps(error.as_dict()), error.status, error.headers)
    return web.Response(text=f"{error.message}\n", status=error.status, headers=error.headers)


def refusal_of(error: web.HTTPException, request: web.Request) -> ApiError:
    """Return what aiohttp refused in the API's words."""
    headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    said = f"{request.method} {request.path[:200]}: {error.reason}: see /api/v1/openapi.json for what there is"
    return ApiError(error.status, _CODES.get(error.status, "refused"), said, "", headers)


def accepts_gzip(request: web.Request) -> bool:
    """Tell whether an answer may be compressed."""
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def names_of(request: web.Request) -> dict[str, str]:
    """Return the parts of the path; raises `ApiError` for one that is too long to be anything."""
    for name, value in request.match_info.items():
        if len(value) > LONGEST_NAME:
            raise invalid(name, value, f"write at most {LONGEST_NAME} characters")
    return dict(request.match_info)


async def token_of(request: web.Request) -> str:
    """Return the token in a request's body; raises `ApiError`."""
    if request.content_type != "application/json":
        raise ApiError(
            415,
            "unsupported_media_type",
            f"Content-Type: found {request.content_type!r}: send application/json",
            "Content-Type",
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            content: Any = orjson.loads(await request.read())
    except TimeoutError:
        raise ApiError(408, "timeout", f"the body did not come within {BODY_SECONDS:g} s", "body") from None
    except orjson.JSONDecodeError:
        raise _wrong_body() from None
    if not isinstance(content, dict) or set(content) != {"token"} or not isinstance(content["token"], str):
        raise _wrong_body()
    return content["token"]


def _wrong_body() -> ApiError:
    return ApiError(400, "invalid_body", 'body: write a JSON object such as {"token": "..."}', "body")
