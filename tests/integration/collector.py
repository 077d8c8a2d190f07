"""Run a real otel-collector on loopback and read back what it received.

The program is built by scripts/build-collector. Its OTLP receivers write through the file exporter, so that a test compares
what it sent with what another implementation of OTLP understood.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

READY_WITHIN = 20.0
STOPPED_WITHIN = 10.0


@dataclass(frozen=True)
class Received:
    """One log record with the resource and scope it came under; attribute values are plain Python values."""

    resource: dict[str, Any]
    scope: dict[str, Any]
    record: dict[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        """Return the record's attributes."""
        return plain_attributes(self.record)

    @property
    def resource_attributes(self) -> dict[str, Any]:
        """Return the resource's attributes."""
        return plain_attributes(self.resource)

    @property
    def body(self) -> Any:
        """Return the body as a plain value, None where there is none."""
        return plain(self.record.get("body", {}))


def plain(value: Mapping[str, Any]) -> Any:
    """Turn an OTLP/JSON AnyValue into a Python value; bytes come out as bytes, an empty value as None."""
    for kind, content in value.items():
        match kind:
            case "intValue":
                return int(content)
            case "bytesValue":
                return base64.b64decode(content)
            case "arrayValue":
                return [plain(item) for item in content.get("values", [])]
            case "kvlistValue":
                return {pair["key"]: plain(pair.get("value", {})) for pair in content.get("values", [])}
            case _:
                return content
    return None


def plain_attributes(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `attributes` list of a resource, scope or record as a dict; a repeated key is an error."""
    pairs = [(pair["key"], plain(pair.get("value", {}))) for pair in holder.get("attributes", [])]
    found = dict(pairs)
    assert len(found) == len(pairs), f"an attribute key is repeated: {[key for key, _ in pairs]}"
    return found


def free_port() -> int:
    """Return a TCP port of the loopback interface that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Collector:
    """Run a collector with OTLP receivers on free loopback ports, writing what they receive to a file.

    `directory` is the caller's (a tmp_path). `tls` is the receivers' TLS block (`cert_file`, `key_file`, `client_ca_file`,
    `min_version`), for both protocols. `grpc` and `http` are merged into the protocol's settings. `extra` is merged into the
    top level of the configuration. The ports stay the same over `stop` and `start`.
    """

    def __init__(
        self,
        program: Path,
        directory: Path,
        tls: Mapping[str, Any] | None = None,
        grpc: Mapping[str, Any] | None = None,
        http: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.program = program
        self.directory = directory
        self.scheme = "https" if tls else "http"
        self.output = directory / "received.jsonl"
        self.log = directory / "collector.log"
        self.grpc_port, self.http_port, self._health_port = free_port(), free_port(), free_port()
        self._tls = {"tls": dict(tls)} if tls else {}
        self._grpc, self._http, self._extra = dict(grpc or {}), dict(http or {}), dict(extra or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def grpc_endpoint(self) -> str:
        """Return the gRPC endpoint with its scheme; the host is a name, for certificates to name."""
        return f"{self.scheme}://localhost:{self.grpc_port}"

    @property
    def http_endpoint(self) -> str:
        """Return the base address for OTLP/HTTP, without the signal's path."""
        return f"{self.scheme}://localhost:{self.http_port}"

    def configuration(self) -> dict[str, Any]:
        """Return the collector's configuration."""
        protocols = {
            "grpc": {"endpoint": f"127.0.0.1:{self.grpc_port}", "max_recv_msg_size_mib": 64} | self._tls | self._grpc,
            "http": {"endpoint": f"127.0.0.1:{self.http_port}"} | self._tls | self._http,
        }
        return {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": {"file": {"path": str(self.output), "flush_interval": "50ms", "append": True}},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self._health_port}"}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "info"}},
                "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        } | self._extra

    def start(self) -> Collector:
        """Start the program and return once it reports that it is ready; raises RuntimeError with its log if it does not."""
        path = self.directory / "collector.yaml"
        path.write_text(yaml.safe_dump(self.configuration()))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "--config", path], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + READY_WITHIN
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the collector did not become ready:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Stop the program, giving it time to write what it holds; safe to call without `start`, and twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End the program at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def requests(self) -> list[dict[str, Any]]:
        """Return the ExportLogsServiceRequests written so far; a line that is still being written is left for later."""
        if not self.output.exists():
            return []
        return [json.loads(line) for line in self.output.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def records(self) -> list[Received]:
        """Return the log records written so far, in the order they were written."""
        return [received for request in self.requests() for received in flatten(request)]

    async def wait_for(self, count: int, within: float = 20.0) -> list[Received]:
        """Return the records once there are at least `count`; raises AssertionError after `within` seconds."""
        deadline = time.monotonic() + within
        while len(records := self.records()) < count:
            assert time.monotonic() < deadline, (
                f"{len(records)} of {count} records after {within} s\n{self.log.read_text()[-4000:]}"
            )
            await asyncio.sleep(0.02)
        return records

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def __enter__(self) -> Collector:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def flatten(request: Mapping[str, Any]) -> Iterator[Received]:
    """Yield every log record of an ExportLogsServiceRequest in OTLP/JSON."""
    for resource_logs in request.get("resourceLogs", []):
        for scope_logs in resource_logs.get("scopeLogs", []):
            for record in scope_logs.get("logRecords", []):
                yield Received(resource_logs.get("resource", {}), scope_logs.get("scope", {}), record)
