"""The search for a span context among attributes, by the names of fields, headers and journal fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tapio_otel.trace_context.headers import (
    parse_b3,
    parse_cloud_trace_context,
    parse_google_trace,
    parse_traceparent,
    parse_uber_trace_id,
    parse_xray,
)
from tapio_otel.trace_context.span_context import (
    InvalidSpanContext,
    SpanContext,
    parse_b3_span_id,
    parse_b3_trace_id,
    parse_datadog_span_id,
    parse_datadog_trace_id,
    parse_sampled,
    parse_span_id,
    parse_trace_flags,
    parse_trace_id,
)

_LONGEST: Final = 512  # bytes of a value that are looked at
_HALF: Final = 16


class Found(NamedTuple):
    """Tell a span context, the form it was written in, and the attributes it was read from."""

    context: SpanContext
    form: str
    names: tuple[str, ...]


Refuse = Callable[[str, str], None]
"""Told the form and the reason of each value left out."""

GIVEN: Final = "given"
ATTRIBUTE: Final = "attribute"
UBER_TRACE_ID: Final = "uber-trace-id"
TRACEPARENT: Final = "traceparent"
B3: Final = "b3"
DATADOG: Final = "datadog"
XRAY: Final = "xray"
GOOGLE: Final = "google"


class _Field(NamedTuple):
    """Say by what names a value goes, what reads it, and what form is counted where it is wrong."""

    form: str
    names: tuple[str, ...]
    parse: Callable[[Any], Any]


class _Ids(NamedTuple):
    """Say in which fields a form has its trace id, span id and flags, each of its own."""

    form: str
    trace: _Field
    span: _Field
    flags: tuple[_Field, ...] = ()


_OWN: Final = _Ids(
    ATTRIBUTE,
    _Field("trace_id", ("trace_id", "TRACE_ID"), parse_trace_id),
    _Field("span_id", ("span_id", "SPAN_ID"), parse_span_id),
    (_Field("trace_flags", ("trace_flags", "TRACE_FLAGS"), parse_trace_flags),),
)
_B3_IDS: Final = _Ids(
    B3,
    _Field(B3, ("x-b3-traceid", "X-B3-TraceId", "X_B3_TRACEID"), parse_b3_trace_id),
    _Field(B3, ("x-b3-spanid", "X-B3-SpanId", "X_B3_SPANID"), parse_b3_span_id),
    (
        _Field(B3, ("x-b3-flags", "X-B3-Flags", "X_B3_FLAGS"), lambda value: parse_sampled(value) or None),  # 1 is debug
        _Field(B3, ("x-b3-sampled", "X-B3-Sampled", "X_B3_SAMPLED"), parse_sampled),
    ),
)
_DATADOG_IDS: Final = _Ids(
    DATADOG,
    _Field(DATADOG, ("dd.trace_id", "dd_trace_id", "DD_TRACE_ID"), parse_datadog_trace_id),
    _Field(DATADOG, ("dd.span_id", "dd_span_id", "DD_SPAN_ID"), parse_datadog_span_id),
)
_GOOGLE_IDS: Final = _Ids(
    GOOGLE,
    _Field(GOOGLE, ("logging.googleapis.com/trace",), parse_google_trace),
    _Field(GOOGLE, ("logging.googleapis.com/spanId",), parse_span_id),
    (_Field(GOOGLE, ("logging.googleapis.com/trace_sampled",), parse_sampled),),
)
_UBER_HEADER: Final = _Field(UBER_TRACE_ID, ("uber-trace-id", "UBER_TRACE_ID"), parse_uber_trace_id)
_PARENT_HEADER: Final = _Field(TRACEPARENT, ("traceparent", "TRACEPARENT"), parse_traceparent)
_B3_HEADER: Final = _Field(B3, ("b3", "B3"), parse_b3)
_XRAY_HEADER: Final = _Field(XRAY, ("x-amzn-trace-id", "X-Amzn-Trace-Id", "X_AMZN_TRACE_ID", "_X_AMZN_TRACE_ID"), parse_xray)
_GOOGLE_HEADER: Final = _Field(
    GOOGLE, ("x-cloud-trace-context", "X-Cloud-Trace-Context", "X_CLOUD_TRACE_CONTEXT"), parse_cloud_trace_context
)
_ORDER: Final[tuple[_Ids | _Field, ...]] = (
    *(_OWN, _UBER_HEADER, _PARENT_HEADER, _B3_HEADER, _B3_IDS, _DATADOG_IDS, _XRAY_HEADER, _GOOGLE_IDS, _GOOGLE_HEADER),
)
_NUMBERS: Final = frozenset((parse_trace_flags, parse_datadog_trace_id, parse_datadog_span_id))
_DECISIONS: Final = frozenset(field.parse for ids in (_B3_IDS, _GOOGLE_IDS) for field in ids.flags)


def _fields(form: _Ids | _Field) -> tuple[_Field, ...]:
    return (form.trace, form.span, *form.flags) if isinstance(form, _Ids) else (form,)


NAMES: Final = frozenset(name for form in _ORDER for field in _fields(form) for name in field.names)
"""The attributes that `find` reads, by their own names and by those of journal fields."""
_PLACES: Final = {name: place for place, form in enumerate(_ORDER) for field in _fields(form) for name in field.names}


def mentioned(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the attributes that `find` reads: none, for most events."""
    return {name: attributes[name] for name in NAMES.intersection(attributes)}


