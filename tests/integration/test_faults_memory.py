"""A dead backend and more events than anybody takes: memory stays below its limit, and every event is accounted for.

A real agent runs in a small memory cgroup, so that too much of it would be its end. TAPIO_FAULT_SECONDS is how long the backend
is away: some seconds by default, 600 for the long form.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tapio_otel.event import Severity
from tests.integration.agent import TAPIO
from tests.integration.collector import free_port
from tests.integration.offering import SEVERITIES
from tests.kernel import Cgroup
from tests.test_registry import install

SECONDS: Final = float(os.environ.get("TAPIO_FAULT_SECONDS", "8"))
MIB: Final = 1 << 20
CGROUP_LIMIT: Final = 192 * MIB
PERCENT: Final = 80
LIMIT: Final = CGROUP_LIMIT * PERCENT // 100
STEADY_RATE: Final = 80_000
HASTY_RATE: Final = 20_000

pytestmark = pytest.mark.timeout(SECONDS + 240)


class Backend:
    """Take OTLP/HTTP on a port, as soon as it is started."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bodies: list[bytes] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Answer requests meanwhile."""
        bodies = self.bodies

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", self.port), Answer) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()

    def arrived(self) -> dict[str, list[tuple[int, int]]]:
        """Return (number, severity) of what arrived, by the receiver it is of."""
        found: dict[str, list[tuple[int, int]]] = {"steady": [], "hasty": []}
        for body in self.bodies:
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                for record in (record for scope in resource.scope_logs for record in scope.log_records):
                    name, number = record.body.string_value.split()[:2]
                    found[name].append((int(number), record.severity_number))
        return found


class Limited:
    """Run an agent in a cgroup of its own, with both receivers and an exporter to the backend."""

    def __init__(self, room: Path, cgroup: Cgroup, port: int, seconds: float) -> None:
        self.room, self.cgroup = room, cgroup
        self.errors = room / "errors.txt"
        self.peak = 0
        self.process: subprocess.Popen[bytes] | None = None
        plugins = room / "plugins"
        plugins.mkdir()
        install(plugins, "offering", "offering", "from tests.integration.offering import *\n")
        checkout = str(Path(__file__).parents[2])
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(plugins), checkout))}
        self._config = room / "tapio.yaml"
        self._config.write_text(json.dumps(self._configuration(port, seconds)))

    def _configuration(self, port: int, seconds: float) -> dict[str, Any]:
        retry = {"initial_interval": "1s", "max_interval": "2s", "max_elapsed_time": 0}
        offered = {"seconds": seconds}
        pipeline = {
            "receivers": ["steady", "hasty"],
            "processors": ["memory_limiter", "normalize", "redaction"],
            "exporters": ["otlphttp"],
        }
        return {
            "receivers": {
                "steady": {**offered, "rate": STEADY_RATE, "told": str(self.room / "steady")},
                "hasty": {**offered, "rate": HASTY_RATE, "batch": 200, "told": str(self.room / "hasty")},
            },
            "processors": {"memory_limiter": {"limit_percentage": PERCENT}, "normalize": {}, "redaction": {}},
            "exporters": {
                "otlphttp": {
                    "endpoint": f"http://127.0.0.1:{port}",
                    "compression": "none",
                    "retry_on_failure": retry,
                    "sending_queue": {"queue_size": 1_000_000, "max_bytes": "1GiB"},
                }
            },
            "service": {"state_dir": str(self.room / "state"), "shutdown_timeout": "120s", "pipelines": {"logs": pipeline}},
        }

    def __enter__(self) -> Limited:
        enter = f"echo $$ > '{self.cgroup.directory}/cgroup.procs'; exec \"$@\""
        command = ["sh", "-ec", enter, "sh", *TAPIO, "run", "--config", str(self._config)]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=self._environment
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=20)

    def watch(self, seconds: float | None = None) -> int | None:
        """Follow its memory for so long, or to its end; returns its exit status once it has ended."""
        assert self.process is not None
        until = time.monotonic() + seconds if seconds is not None else float("inf")
        while time.monotonic() < until:
            status = self.process.poll()
            if status is not None:
                return status
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text(), re.MULTILINE)
                self.peak = max(self.peak, int(found[1]) * 1024 if found else 0)
            time.sleep(0.1)
        return None

    def log(self) -> str:
        """Return what it has written."""
        return self.errors.read_text()

    def emitted(self, name: str) -> int:
        """Return how many events a receiver has emitted."""
        return int((self.room / name).read_text())

    def balance(self) -> dict[str, int]:
        """Return the terms of the pipeline's balance."""
        (line,) = re.findall(r"pipeline logs: (.*)", self.log())
        terms = re.findall(r"(received|dropped|passed on|settled|in flight|interrupted|NOT ACCOUNTED FOR) ([\d,]+)", line)
        return {name: int(value.replace(",", "")) for name, value in terms}


def oom_kills(cgroup: Cgroup) -> int:
    """Return how often a process of a cgroup was killed for want of memory."""
    return cgroup.numbers("memory.events" if cgroup.is_v2 else "memory.oom_control")["oom_kill"]


def test_memory_stays_below_its_limit_while_the_backend_is_away_and_nothing_is_lost_unaccounted(tmp_path: Path) -> None:
    """With 100,000 events/s offered: no OOM kill, the peak below the limit, and the balance exact.

    What can wait arrives in full once the backend is back, each event once. Of what cannot, all that was not dropped arrives:
    of errors the most, as the worse severities come first.
    """
    backend = Backend()
    with Cgroup("memory", memory_limit=CGROUP_LIMIT) as cgroup, Limited(tmp_path, cgroup, backend.port, SECONDS) as agent:
        assert agent.watch(SECONDS + 2) is None, agent.log()
        assert "receivers wait" in agent.log(), "the limit was never reached"
        with backend.running():
            status = agent.watch()
        peak, kills = agent.peak, oom_kills(cgroup)
    steady, hasty, balance = agent.emitted("steady"), agent.emitted("hasty"), agent.balance()
    print(  # noqa: T201 - the figures
        f"\n{SECONDS:g} s: steady {steady:,}, hasty {hasty:,} emitted; {balance};"
        f" peak {peak / MIB:.0f} of {LIMIT / MIB:.0f} MiB"
    )
    arrived = backend.arrived()
    assert (status, kills) == (0, 0), agent.log()
    assert peak < LIMIT
    assert sorted(number for number, _ in arrived["steady"]) == list(range(steady))
    assert balance == {
        "received": steady + hasty,
        "dropped": hasty - len(arrived["hasty"]),
        "passed on": steady + len(arrived["hasty"]),
        "settled": steady + len(arrived["hasty"]),
    }
    assert len({number for number, _ in arrived["hasty"]}) == len(arrived["hasty"])
    check_severities(arrived["hasty"])


def check_severities(arrived: list[tuple[int, int]]) -> None:
    """Assert that of each severity no smaller part arrived than of a milder one."""
    counts = Counter(severity for _, severity in arrived)
    parts = [counts[severity] / SEVERITIES.count(severity) for severity in sorted(set(SEVERITIES))]
    assert parts == sorted(parts), counts
    assert counts[Severity.ERROR] > counts[Severity.DEBUG]
