"""Span contexts in texts: in JSON bodies, in logfmt, in brackets and in plain sentences.

What a text says is put under the names that `tapio_otel.trace_context` reads, so each form is as strict here as in a field of
its own and the order of forms is the same. Read are `trace_id=` and its spellings with span id and flags, W3C's `traceparent`,
Jaeger's `uber-trace-id`, B3 in one header or several, Datadog's `dd.trace_id`, X-Ray's `Root=1-…`, Google's
`projects/…/traces/…` and `X-Cloud-Trace-Context`, and the brackets of Spring: `[app,trace,span]`, `[trace-span]`.

Guarantees: pure; no text raises; the first 16 KiB are looked at, in time linear in them; a text without a hint costs a few
substring searches. A value that stands for no id (`null`, `-`, an empty one) is no error; one that breaks its form is refused.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tapio_otel.trace_context import (
    ATTRIBUTE,
    B3,
    DATADOG,
    GOOGLE,
    TRACEPARENT,
    UBER_TRACE_ID,
    XRAY,
    Found,
    InvalidSpanContext,
    Refuse,
    SpanContext,
    find,
    joined,
    mentions_in,
    parse_span_id,
    parse_trace_id,
)

PREFIX: Final = "text."
TRACE_ID: Final = "trace_id"
SPRING: Final = "spring"

_LONGEST: Final = 16 * 1024
_MOST_BRACKETS: Final = 16
_LONGEST_BRACKETS: Final = 200
_SHORTEST_ID: Final = 16
_ORDER: Final = (ATTRIBUTE, UBER_TRACE_ID, TRACEPARENT, B3, DATADOG, XRAY, GOOGLE)
_EXPORTED: Final = {"true": 1, "false": 0}
_OWN_FORM: Final = PREFIX + TRACE_ID
_PLAIN_TRACE_ID: Final = re.compile("(?!0{32})[0-9a-f]{32}").fullmatch
_PLAIN_SPAN_ID: Final = re.compile("(?:(?!0{16})[0-9a-f]{16})?").fullmatch
_PLAIN_FLAGS: Final = {"00": 0, "01": 1}
_PERHAPS_IDS: Final = re.compile(r"\[[^\]]{32,198}+(?:(?<=[0-9a-fA-F]{16})|(?<=[\s,])|(?<=[\s,]true)|(?<=[\s,]false))\]")
"""Brackets that are long enough and end as those with ids do; says no in one pass."""


def find_in_text(text: str, refuse: Refuse) -> Found | None:
    """Return the span context that a text names: the first valid one of the forms in their order.

    The form is `text.` and the name of the form; refusals are told by the same names. Of two different traces the one of the
    earlier form stays, and where the form is the same the one that the text names first; the other is a `conflict`.
    """
    if len(text) > _LONGEST:
        text = text[:_LONGEST]
    # Half of each name is enough, in the spellings there are; a value of b3's that is an id, or wrong, has a dash. Looking for
    # one letter costs a fifth of looking for two, so the rarest letters go first.
    if (
        "race" in text
        or ("3" in text and "-" in text and ("b3" in text or ("B" in text and "B3" in text)))
        or ("R" in text and ("RACE" in text or "Root=1-" in text))
        or ("@" in text and ("@tr" in text or "@TR" in text))
    ):
        return _find(text, refuse)
    if "[" not in text:
        return None
    found = _in_brackets(text)
    return None if found is None else _of_text(found)


def _find(head: str, refuse: Refuse) -> Found | None:
    mentions = mentions_in(head)
    in_brackets = _in_brackets(head) if "[" in head else None
    if not mentions:
        return None if in_brackets is None else _of_text(in_brackets)

    told = _told_together(mentions)
    if len(told) == 1 and in_brackets is None:
        best = _plain_ids(told[0])
        if best is not None:
            return best

    def refuse_in_text(form: str, reason: str) -> None:
        refuse(_in_text(form), reason)

    if len(told) == 1 and in_brackets is None:
        best = find(told[0], refuse_in_text)
    else:
        best = _first_of(told, in_brackets, refuse_in_text)
    return None if best is None else _of_text(best)


def _plain_ids(told: dict[str, Any]) -> Found | None:
    """Return what `find` does where a text has a trace id, a span id and flags as they mostly are; None for all else."""
    trace_id, span_id, flags = told.get("trace_id"), told.get("span_id", ""), told.get("trace_flags")
    if trace_id is None or len(told) != 1 + (span_id != "") + (flags is not None):
        return None
    if trace_id.__class__ is not str or not _PLAIN_TRACE_ID(trace_id):
        return None
    if span_id.__class__ is not str or not _PLAIN_SPAN_ID(span_id):
        return None
    if flags is None:
        return Found(SpanContext(trace_id, span_id), _OWN_FORM, ())
    return (
        Found(SpanContext(trace_id, span_id, _PLAIN_FLAGS[flags]), _OWN_FORM, ())
        if flags.__class__ is str and flags in _PLAIN_FLAGS
        else None
    )


def _first_of(told: list[dict[str, Any]], in_brackets: Found | None, refuse: Refuse) -> Found | None:
    candidates = [found for one in told if (found := find(one, refuse)) is not None]
    candidates.sort(key=_rank)
    if in_brackets is not None:
        candidates.append(in_brackets)
    best: Found | None = None
    for candidate in candidates:
        best = joined(best, candidate, refuse)
    return best


def _of_text(found: Found) -> Found:
    return Found(found.context, _in_text(found.form), ())


def _in_text(form: str) -> str:
    return PREFIX + (TRACE_ID if form == ATTRIBUTE else form)


def _rank(found: Found) -> int:
    return _ORDER.index(found.form)


def _told_together(mentions: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Return mentions by name; where a name comes again with another value, what follows is told of another span."""
    last: dict[str, Any] = {}
    told = [last]
    for name, value in mentions:
        if name not in last:
            last[name] = value
        elif last[name] != value:
            last = {name: value}
            told.append(last)
    return told


def _in_brackets(head: str) -> Found | None:
    """Return the first context that Spring's brackets tell: `[app,trace,span,exported]`, `[app,trace,span]`, `[trace-span]`."""
    if _PERHAPS_IDS.search(head) is None:
        return None
    place = -1
    for _ in range(_MOST_BRACKETS):
        place = head.find("[", place + 1)
        if place < 0:
            return None
        end = head.find("]", place, place + _LONGEST_BRACKETS)
        if end - place > 2 * _SHORTEST_ID:
            context = _of_brackets(head[place + 1 : end])
            if context is not None:
                return Found(context, SPRING, ())
    return None


def _of_brackets(inside: str) -> SpanContext | None:
    """Return the context of one pair of brackets.

    Two numbers of 64 bits alone are as often a range of addresses: those count only with the application or the decision.
    """
    parts = [part.strip() for part in inside.split(",")]
    flags = _EXPORTED.get(parts[-1])
    named = flags is not None
    if named or parts[-1] == "":
        parts.pop()
    if len(parts) == 1 and inside[-17:-16] == "-":
        parts = [inside[:-17], inside[-16:]]
    if len(parts) == 3:
        named = True
    if not 2 <= len(parts) <= 3 or len(parts[-2]) not in ((16, 32) if named else (32,)):
        return None
    try:
        return SpanContext(parse_trace_id(parts[-2]), parse_span_id(parts[-1]), flags)
    except InvalidSpanContext:
        return None
