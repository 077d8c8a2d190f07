"""What texts say about spans: the values under the names that `search` reads, whatever a text calls them.

A JSON object is read by its structure, any other text by what stands behind a name: `trace_id=…`, `"spanId": "…"`,
`dd.trace_id=>…`. Guarantees: pure; nothing raises; work is bounded for JSON and linear for other texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import chain, product
from typing import Any, Final, NamedTuple

import orjson

_MOST_MENTIONS: Final = 64
_DEEPEST: Final = 4
_MOST_VALUES: Final = 256
_LONGEST_PROJECT: Final = 128
_SHORTEST_ID: Final = 16
_NOT_OURS: Final = frozenset(("parent", "link", "links", "parent_span", "parentspan", "remote", "follows_from"))
"""Objects whose ids are another span's."""
_NO_ID: Final = frozenset(("", "-", "null", "none", "nil", "<nil>", "undefined", "n/a", "na", "unknown", "false", "?"))

_SPELLINGS: Final = {
    "trace_id": "traceid trace_id trace-id trace.id otel_trace_id oteltraceid x-trace-id x_trace_id @tr",
    "span_id": "spanid span_id span-id span.id otel_span_id otelspanid x-span-id x_span_id @sp",
    "trace_flags": "traceflags trace_flags trace-flags trace.flags otel_trace_flags oteltraceflags",
    "uber-trace-id": "uber-trace-id uber_trace_id",
    "traceparent": "traceparent",
    "b3": "b3",
    "x-b3-traceid": "x-b3-traceid x_b3_traceid x-b3-trace-id",
    "x-b3-spanid": "x-b3-spanid x_b3_spanid x-b3-span-id",
    "x-b3-sampled": "x-b3-sampled x_b3_sampled",
    "x-b3-flags": "x-b3-flags x_b3_flags",
    "dd.trace_id": "dd.trace_id dd_trace_id dd.traceid",
    "dd.span_id": "dd.span_id dd_span_id dd.spanid",
    "x-amzn-trace-id": "x-amzn-trace-id x_amzn_trace_id _x_amzn_trace_id aws-xray-trace-id xray_trace_id",
    "x-cloud-trace-context": "x-cloud-trace-context x_cloud_trace_context",
    "logging.googleapis.com/trace": "logging.googleapis.com/trace",
    "logging.googleapis.com/spanId": "logging.googleapis.com/spanid",
    "logging.googleapis.com/trace_sampled": "logging.googleapis.com/trace_sampled",
}
NAMED: Final = {
    **{spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()},
    "xray traceid": "x-amzn-trace-id",  # in the REPORT lines of AWS Lambda
}
"""The names that `find` reads, by what texts call them, in lower case."""
_GOOGLE_TRACE: Final = "logging.googleapis.com/trace"
_XRAY_HEADER: Final = "x-amzn-trace-id"
_BARE: Final = ("Root=1-", "Self=", "projects/")
"""How values begin that are known without a name; in lower case or capitals they are something else."""
_WITH_SEMICOLON: Final = frozenset((_XRAY_HEADER, "x-cloud-trace-context"))
_TRACE: Final = "trace"
_SPAN: Final = "span"
_B3: Final = "b3"
_MARKED: Final = ("@tr", "@sp")
_ROOTS: Final = ("root=1-", "self=")
_PROJECTS: Final = "projects/"
_COMMON_CORES: Final[tuple[str, ...]] = (_TRACE, _SPAN)
"""What is looked for: one of these is in each name, or begins a value that is known without a name."""
_OF_WORDS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_ENDINGS: Final = ".:;"
_NOTHING_IN_FRONT: Final = (0,)
_BLANKS: Final = r"\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
r"""All of `\s`, which a class of characters has not as a class of its own: so it is one table to look into."""
_DECISIONS: Final = frozenset(("x-b3-sampled", "x-b3-flags", "logging.googleapis.com/trace_sampled", "b3"))


