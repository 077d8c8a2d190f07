"""The search for span contexts in texts, written plainly: one expression of all names, tried at every place of every text.

It is slow, and what the quick one must give: the same context, the same form and the same refusals in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
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
    parse_span_id,
    parse_trace_id,
)
from tapio_otel.trace_context.mentions import NAMED

PREFIX: Final = "text."
TRACE_ID: Final = "trace_id"
SPRING: Final = "spring"

_LONGEST: Final = 16 * 1024
_MOST_MENTIONS: Final = 64
_DEEPEST: Final = 4
_MOST_VALUES: Final = 256
_MOST_BRACKETS: Final = 16
_LONGEST_BRACKETS: Final = 200
_LONGEST_PROJECT: Final = 128
_SHORTEST_ID: Final = 16
_ORDER: Final = (ATTRIBUTE, UBER_TRACE_ID, TRACEPARENT, B3, DATADOG, XRAY, GOOGLE)
_EXPORTED: Final = {"true": 1, "false": 0}
_NOT_OURS: Final = frozenset(("parent", "link", "links", "parent_span", "parentspan", "remote", "follows_from"))
"""Objects whose ids are another span's."""
_NO_ID: Final = frozenset(("", "-", "null", "none", "nil", "<nil>", "undefined", "n/a", "na", "unknown", "false", "?"))

_GOOGLE_TRACE: Final = "logging.googleapis.com/trace"
_XRAY_HEADER: Final = "x-amzn-trace-id"
_BARE: Final = ("Root=1-", "Self=", "projects/")
"""How values begin that are known without a name; in lower case or capitals they are something else."""
_WITH_SEMICOLON: Final = frozenset((_XRAY_HEADER, "x-cloud-trace-context"))
_DECISIONS: Final = frozenset(("x-b3-sampled", "x-b3-flags", "logging.googleapis.com/trace_sampled", "b3"))


def find_in_text(text: str, refuse: Refuse) -> Found | None:
    """Return the span context that a text names: the first valid one of the forms in their order.

    The form is `text.` and the name of the form; refusals are told by the same names. Of two different traces the one of the
    earlier form stays, and where the form is the same the one that the text names first; the other is a `conflict`.
    """
    head = text if len(text) <= _LONGEST else text[:_LONGEST]
    return _find(head, refuse)


def _find(head: str, refuse: Refuse) -> Found | None:
    def refuse_in_text(form: str, reason: str) -> None:
        refuse(_in_text(form), reason)

    candidates = [found for told in _told_together(_mentions(head)) if (found := find(told, refuse_in_text)) is not None]
    candidates.sort(key=_rank)
    in_brackets = _in_brackets(head) if "[" in head else None
    if in_brackets is not None:
        candidates.append(in_brackets)
    best: Found | None = None
    for candidate in candidates:
        best = joined(best, candidate, refuse_in_text)
    return None if best is None else Found(best.context, _in_text(best.form), ())


def _in_text(form: str) -> str:
    return PREFIX + (TRACE_ID if form == ATTRIBUTE else form)


def _rank(found: Found) -> int:
    return _ORDER.index(found.form)


