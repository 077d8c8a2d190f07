"""What a finding brings for exporters that send traces, and for nobody else: the event JSON of all of its members.

A finding may have a thousand members with descriptions of a megabyte each. Whoever shows, writes or keeps findings as events
takes them `without_members`: those events were told one by one.
"""

from __future__ import annotations

from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.otlp.semconv import EMIT_TRACE


def without_members(event: UnifiedEvent) -> UnifiedEvent:
    """Return an event as it is shown: itself, or a copy of a finding that brings its members."""
    if event.type != EventType.CORRELATION or event.get(EMIT_TRACE) is None:
        return event
    shown = event.copy()
    if shown.shared is None or EMIT_TRACE in shown.shared.attributes:
        shown.attributes.pop(EMIT_TRACE, None)
    else:
        shown.own.pop(EMIT_TRACE, None)
    return shown
