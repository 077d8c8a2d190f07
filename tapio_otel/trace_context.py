"""Span contexts as text: W3C `traceparent`, Jaeger's `uber-trace-id`, and ids in fields of their own.

Pure functions, strict by each form's specification, for every component that meets span contexts. What is wrong is refused
with a short reason, so that it can be counted. Sources: W3C Trace Context (levels 1 and 2), section `traceparent`; the Jaeger
clients' documentation, section "Propagation Format".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

_LOWER_HEX: Final = frozenset("0123456789abcdef")
_LONGEST: Final = 512  # characters; no form is longer, and nobody should scan a megabyte for a colon

_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_SAMPLED: Final = 0x01
_JAEGER_DEBUG: Final = 0x02  # only ever set together with "sampled"


class SpanContext(NamedTuple):
    """Name a span: 32 and 16 lower-case hex digits. `span_id` is empty and `flags` None where they are not known."""

    trace_id: str
    span_id: str = ""
    flags: int | None = None


class InvalidSpanContext(ValueError):
    """Report a text that is no span context; `reason` is one of few words, fit for a counter's attribute."""

    def __init__(self, reason: str, text: object) -> None:
        super().__init__(f"{str(text)[:80]!r} is no span context: {reason}")
        self.reason = reason


class Found(NamedTuple):
    """Tell a span context, the form it was written in, and the attributes it was read from."""

    context: SpanContext
    form: str
    names: tuple[str, ...]


Refuse = Callable[[str, str], None]
"""Told the form and the reason of each value left out."""


def parse_trace_id(text: str) -> str:
    """Return a trace id of its own field as 32 lower-case hex digits.

    Upper case is lowered, since the rule of lower case is `traceparent`'s, and a 64-bit id (16 digits, as Zipkin and Jaeger
    write them) is padded on the left. Dashes are refused: a UUID in such a field is a request id, and no trace has it.
    Raises `InvalidSpanContext`.
    """
    if len(text) not in (16, 32):
        raise InvalidSpanContext("length", text)
    return _identity(text.lower(), 32)


def parse_span_id(text: str) -> str:
    """Return a span id of its own field as 16 lower-case hex digits; raises `InvalidSpanContext`."""
    if len(text) != 16:
        raise InvalidSpanContext("length", text)
    return _identity(text.lower(), 16)


def parse_trace_flags(value: str | int) -> int:
    """Return trace flags, 0 to 255, from a number or from one or two hex digits; raises `InvalidSpanContext`."""
    if isinstance(value, int):
        if not 0 <= value <= 0xFF:
            raise InvalidSpanContext("range", value)
        return int(value)
    if len(value) not in (1, 2):
        raise InvalidSpanContext("length", value)
    return int(_digits(value.lower()), 16)


def parse_traceparent(text: str) -> SpanContext:
    """Return the span context of a W3C `traceparent`; raises `InvalidSpanContext`.

    Version 00 has exactly 55 characters. A later version may go on after another dash, and only its `sampled` flag is
    known. Version ff, upper case and ids of zeros are invalid.
    """
    text = text.strip(" \t")
    if len(text) < 55 or text[2] != "-" or text[35] != "-" or text[52] != "-":
        raise InvalidSpanContext("format", text)
    version, trace, span, flags = text[:2], text[3:35], text[36:52], text[53:55]
    if not _LOWER_HEX.issuperset(version + trace + span + flags):
        raise InvalidSpanContext("characters", text)
    if version == "ff":
        raise InvalidSpanContext("version", text)
    if len(text) > 55 and (version == "00" or text[55] != "-"):
        raise InvalidSpanContext("length", text)
    if trace == _NO_TRACE or span == _NO_SPAN:
        raise InvalidSpanContext("zero", text)
    return SpanContext(trace, span, int(flags, 16) if version == "00" else int(flags, 16) & _SAMPLED)


def parse_uber_trace_id(text: str) -> SpanContext:
    """Return the span context of Jaeger's `{trace-id}:{span-id}:{parent-span-id}:{flags}`; raises `InvalidSpanContext`.

    Ids are hex numbers of any case up to 128 and 64 bits, padded on the left; the colons may be URL-encoded (`%3A`). The
    parent, which Jaeger deprecated, must be a number and is not used. `sampled` and `debug` become W3C's `sampled`.
    """
    parts = text[:_LONGEST].strip(" \t").lower().replace("%3a", ":").split(":")
    if len(parts) != 4:
        raise InvalidSpanContext("format", text)
    trace, span, parent, flags = parts
    if not (len(trace) <= 32 and len(span) <= 16 and len(parent) <= 16 and len(flags) <= 2):
        raise InvalidSpanContext("length", text)
    if not (trace and span and _digits(parent) and _digits(flags)):
        raise InvalidSpanContext("format", text)
    sampled = int(flags, 16) & (_SAMPLED | _JAEGER_DEBUG)
    return SpanContext(_identity(trace, 32), _identity(span, 16), _SAMPLED if sampled else 0)


