"""Queries in threads: at most so many at once, so that the event loop, which carries the pipelines, never waits for one.

A query that takes too long is answered for with an error; its thread ends with the store's own deadline.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import orjson

from tapio_otel.event_json import EventFormatError
from tapio_otel.event_store import EventQueryError, EventStoreError
from tapio_otel.extensions.ui.errors import ApiError

COMPRESSED_FROM: Final = 4096
"""Bytes from which an answer is compressed for who accepts that."""
WAITING_FOR_EACH: Final = 16
"""Queries that may wait for each that runs; more are sent away."""


class Queries:
    """Run blocking functions in threads and encode what they return."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self._threads = ThreadPoolExecutor(at_once, "ui query")
        self._seconds = seconds
        self._most = at_once * (1 + WAITING_FOR_EACH)
        self._under_way = 0

    async def answer(self, ask: Callable[[], Any], compressed: bool) -> tuple[bytes, bool]:
        """Return the JSON of what a function returns, and whether it is compressed; raises `ApiError`."""
        if self._under_way >= self._most:
            raise ApiError(503, "busy", "too many queries wait: try again", headers={"Retry-After": "1"})
        self._under_way += 1
        work = asyncio.get_running_loop().run_in_executor(self._threads, _encoded, ask, compressed)
        work.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(work)
        except TimeoutError:
            work.cancel()  # of use as long as it has not begun
            raise ApiError(
                503, "timeout", f"the query did not end within {self._seconds:g} s: ask for a shorter time or fewer events"
            ) from None

    def _ended(self, work: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not work.cancelled():
            work.exception()

    def close(self) -> None:
        """Let what waits go; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _encoded(ask: Callable[[], Any], compressed: bool) -> tuple[bytes, bool]:
    try:
        body = orjson.dumps(ask())
    except EventQueryError as error:
        raise ApiError(400, "invalid_parameter", str(error), error.field) from None
    except EventStoreError as error:
        raise ApiError(503, "store_unavailable", str(error)) from None
    except (EventFormatError, orjson.JSONEncodeError) as error:
        raise ApiError(500, "not_json", f"what was found cannot be told in JSON: {error}") from None
    if compressed and len(body) >= COMPRESSED_FROM:
        return gzip.compress(body, 3), True
    return body, False
