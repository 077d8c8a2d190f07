"""Read what OTLP servers answer: partial success, error words, and how long to wait before trying again."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from tapio_otel.exporting.retry import Answer
from tapio_otel.exporting.signal import Signal, response_class
from tapio_otel.notices import quote


def read_answer(body: bytes, is_json: bool = False, signal: Signal = Signal.LOGS) -> Answer:
    """Return what the answer to an export request says; an empty or unreadable one means that everything was accepted."""
    if not body:
        return Answer()
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    response = response_class(signal)()
    try:
        if is_json:
            json_format.Parse(body, response, ignore_unknown_fields=True)
        else:
            response.ParseFromString(body)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError):
        return Answer()
    partial = response.partial_success
    rejected = partial.rejected_spans if signal is Signal.TRACES else partial.rejected_log_records
    return Answer(max(rejected, 0), partial.error_message)


def read_error(body: bytes, content_type: str) -> str:
    """Return the words of an HTTP error answer: those of a google.rpc.Status, else the text itself; for one log line."""
    words = ""
    if body and "protobuf" in content_type:
        words = _status(body).message
    elif body and "json" in content_type:
        words = _json_message(body)
    elif body:
        words = body[:2000].decode("utf-8", "replace")
    return quote(" ".join(words.split()))


def _status(body: bytes) -> Any:
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    status = Status()
    try:
        status.ParseFromString(body)
    except DecodeError:
        return Status()
    return status


def _json_message(body: bytes) -> str:
    import orjson

    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    message = parsed.get("message") if isinstance(parsed, dict) else None
    return message if isinstance(message, str) else body[:2000].decode("utf-8", "replace")


def retry_info(details: bytes) -> float | None:
    """Return the seconds a google.rpc.RetryInfo among the details of a gRPC status asks to wait, or None without one."""
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]

    for detail in _status(details).details:
        if not detail.Is(RetryInfo.DESCRIPTOR):
            continue
        info = RetryInfo()
        try:
            detail.Unpack(info)
        except DecodeError:
            return None
        return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
    return None


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Return the seconds of a Retry-After header, given as seconds or as an HTTP date; None where it says neither."""
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))
