"""The traces that an exporter sends besides logs: one for each finding in a batch that asks for it (`emit_traces`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.exporting.reencode import PROTO, reencode
from tapio_otel.exporting.signal import Signal
from tapio_otel.notices import Notices

_type_of = attrgetter("type")


class FindingTraces:
    """Make export requests of findings, in a thread: one with a thousand members takes some time."""

    def __init__(self, encoding: str, max_bytes: int, notices: Notices) -> None:
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._notices = notices
        self._base: dict[str, Any] | None = None

    async def requests(self, events: Sequence[UnifiedEvent]) -> list[bytes]:
        """Return the requests of a batch; none for most, at the cost of a look at each event's type."""
        if EventType.CORRELATION not in map(_type_of, events):
            return []
        from tapio_otel.otlp.spans import has_trace

        findings = [event for event in events if has_trace(event)]
        return await asyncio.to_thread(self._made, findings) if findings else []

    def _made(self, findings: Sequence[UnifiedEvent]) -> list[bytes]:
        from tapio_otel.otlp.mapping import host_resource
        from tapio_otel.otlp.spans import trace_requests

        if self._base is None:
            self._base = host_resource()
        bodies: list[bytes] = []
        for finding in findings:
            try:
                bodies += trace_requests(finding, self._base, self._max_bytes)
            except Exception as error:  # the finding goes out as a log all the same
                self._notices.warn("trace", f"finding {finding.id} makes no trace: {type(error).__name__}: {error}")
        return [reencode(body, PROTO, self._encoding, Signal.TRACES) for body in bodies]
