"""OTLP servers for tests: they decode what they are sent and answer by script, one step a request, then with success."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import zstandard
from aiohttp import web
from google.protobuf import any_pb2, duration_pb2, json_format
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.exporting.certificates import Authority, Identity

SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"
TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
TRACES_PATH = "/v1/traces"


@dataclass
class Step:
    """Say how one request is answered. `status` is a gRPC code's name or an HTTP status; empty or 200 accepts.

    `hang` never answers, `close` cuts the connection (HTTP) without one. `keep` also counts a failed request as received, as
    a server does whose answer is lost.
    """

    status: str | int = ""
    words: str = ""
    retry_seconds: float | None = None
    retry_after: str = ""
    rejected: int = 0
    hang: bool = False
    close: bool = False
    keep: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""


class Received:
    """Keep what was received: logs, and traces besides, which are answered by steps of their own and not among `attempts`."""

    def __init__(self, steps: tuple[Step, ...] = (), trace_steps: Iterable[Step] = ()) -> None:
        self.steps = deque(steps)
        self.trace_steps = iter(trace_steps)
        self.traces: list[ExportTraceServiceRequest] = []
        self.trace_headers: list[dict[str, str]] = []
        self.trace_attempts = 0
        self.requests: list[ExportLogsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.attempts = 0
        self.sizes: list[int] = []
        self.hanging = asyncio.Event()
        self.attempted = asyncio.Condition()

    def next(self) -> Step:
        return self.steps.popleft() if self.steps else Step()

    def keep(self, request: ExportLogsServiceRequest) -> None:
        self.requests.append(request)
        self.sizes.append(request.ByteSize())

    async def note(self) -> None:
        """Count an attempt and wake who waits for it."""
        async with self.attempted:
            self.attempts += 1
            self.attempted.notify_all()

    async def until(self, attempts: int) -> None:
        """Wait until so many requests have come in."""
        async with self.attempted:
            await self.attempted.wait_for(lambda: self.attempts >= attempts)

    def next_of_traces(self, request: ExportTraceServiceRequest, headers: dict[str, str]) -> Step:
        """Return how a trace is answered, and keep it where that is well."""
        self.trace_attempts += 1
        self.trace_headers.append(headers)
        step = next(self.trace_steps, Step())
        if step.status in ("", 200) or step.keep:
            self.traces.append(request)
        return step

    @property
    def spans(self) -> list[tuple[dict[str, str], Span]]:
        """Return the spans received, each with the texts of its resource."""
        return [
            ({one.key: one.value.string_value for one in resource.resource.attributes}, span)
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def bodies(self) -> Counter[str]:
        """Count the records received, by body."""
        return Counter(record.body.string_value for record in self.records)

    @property
    def records(self) -> list[Any]:
        return [
            record
            for request in self.requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


def partial(rejected: int, words: str) -> ExportLogsServiceResponse:
    """Return an answer; partial success if anything is said."""
    response = ExportLogsServiceResponse()
    if rejected or words:
        response.partial_success.rejected_log_records = rejected
        response.partial_success.error_message = words
    return response


def partial_of_traces(rejected: int, words: str) -> ExportTraceServiceResponse:
    """Return an answer to a trace; partial success if anything is said."""
    response = ExportTraceServiceResponse()
    if rejected or words:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = words
    return response


def status_details(step: Step) -> bytes:
    """Return a google.rpc.Status with RetryInfo."""
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=int((step.retry_seconds or 0) * 1e9)))
    packed = any_pb2.Any()
    packed.Pack(info)
    return status_pb2.Status(code=8, message=step.words, details=[packed]).SerializeToString()


class GrpcServer:
    """Serve LogsService on loopback, and TraceService unless `traces` is None."""

    def __init__(
        self,
        *steps: Step,
        tls: Identity | None = None,
        clients: Authority | None = None,
        address: str = "127.0.0.1:0",
        traces: Iterable[Step] | None = (),
    ) -> None:
        self.received = Received(steps, traces or ())
        self._serves_traces = traces is not None
        self._tls, self._clients, self._address = tls, clients, address
        self.port = 0

    async def __aenter__(self) -> GrpcServer:
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
        if self._serves_traces:
            handler = grpc.unary_unary_rpc_method_handler(self._export_traces)
            handlers = grpc.method_handlers_generic_handler(TRACE_SERVICE, {"Export": handler})
            self._server.add_generic_rpc_handlers((handlers,))
        if self._tls:
            credentials = grpc.ssl_server_credentials(
                [(self._tls.key, self._tls.certificate)],
                self._clients.pem if self._clients else None,
                require_client_auth=self._clients is not None,
            )
            self.port = self._server.add_secure_port(self._address, credentials)
        else:
            self.port = self._server.add_insecure_port(self._address)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.received.hanging.set()
        await self._server.stop(0)

    async def _export(self, body: bytes, context: Any) -> bytes:
        step = self.received.next()
        self.received.headers.append({key: str(value) for key, value in context.invocation_metadata()})
        request = ExportLogsServiceRequest.FromString(body)
        if not step.status or step.keep:
            self.received.keep(request)
        await self.received.note()
        await self._act(step, context)
        return partial(step.rejected, step.words).SerializeToString()

    async def _export_traces(self, body: bytes, context: Any) -> bytes:
        headers = {key: str(value) for key, value in context.invocation_metadata()}
        step = self.received.next_of_traces(ExportTraceServiceRequest.FromString(body), headers)
        await self._act(step, context)
        return partial_of_traces(step.rejected, step.words).SerializeToString()

    async def _act(self, step: Step, context: Any) -> None:
        if step.hang:
            await self.received.hanging.wait()
        if step.status:
            if step.retry_seconds is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", status_details(step)),))
            await context.abort(grpc.StatusCode[str(step.status)], step.words)


class HttpServer:
    """Serve OTLP/HTTP on loopback: traces at paths that end like theirs, logs at every other."""

    def __init__(
        self, *steps: Step, tls: Identity | None = None, clients: Authority | None = None, traces: Iterable[Step] = ()
    ) -> None:
        self.received = Received(steps, traces)
        self.paths: list[str] = []
        self._tls, self._clients = tls, clients
        self.port = 0
        self.connections: set[object] = set()

    async def __aenter__(self) -> HttpServer:
        application = web.Application(client_max_size=1 << 28)
        application.router.add_route("*", "/{path:.*}", self._export)
        self._runner = web.AppRunner(application, auto_decompress=False, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await self.listen()
        return self

    async def listen(self) -> None:
        """Begin to listen; on the same port as before, if there was one."""
        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls.cert_file, self._tls.key_file)
            if self._clients:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self._clients.file)
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self._site = site
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def __aexit__(self, *_: object) -> None:
        self.received.hanging.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    async def _export(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith(TRACES_PATH):
            return await self._export_traces(request)
        step = self.received.next()
        self.paths.append(request.path)
        self.received.headers.append(dict(request.headers))
        self.connections.add(request.transport)
        body = _decompressed(await request.read(), request.headers.get("Content-Encoding", ""))
        is_json = request.content_type == "application/json"
        message = ExportLogsServiceRequest()
        if is_json:
            json_format.Parse(_hex_ids_as_base64(body), message)
        else:
            message.ParseFromString(body)
        if (step.status in ("", 200) and not step.close) or step.keep:
            self.received.keep(message)
        await self.received.note()
        if step.hang:
            await self.received.hanging.wait()
        if step.close:
            assert request.transport is not None
            request.transport.close()
        return _answer(step, is_json, partial(step.rejected, step.words))

    async def _export_traces(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        body = _decompressed(await request.read(), request.headers.get("Content-Encoding", ""))
        is_json = request.content_type == "application/json"
        message = ExportTraceServiceRequest()
        if is_json:
            json_format.Parse(_hex_ids_as_base64(body), message)
        else:
            message.ParseFromString(body)
        step = self.received.next_of_traces(message, dict(request.headers))
        if step.hang:
            await self.received.hanging.wait()
        return _answer(step, is_json, partial_of_traces(step.rejected, step.words))


def _answer(step: Step, is_json: bool, response: Any) -> web.Response:
    headers = dict(step.headers)
    if step.retry_after:
        headers["Retry-After"] = step.retry_after
    status = int(step.status or 200)
    if step.body or status != 200:
        kind = step.content_type or "text/plain"
        return web.Response(status=status, body=step.body or step.words.encode(), headers=headers | {"Content-Type": kind})
    content = json_format.MessageToJson(response).encode() if is_json else response.SerializeToString()
    kind = "application/json" if is_json else "application/x-protobuf"
    return web.Response(status=status, body=content, headers=headers | {"Content-Type": kind})


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=1 << 28)
    assert not encoding, f"unexpected encoding {encoding}"
    return body


def _hex_ids_as_base64(body: bytes) -> str:
    """Turn OTLP/JSON's hex ids into the base64 that protobuf's own JSON form expects."""
    parsed = json.loads(body)
    for resource in parsed.get("resourceLogs", []):
        for scope in resource.get("scopeLogs", []):
            for record in scope.get("logRecords", []):
                _ids_as_base64(record)
    for resource in parsed.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for one in (span, *span.get("links", [])):
                    _ids_as_base64(one)
    return json.dumps(parsed)


def _ids_as_base64(record: dict[str, Any]) -> None:
    for key in ("traceId", "spanId", "parentSpanId"):
        if record.get(key):
            record[key] = base64.b64encode(bytes.fromhex(record[key])).decode()


class TcpProxy:
    """Pass bytes between clients and a server until told to swallow or cut them: a network that fails."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallow = False
        self.port = 0

    async def __aenter__(self) -> TcpProxy:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        dead = self.swallow
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            await asyncio.gather(self._pump(reader, far_writer, dead), self._pump(far_reader, writer, dead))
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _dead: bool) -> None:
        try:
            while chunk := await reader.read(65536):
                if not self.swallow:
                    writer.write(chunk)
        except OSError:
            return
        writer.close()
