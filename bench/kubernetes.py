"""Measure what is kept of a cluster: memory of a pod, look-ups and changes a second. Pods are made up, as large as real ones.

Run as `python -m bench.kubernetes [PODS]`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from tapio_otel.entities import EntityMapper
from tapio_otel.kubernetes.cluster import ClusterCache, Feed
from tapio_otel.kubernetes.list_watch import Change

PODS = 10_000
NODES = 200
PAGE = 100
SECONDS = 2.0
REPLICAS = 25


def identifier(number: int, kind: int) -> str:
    """Return a UID."""
    return f"{kind:08x}-{number >> 16 & 0xFFFF:04x}-4{kind & 0xFFF:03x}-9{kind & 0xFFF:03x}-{number:012x}"


def container_id(number: int, at: int, restart: int = 0) -> str:
    """Return the id of a container."""
    return f"{number:016x}{at:016x}{restart:016x}{'c0ffee':0>16}"


def make_pod(number: int, version: int = 1, restarts: int = 0) -> dict[str, Any]:
    """Make the object of a pod of a Deployment, a StatefulSet or a Job, with an init container and two or three others."""
    workload = number // REPLICAS
    namespace, app = f"team-{workload % 40}", f"service-{workload}"
    hashed = f"{workload:010x}"[-10:]
    labels = {
        "app.kubernetes.io/component": "backend",
        "app.kubernetes.io/instance": app,
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/part-of": f"product-{workload % 12}",
        "app.kubernetes.io/version": f"1.{workload % 30}.{workload % 7}",
        "pod-template-hash": hashed,
        "team": namespace,
    }
    owner = {"kind": "ReplicaSet", "name": f"{app}-{hashed}", "uid": identifier(workload, 1), "apiVersion": "apps/v1"}
    name = f"{app}-{hashed}-{number:05x}"
    if workload % 4 == 0:
        name = f"{app}-{number % REPLICAS}"
        labels |= {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(number % REPLICAS)}
        owner |= {"kind": "StatefulSet", "name": app}
    elif workload % 20 == 1:
        labels |= {"batch.kubernetes.io/job-name": f"{app}-29000000", "job-name": f"{app}-29000000"}
        owner |= {"kind": "Job", "name": f"{app}-29000000", "apiVersion": "batch/v1"}
    containers = ["app", "istio-proxy", *(["metrics"] if number % 3 == 0 else [])]
    created = "2026-02-10T09:13:32Z"
    return {
        "metadata": {
            "name": name,
            "generateName": f"{app}-{hashed}-",
            "namespace": namespace,
            "uid": identifier(number, 2),
            "resourceVersion": str(1_000_000 + number * 100 + version),
            "creationTimestamp": created,
            "labels": labels,
            "annotations": {"prometheus.io/scrape": "true", "kubectl.kubernetes.io/restartedAt": created, "checksum": "0" * 64},
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
            "managedFields": [managed("kube-controller-manager", 40), managed("kubelet", 50)],
        },
        "spec": {
            "volumes": [{"name": f"v{at}", "configMap": {"name": f"{app}-{at}", "defaultMode": 420}} for at in range(3)],
            "initContainers": [make_container("setup", app)],
            "containers": [make_container(one, app) for one in containers],
            "nodeName": f"node-{number % NODES}.example.internal",
            "serviceAccountName": app,
            "priorityClassName": "standard",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}] * 2,
            "restartPolicy": "Always",
        },
        "status": {
            "phase": "Running",
            "qosClass": ("Burstable", "Guaranteed", "BestEffort")[workload % 3],
            "startTime": created,
            "hostIP": f"172.16.{number % NODES >> 8}.{number % NODES & 255}",
            "podIP": (address := f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"),
            "podIPs": [{"ip": address}],
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": created, "message": str(version)}
                for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "initContainerStatuses": [make_status("setup", app, number, 9, 0)],
            "containerStatuses": [make_status(one, app, number, at, restarts) for at, one in enumerate(containers)],
        },
    }


def make_container(name: str, app: str) -> dict[str, Any]:
    """Make the specification of a container."""
    return {
        "name": name,
        "image": f"registry.example.com/{app}/{name}:1.2.3",
        "env": [{"name": f"SETTING_{at}", "value": f"value-{at}"} for at in range(6)],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3},
        "volumeMounts": [{"name": f"v{at}", "mountPath": f"/etc/{at}", "readOnly": True} for at in range(3)],
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
    }


def make_status(name: str, app: str, number: int, at: int, restarts: int) -> dict[str, Any]:
    """Make the status of a container."""
    last = {
        "terminated": {
            "exitCode": 137,
            "reason": "OOMKilled",
            "containerID": f"containerd://{container_id(number, at, restarts - 1)}",
        }
    }
    return {
        "name": name,
        "state": {"running": {"startedAt": "2026-02-10T09:13:40Z"}},
        "lastState": last if restarts else {},
        "ready": True,
        "restartCount": restarts,
        "image": f"registry.example.com/{app}/{name}:1.2.3",
        "imageID": f"registry.example.com/{app}/{name}@sha256:{app.encode().hex():0>64}",
        "containerID": f"containerd://{container_id(number, at, restarts)}",
        "started": True,
    }


def managed(manager: str, fields: int) -> dict[str, Any]:
    """Make what the API server remembers of who wrote which field."""
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsV1": {f"f:field{at}": {f"k:{at}": {".": {}}} for at in range(fields)},
    }


def make_slices(pods: int) -> Iterator[dict[str, Any]]:
    """Make an EndpointSlice for each workload."""
    for workload in range(pods // REPLICAS):
        namespace, app = f"team-{workload % 40}", f"service-{workload}"
        members = range(workload * REPLICAS, (workload + 1) * REPLICAS)
        yield {
            "metadata": {"name": f"{app}-x", "namespace": namespace, "labels": {"kubernetes.io/service-name": app}},
            "endpoints": [
                {"addresses": [], "targetRef": {"kind": "Pod", "name": "", "uid": identifier(number, 2)}} for number in members
            ],
        }


def make_node(number: int) -> dict[str, Any]:
    """Make the object of a node."""
    name = f"node-{number}.example.internal"
    labels = {"topology.kubernetes.io/zone": f"zone-{number % 3}", "kubernetes.io/hostname": name}
    return {
        "metadata": {"name": name, "uid": identifier(number, 3), "labels": labels},
        "status": {"nodeInfo": {"machineID": f"{number:032x}", "osImage": "Debian 12", "kernelVersion": "6.1.0"}},
    }


async def fill(feeds: dict[str, Feed], pods: int) -> None:
    """List a whole cluster, in pages, as it comes from the server."""
    nodes, slices = feeds["nodes"], feeds["endpointslices"]
    await nodes.consumer.listed([nodes.trim(make_node(number)) for number in range(NODES)], "1", "")
    with subprocess.Popen([sys.executable, "-m", __spec__.name, "pages", str(pods)], stdout=subprocess.PIPE) as server:  # noqa: ASYNC220
        assert server.stdout is not None
        found: list[Any] = []
        for line in server.stdout:
            found += map(feeds["pods"].trim, orjson.loads(line))
    await feeds["pods"].consumer.listed(found, "1", "")
    await slices.consumer.listed([slices.trim(one) for one in make_slices(pods)], "1", "")


def print_pages(pods: int) -> None:
    """Print the objects of all pods, a page in each line."""
    for start in range(0, pods, PAGE):
        sys.stdout.buffer.write(orjson.dumps([make_pod(number) for number in range(start, min(start + PAGE, pods))]) + b"\n")


def memory(pods: int) -> None:
    """Print what a pod takes, as resident in a process of its own, and what Python counts."""
    counted = json.loads(child("counted", pods))
    few, many = [json.loads(child("resident", number)) for number in (pods, 2 * pods)]
    print(f"{len(orjson.dumps(make_pod(0)))} bytes of JSON a pod")
    listed, entities = counted["listed"] / pods, counted["entities"] / pods
    print(f"{listed:.0f} bytes a pod as Python counts it, {entities:.0f} with every entity made")
    for stage in ("listed", "entities"):
        each = (many[stage] - few[stage]) / pods
        print(f"{few[stage] / 1e6:.1f} MB resident more for {pods} pods, {each:.0f} bytes for each further one ({stage})")


def child(what: str, pods: int) -> str:
    """Run this program for one measurement."""
    return subprocess.run(
        [sys.executable, "-m", __spec__.name, what, str(pods)], capture_output=True, check=True
    ).stdout.decode()


def measure(what: str, pods: int) -> None:
    """Print, as JSON, bytes taken by so many pods, with nodes, slices and shared words: listed, and with every entity made."""
    cache = ClusterCache()
    feeds = {feed.resource.plural: feed for feed in cache.watches()}
    if what == "counted":
        tracemalloc.start()
    read = resident_bytes if what == "resident" else lambda: tracemalloc.get_traced_memory()[0]
    gc.collect()
    before = read()
    asyncio.run(fill(feeds, pods))
    gc.collect()
    listed = read()
    for number in range(pods):
        for at in (0, 1, 2, 9):
            cache.container(container_id(number, at))
    gc.collect()
    print(json.dumps({"listed": listed - before, "entities": read() - before}))


def resident_bytes() -> int:
    """Return the resident set of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def rate(name: str, work: Callable[[], int]) -> None:
    """Print how often something can be done in a second of CPU: the best of five."""
    best = 0.0
    for _ in range(5):
        begun, done = time.process_time(), 0
        while time.process_time() - begun < SECONDS / 5:
            done += work()
        best = max(best, done / (time.process_time() - begun))
    print(f"{best:>12,.0f} {name}")


