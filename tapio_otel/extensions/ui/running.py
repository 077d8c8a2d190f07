"""All that the extension has while it runs; a module of its own as it needs the HTTP server, which is heavy to import."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from tapio_otel.component import ComponentContext, ComponentError
from tapio_otel.event import UnifiedEvent
from tapio_otel.extensions.ui.access import Access
from tapio_otel.extensions.ui.config import UiConfig
from tapio_otel.extensions.ui.errors import ApiError
from tapio_otel.extensions.ui.listening import Listening, problem_of
from tapio_otel.extensions.ui.live import LiveEvents
from tapio_otel.extensions.ui.memory_store import MemoryStore
from tapio_otel.extensions.ui.queries import Queries
from tapio_otel.extensions.ui.routes import Routes
from tapio_otel.extensions.ui.server import UiServer
from tapio_otel.extensions.ui.store_access import Stores

LOOK_SECONDS: Final = 1.0
"""Seconds after which it is looked again whether there is a store now: it comes and goes with a reload only."""


class RunningUi:
    """Hold the server and what it shows."""

    def __init__(self, config: UiConfig, context: ComponentContext, own_names: Collection[str] = ()) -> None:
        service = context.service
        self._memory = MemoryStore(config.memory_events)
        self._stores = Stores(service.exporters if service is not None else dict, config.store, self._memory)
        self._live = LiveEvents(config.max_streams)
        self._queries = Queries(config.max_queries, config.query_timeout)
        self._server = UiServer(config, context.notices)
        self._endpoint, self._option = config.listens_on, f"extensions.{context.id}.endpoint"
        self._listening = Listening(self._endpoint, self._option, self._server.listen, context.report, context.log)
        self._routes = Routes(
            Access(config, own=own_names),
            self._stores,
            self._live,
            self._queries,
            service,
            config.trace_url,
            context.notices,
            self._server.connections.has_room,
        )
        self._looked = -LOOK_SECONDS
        self._in_memory = True

    @property
    def port(self) -> int:
        """Return the port in use."""
        return self._server.port

    @property
    def is_listening(self) -> bool:
        """Tell whether the page can be reached."""
        return self._server.is_listening

    async def start(self, listens: Callable[[], None]) -> None:
        """Listen, now or as soon as the port is free, and then call `listens`; raises `ComponentError`."""
        await self._server.prepare(self._routes.application())
        try:
            await self._listening.start(listens)
        except OSError as error:
            raise ComponentError(problem_of(error, self._endpoint, self._option, "")) from error

    def take(self, events: Sequence[UnifiedEvent]) -> None:
        """Take events that left a pipeline."""
        self._live.add(events)
        if self._keeps_in_memory():
            self._memory.add(events)

    def _keeps_in_memory(self) -> bool:
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            try:
                self._in_memory = self._stores.path() is None
            except ApiError:
                self._in_memory = False
            if not self._in_memory:
                self._memory.clear()
        return self._in_memory

    async def stop(self) -> None:
        """Stop listening, end streams and queries."""
        await self._listening.stop()
        self._live.close()
        await self._server.stop()
        self._queries.close()
        self._stores.close()