def _told_together(mentions: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Return mentions by name; where a name comes again with another value, what follows is told of another span."""
    told: list[dict[str, Any]] = [{}]
    for name, value in mentions:
        if name in told[-1]:
            if told[-1][name] == value:
                continue
            told.append({})
        told[-1][name] = value
    return told


def _mentions(head: str) -> list[tuple[str, Any]]:
    """Return what a text says under known names; of a JSON object its fields, and where they say nothing its texts."""
    content = _json_object(head)
    if content is None:
        return _mentions_in_line(head)
    mentions: list[tuple[str, Any]] = []
    texts: list[str] = []
    for outer, name, value in _values(content):
        if isinstance(value, str) and len(value) > _SHORTEST_ID:
            texts.append(value)
        mentions += _mention(outer, name, value)
    return mentions or _mentions_in_line("\n".join(texts))


def _json_object(head: str) -> dict[str, Any] | None:
    if not head.lstrip().startswith("{") or not head.rstrip().endswith("}"):
        return None
    from orjson import loads

    try:
        content: dict[str, Any] = loads(head)
    except ValueError:
        return None
    return content


def _values(content: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the values with their own and their object's names in lower case, outer ones first."""
    level, seen = [("", content)], 0
    for _ in range(_DEEPEST):
        deeper = []
        for outer, inner in level:
            for key, value in inner.items():
                seen += 1
                if seen > _MOST_VALUES:
                    return
                if isinstance(value, dict):
                    deeper.append((key.lower(), value))
                else:
                    yield outer, key.lower(), value
        level = deeper


def _mention(outer: str, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    known = NAMED.get(f"{outer}.{name}") or ("" if outer in _NOT_OURS else NAMED.get(name))
    if isinstance(value, str):
        if known is None and value.startswith("projects/") and "/traces/" in value[:_LONGEST_PROJECT]:
            known = _GOOGLE_TRACE
        if known and _says_something(known, value):
            yield known, value
    elif known and value is not None:
        yield known, value


def _says_something(name: str, value: str) -> bool:
    """Return whether a value is meant to be an id: not a word for none, and not a word of a sentence."""
    if value.lower() in _NO_ID or (len(value) < _SHORTEST_ID and value.isalpha() and name not in _DECISIONS):
        return False
    # Much is called b3 that is no header of Zipkin's.
    return name != "b3" or value in {"0", "1", "d"} or value.count("-") in (1, 2, 3)


def _mentions_in_line(text: str) -> list[tuple[str, Any]]:
    """Return what any text says under known names, in its order."""
    lower = text.lower()
    if len(lower) != len(text):  # letters that become two; no name has them
        lower = text.encode("ascii", "replace").decode("ascii").lower()
    beginnings, short_value, long_value = _expressions()
    mentions = []
    for match, _ in zip(beginnings.finditer(lower), range(_MOST_MENTIONS), strict=False):
        short, long = match.groups()
        known = NAMED[short.replace(" ", "_")] if short else NAMED[long] if long else _named_by_value(match[0])
        value = long_value if known in _WITH_SEMICOLON else short_value
        told = _at(value, text, match.end() if short or long else match.start()).rstrip(".:;")
        if known == _XRAY_HEADER and "@" in told:  # the form of X-Ray's own log injection: root@parent
            told = "Root=" + told.replace("@", ";Parent=", 1)
        if _says_something(known, told) and (short or long or told.startswith(_BARE)):
            mentions.append((known, told))
    return mentions


def _at(value: re.Pattern[str], text: str, place: int) -> str:
    found = value.match(text, place)
    return found[0] if found else ""


def _named_by_value(beginning: str) -> str:
    return _GOOGLE_TRACE if beginning.startswith("projects/") else _XRAY_HEADER


@cache
def _expressions() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Compile, once, what goes before a value, a value, and one that may hold semicolons.

    Every repetition is possessive: none is tried again shorter, so time is linear. RE2 would be too, but several times slower
    on texts as short as these, as its bindings encode the text and decode each place.
    """
    long = "|".join(re.escape(spelling) for spelling, name in NAMED.items() if name in _WITH_SEMICOLON)
    short = "|".join(
        re.escape(spelling).replace("_", "[_ ]") for spelling, name in NAMED.items() if name not in _WITH_SEMICOLON
    )
    between = r"""["'\\\]]*+\s{0,2}+(?:=>|[:=])\s{0,2}+["'\\\[(<{]*+"""
    value = r"""[^\s"'\\,&\[\](){}<>|"""
    return (
        re.compile(
            rf"(?<![\w-])(?:(?:({short})|({long})){between}"
            rf"|(?:self=[^\s;]{{1,80}}+;)?+root=1-|(?<!/)projects/[^\s/\"'\\]{{1,100}}+/traces/)",
            re.ASCII,
        ),
        re.compile(value + ";]*+"),
        re.compile(value + "]*+"),
    )


def _in_brackets(head: str) -> Found | None:
    """Return the first context that Spring's brackets tell: `[app,trace,span,exported]`, `[app,trace,span]`, `[trace-span]`."""
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
