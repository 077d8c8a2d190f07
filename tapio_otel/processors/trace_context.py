"""trace_context: ties an event to the trace that its attributes, journal fields or text name.

Reads, in this order, `trace_id` (with `span_id` and `trace_flags`), `uber-trace-id`, `traceparent`, B3 (`b3`, or
`x-b3-traceid` with `x-b3-spanid`, `x-b3-sampled`, `x-b3-flags`), Datadog's `dd.trace_id` (with `dd.span_id`), AWS X-Ray's
`x-amzn-trace-id` and Google Cloud's (`logging.googleapis.com/trace`, `x-cloud-trace-context`), each also by its name as a
journal field (`TRACE_ID`, `UBER_TRACE_ID`, `X_B3_TRACEID`, `DD_TRACE_ID` …). The text of an event that names no trace so is
searched for the same forms: in JSON, in logfmt, in sentences (`trace_id=…`, `traceId: …`, `traceparent: …`), and in the
brackets of Spring, `[app,trace,span]`.

Sets the event's trace id and span id, the attribute `trace_flags` (a number) and the attribute `tapio.trace.source`, which says
where the trace id came from: `attribute`, `uber-trace-id`, `traceparent`, `b3`, `datadog`, `xray` or `google`, and from text
`text.trace_id`, `text.traceparent` …, `text.spring`. Where two name different traces, the first in that order wins.

Guarantees: a trace id or span id that leaves this processor is valid. One that a receiver has set is kept unless it is
invalid. A value that breaks its specification is left out, stays visible as the attribute it was, and is counted as
`refused` with its `form` and `reason`; that counts values, not events: no event is dropped. Of a text the first 16 KiB are
searched, in linear time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from pydantic import Field

from tapio_otel.component import ComponentConfig, ComponentContext, Processor, Stability
from tapio_otel.event import Origin, UnifiedEvent
from tapio_otel.trace_context import (
    GIVEN,
    NAMES,
    Found,
    InvalidSpanContext,
    SpanContext,
    find,
    mentioned,
    parse_span_id,
    parse_trace_id,
)
from tapio_otel.trace_text import find_in_text

FLAGS_KEY: Final = "trace_flags"
SOURCE_KEY: Final = "tapio.trace.source"
_KEY: Final = "tapio_otel.processors.trace_context"


class TraceContextConfig(ComponentConfig):
    """Be the options of `trace_context`."""

    remove: bool = Field(
        False,
        description="Remove the attributes that a span context was read from, once it is the event's own. Wrong values stay.",
    )
    from_text: bool = Field(
        True,
        description="Search the description of an event for a span context where its attributes name no trace.",
    )


class TraceContextProcessor(Processor[TraceContextConfig]):
    """Set trace id, span id and flags from what an event's attributes say."""

    type = "trace_context"
    Config = TraceContextConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: TraceContextConfig) -> None:
        super().__init__(context, config)
        self._refused: Counter[tuple[str, str]] = Counter()

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Tie the events to their traces, in place; returns the same list."""
        origin: Origin | None = None
        shared: dict[str, Any] | None = None  # what the origin at hand mentions; None for an event without one
        nothing_in, from_text, refuse = NAMES.isdisjoint, self.config.from_text, self._refuse
        for event in events:
            if event.shared is not origin:
                origin = event.shared
                shared = None if origin is None else origin.cache[_KEY] if _KEY in origin.cache else _mentioned_by(origin)
            if shared or event.trace_id or event.span_id or origin is None or (event.own and not nothing_in(event.own)):
                self._settle(event, mentioned(event.attributes) if shared is None else {**shared, **mentioned(event.own)})
            if from_text and not event.trace_id and isinstance(event.description, str):
                found = find_in_text(event.description, refuse)
                if found is not None:
                    _set(event, found)
        if self._refused:
            self._count()
        return events

    def _settle(self, event: UnifiedEvent, attributes: dict[str, Any]) -> None:
        given = self._given(event)
        found = find(attributes, self._refuse, given) if attributes else None
        if found is not None:
            _set(event, found)
            if self.config.remove:
                _remove(event, found.names)

    def _given(self, event: UnifiedEvent) -> SpanContext | None:
        """Return the ids the event came with; what is invalid of them is taken from it."""
        if event.trace_id:
            event.trace_id = self._checked(parse_trace_id, event.trace_id, "trace_id")
        if event.span_id:  # which says nothing without a trace
            event.span_id = self._checked(parse_span_id, event.span_id, "span_id") if event.trace_id else ""
        return SpanContext(event.trace_id, event.span_id) if event.trace_id else None

    def _checked(self, parse: Callable[[str], str], text: str, form: str) -> str:
        try:
            return parse(text)
        except InvalidSpanContext as error:
            self._refuse(form, error.reason)
            return ""

    def _refuse(self, form: str, reason: str) -> None:
        self._refused[form, reason] += 1

    def _count(self) -> None:
        for (form, reason), amount in self._refused.items():
            self.context.counters.add("refused", amount, form=form, reason=reason)
        self._refused.clear()


def _mentioned_by(origin: Origin) -> dict[str, Any]:
    names = origin.cache[_KEY] = mentioned(origin.attributes)
    return names


def _set(event: UnifiedEvent, found: Found) -> None:
    context = found.context
    event.trace_id, event.span_id = context.trace_id, context.span_id
    if found.form != GIVEN:
        event.set(SOURCE_KEY, found.form)
    if context.flags is not None:
        event.set(FLAGS_KEY, context.flags)


def _remove(event: UnifiedEvent, names: tuple[str, ...]) -> None:
    for name in names:
        if name == FLAGS_KEY:  # by now the number that was read from it
            continue
        if event.shared is None or name in event.shared.attributes:
            event.attributes.pop(name, None)
        else:
            event.own.pop(name, None)
