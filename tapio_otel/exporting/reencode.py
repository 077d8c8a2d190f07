"""Turn export requests from protobuf into OTLP/JSON and back: for dead letters, and for queues whose encoding was changed.

OTLP/JSON is protobuf's JSON form but for trace and span ids, which are hexadecimal, and enumerations, which are numbers
(OTLP specification, "JSON Protobuf Encoding").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, Final

PROTO: Final = "proto"
JSON: Final = "json"
_IDS: Final = ("traceId", "spanId")


def reencode(body: bytes, encoding: str, wanted: str) -> bytes:
    """Return a request in another encoding; as it is where it cannot be read, so that the server says what it thinks of it."""
    try:
        if (encoding, wanted) == (PROTO, JSON):
            import orjson

            return orjson.dumps(as_json(body))
        return _as_proto(body) if (encoding, wanted) == (JSON, PROTO) else body
    except (ValueError, TypeError, AttributeError):  # what is no request at all may be any JSON
        return body


def as_json(body: bytes) -> dict[str, Any]:
    """Return a protobuf request as OTLP/JSON; raises ValueError for what is none."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise ValueError(f"not an export request: {error}") from error
    found: dict[str, Any] = json_format.MessageToDict(request, use_integers_for_enums=True)
    _replace_ids(found, lambda text: base64.b64decode(text).hex())
    return found


def _as_proto(body: bytes) -> bytes:
    import orjson
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    found = orjson.loads(body)
    _replace_ids(found, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    try:
        return json_format.ParseDict(found, ExportLogsServiceRequest()).SerializeToString()
    except json_format.ParseError as error:
        raise ValueError(f"not an export request: {error}") from error


def _replace_ids(request: dict[str, Any], change: Callable[[str], str]) -> None:
    for record in _records(request):
        for name in _IDS:
            if record.get(name):
                try:
                    record[name] = change(record[name])
                except binascii.Error as error:
                    raise ValueError(f"{name} {record[name]!r} is no id") from error


def _records(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in request.get("resourceLogs", ()):
        for scope in resource.get("scopeLogs", ()):
            yield from scope.get("logRecords", ())
