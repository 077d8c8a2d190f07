"""Measure the agent with a cluster: changes a second off a watch, memory for many pods, time from a kill to the pod's name.

    watch    changes of pods, and events, a second: read, decoded, trimmed, and put into the cache or made into events
    memory   resident memory of `tapio run` with enrich, by the number of pods
    oom      milliseconds from the kernel's time stamp of a kill to an OTLP record with the pod's name in a sink (as root)

Run as `python -m bench.kubernetes_agent [watch|memory|oom]...`. The API server is `bench.api_server`: faster than a real one,
so that the agent's own cost is what is measured.
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bench import ebpf_agent
from bench.kubernetes import PODS, container_id, identifier, make_pod
from bench.measure import clean_environment
from bench.subjects import TAPIO
from tapio_otel.component import Kind
from tapio_otel.kubernetes.access import ClusterOptions
from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes.list_watch import ListWatch
from tapio_otel.kubernetes.resources import PODS as PODS_OF_API
from tapio_otel.kubernetes.resources import Selection
from tapio_otel.notices import Notices
from tapio_otel.receivers.kubernetes import KubernetesConfig, KubernetesReceiver
from tests.components import context

CHANGES = 50_000
EVENTS_SENT = 50_000
KILLS = 50
LIMIT = 30 << 20
SETTLED = 3.0
"""Seconds after the last watch was opened, until memory is read."""


@contextmanager
def api_server(pods: int, changes: int = 0, events: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Run the API server; its first line, the port, is kept as `port`."""
    command = [sys.executable, "-m", "bench.api_server", *map(str, (pods, changes, events))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.port = int(process.stdout.readline())  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.kill()


def server_of(process: Any) -> str:
    """Return the URL of an API server."""
    return f"http://127.0.0.1:{process.port}"


def until_watched(server: subprocess.Popen[str], *kinds: str) -> None:
    """Wait until all of these have been listed and are watched."""
    assert server.stdout
    wanted = set(kinds)
    while wanted:
        wanted.discard(server.stdout.readline().removeprefix("watched ").strip())


class Counting:
    """Pass on what a watch tells, and say when enough has come."""

    def __init__(self, consumer: Any, wanted: int) -> None:
        self._consumer, self._wanted = consumer, wanted
        self.count, self.begun, self.seconds = 0, 0.0, 0.0
        self.done = asyncio.Event()

    async def listed(self, objects: list[Any], version: str, namespace: str) -> None:
        await self._consumer.listed(objects, version, namespace)
        self.begun = time.perf_counter()

    async def changed(self, changes: list[Any], version: str, namespace: str) -> None:
        await self._consumer.changed(changes, version, namespace)
        self.count += len(changes)
        if self.count >= self._wanted:
            self.seconds = time.perf_counter() - self.begun
            self.done.set()


async def watched_pods() -> float:
    """Return changes of pods a second, from the socket into the cache."""
    with api_server(1_000, CHANGES) as server:
        options = ClusterOptions(auth_type="none", server=server_of(server))
        client = KubernetesClient(options, Notices(logging.getLogger("bench")))
        await client.open()
        (feed,) = ClusterCache().watches(["pods"])
        counting = Counting(feed.consumer, CHANGES)
        task = asyncio.create_task(ListWatch(client, PODS_OF_API, Selection(), counting, trim=feed.trim).run())
        await counting.done.wait()
        task.cancel()
        await asyncio.wait([task])
        await client.close()
        return CHANGES / counting.seconds


class CountingOutput:
    """Take what the receiver emits."""

    def __init__(self, wanted: int) -> None:
        self.checkpoint: Any = None
        self._wanted, self.count = wanted, 0
        self.first = self.last = 0.0
        self.done = asyncio.Event()

    @property
    def delivered(self) -> Any:
        """Return the checkpoint: what is taken is delivered."""
        return self.checkpoint

    async def emit(self, events: list[Any], checkpoint: Any | None = None) -> None:  # noqa: ARG002 - the protocol's
        self.first = self.first or time.perf_counter()
        self.count += len(events)
        if self.count >= self._wanted:
            self.last = time.perf_counter()
            self.done.set()

    def progress(self, done: int, total: int | None) -> None:
        """Do nothing."""


async def received_events() -> float:
    """Return Kubernetes events a second, from the socket to the pipeline."""
    with api_server(0, 0, EVENTS_SENT) as server:
        config = KubernetesConfig(auth_type="none", server=server_of(server), resources=["events"], node_name="")
        output = CountingOutput(EVENTS_SENT)
        receiver = KubernetesReceiver(context(Kind.RECEIVER, "kubernetes"), config)
        task = asyncio.create_task(receiver.run(output))  # type: ignore[arg-type]
        await output.done.wait()
        task.cancel()
        await asyncio.wait([task])
        return EVENTS_SENT / (output.last - output.first)


def watch() -> None:
    """Print what a watch can take."""
    size = len(json.dumps(make_pod(1)))
    print(f"{asyncio.run(watched_pods()):>10,.0f} changes of pods, of {size} bytes each, a second into the cache")
    print(f"{asyncio.run(received_events()):>10,.0f} events of Kubernetes a second into the pipeline")


def memory() -> None:
    """Print the agent's memory by number of pods."""
    before = 0
    for pods in (0, PODS, 2 * PODS):
        found = resident(pods)
        print(
            f"{pods:>7} pods: {found / 1e6:6.1f} MB resident"
            + (f" ({(found - before) / PODS:.0f} bytes a pod)" if pods else "")
        )
        before = found


def resident(pods: int) -> int:
    """Return the bytes of an agent that has listed so many pods."""
    with tempfile.TemporaryDirectory() as place, api_server(pods) as server:
        config = Path(place) / "tapio.yaml"
        cluster = {"auth_type": "none", "server": server_of(server), "node_name": ""}
        config.write_text(
            json.dumps(
                {
                    "receivers": {"kubernetes": cluster | {"resources": ["events"]}},
                    "processors": {"enrich": {"kubernetes": cluster}},
                    "exporters": {"file": {"path": f"{place}/out.json"}},
                    "service": {
                        "state_dir": f"{place}/state",
                        "pipelines": {"logs": {"receivers": ["kubernetes"], "processors": ["enrich"], "exporters": ["file"]}},
                    },
                }
            )
        )
        command = [str(TAPIO), "run", "--config", str(config)]
        with subprocess.Popen(command, env=clean_environment(), stderr=subprocess.DEVNULL) as agent:
            try:
                until_watched(server, "events", "pods", "nodes", "namespaces", "services", "endpointslices")
                time.sleep(SETTLED)
                return int(Path(f"/proc/{agent.pid}/statm").read_text().split()[1]) * 4096
            finally:
                agent.terminate()


class NamedSink(ebpf_agent.RecordingSink):
    """Keep what arrives, and tell when records with a pod's name did."""

    def delays(self, pod: str) -> list[float]:
        """Return milliseconds from the time of each OOM kill to its arrival with the pod's name."""
        found = []
        for arrived, content in list(self._kept):
            for logs in ExportLogsServiceRequest.FromString(content).resource_logs:
                names = {pair.key: pair.value.string_value for pair in logs.resource.attributes}
                for record in [one for scope in logs.scope_logs for one in scope.log_records]:
                    if record.event_name == "tapio.oom_kill" and names.get("k8s.pod.name") == pod:
                        found.append((arrived - record.time_unix_nano) / 1e6)
        return found


class NamingAgent(ebpf_agent.Agent):
    """Run `tapio run` with the kernel's probes and enrich."""

    def __init__(self, place: Path, endpoint: str, server: str) -> None:
        super().__init__(place, endpoint)
        self._server = server

    def _configuration(self) -> dict[str, Any]:
        made: dict[str, Any] = super()._configuration()
        made["processors"] = {"enrich": {"kubernetes": {"auth_type": "none", "server": self._server, "node_name": ""}}}
        made["service"]["pipelines"]["logs"]["processors"] = ["enrich"]
        return made


def oom() -> None:
    """Print how long it takes until a kill has a name."""
    from tests.kernel import EAT_MEMORY, Cgroup, run_in

    pod = make_pod(0)["metadata"]["name"]
    path = f"/kubepods/burstable/pod{identifier(0, 2)}/{container_id(0, 0)}"
    with tempfile.TemporaryDirectory() as place, api_server(PODS) as server, NamedSink() as sink:
        with NamingAgent(Path(place), sink.endpoint, server_of(server)), Cgroup("memory", path, memory_limit=LIMIT) as cgroup:
            until_watched(server, "pods", "nodes")
            time.sleep(SETTLED)
            for _ in range(KILLS):
                run_in([cgroup], EAT_MEMORY)
            time.sleep(SETTLED)
        delays = sorted(sink.delays(pod))
    print(f"{len(delays)} of {KILLS} kills arrived with the name {pod}, with {PODS} pods known")
    print(f"{statistics.median(delays):.1f} ms median, {delays[-1]:.1f} ms at most, from the kill to the sink")


def main() -> None:
    """Measure what is asked for."""
    parts = {"watch": watch, "memory": memory, "oom": oom}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