def _digits(text: str) -> str:
    if not _LOWER_HEX.issuperset(text):
        raise InvalidSpanContext("characters", text)
    return text


def _identity(text: str, width: int) -> str:
    if not _digits(text).strip("0"):
        raise InvalidSpanContext("zero", text)
    return text.rjust(width, "0")


GIVEN: Final = "given"
ATTRIBUTE: Final = "attribute"
UBER_TRACE_ID: Final = "uber-trace-id"
TRACEPARENT: Final = "traceparent"

_TRACE_ID_NAMES: Final = ("trace_id", "TRACE_ID")
_SPAN_ID_NAMES: Final = ("span_id", "SPAN_ID")
_FLAGS_NAMES: Final = ("trace_flags", "TRACE_FLAGS")
_HEADERS: Final = (
    (UBER_TRACE_ID, ("uber-trace-id", "UBER_TRACE_ID"), parse_uber_trace_id),
    (TRACEPARENT, ("traceparent", "TRACEPARENT"), parse_traceparent),
)
NAMES: Final = frozenset((*_TRACE_ID_NAMES, *_SPAN_ID_NAMES, *_FLAGS_NAMES, *(n for _, names, _ in _HEADERS for n in names)))
"""The attributes that `find` reads, by their own names and by those of journal fields."""


def mentioned(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the attributes that `find` reads: none, for most events."""
    return {name: attributes[name] for name in NAMES.intersection(attributes)}


def find(attributes: Mapping[str, Any], refuse: Refuse, given: SpanContext | None = None) -> Found | None:
    """Return the span context that attributes tell: the first valid one of trace_id, uber-trace-id and traceparent.

    What the first leaves open (a span id, flags) is taken from a later one of the same trace; a later one of another trace
    is refused. What is `given`, known from elsewhere, comes before all of them; a `span_id` without a `trace_id` is its.
    """
    found = None if given is None else Found(given, GIVEN, ())
    for later in _candidates(attributes, refuse, given.trace_id if given else ""):
        if found is None:
            found = later
        elif later.context.trace_id == found.context.trace_id:
            found = _completed(found, later)
        else:
            refuse(later.form, "conflict")
    return found


def _candidates(attributes: Mapping[str, Any], refuse: Refuse, known: str) -> list[Found]:
    found = []
    own = _read(attributes, refuse, "trace_id", _TRACE_ID_NAMES, parse_trace_id)
    if own is not None or known:
        found.append(_with_companions(own or (known, ""), attributes, refuse))
    for form, names, parse in _HEADERS:
        header = _read(attributes, refuse, form, names, parse)
        if header is not None:
            found.append(Found(header[0], form, (header[1],)))
    return found


def _with_companions(trace: tuple[str, str], attributes: Mapping[str, Any], refuse: Refuse) -> Found:
    span = _read(attributes, refuse, "span_id", _SPAN_ID_NAMES, parse_span_id) or ("", "")
    flags = _read(attributes, refuse, "trace_flags", _FLAGS_NAMES, parse_trace_flags) or (None, "")
    names = tuple(name for name in (trace[1], span[1], flags[1]) if name)
    return Found(SpanContext(trace[0], span[0], flags[0]), ATTRIBUTE, names)


def _completed(found: Found, later: Found) -> Found:
    span_id, flags = found.context.span_id, found.context.flags
    context = SpanContext(
        found.context.trace_id,
        span_id or later.context.span_id,
        # Flags belong to a span: those of another span of the trace are not this one's.
        later.context.flags if flags is None and span_id in ("", later.context.span_id) else flags,
    )
    return Found(context, found.form, found.names + later.names)


def _read(
    attributes: Mapping[str, Any], refuse: Refuse, form: str, names: tuple[str, ...], parse: Callable[[Any], Any]
) -> tuple[Any, str] | None:
    """Return the first valid value among `names` and the name it had; an empty value counts as absent."""
    for name in names:
        if name in attributes:
            value = attributes[name]
            if value or value == 0:
                try:
                    return parse(value if type(value) is str else _plain(value, parse is parse_trace_flags)), name
                except InvalidSpanContext as error:
                    refuse(form, error.reason)
    return None


def _plain(value: Any, number: bool) -> str | int:
    """Return the text of a value as attributes hold it: text, bytes, or a list where a field was repeated."""
    if isinstance(value, (list, tuple)):
        if any(other != value[0] for other in value[1:]):
            raise InvalidSpanContext("ambiguous", value)
        value = value[0]
    if isinstance(value, (bytes, bytearray)):
        value = value[:_LONGEST].decode("ascii", "replace")
    if not (isinstance(value, str) or (number and isinstance(value, int) and not isinstance(value, bool))):
        raise InvalidSpanContext("type", value)
    return value
