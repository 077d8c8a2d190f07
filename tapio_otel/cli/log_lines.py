"""Lines of text, journal export or JSON as log events: what the commands for authors of patterns read.

A line of text may begin as syslog, journalctl or dmesg begin it; that is taken for the fields it stands for, and the message is
what remains. JSON is taken for a journal entry (`journalctl -o json`) where it has journal fields, else it is a message that
happens to be JSON, as many programs write it. The export format is described in systemd's JOURNAL_EXPORT_FORMATS.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.journald.entry import EntryParser

FORMATS: Final = ("auto", "text", "export", "json")
_SOURCE: Final = "text"
_NO_BOOT: Final = "0" * 32
_MESSAGE: Final = "MESSAGE"
_LONGEST_FIELD: Final = 1 << 30
"""Bytes; journald itself refuses fields beyond 768 MiB."""

_CLOCK: Final = r"\d\d:\d\d:\d\d"
_ISO_DAY: Final = r"\d{4}-\d\d-\d\d"
_WRITER: Final = r"(?P<host>[\w.:-]{1,255}) (?P<identifier>[^\s\[\]:]{1,64})(?:\[(?P<pid>\d{1,10})\])?: (?P<message>.*)"
_SYSLOG: Final = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?"
    rf"(?:[A-Z][a-z]{{2}} [ \d]\d {_CLOCK}(?:\.\d+)?"
    rf"|{_ISO_DAY}T{_CLOCK}(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)"
    rf"|[A-Z][a-z]{{2}} {_ISO_DAY} {_CLOCK}(?:\.\d+)? \S{{1,8}}"  # journalctl -o short-full
    rf"|\d{{9,11}}\.\d{{6}}) {_WRITER}",  # journalctl -o short-unix
    re.DOTALL,
)
_SYSLOG_5424: Final = re.compile(
    r"<(?P<priority>\d{1,3})>1 \S{1,40} (?P<host>\S{1,255}) (?P<identifier>\S{1,48}) (?:(?P<pid>\d{1,10})|\S{1,128}) \S{1,32} "
    r"(?:-|\[[^\n]{1,4096}?\])(?: \ufeff?(?P<message>.*)|$)",
    re.DOTALL,
)
_DMESG: Final = re.compile(
    r"(?:<(?P<priority>\d{1,3})>|\w{1,8} *:(?P<level>\w{1,6}) *: )?"  # dmesg --raw, dmesg --decode
    rf"(?:\[ *\d{{1,9}}\.\d{{6}}\](?:\[ *[TC]\d+\])?|\[[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ \d]\d {_CLOCK} \d{{4}}\]"
    rf"|{_ISO_DAY}T{_CLOCK},\d{{6}}[+-]\d\d:?\d\d) (?P<message>.*)",
    re.DOTALL,
)
_MONOTONIC: Final = re.compile(rf"(?=[\w.:-]{{1,255}} (?:kernel|[^\s\[\]:]{{1,64}}\[\d{{1,10}}\]): ){_WRITER}", re.DOTALL)
"""What is behind the time that journalctl -o short-monotonic writes, as dmesg writes it."""
_LEVELS: Final = {
    name: str(number) for number, name in enumerate(("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"))
}
"""PRIORITY by what dmesg --decode calls it."""
_OF_JOURNAL: Final = (b"_", b"MESSAGE=", b"PRIORITY=", b"SYSLOG_", b"CODE_")
"""How the first field of an entry may begin; other lines of the form NAME=value are text, as the firewall's `IN=eth0 OUT=`."""
_FIELD_NAME: Final = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}\Z")


class LogLine(NamedTuple):
    """Hold one line, or the message of one entry, with the event made of it. `has_fields`: whether journal fields are known."""

    text: str
    event: UnifiedEvent
    has_fields: bool


class LineError(ValueError):
    """Report input that cannot be read: where, what was found, what to do."""


def read_lines(stream: BinaryIO, format: str = "auto") -> Iterator[LogLine]:
    """Yield what a stream holds, a line or entry at a time, as soon as it is there; raises `LineError`."""
    lines = iter(stream.readline, b"")
    if format == "auto":
        first = next(lines, b"")
        lines = chain([first] if first else [], lines)
        format = "export" if _begins_export(first) else "lines"
    maker = _Maker()
    if format == "export":
        for fields in _entries(lines, stream.read):
            yield maker.of_entry(fields)
    else:
        read = {"text": maker.of_text, "json": maker.of_json, "lines": maker.of_any}[format]
        for number, line in enumerate(lines, 1):
            if text := line.decode("utf-8", "replace").rstrip("\r\n"):
                yield read(text, number)


def line_of(text: str, fields: Mapping[str, str] | None = None) -> LogLine:
    """Return one line of text, or with journal fields the entry of that message."""
    if fields is None:
        return _Maker().of_any(text, 1)
    return _Maker().of_entry({name: value.encode() for name, value in {**fields, _MESSAGE: text}.items()})


