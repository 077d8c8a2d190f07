"""The whole agent with the kernel receiver, and a sink that notes when each record arrives."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gzip
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from bench.measure import clean_environment
from bench.sink import Sink
from bench.subjects import TAPIO

START_SECONDS = 30
STEADY = 0.5  # seconds in which no further program is attached: all are


class Arrival(NamedTuple):
    """Be a log record, the nanoseconds since the epoch at which it arrived, and the pids it or its resource names."""

    time: int
    record: LogRecord
    pids: set[int]


def process_ids(attributes: Iterable[KeyValue]) -> set[int]:
    """Return the pid among attributes, if there is one."""
    return {pair.value.int_value for pair in attributes if pair.key == "process.pid"}


class RecordingSink(Sink):
    """Serve OTLP over HTTP in a thread of its own and keep each request with the time of its arrival."""

    def __init__(self) -> None:
        super().__init__(None)
        self._kept: list[tuple[int, bytes]] = []
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self.endpoint = ""

    def __enter__(self) -> RecordingSink:
        self._thread.start()
        self._ready.wait(START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def take(self, headers: dict[bytes, bytes], content: bytes) -> None:
        """Keep one request, decompressed only when somebody asks."""
        now = time.time_ns()
        self._kept.append((now, gzip.decompress(content) if headers.get(b"content-encoding") == b"gzip" else content))

    def records(self) -> list[Arrival]:
        """Return the log records that have arrived."""
        found = []
        for arrived, content in list(self._kept):
            for resource_logs in ExportLogsServiceRequest.FromString(content).resource_logs:
                pids = process_ids(resource_logs.resource.attributes)
                for scope_logs in resource_logs.scope_logs:
                    found += [Arrival(arrived, one, pids | process_ids(one.attributes)) for one in scope_logs.log_records]
        return found

    async def _run(self) -> None:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1 << 26)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()


class Agent:
    """Run `tapio run` with every probe loaded by libbpf; ready once its programs are attached."""

    def __init__(self, place: Path, endpoint: str) -> None:
        self._place, self._endpoint = place, endpoint
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Agent:
        config, log = self._place / "bench.yaml", self._place / "log"
        config.write_text(json.dumps(self._configuration()))
        with log.open("wb") as output:
            command = [str(TAPIO), "run", "--config", str(config)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=clean_environment()
            )
        try:
            self._wait(log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Return the agent's pid."""
        assert self._process is not None
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU time that its threads have used, by the scheduler's own count."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def busiest_program(self) -> float:
        """Return the mean nanoseconds of a run of the program that ran most, 0 unless the kernel was asked to measure."""
        runs = [(0, 0)]
        for entry in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):
                lines = dict(line.split(":", 1) for line in entry.read_text().splitlines())
                runs.append((int(lines.get("run_cnt", 0)), int(lines.get("run_time_ns", 0))))
        count, nanoseconds = max(runs)
        return nanoseconds / count if count else 0.0

    def _configuration(self) -> dict[str, object]:
        return {
            "receivers": {"ebpf": {"loader": "libbpf", "required": True}},
            "exporters": {"otlphttp": {"endpoint": self._endpoint}},
            "service": {
                "state_dir": str(self._place / "state"),
                "pipelines": {
                    "logs": {"receivers": ["ebpf"], "processors": ["dedup"], "exporters": ["otlphttp"]},
                },
            },
            "processors": {"dedup": {}},
        }

    def _wait(self, log: Path) -> None:
        """Wait until programs are attached and no more come."""
        attached, since, until = 0, time.monotonic(), time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(
                    f"the agent ended with {self._process.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
                )
            now = attached_programs(self.pid)
            if now != attached:
                attached, since = now, time.monotonic()
            if attached and time.monotonic() - since > STEADY:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the agent attached nothing in {START_SECONDS} s:\n{log.read_text(errors='replace')[-3000:]}")


@contextlib.contextmanager
def measuring_programs() -> Iterator[None]:
    """Let the kernel measure how long programs run, which costs each run some nanoseconds more; ends with the descriptor."""
    descriptor = ctypes.CDLL("libbpf.so.1").bpf_enable_stats(0)  # BPF_STATS_RUN_TIME
    if descriptor < 0:
        raise OSError(-descriptor, "the kernel does not measure programs")
    try:
        yield
    finally:
        os.close(descriptor)


def attached_programs(pid: int) -> int:
    """Return how many links between programs and tracepoints a process holds."""
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += "bpf_link" in str(descriptor.readlink())
    return count
