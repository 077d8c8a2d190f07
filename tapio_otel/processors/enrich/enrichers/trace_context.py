"""trace_context: ties an event without a trace to the one that its attributes name, those that enrichment added among them.

For pipelines without the processor `trace_context`, which reads texts as well and tells what it refuses. The forms are the
same: `trace_id` with `span_id`, `uber-trace-id`, `traceparent` and the others.
"""

from __future__ import annotations

from typing import Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.event import UnifiedEvent
from tapio_otel.trace_context import NAMES, find, mentioned

_FLAGS: Final = "trace_flags"
_SOURCE: Final = "tapio.trace.source"


class TraceContextEnricher(Enricher):
    """Set trace id, span id and flags of events that have no trace id."""

    reads = frozenset(NAMES)

    def __init__(self, _context: EnricherContext, _options: object) -> None:
        """Take no options."""

    def enrich(self, subject: Subject) -> None:
        """Look at each event of an origin whose attributes name a trace."""
        if not self.reads.isdisjoint(subject.attributes):
            subject.ask_for_each()

    def enrich_event(self, event: UnifiedEvent) -> None:
        """Tie one event to its trace; what breaks its form stays as it is."""
        if event.trace_id:
            return
        found = find(mentioned(event.view().attributes), _ignore, None)
        if found is None:
            return
        context = found.context
        event.trace_id, event.span_id = context.trace_id, context.span_id
        event.set(_SOURCE, found.form)
        if context.flags is not None:
            event.set(_FLAGS, context.flags)


def _ignore(_form: str, _reason: str) -> None:
    """Leave the counting to the processor."""
