"""Span contexts as the headers carry them that services send each other, and as log lines repeat them.

Sources: W3C Trace Context (levels 1 and 2), section `traceparent`; the Jaeger clients' documentation, section "Propagation
Format"; openzipkin/b3-propagation, "Single Header"; AWS X-Ray's developer guide, "Tracing header"; Google Cloud's "Trace
context" and "Structured logging". Every function raises `InvalidSpanContext` for a text that breaks its form.
"""

from __future__ import annotations

import re
from typing import Final

from tapio_otel.trace_context.span_context import (
    SAMPLED,
    InvalidSpanContext,
    SpanContext,
    decimal64,
    digits,
    identity,
    parse_b3_span_id,
    parse_b3_trace_id,
    parse_sampled,
)

_LONGEST: Final = 512  # characters; no form is longer, and nobody should scan a megabyte for a colon
_VERSION_00: Final = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""What nearly every `traceparent` is, and valid."""
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_JAEGER_DEBUG: Final = 0x02  # only ever set together with "sampled"
_B3_STATES: Final = frozenset("01d")


def parse_traceparent(text: str) -> SpanContext:
    """Return the span context of a W3C `traceparent`.

    Version 00 has exactly 55 characters. A later version may go on after another dash, and only its `sampled` flag is
    known. Version ff, upper case and ids of zeros are invalid.
    """
    plain = _VERSION_00.fullmatch(text)
    if plain is not None:
        return SpanContext(plain[1], plain[2], int(plain[3], 16))
    text = text.strip(" \t")
    if len(text) < 55 or text[2] != "-" or text[35] != "-" or text[52] != "-":
        raise InvalidSpanContext("format", text)
    version, trace, span, flags = text[:2], text[3:35], text[36:52], text[53:55]
    digits(version + trace + span + flags)
    if version == "ff":
        raise InvalidSpanContext("version", text)
    if len(text) > 55 and (version == "00" or text[55] != "-"):
        raise InvalidSpanContext("length", text)
    if trace == _NO_TRACE or span == _NO_SPAN:
        raise InvalidSpanContext("zero", text)
    return SpanContext(trace, span, int(flags, 16) if version == "00" else int(flags, 16) & SAMPLED)


def parse_uber_trace_id(text: str) -> SpanContext:
    """Return the span context of Jaeger's `{trace-id}:{span-id}:{parent-span-id}:{flags}`.

    Ids are hex numbers of any case up to 128 and 64 bits, padded on the left; the colons may be URL-encoded (`%3A`). The
    parent, which Jaeger deprecated, must be a number and is not used. `sampled` and `debug` become W3C's `sampled`.
    """
    parts = text[:_LONGEST].strip(" \t").lower().replace("%3a", ":").split(":")
    if len(parts) != 4:
        raise InvalidSpanContext("format", text)
    trace, span, parent, flags = parts
    if not (len(trace) <= 32 and len(span) <= 16 and len(parent) <= 16 and len(flags) <= 2):
        raise InvalidSpanContext("length", text)
    if not (trace and span and digits(parent) and digits(flags)):
        raise InvalidSpanContext("format", text)
    sampled = int(flags, 16) & (SAMPLED | _JAEGER_DEBUG)
    return SpanContext(identity(trace, 32), identity(span, 16), SAMPLED if sampled else 0)


def parse_b3(text: str) -> SpanContext | None:
    """Return the span context of B3's single header `{trace}-{span}-{sampling}-{parent}`; the last two may be missing.

    None for a sampling decision alone (`0`, `1`, `d`), which names no trace. Debug counts as sampled.
    """
    text = text[:_LONGEST].strip(" \t")
    if text in _B3_STATES:
        return None
    parts = text.split("-")
    if not 2 <= len(parts) <= 4:
        raise InvalidSpanContext("format", text)
    if len(parts) > 2 and parts[2] not in _B3_STATES:
        raise InvalidSpanContext("sampling", text)
    if len(parts) > 3:
        parse_b3_span_id(parts[3])
    flags = parse_sampled(parts[2]) if len(parts) > 2 else None
    return SpanContext(parse_b3_trace_id(parts[0]), parse_b3_span_id(parts[1]), flags)


def parse_xray(text: str) -> SpanContext:
    """Return the span context of `Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled={0 or 1}`, in any order, Root at least.

    Other keys (`Self`, `Lineage`) are passed over; `Sampled=?` asks for a decision and is none. A bare root is read too.
    """
    text = text[:_LONGEST].strip(" \t")
    fields = {"Root": text} if text.startswith("1-") else dict(_pairs(text))
    if "Root" not in fields:
        raise InvalidSpanContext("format", text)
    span = fields.get("Parent", "")
    if span and len(span) != 16:
        raise InvalidSpanContext("length", text)
    sampled = fields.get("Sampled", "?")
    if sampled not in {"0", "1", "?"}:
        raise InvalidSpanContext("sampling", text)
    flags = None if sampled == "?" else int(sampled)
    return SpanContext(_xray_root(fields["Root"]), identity(span.lower(), 16) if span else "", flags)


def _pairs(text: str) -> list[tuple[str, str]]:
    found = (part.strip(" \t").partition("=") for part in text.split(";"))
    return [(key, value) for key, equals, value in found if equals]


def _xray_root(text: str) -> str:
    version, _, rest = text.partition("-")
    if version != "1":
        raise InvalidSpanContext("version", text)
    if len(rest) != 33 or rest[8] != "-":
        raise InvalidSpanContext("format", text)
    return identity(rest[:8].lower() + rest[9:].lower(), 32)


def parse_cloud_trace_context(text: str) -> SpanContext:
    """Return the span context of Google's `X-Cloud-Trace-Context`, `{32 hex}/{decimal span};o={options}`.

    Span and options may be missing; a span of 0 is none. The lowest bit of the options says whether it is sampled.
    """
    ids, semicolon, options = text[:_LONGEST].strip(" \t").partition(";")
    trace, slash, span = ids.partition("/")
    if len(trace) != 32:
        raise InvalidSpanContext("length", text)
    flags = None
    if semicolon:
        if not options.startswith("o=") or len(options) not in (3, 4):
            raise InvalidSpanContext("format", text)
        flags = decimal64(options[2:]) & SAMPLED
    number = decimal64(span) if slash else 0
    return SpanContext(identity(trace.lower(), 32), identity(f"{number:x}", 16) if number else "", flags)


def parse_google_trace(text: str) -> str:
    """Return the trace id of a Google Cloud log entry's `trace`: `projects/{project}/traces/{32 hex}`, or the id alone."""
    text = text[:_LONGEST].strip(" \t")
    if "/" in text:
        parts = text.split("/")
        if len(parts) != 4 or parts[0] != "projects" or not parts[1] or parts[2] != "traces":
            raise InvalidSpanContext("format", text)
        text = parts[3]
    if len(text) != 32:
        raise InvalidSpanContext("length", text)
    return identity(text.lower(), 32)