def find(attributes: Mapping[str, Any], refuse: Refuse, given: SpanContext | None = None) -> Found | None:
    """Return the span context that attributes tell: the first valid one of the forms in their order.

    The order is trace_id, uber-trace-id, traceparent, B3 (one header, then several), Datadog, X-Ray, Google. What the first
    leaves open (a span id, flags) is taken from a later one of the same trace; a later one of another trace is refused. What
    is `given`, known from elsewhere, comes before all of them; a `span_id` without a `trace_id` is its.
    """
    found = None if given is None else Found(given, GIVEN, ())
    places = {_PLACES[name] for name in attributes if name in _PLACES}
    for place in sorted(places) if len(places) > 1 else places:
        later = _candidate(_ORDER[place], attributes, refuse, given.trace_id if given else "")
        found = found if later is None else joined(found, later, refuse)
    return found


def joined(found: Found | None, later: Found, refuse: Refuse) -> Found:
    """Return what was found first, completed by a later one of the same trace; one of another trace is refused."""
    if found is None:
        return later
    if _same_trace(found.context.trace_id, later.context.trace_id):
        return _completed(found, later)
    refuse(later.form, "conflict")
    return found


def _same_trace(one: str, other: str) -> bool:
    """Return whether two ids name one trace, of which one may be told by its lower 64 bits only (B3, Datadog)."""
    if one == other:
        return True
    halved = "0" * _HALF in (one[:_HALF], other[:_HALF])
    return halved and one[_HALF:] == other[_HALF:]


def _candidate(form: _Ids | _Field, attributes: Mapping[str, Any], refuse: Refuse, known: str) -> Found | None:
    if isinstance(form, _Field):
        header = _read(attributes, refuse, form)
        return None if header is None else Found(header[0], form.form, (header[1],))
    trace = _read(attributes, refuse, form.trace)
    if trace is None and not (known and form is _OWN):
        return None
    return _with_companions(form, trace or (known, ""), attributes, refuse)


def _with_companions(form: _Ids, trace: tuple[str, str], attributes: Mapping[str, Any], refuse: Refuse) -> Found:
    span = _read(attributes, refuse, form.span) or ("", "")
    flags: tuple[int | None, str] = (None, "")
    for field in form.flags:
        read = _read(attributes, refuse, field)
        if read is not None:
            flags = read
            break
    names = (trace[1], span[1], flags[1])
    return Found(SpanContext(trace[0], span[0], flags[0]), form.form, names if all(names) else tuple(filter(None, names)))


def _completed(found: Found, later: Found) -> Found:
    span_id, flags = found.context.span_id, found.context.flags
    context = SpanContext(
        found.context.trace_id,
        span_id or later.context.span_id,
        # Flags belong to a span: those of another span of the trace are not this one's.
        later.context.flags if flags is None and span_id in ("", later.context.span_id) else flags,
    )
    return Found(context, found.form, found.names + later.names)


def _read(attributes: Mapping[str, Any], refuse: Refuse, field: _Field) -> tuple[Any, str] | None:
    """Return the first valid value among a field's names and the name it had; an empty value counts as absent."""
    form, names, parse = field
    for name in names:
        if name in attributes:
            value = attributes[name]
            if value or value == 0:
                try:
                    parsed = parse(value if value.__class__ is str else _plain(value, parse))
                except InvalidSpanContext as error:
                    refuse(form, error.reason)
                else:
                    if parsed is not None:
                        return parsed, name
    return None


def _plain(value: Any, parse: Callable[[Any], Any]) -> str | int:
    """Return the text of a value as attributes hold it: text, bytes, or a list where a field was repeated."""
    if isinstance(value, (list, tuple)):
        if any(other != value[0] for other in value[1:]):
            raise InvalidSpanContext("ambiguous", value)
        value = value[0]
    if isinstance(value, (bytes, bytearray)):
        value = value[:_LONGEST].decode("ascii", "replace")
    if isinstance(value, str) or (isinstance(value, bool) and parse in _DECISIONS):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and (parse in _NUMBERS or parse in _DECISIONS):
        return value
    raise InvalidSpanContext("type", value)