def mentions_in(head: str) -> list[tuple[str, Any]]:
    """Return what a text says under known names; of a JSON object its fields, and where they say nothing its texts."""
    content = _json_object(head)
    if content is None:
        return _mentions_in_line(head)
    mentions: list[tuple[str, Any]] = []
    texts: list[str] = []
    for outer, name, value in _values(content):
        known = NAMED.get(f"{outer}.{name}") if outer else None
        if known is None:
            known = "" if outer in _NOT_OURS else NAMED.get(name)
        if isinstance(value, str):
            if len(value) > _SHORTEST_ID:
                texts.append(value)
            if known is None and value[:9] == _PROJECTS and "/traces/" in value[:_LONGEST_PROJECT]:
                known = _GOOGLE_TRACE
            if known and _says_something(known, value):
                mentions.append((known, value))
        elif known and value is not None:
            mentions.append((known, value))
    return mentions or _mentions_in_line("\n".join(texts))


def _json_object(head: str) -> dict[str, Any] | None:
    if not head.lstrip().startswith("{") or not head.rstrip().endswith("}"):
        return None
    try:
        content: dict[str, Any] = orjson.loads(head)
    except ValueError:
        return None
    return content


def _values(content: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Return the values with their own and their object's names in lower case, outer ones first."""
    level: list[tuple[str, dict[str, Any]]] = [("", content)]
    values: list[tuple[str, str, Any]] = []
    room = _MOST_VALUES
    for _ in range(_DEEPEST):
        deeper: list[tuple[str, dict[str, Any]]] = []
        for outer, inner in level:
            for key, value in inner.items():
                if room == 0:
                    return values
                room -= 1
                if isinstance(value, dict):
                    deeper.append((key.lower(), value))
                else:
                    values.append((outer, key.lower(), value))
        level = deeper
    return values


def _says_something(name: str, value: str) -> bool:
    """Return whether a value is meant to be an id: not a word for none, and not a word of a sentence."""
    if len(value) < _SHORTEST_ID and (value.lower() in _NO_ID or (value.isalpha() and name not in _DECISIONS)):
        return False
    # Much is called b3 that is no header of Zipkin's.
    return name != "b3" or value in {"0", "1", "d"} or value.count("-") in (1, 2, 3)


def _mentions_in_line(text: str) -> list[tuple[str, Any]]:
    """Return what any text says under known names, in its order.

    Each name has one of few cores, and those are looked for first; expressions are tried around them alone.
    """
    lower = text.lower()
    if len(lower) != len(text):  # letters that become two; no name has them
        lower = text.encode("ascii", "replace").decode("ascii").lower()
    surroundings = _surroundings()
    mentions: list[tuple[str, Any]] = []
    behind, room = 0, _MOST_MENTIONS
    for place, core in _cores_in(lower):
        before = lower[place - 1] if place else ""
        around = surroundings[core]
        if place < behind or (before in _OF_WORDS and before not in around.fronts):
            continue
        match = around.expression.match(text, place)
        if match is None:
            continue
        told: str = match[2]
        if around.named_by_value:
            known, behind = around.named_by_value, match.end(1)
        else:
            name = _name_at(lower, place, match.end(1), around)
            if name is None:
                continue
            known, behind = name, match.start(2)
        if known not in _WITH_SEMICOLON and ";" in told:
            told = told[: told.index(";")]
        if told[-1:] in _ENDINGS:
            told = told.rstrip(_ENDINGS)
        if known == _XRAY_HEADER and "@" in told:  # the form of X-Ray's own log injection: root@parent
            told = "Root=" + told.replace("@", ";Parent=", 1)
        if _says_something(known, told) and not (around.named_by_value and not told.startswith(_BARE)):
            mentions.append((known, told))
        room -= 1
        if not room:
            break
    return mentions


def _cores_in(lower: str) -> list[tuple[int, str]]:
    """Return the places of the cores of names, and of beginnings of values, in order."""
    cores = _COMMON_CORES
    if "3" in lower and _B3 in lower:
        cores += (_B3,)
    if "@" in lower:
        cores += _MARKED
    if _ROOTS[0] in lower:
        cores += _ROOTS
    if "/traces/" in lower:
        cores += (_PROJECTS,)
    found = []
    for core in cores:
        place = lower.find(core)
        while place >= 0:
            found.append((place, core))
            place = lower.find(core, place + len(core))
    if len(found) > 1:
        found.sort()
    return found


def _name_at(lower: str, place: int, end: int, around: _Surroundings) -> str | None:
    """Return what the name is called here whose core is at `place`: the longest that no word goes before."""
    joint = lower[place - 1] if place else ""
    if joint == " ":
        joint = lower[place - 2 : place]
    for length in around.fronts.get(joint, _NOTHING_IN_FRONT):
        start = place - length
        if start >= 0 and (start == 0 or lower[start - 1] not in _OF_WORDS):
            known = _WRITTEN.get(lower[start:end])
            if known is not None:
                return known
    return None


class _Surroundings(NamedTuple):
    """Say what may stand around a core: in front of it, by how that ends, and behind it, as an expression.

    The expression has the end of the name and the value; where a value is known without a name, how it begins and all of it.
    `fronts` are the lengths of what goes before the core in longer names, longest first, by its last letter, or by the last
    two where that is a space.
    """

    expression: re.Pattern[str]
    fronts: Mapping[str, tuple[int, ...]] = {}
    named_by_value: str = ""


def _written() -> dict[str, str]:
    """Return known names as they are written: an underscore may be a space, but for headers that are no words."""
    written = dict(NAMED)
    for spelling, name in NAMED.items():
        parts = spelling.split("_") if name not in _WITH_SEMICOLON else ()
        for gaps in product("_ ", repeat=len(parts) - 1) if parts else ():
            written["".join(chain.from_iterable(zip(parts, (*gaps, ""), strict=True)))] = name
    return written


_WRITTEN: Final = _written()


@cache
def _surroundings() -> dict[str, _Surroundings]:
    """Compile, once, what stands around each core.

    Every repetition is possessive: none is tried again shorter, so time is linear. RE2 would be too, but several times slower
    on texts as short as these, as its bindings encode the text and decode each place.
    """
    between = r"""(?a:["'\\\]]*+\s{0,2}+(?:=>|[:=])\s{0,2}+["'\\\[(<{]*+)"""
    value = rf"""([^{_BLANKS}"'\\,&\[\](){{}}<>|]*+)"""
    parted = [(*spelling.partition(core), spelling) for spelling in _WRITTEN for core in [_core_of(spelling)]]
    around = {}
    for core in (_TRACE, _SPAN, _B3, *_MARKED):
        fronts = {front for front, its_core, _, _ in parted if its_core == core}
        ends = sorted({end for _, its_core, end, _ in parted if its_core == core}, key=len, reverse=True)
        around[core] = _Surroundings(
            re.compile(f"(?ai:{core}({'|'.join(map(re.escape, ends))})){between}{value}"),
            {joint: tuple(sorted({0, *lengths}, reverse=True)) for joint, lengths in _by_joint(fronts).items()},
        )
    for core, beginning, name in (
        (_ROOTS[0], "root=1-", _XRAY_HEADER),
        (_ROOTS[1], r"self=[^\s;]{1,80}+;root=1-", _XRAY_HEADER),
        (_PROJECTS, r"""(?<!/)projects/[^\s/"'\\]{1,100}+/traces/""", _GOOGLE_TRACE),
    ):
        around[core] = _Surroundings(re.compile(f"(?=(?ai:({beginning}))){value}"), named_by_value=name)
    return around


def _by_joint(fronts: set[str]) -> dict[str, list[int]]:
    lengths: dict[str, list[int]] = {}
    for front in filter(None, fronts):
        lengths.setdefault(front[-2:] if front.endswith(" ") else front[-1], []).append(len(front))
    return lengths


def _core_of(spelling: str) -> str:
    return next(core for core in (_TRACE, _SPAN, _B3, *_MARKED) if core in spelling)