class _Maker:
    """Make events of lines."""

    def __init__(self) -> None:
        self._parser = EntryParser()
        self._count = 0

    def of_any(self, text: str, number: int) -> LogLine:
        entry = _journal_entry(text)
        return self.of_text(text, number) if entry is None else self.of_entry(entry)

    def of_json(self, text: str, number: int) -> LogLine:
        entry = _journal_entry(text)
        if entry is None:
            raise LineError(
                f"line {number}: {text[:80]!r} is no journal entry: expected an object with MESSAGE, as journalctl -o json "
                "writes it; use --format text for messages that are JSON themselves"
            )
        return self.of_entry(entry)

    def of_text(self, text: str, _number: int) -> LogLine:
        fields = _fields_of_line(text)
        if fields is None:
            return self._of_message(text)
        return self.of_entry({name: value.encode() for name, value in fields.items()})._replace(text=text)

    def _of_message(self, text: str) -> LogLine:
        self._count += 1
        event = UnifiedEvent(id=str(self._count), timestamp=time.time_ns(), source=_SOURCE, description=text)
        return LogLine(text, event, False)

    def of_entry(self, fields: Mapping[str, Any]) -> LogLine:
        self._count += 1
        content = {name: value for name, value in fields.items() if not name.startswith("__")}
        event = self._parser.parse(content, _cursor(fields, self._count))
        if event is None:  # which cannot be: nothing is excluded
            raise LineError(f"entry {self._count} was left out")
        return LogLine(event.description, event, True)


def _fields_of_line(text: str) -> dict[str, str] | None:
    """Return the journal fields that the beginning of a line stands for; None for a line that begins otherwise."""
    if match := _SYSLOG.fullmatch(text) or _SYSLOG_5424.fullmatch(text):
        return _written(match) | _priority(match["priority"])
    if match := _DMESG.fullmatch(text):
        priority = _priority(match["priority"]) or ({"PRIORITY": _LEVELS[match["level"]]} if match["level"] in _LEVELS else {})
        if writer := _MONOTONIC.fullmatch(match["message"]):
            return _written(writer) | priority
        return {"SYSLOG_IDENTIFIER": "kernel", "_TRANSPORT": "kernel", _MESSAGE: match["message"]} | priority
    return None


def _written(match: re.Match[str]) -> dict[str, str]:
    kernel = match["identifier"] == "kernel"
    message = match["message"] or ""
    if kernel and (stamped := _DMESG.fullmatch(message)):  # as syslog daemons write it that keep the kernel's time
        message = stamped["message"]
    fields = {"SYSLOG_IDENTIFIER": match["identifier"], "_TRANSPORT": "kernel" if kernel else "syslog"}
    return fields | {"_HOSTNAME": match["host"], _MESSAGE: message} | ({"_PID": match["pid"]} if match["pid"] else {})


def _priority(written: str | None) -> dict[str, str]:
    """Return the severity of syslog's number, which has the facility in its upper bits."""
    return {"PRIORITY": str(int(written) & 7)} if written else {}


def _begins_export(line: bytes) -> bool:
    name, equals, _ = line.partition(b"=")
    return bool(equals and _FIELD_NAME.match(name)) and line.startswith(_OF_JOURNAL)


def _cursor(fields: Mapping[str, Any], number: int) -> str:
    """Return an entry's cursor in journald's form, with what the entry tells of it."""
    realtime = _integer(fields.get("__REALTIME_TIMESTAMP")) or time.time_ns() // 1000
    return f"s={_NO_BOOT};i={number:x};b={_NO_BOOT};m=0;t={realtime:x};x=0"


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _journal_entry(text: str) -> dict[str, Any] | None:
    """Return the fields of a journal entry as `journalctl -o json` writes it, or None."""
    if not text.startswith("{") or f'"{_MESSAGE}"' not in text:
        return None
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict) or _MESSAGE not in content:
        return None
    return {name: _field(value) for name, value in content.items() if value is not None}


def _field(value: Any) -> Any:
    """Return a field as journald has it: bytes, or a list of them; journalctl writes bytes that are no text as numbers."""
    if isinstance(value, list) and not _is_bytes(value):
        return [_content(one) for one in value]
    return _content(value)


def _is_bytes(value: list[Any]) -> bool:
    """Tell whether a list is a value's bytes; an empty one is, too, as a field has one value at least."""
    return all(isinstance(one, int) and 0 <= one < 256 for one in value)


def _content(value: Any) -> bytes:
    if isinstance(value, list) and _is_bytes(value):
        return bytes(value)
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else str(value).encode()


def _entries(lines: Iterator[bytes], read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    """Yield the entries of a stream in the export format."""
    fields: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip(b"\n"):
            if fields:
                yield fields
            fields = {}
            continue
        name, equals, value = line.rstrip(b"\n").partition(b"=")
        if not _FIELD_NAME.match(name):
            raise LineError(
                f"line {number}: {line[:80]!r} is no field of the journal export format: expected NAME=value, or NAME alone "
                "before a length and bytes; use --format text for plain lines"
            )
        _add(fields, name.decode(), value if equals else _binary(name, number, read))
    if fields:
        yield fields


def _binary(name: bytes, number: int, read: Callable[[int], bytes]) -> bytes:
    """Read a field with a length of its own: eight bytes, little endian, then the value and a line feed."""
    header = read(8)
    size = struct.unpack("<Q", header)[0] if len(header) == 8 else _LONGEST_FIELD + 1
    value = read(size + 1) if size <= _LONGEST_FIELD else b""
    if len(value) != size + 1 or not value.endswith(b"\n"):
        raise LineError(f"line {number}: the binary field {name.decode()} is cut short or its length is wrong")
    return value[:-1]


def _add(fields: dict[str, Any], name: str, value: bytes) -> None:
    """Add a field; one that is repeated becomes a list."""
    if name in fields and not name.startswith("__"):
        known = fields[name]
        fields[name] = [*known, value] if isinstance(known, list) else [known, value]
    else:
        fields[name] = value
