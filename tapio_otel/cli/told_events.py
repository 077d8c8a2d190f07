"""Where `tapio events` and `tapio top` read: a running agent's API, or a store's file without one.

Both give the same: events in pages, findings, and events as they come. Nothing here is in a hurry: one request at a time.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.event_json import EventFormatError, from_dict

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:8321"
TOKEN_VARIABLE: Final = "TAPIO_UI_TOKEN"  # noqa: S105 - a name
ANSWER_SECONDS: Final = 15.0
STREAM_SECONDS: Final = 60.0
"""Seconds of silence after which a stream counts as cut; the agent says something every 15 s."""
POLL_SECONDS: Final = 1.0
LOOK_BACK: Final = 60 * 1_000_000_000
"""How much earlier an event may have happened than another that was stored before it, and still be told."""
FINDINGS_FOLLOWED: Final = 100
MOST_REMEMBERED: Final = 50_000

Filters = Mapping[str, str | tuple[str, ...]]
Told = tuple[str, UnifiedEvent | int]
"""An `event` or `finding` with the event, or `lost` with how many."""

_ANSWERED: Final = {"health": "store"}
"""What an agent's answer has in it; else what the path is called."""


class ReadError(Exception):
    """Report that nothing can be read: where, why, what to do."""


class Origin(Protocol):
    """Give events."""

    def events(self, filters: Filters, limit: int) -> list[UnifiedEvent]:
        """Return the newest events, the oldest of them first."""

    def findings(self, limit: int) -> list[UnifiedEvent]:
        """Return the newest findings first."""

    def follow(self, filters: Filters, limit: int) -> Iterator[Told]:
        """Yield the newest events, then those that come, without end."""


class RunningAgent:
    """Read from the API of a running agent's extension `ui`."""

    def __init__(self, endpoint: str) -> None:
        if urlsplit(endpoint).scheme not in {"http", "https"}:
            raise ReadError(f"--endpoint {endpoint!r}: write a URL such as {DEFAULT_ENDPOINT}")
        self._base = endpoint.rstrip("/") + "/api/v1/"
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl.create_default_context())
        )

    def _open(self, path: str, filters: Filters, seconds: float, headers: Mapping[str, str]) -> IO[bytes]:
        """Return the answer's body; raises `ReadError`."""
        query = urlencode({key: value for key, value in filters.items() if value}, doseq=True, quote_via=quote)
        token = os.environ.get(TOKEN_VARIABLE)
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self._base}{path}?{query}", headers={**headers, **shown})  # noqa: S310 - checked
        try:
            body: IO[bytes] = self._opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            raise ReadError(f"{self._base}: {_refusal(error)}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ReadError(
                f"no agent answers at {self._base}: {reason}. Does one run with the extension ui? "
                "--endpoint names another address, --store PATH reads a store's file"
            ) from None
        return body

    def ask(self, path: str, filters: Filters | None = None) -> Any:
        """Return the JSON of a path; raises `ReadError`."""
        try:
            with self._open(path, filters or {}, ANSWER_SECONDS, {}) as body:
                answer = json.load(body)
        except (OSError, ValueError, HTTPException) as error:
            raise ReadError(f"{self._base}{path}: the answer cannot be read: {error}") from None
        if not isinstance(answer, dict) or _ANSWERED.get(path, path) not in answer:
            raise ReadError(f"{self._base}{path}: what answers there is no agent: --endpoint names another address")
        return answer

    def events(self, filters: Filters, limit: int) -> list[UnifiedEvent]:
        """Return the newest events, the oldest of them first."""
        found: list[UnifiedEvent] = []
        cursor = ""
        while len(found) < limit:
            answer = self.ask("events", {**filters, "limit": str(min(limit - len(found), 1000)), "cursor": cursor})
            found += _events(answer["events"])
            cursor = answer["next"] or ""
            if not cursor:
                break
        return found[::-1]

    def findings(self, limit: int) -> list[UnifiedEvent]:
        """Return the newest findings first."""
        return _events(self.ask("findings", {"limit": str(limit)})["findings"])

    def follow(self, filters: Filters, limit: int) -> Iterator[Told]:
        """Yield the newest events, then those that come; a connection that is cut is made anew."""
        asked = {key: value for key, value in filters.items() if key not in {"since", "until"}}
        seen: dict[str, Any] = {}
        last_id, is_first = "", True
        while True:
            with suppress(OSError, HTTPException):
                headers = {"Last-Event-ID": last_id} if last_id else {}
                with self._stream(asked, headers, is_first) as body:
                    if is_first:
                        is_first = False
                        for event in self.events(filters, limit):
                            seen[event.id] = event.get("revision")
                            yield "event", event
                    for id, name, content in _messages(body, last_id):
                        last_id = id
                        yield from _unseen(name, content, seen)
            time.sleep(POLL_SECONDS)

    def _stream(self, filters: Filters, headers: Mapping[str, str], is_first: bool) -> IO[bytes]:
        try:
            return self._open("stream", filters, STREAM_SECONDS, headers)
        except ReadError as error:
            if is_first:
                raise
            raise OSError(str(error)) from None


