"""The routes: which path gives what, and what every request must pass first.

Every route but the page, its files and the opening of a session is for those who show the token, where there is one. Queries
run in threads; the event loop only parses requests and passes on answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from tapio_otel.event_store import StoreStatistics
from tapio_otel.extensions.ui import answers, exchange, parameters, status
from tapio_otel.extensions.ui.access import SESSION_SECONDS, Access
from tapio_otel.extensions.ui.assets import INDEX, MISSING, Asset, load_assets
from tapio_otel.extensions.ui.errors import ApiError
from tapio_otel.extensions.ui.live import LiveEvents
from tapio_otel.extensions.ui.openapi import openapi_document
from tapio_otel.extensions.ui.parameters import Parameter, read_query
from tapio_otel.extensions.ui.queries import Queries
from tapio_otel.extensions.ui.selection import selects
from tapio_otel.extensions.ui.store_access import Store, Stores
from tapio_otel.extensions.ui.timeline import overview
from tapio_otel.notices import Notices
from tapio_otel.service_view import ServiceView

API: Final = "/api/v1"
MOST_BODY: Final = 16 * 1024
_PUBLIC: Final = frozenset(("page", "asset", "session"))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[Store, Mapping[str, Any]], Any]

_QUERIES: Final[Mapping[str, tuple[Answer, tuple[Parameter, ...]]]] = {
    "events": (answers.events, parameters.EVENTS),
    "events/{id}": (lambda store, values: answers.event(store, values["id"]), ()),
    "entities": (answers.entities, parameters.ENTITIES),
    "findings": (answers.findings, parameters.FINDINGS),
    "findings/{id}": (lambda store, values: answers.finding(store, values["id"]), ()),
    "timeline": (overview, parameters.TIMELINE),
    "timeline/{type}/{namespace}/{name}": (answers.one_timeline, parameters.ONE_TIMELINE),
}
"""What asks the store: the path, what answers in a thread, and the parameters."""


class Routes:
    """Answer requests."""

    def __init__(
        self,
        access: Access,
        stores: Stores,
        live: LiveEvents,
        queries: Queries,
        service: ServiceView | None,
        trace_url: str,
        notices: Notices,
        has_room: Callable[[int], bool] = lambda _size: True,
    ) -> None:
        self._access, self._stores, self._live, self._queries = access, stores, live, queries
        self._service, self._trace_url, self._notices = service, trace_url, notices
        self._has_room = has_room
        self._assets: dict[str, Asset] = {}

    def application(self) -> web.Application:
        """Return the application."""
        application = web.Application(middlewares=[self._guard], client_max_size=MOST_BODY)
        application.on_response_prepare.append(exchange.with_headers)
        get = application.router.add_get
        for path, (answer, known) in _QUERIES.items():
            get(f"{API}/{path}", self._asking(answer, known))
        get(f"{API}/stream", self._stream, allow_head=False)
        get(f"{API}/health", self._health)
        get(f"{API}/metrics", self._telling(lambda: status.metrics(self._service)))
        get(f"{API}/sources", self._telling(lambda: status.sources(self._service)))
        get(f"{API}/settings", self._telling(lambda: status.settings(self._trace_url)))
        get(f"{API}/openapi.json", self._telling(openapi_document))
        session = application.router.add_resource(f"{API}/session", name="session")
        session.add_route("POST", self._open_session)
        session.add_route("DELETE", self._close_session)
        get("/", self._page, name="page")
        get("/assets/{name:.+}", self._asset, name="asset")
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request pass that may, and turn what goes wrong into an answer."""
        is_api = request.path.startswith("/api/")
        try:
            self._access.check_host(request.headers.getall("Host", []))
            if request.match_info.http_exception is None and request.match_info.route.name not in {"page", "asset"}:
                self._access.check_site(request.headers.get("Sec-Fetch-Site", ""))
            if request.match_info.http_exception is None and request.match_info.route.name not in _PUBLIC:
                cookie = request.cookies.get(self._access.cookie, "")
                self._access.check_token(request.headers.get("Authorization", ""), cookie)
            return await handler(request)
        except ApiError as error:
            return exchange.refusal(error, is_api)
        except web.HTTPException as error:
            return exchange.refusal(exchange.refusal_of(error, request), is_api)
        except ConnectionError:
            raise
        except Exception as error:
            self._notices.warn("defect", f"{request.method} {request.path[:200]!r}: {type(error).__name__}: {error}")
            return exchange.refusal(ApiError(500, "internal", "this is a defect of the agent; its log says more"), is_api)

    def _asking(self, answer: Answer, known: tuple[Parameter, ...]) -> Handler:
        """Return the handler of a route that asks the store."""

        async def handle(request: web.Request) -> web.StreamResponse:
            values = {**read_query(known, request.query), **exchange.names_of(request)}
            ask = lambda: answer(self._stores.current(), values)  # noqa: E731
            self._make_sure_of_room(0)
            body, is_compressed = await self._queries.answer(ask, exchange.accepts_gzip(request))
            self._make_sure_of_room(len(body))
            return exchange.json_answer(body, headers={"Content-Encoding": "gzip"} if is_compressed else None)

        return handle

    def _make_sure_of_room(self, size: int) -> None:
        """Refuse an answer of so many bytes while too much waits for clients that do not read."""
        if not self._has_room(size):
            raise ApiError(503, "busy", "clients do not read what they asked for: try again", headers={"Retry-After": "5"})

    def _telling(self, tell: Callable[[], Any]) -> Handler:
        """Return the handler of a route that tells what is known at once."""

        async def handle(request: web.Request) -> web.StreamResponse:
            read_query((), request.query)
            return exchange.json_answer(orjson.dumps(tell()))

        return handle

    async def _health(self, request: web.Request) -> web.StreamResponse:
        read_query((), request.query)
        path, statistics, problem = None, None, ""
        try:
            path = self._stores.path()
            body, _ = await self._queries.answer(lambda: self._stores.current().statistics(), False)
            statistics = StoreStatistics(**orjson.loads(body))
        except ApiError as error:
            problem = error.message
        told = status.health(self._service, statistics, "memory" if path is None else "sqlite", str(path or ""))
        if problem:
            told["status"] = "degraded"
            told["problems"].append({"component": "extensions/ui", "problem": problem})
        return exchange.json_answer(orjson.dumps(told))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        query = answers.query_of(read_query(parameters.STREAM, request.query))
        return await self._live.serve(request, selects(query))

    async def _open_session(self, request: web.Request) -> web.StreamResponse:
        read_query((), request.query)
        token = await exchange.token_of(request)
        response = web.Response(status=204)
        if self._access.needs_token:
            if not self._access.is_token(token):
                raise ApiError(401, "unauthorized", "token: this is not the token of extensions.ui.token", "token")
            response.set_cookie(
                self._access.cookie,
                self._access.new_session(),
                max_age=SESSION_SECONDS,
                httponly=True,
                samesite="Strict",
                secure=self._access.is_secure,
            )
        return response

    async def _close_session(self, request: web.Request) -> web.StreamResponse:
        read_query((), request.query)
        response = web.Response(status=204)
        response.del_cookie(self._access.cookie, httponly=True, samesite="Strict", secure=self._access.is_secure)
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return await self._file(request, INDEX)

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        return await self._file(request, request.match_info["name"])

    async def _file(self, request: web.Request, name: str) -> web.StreamResponse:
        if not self._assets:
            self._assets = await asyncio.to_thread(load_assets)
        found = self._assets.get(name)
        if found is None:
            is_page = name == INDEX
            raise ApiError(404, "no_page" if is_page else "not_found", MISSING if is_page else "there is no such file")
        headers = {"ETag": found.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == found.etag:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = found.type
        if exchange.accepts_gzip(request):
            return web.Response(body=found.compressed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=found.content, headers=headers)
