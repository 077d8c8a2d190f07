"""Write events for people: one readable line, or everything there is about one.

Whatever a log message contains, nothing of it acts on the terminal: control characters and characters that turn the writing
direction around are shown as escapes.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tapio_otel.event import EntityReference, EntityType, EventType, Origin, Severity, Source, UnifiedEvent
from tapio_otel.otlp.semconv import EMIT_TRACE

LONGEST_TITLE: Final = 400
RESET: Final = "\x1b[0m"
COLOURS: Final = {
    Severity.DEBUG: "\x1b[2m",
    Severity.INFO: "",
    Severity.NOTICE: "\x1b[36m",
    Severity.WARNING: "\x1b[33m",
    Severity.ERROR: "\x1b[31m",
    Severity.CRITICAL: "\x1b[1;31m",
    Severity.ALERT: "\x1b[1;31m",
    Severity.EMERGENCY: "\x1b[1;37;41m",
}
_EXPLAINED: Final = frozenset((Source.EBPF, Source.KUBERNETES, Source.CORRELATION))
"""Sources whose descriptions say more than the title does; that of a journal entry is the text that the title is made of."""
_LABEL_KEY: Final = "event_text.label"
_ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")

_ACTIVE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def inert(text: str) -> str:
    """Return the text with everything escaped that would act on a terminal or cannot be encoded; line breaks and tabs too."""
    return text if text.isprintable() else _ACTIVE.sub(_escape, text)


def inert_json(text: str) -> str:
    """Return JSON in which everything is escaped that would act on a terminal; it means the same."""
    return text if text.isascii() and "\x7f" not in text else _ACTIVE_IN_JSON.sub(lambda one: f"\\u{ord(one[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    return repr(match[0])[1:-1] if not match[0].isprintable() else f"\\u{ord(match[0]):04x}"


class LineWriter:
    """Write each event as one line: local time, severity, entity, title, what explains it, and the type but for `log`."""

    def __init__(self, colour: bool = False) -> None:
        self._second = -1
        self._clock = ""
        self._heads = {severity: _severity_head(severity, colour) for severity in Severity}

    def text(self, events: Sequence[UnifiedEvent]) -> str:
        """Return the lines of a batch."""
        heads = self._heads
        lines = []
        for event in events:
            title = event.title or event.description
            if event.source in _EXPLAINED and event.description and event.description != title:
                title = f"{title}: {event.description[: LONGEST_TITLE + 1]}"
            if len(title) > LONGEST_TITLE:
                title = title[:LONGEST_TITLE] + "…"
            if not title.isprintable():
                title = inert(title)
            kind = "" if event.type == EventType.LOG else f" [{inert(event.type)}]"
            head, tail = heads[event.severity]
            lines.append(f"{self._time(event.timestamp)} {head}{_label(event)}: {title}{kind}{tail}\n")
        return "".join(lines)

    def _time(self, timestamp: int) -> str:
        second, rest = divmod(timestamp, 1_000_000_000)
        if second != self._second:
            self._second, self._clock = second, _local(second)
        return f"{self._clock}.{rest // 1_000_000:03d}"


def _severity_head(severity: Severity, colour: bool) -> tuple[str, str]:
    start = COLOURS[severity] if colour else ""
    return f"{start}{severity.keyword:<9} ", RESET if start else ""


def _local(second: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
    except (OverflowError, ValueError, OSError):
        return f"@{second}"


def _label(event: UnifiedEvent) -> str:
    """Return the name of what the event is about, as short as it can be told; kept with the origin."""
    origin = event.shared
    if origin is None:
        return label_of(event.entity)
    label = origin.cache.get(_LABEL_KEY)
    if label is None:
        label = origin.cache[_LABEL_KEY] = label_of(origin.entity)
    return str(label)


def label_of(entity: EntityReference) -> str:
    """Return `namespace/pod`, `unit`, `name[pid]` for a process; the type is added where the name alone does not tell."""
    if entity.type == EntityType.PROCESS:
        pid = entity.uid.split("-")[1] if entity.uid.startswith("process-") else ""
        text = f"{entity.name}[{pid}]" if pid else entity.name
    elif entity.type == EntityType.SYSTEMD_UNIT:
        text = entity.name
    else:
        text = f"{entity.type} {entity.namespace + '/' if entity.namespace else ''}{entity.name}"
    return inert(text)


def summary(events: Sequence[UnifiedEvent], scope: str) -> str:
    """Return one line that counts a batch by severity, worst first."""
    counts = Counter(event.severity for event in events)
    parts = ", ".join(f"{counts[severity]} {severity.keyword}" for severity in sorted(counts, reverse=True))
    plural = "" if len(events) == 1 else "s"
    return f"{_local(int(time.time()))} {len(events)} event{plural} from {inert(scope)}: {parts}\n"


def details(event: UnifiedEvent, resource: Mapping[str, Any]) -> str:
    """Return everything there is about one event, a fact a line; `resource` are the attributes it is exported under."""
    return "\n".join(_facts(event, event.view(), resource)) + "\n"


def _facts(event: UnifiedEvent, seen: Origin, resource: Mapping[str, Any]) -> Iterator[str]:
    yield f"Event {inert(event.id)}"
    yield f"    Time        : {_precise(event.timestamp)}"
    yield f"    Observed    : {_precise(event.observed)}"
    yield f"    Source, type: {inert(event.source)}, {inert(event.type)}"
    yield f"    Severity    : {event.severity.keyword} ({int(event.severity)})"
    yield f"    Entity      : {' of '.join(_entity(entity) for entity in seen.entity.lineage())}"
    yield f"    Title       : {inert(event.title)}"
    if event.description and event.description != event.title:
        yield from ("    Description :", *(f"        {inert(line)}" for line in event.description.split("\n")))
    for name, value in (("Trace id", event.trace_id), ("Span id", event.span_id), ("Parent id", event.parent_id)):
        if value:
            yield f"    {name:<12}: {inert(value)}"
    groups = (
        ("Attributes", seen.attributes),
        ("Labels", seen.labels),
        ("Annotations", seen.annotations),
        ("Resource", resource),
    )
    for name, values in groups:
        keys = sorted(key for key in values if key != EMIT_TRACE)
        if keys:
            yield f"    {name}:"
            yield from (f"     -> {inert(str(key))}: {_value(values[key])}" for key in keys)


def _precise(timestamp: int) -> str:
    second, rest = divmod(timestamp, 1_000_000_000)
    return f"{_local(second)}.{rest:09d}"


def _entity(entity: EntityReference) -> str:
    extra = "".join(f", {key}={value}" for key, value in entity.attributes.items())
    where = f"{entity.namespace}/" if entity.namespace else ""
    return inert(f"{entity.type} {where}{entity.name} (uid {entity.uid}{extra})")


def _value(value: Any) -> str:
    kind = {str: "Str", bool: "Bool", int: "Int", float: "Double", bytes: "Bytes", list: "Slice", dict: "Map"}
    text = value if isinstance(value, str) else repr(value)
    return f"{kind.get(type(value), 'Empty')}({inert(text)})"