def _refusal(error: urllib.error.HTTPError) -> str:
    """Return what the agent refused, in its words."""
    if error.code == 401:
        return f"a token is needed: put it into the environment variable {TOKEN_VARIABLE}"
    try:
        return str(json.load(error)["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}: is this an agent's address?"


def _messages(body: IO[bytes], id: str) -> Iterator[tuple[str, str, Any]]:
    """Yield id, name and content of Server-Sent Events until the stream ends."""
    name, content = "", ""
    for raw in body:
        field, _, value = raw.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
        if field == "id":
            id = value
        elif field == "event":
            name = value
        elif field == "data":
            content += value
        elif not field and content:
            with suppress(ValueError):
                yield id, name, json.loads(content)
            name, content = "", ""


def _unseen(name: str, content: Any, seen: dict[str, Any]) -> Iterator[Told]:
    if name == "lost":
        yield "lost", int(content["count"])
        return
    for event in _events([content]):
        revision = event.get("revision")
        if event.id in seen and seen[event.id] == revision:
            continue
        _remember(seen, event.id, revision)
        yield name, event


def _remember(seen: dict[str, Any], id: str, revision: Any) -> None:
    seen[id] = revision
    if len(seen) > MOST_REMEMBERED:
        del seen[next(iter(seen))]


def _events(contents: list[Any]) -> list[UnifiedEvent]:
    found = []
    for content in contents:
        with suppress(EventFormatError):
            found.append(from_dict(content))
    return found


class StoreFile:
    """Read from a store's file, whether an agent writes it or not."""

    def __init__(self, path: str) -> None:
        from tapio_otel.event_store import EventStore

        self.store = EventStore(Path(path))

    def _query(self, filters: Filters, limit: int, **more: Any) -> Any:
        from tapio_otel.event_store import EventQuery, EventQueryError
        from tapio_otel.event_store.query import EVER
        from tapio_otel.extensions.ui.moments import parse_moment

        def moment(name: str, default: int) -> int:
            try:
                return parse_moment(str(filters[name]), time.time_ns()) if filters.get(name) else default
            except ValueError as error:
                raise ReadError(f"--{name} {filters[name]!r}: {error}") from None

        severity = str(filters.get("severity") or "")
        try:
            return EventQuery(
                moment("since", 0),
                moment("until", EVER),
                tuple(filters.get("type") or ()),
                Severity.from_keyword(severity) if severity else None,
                entity=str(filters.get("entity") or ""),
                trace_id=str(filters.get("trace_id") or ""),
                source=str(filters.get("source") or ""),
                text=str(filters.get("text") or ""),
                limit=limit,
                **more,
            )
        except EventQueryError as error:
            raise ReadError(str(error)) from None

    def events(self, filters: Filters, limit: int) -> list[UnifiedEvent]:
        """Return the newest events, the oldest of them first."""
        found: list[UnifiedEvent] = []
        cursor = ""
        while len(found) < limit:
            page = self._asked(self._query(filters, min(limit - len(found), 1000), cursor=cursor))
            found += [one.event for one in page.items]
            cursor = page.next
            if not cursor:
                break
        return found[::-1]

    def _asked(self, query: Any) -> Any:
        from tapio_otel.event_store import EventQueryError, EventStoreError

        try:
            return self.store.events(query)
        except (EventStoreError, EventQueryError) as error:
            raise ReadError(str(error)) from None

    def findings(self, limit: int) -> list[UnifiedEvent]:
        """Return the newest findings first."""
        from tapio_otel.event_store import EventStoreError

        try:
            return self.store.findings(limit=limit)
        except EventStoreError as error:
            raise ReadError(str(error)) from None

    def follow(self, filters: Filters, limit: int) -> Iterator[Told]:
        """Yield the newest events, then those that are written, looking for them every second."""
        asked = self._query({**filters, "since": "", "until": ""}, 1000, order="asc")
        latest = self.events(filters, 1)
        newest = latest[-1].timestamp if latest else time.time_ns()
        seen: dict[str, Any] = {}
        for event in self._written(asked, newest - LOOK_BACK):  # what is there already is not news
            _remember(seen, event.id, event.get("revision"))
        for event in self.events(filters, limit):
            _remember(seen, event.id, event.get("revision"))
            yield "event", event
        while True:
            time.sleep(POLL_SECONDS)
            for event in self._written(asked, newest - LOOK_BACK):
                newest = max(newest, event.timestamp)
                if event.id not in seen or seen[event.id] != event.get("revision"):
                    _remember(seen, event.id, event.get("revision"))
                    yield "event", event

    def _written(self, asked: Any, since_ns: int) -> Iterator[UnifiedEvent]:
        """Yield events that happened lately, and the latest findings: these are as old as their root cause."""
        from tapio_otel.extensions.ui.selection import selects

        cursor: str | None = ""
        while cursor is not None:
            page = self._asked(replace(asked, since_ns=since_ns, cursor=cursor))
            yield from (one.event for one in page.items)
            cursor = page.next or None
        yield from filter(selects(asked), self.findings(FINDINGS_FOLLOWED))
