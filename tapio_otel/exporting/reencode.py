"""Turn export requests from protobuf into OTLP/JSON and back: for dead letters, and for queues whose encoding was changed.

OTLP/JSON is protobuf's JSON form but for trace and span ids, which are hexadecimal, and enumerations, which are numbers
(OTLP specification, "JSON Protobuf Encoding").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, Final

from tapio_otel.exporting.signal import Signal, request_class

PROTO: Final = "proto"
JSON: Final = "json"
_IDS: Final = ("traceId", "spanId", "parentSpanId")


def reencode(body: bytes, encoding: str, wanted: str, signal: Signal = Signal.LOGS) -> bytes:
    """Return a request in another encoding; as it is where it cannot be read, so that the server says what it thinks of it."""
    try:
        if (encoding, wanted) == (PROTO, JSON):
            import orjson

            return orjson.dumps(as_json(body, signal))
        return _as_proto(body, signal) if (encoding, wanted) == (JSON, PROTO) else body
    except (ValueError, TypeError, AttributeError):  # what is no request at all may be any JSON
        return body


def as_json(body: bytes, signal: Signal = Signal.LOGS) -> dict[str, Any]:
    """Return a protobuf request as OTLP/JSON; raises ValueError for what is none."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    request = request_class(signal)()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise ValueError(f"not an export request: {error}") from error
    found: dict[str, Any] = json_format.MessageToDict(request, use_integers_for_enums=True)
    _replace_ids(found, lambda text: base64.b64decode(text).hex())
    return found


def count_spans(body: bytes) -> int:
    """Return how many spans a request of either encoding holds; 0 for what is no request."""
    from google.protobuf.message import DecodeError

    try:
        if body.startswith(b"{"):
            return sum(1 for _ in _spans(_loaded(body)))
        request = request_class(Signal.TRACES).FromString(body)
        return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    except (DecodeError, ValueError, TypeError, AttributeError):
        return 0


def _loaded(body: bytes) -> Any:
    import orjson

    return orjson.loads(body)


def _as_proto(body: bytes, signal: Signal) -> bytes:
    from google.protobuf import json_format

    found = _loaded(body)
    _replace_ids(found, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    try:
        made: bytes = json_format.ParseDict(found, request_class(signal)()).SerializeToString()
    except json_format.ParseError as error:
        raise ValueError(f"not an export request: {error}") from error
    return made


def _replace_ids(request: dict[str, Any], change: Callable[[str], str]) -> None:
    for record in _with_ids(request):
        for name in _IDS:
            if record.get(name):
                try:
                    record[name] = change(record[name])
                except binascii.Error as error:
                    raise ValueError(f"{name} {record[name]!r} is no id") from error


def _with_ids(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in request.get("resourceLogs", ()):
        for scope in resource.get("scopeLogs", ()):
            yield from scope.get("logRecords", ())
    for span in _spans(request):
        yield span
        yield from span.get("links", ())


def _spans(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in request.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())
