"""Which stream of lines an event belongs to: what one writer wrote one after the other, whatever its priorities."""

from __future__ import annotations

from typing import Any, Final

from tapio_otel.event import Origin, UnifiedEvent

_CACHED: Final = "processors.recombine"
_JOURNAL_FIELDS: Final = (
    *("_PID", "_STREAM_ID", "SYSLOG_IDENTIFIER", "_TRANSPORT", "_BOOT_ID", "_MACHINE_ID", "_HOSTNAME"),
    *("_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT", "CONTAINER_ID_FULL", "CONTAINER_ID", "CONTAINER_NAME"),
)
"""What tells writers apart in the journal. Other fields, such as _COMM, may change while a process writes its lines."""
_KERNEL: Final = "kernel "


def stream_of(event: UnifiedEvent) -> str:
    """Return the name of the stream that an event belongs to: the same text for the same stream."""
    origin = event.shared
    if origin is None:
        return _of_detached(event)
    stream: str | None = origin.cache.get(_CACHED)
    if stream is None:
        stream = origin.cache[_CACHED] = _of_origin(event.source, origin)
    own = event.own
    if own and ("_STREAM_ID" in own or "pid" in own):
        return f"{stream} {own.get('_STREAM_ID')!r} {own.get('pid')!r}"
    return stream


def is_of_kernel(stream: str) -> bool:
    """Tell whether the kernel writes the stream."""
    return stream.startswith(_KERNEL)


def _of_origin(source: str, origin: Origin) -> str:
    """Return the stream of an origin: by what the journal tells of the writer, else the origin itself is the stream.

    An origin's address names it as long as a line of it is held, as the line keeps it alive.
    """
    record, attributes = origin.record, origin.attributes
    transport = _text(record.get("_TRANSPORT") or attributes.get("_TRANSPORT"))
    identifier = _text(record.get("SYSLOG_IDENTIFIER") or attributes.get("SYSLOG_IDENTIFIER"))
    written = [record.get(name) for name in _JOURNAL_FIELDS]
    return _name(transport or identifier, source, written if any(written) else id(origin))


def _of_detached(event: UnifiedEvent) -> str:
    entity, get = event.entity, event.get
    identifier, transport = get("SYSLOG_IDENTIFIER"), get("_TRANSPORT")
    what = (entity.type, entity.uid, identifier, transport, get("pid"), get("_STREAM_ID"))
    return _name(_text(transport or identifier), event.source, what)


def _name(writer: str, source: str, what: Any) -> str:
    return f"{_KERNEL}{source} {what!r}" if writer == "kernel" else f"{source} {what!r}"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
