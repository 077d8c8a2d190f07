"""The kinds of request that an exporter sends: logs, and the traces that findings become.

A request says which it is from the queue to the dead-letter file. On disk that stands with its encoding: `proto` and `json` are
logs, as they were before there were traces, `proto/traces` and `json/traces` are traces.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

_MARK: Final = "/traces"


class Signal(StrEnum):
    """Name what a request holds."""

    LOGS = "logs"
    TRACES = "traces"


class Words(NamedTuple):
    """Name what is counted of a signal: in counters, and for people."""

    sent: str
    failed: str
    dropped: str
    dead_lettered: str
    dead_letter_failed: str
    items: str


WORDS: Final = {
    Signal.LOGS: Words("sent", "failed", "dropped", "dead_lettered", "dead_letter_failed", "events"),
    Signal.TRACES: Words(
        "sent_spans", "failed_spans", "dropped_spans", "dead_lettered_spans", "dead_letter_failed_spans", "spans"
    ),
}


def row_encoding(encoding: str, signal: Signal) -> str:
    """Return what the queue's file says of a request's encoding."""
    return encoding + _MARK if signal is Signal.TRACES else encoding


def read_encoding(encoding: str) -> tuple[str, Signal]:
    """Return encoding and signal of a request in the queue's file."""
    if encoding.endswith(_MARK):
        return encoding[: -len(_MARK)], Signal.TRACES
    return encoding, Signal.LOGS


def request_class(signal: Signal) -> Any:
    """Return the protobuf class of a signal's request."""
    if signal is Signal.TRACES:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return ExportTraceServiceRequest
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    return ExportLogsServiceRequest


def response_class(signal: Signal) -> Any:
    """Return the protobuf class of the answer to a signal's request."""
    if signal is Signal.TRACES:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        return ExportTraceServiceResponse
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    return ExportLogsServiceResponse