def lookups(cache: ClusterCache) -> None:
    """Print look-ups a second."""
    ids = [container_id(number, 0) for number in range(0, PODS, 10)]
    pods = [identifier(number, 2) for number in range(0, PODS, 10)]
    slices = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
    paths = [f"/{slices}{uid.replace('-', '_')}.slice/cri-containerd-{one}.scope" for uid, one in zip(pods, ids, strict=True)]
    ips = [pod.ip for uid in pods if (pod := cache.pod_by_uid(uid))]
    mapper = EntityMapper(Path("/nonexistent"))
    mapper.names = cache
    lists: list[tuple[str, Callable[[str], Any], list[str]]] = [
        ("containers by id", cache.container, ids),
        ("pods by UID", cache.pod, pods),
        ("pods by address", cache.pod_by_ip, ips),
        ("entities by cgroup path", mapper.of_cgroup_path, paths),
    ]
    for name, find, keys in lists:
        assert all(find(key) for key in keys)
        rate(f"{name} a second", lambda find=find, keys=keys: len([find(key) for key in keys]))  # type: ignore[misc]


def changes(feed: Feed) -> None:
    """Print changes a second: with nothing of interest, with two restarts in each, and with decoding."""
    numbers = range(0, PODS, 50)
    quiet = [make_pod(number, 2) for number in numbers]
    restarted = [[make_pod(number, 3, restarts) for number in numbers] for restarts in (1, 2)]
    texts = [orjson.dumps({"type": "MODIFIED", "object": one}) for one in quiet]
    turn = 0
    runner = asyncio.new_event_loop()

    def take(given: list[Change]) -> int:
        runner.run_until_complete(feed.consumer.changed(given, "2", ""))
        return len(given)

    def trimmed(pods: list[dict[str, Any]]) -> int:
        return take([Change("MODIFIED", feed.trim(one)) for one in pods])

    def restart() -> int:
        nonlocal turn
        turn += 1
        return trimmed(restarted[turn % 2])

    rate("changes a second that change nothing of interest (trimmed)", lambda: trimmed(quiet))
    rate("changes a second with two restarts each (trimmed)", restart)
    rate("trimmed alone", lambda: len([feed.trim(one) for one in quiet]))
    rate(
        "changes a second decoded and trimmed",
        lambda: take([Change("", feed.trim(orjson.loads(one)["object"])) for one in texts]),
    )
    rate("decoded alone", lambda: sum([orjson.loads(one) is not None for one in texts]))


def main() -> None:
    """Measure."""
    if sys.argv[1:2] == ["pages"]:
        print_pages(int(sys.argv[2]))
        return
    if len(sys.argv) > 2:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    pods = int(sys.argv[1]) if len(sys.argv) > 1 else PODS
    memory(pods)
    cache = ClusterCache()
    feeds = {feed.resource.plural: feed for feed in cache.watches()}
    asyncio.run(fill(feeds, pods))
    gc.collect()
    lookups(cache)
    changes(feeds["pods"])


if __name__ == "__main__":
    main()
