"""The live stream: events as they pass, by Server-Sent Events (HTML Living Standard, 9.2).

Every stream reads from shared rings at its own pace, so that one that is slow takes no memory and makes nobody wait: it loses
events and is told how many by an event `lost`. Findings have a ring of their own, which no flood of log lines empties. An id
goes with every message; who comes back with it as Last-Event-ID gets what passed meanwhile, as far as it is still kept.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from tapio_otel.entities.bounded import Bounded
from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.event_json import EventFormatError, to_json
from tapio_otel.extensions.ui.errors import ApiError
from tapio_otel.extensions.ui.ring import Ring
from tapio_otel.extensions.ui.selection import Selects
from tapio_otel.otlp.members import without_members

MOST_EVENTS: Final = 8192
MOST_BYTES: Final = 16 * 1024**2
MOST_FINDINGS: Final = 512
PAUSE: Final = 0.1
"""Seconds between two writes: what comes meanwhile goes out at once."""
LOOKED_AT: Final = 2048
"""Events looked at for each write."""
LOOKED_AT_BYTES: Final = 128 * 1024
"""Bytes of messages after which the event loop goes on to others."""
WRITTEN: Final = 250
"""Events of one write."""
WRITTEN_BYTES: Final = 1024 * 1024
TEXTS_KEPT: Final = 1024
"""Messages that are kept as they are sent, so that many streams cost the event loop little more than one."""
LONGEST_KEPT: Final = 16 * 1024
KEEP_ALIVE: Final = 15.0
STUCK_SECONDS: Final = 60.0
"""Seconds after which a client that takes nothing is left."""
_ID = re.compile(r"([0-9a-f]{8})-(\d{1,18})-(\d{1,18})", re.ASCII)


@dataclass(slots=True)
class Place:
    """Say how far a stream has come: the numbers of the next event and the next finding."""

    event: int
    finding: int


class LiveEvents:
    """Keep what passed last, and serve streams of it."""

    def __init__(self, max_streams: int) -> None:
        self._run = secrets.token_hex(4)
        self._events = Ring(MOST_EVENTS, MOST_BYTES)
        self._findings = Ring(MOST_FINDINGS, MOST_BYTES)
        self._max_streams = max_streams
        self._texts: Bounded[tuple[str, int], bytes] = Bounded(TEXTS_KEPT)
        self._streams = 0
        self._is_closing = False

    def add(self, events: Sequence[UnifiedEvent]) -> None:
        """Take events that left a pipeline."""
        findings = [event for event in events if event.type == EventType.CORRELATION]
        if findings:
            self._findings.add(findings)
            events = [event for event in events if event.type != EventType.CORRELATION]
        self._events.add(events)
        if findings:
            self._events.wake()

    async def serve(self, request: web.Request, is_meant: Selects) -> web.StreamResponse:
        """Stream to one client until it goes or the server closes."""
        if self._streams >= self._max_streams:
            said = f"{self._max_streams} streams are open: close one, or raise extensions.ui.max_streams"
            raise ApiError(503, "busy", said, headers={"Retry-After": "5"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        self._streams += 1
        try:
            await response.prepare(request)
            await self._stream(response, self._place(request.headers.get("Last-Event-ID", "")), is_meant)
        except (ConnectionError, TimeoutError):
            pass  # the client is gone, or takes nothing
        finally:
            self._streams -= 1
        return response

    def close(self) -> None:
        """Let every stream end."""
        self._is_closing = True
        self._events.wake()

    async def _stream(self, response: web.StreamResponse, place: Place, is_meant: Selects) -> None:
        await self._write(response, f"retry: 2000\nid: {self._id(place)}\n: connected\n\n".encode())
        while not self._is_closing:
            messages = self._next(place, is_meant)
            if messages:
                await self._write(response, messages)
                await asyncio.sleep(PAUSE)
            elif self._is_behind(place):
                await asyncio.sleep(0)
            else:
                await self._wait(response, place)

    async def _wait(self, response: web.StreamResponse, place: Place) -> None:
        """Wait for news, with a sign of life now and then."""
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                await self._events.news()
        except TimeoutError:
            await self._write(response, f"id: {self._id(place)}\n: keep-alive\n\n".encode())
        else:
            await asyncio.sleep(PAUSE)

    @staticmethod
    async def _write(response: web.StreamResponse, content: bytes) -> None:
        async with asyncio.timeout(STUCK_SECONDS):
            await response.write(content)

    def _is_behind(self, place: Place) -> bool:
        return place.event < self._events.end or place.finding < self._findings.end

    def _place(self, last_id: str) -> Place:
        """Return where a stream begins: now, or after what a client has got."""
        if not last_id:
            return Place(self._events.end, self._findings.end)
        match = _ID.fullmatch(last_id)
        if match is None or match[1] != self._run:  # of an agent that ran before this one: all is new to that client
            return Place(0, 0)
        return Place(min(int(match[2]), self._events.end), min(int(match[3]), self._findings.end))

    def _id(self, place: Place) -> str:
        return f"{self._run}-{place.event}-{place.finding}"

    def _next(self, place: Place, is_meant: Selects) -> bytes:
        """Return the next messages, moving the place on."""
        lost, findings, stop = self._findings.since(place.finding, WRITTEN)
        gone, events, end = self._events.since(place.event, LOOKED_AT)
        place.finding, place.event = stop - len(findings), end - len(events)
        messages: list[bytes] = []
        if lost + gone:
            messages.append(f'event: lost\nid: {self._id(place)}\ndata: {{"count":{lost + gone}}}\n\n'.encode())
        for finding in findings:
            place.finding += 1
            if is_meant(finding):
                messages += self._message("finding", finding, place)
        size = looked_at = 0
        for event in events:
            if looked_at >= LOOKED_AT_BYTES:
                break
            looked_at += len(event.title) + len(event.description)
            place.event += 1
            if is_meant(event):
                messages += self._message("event", event, place)
                size += len(messages[-1]) if messages else 0
                if len(messages) >= 2 * WRITTEN or size >= WRITTEN_BYTES:
                    break
        return b"".join(messages)

    def _message(self, name: str, event: UnifiedEvent, place: Place) -> list[bytes]:
        number = place.finding if name == "finding" else place.event
        text = self._texts.get((name, number))
        if text is None:
            text = self._text(event)
            if len(text) <= LONGEST_KEPT:
                self._texts.keep((name, number), text)
        return [f"event: {name}\nid: {self._id(place)}\ndata: ".encode() + text + b"\n\n"] if text else []

    @staticmethod
    def _text(event: UnifiedEvent) -> bytes:
        """Return an event's JSON, empty for one that no JSON can hold."""
        try:
            return to_json(without_members(event))
        except EventFormatError:
            return b""
