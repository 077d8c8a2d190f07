"""The agent's own log: one line a message on standard error, as text or JSON, never one for each event."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Final, Literal, TextIO

from tapio_otel.exporting.event_text import inert, inert_json

ROOT: Final = "tapio"


class TextFormatter(logging.Formatter):
    """Write `2026-01-02T03:04:05.678Z warning receivers/journald: message`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; line breaks and what would act on a terminal are kept visible."""
        text = f"{_stamp(record)} {record.levelname.lower():<7} {_component(record)}: {inert(record.getMessage())}"
        return "\n".join((text, *map(inert, self.formatException(record.exc_info).split("\n")))) if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """Write one JSON object a line with the keys ts, level, component, msg, error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line = {
            "ts": _stamp(record),
            "level": record.levelname.lower(),
            "component": _component(record),
            "msg": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return inert_json(json.dumps(line, ensure_ascii=False))


class StandardErrorHandler(logging.StreamHandler[TextIO]):
    """Write to what standard error is at the moment, so that a progress bar can move out of the way."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Return standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Keep to standard error."""


def set_up(level: str, encoding: Literal["console", "json"]) -> logging.Logger:
    """Send the agent's log to standard error; returns its root logger."""
    log = logging.getLogger(ROOT)
    for old in list(log.handlers):
        log.removeHandler(old)
    stream = StandardErrorHandler()
    stream.setFormatter(JsonFormatter() if encoding == "json" else TextFormatter())
    log.addHandler(stream)
    log.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    log.propagate = False
    return log


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _component(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{ROOT}.") or ROOT
