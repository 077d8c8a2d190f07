"""The cache kept up with a real API server, and real processes in cgroups named like those of its pods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.entities import EntityMapper
from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes.pods import Pod
from tests.entities.trees import MOUNT, RealCgroups, real_cgroups
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.listening import Reports, connected, until

__all__ = ["real_cgroups"]

Raw = dict[str, Any]
IDS = [f"{number:064x}" for number in range(1, 9)]


class Watched:
    """A namespace of a real cluster, what plays controllers and kubelet in it, and a cache that watches it."""

    def __init__(self, cluster: Cluster, name: str, cache: ClusterCache) -> None:
        self.cluster, self.cache, self.namespace = cluster, cache, name
        self.reports = Reports()
        self.pods = f"/api/v1/namespaces/{name}/pods"

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Ask the server while the cache goes on."""
        return await asyncio.to_thread(getattr(self.cluster, method), *arguments)

    async def create(self, name: str, **metadata: Any) -> str:
        """Create a pod on a node of this namespace's name; returns its UID."""
        containers = [{"name": "app", "image": "app:1"}]
        spec = {"nodeName": self.namespace, "initContainers": [{"name": "setup", "image": "setup:1"}], "containers": containers}
        made = await self.ask("create", self.pods, {"metadata": {"name": name, **metadata}, "spec": spec})
        uid: str = made["metadata"]["uid"]
        return uid

    async def report(self, name: str, ip: str = "", phase: str = "Running", **statuses: Raw) -> None:
        """Write a pod's status as a kubelet does; `app` and `setup` are what it says of these containers."""
        status: Raw = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}] if ip else []}
        for part, container in (("containerStatuses", "app"), ("initContainerStatuses", "setup")):
            fixed = {"name": container, "image": "x:1", "imageID": "x@sha256:1", "ready": True, "restartCount": 0}
            status[part] = [fixed | statuses[container]] if container in statuses else []
        await self.ask("patch", f"{self.pods}/{name}/status", {"status": status})

    async def delete(self, name: str) -> None:
        """Delete a pod at once."""
        await self.ask("delete", f"{self.pods}/{name}")

    def pod(self, name: str) -> Pod:
        """Return a pod that is known."""
        pod = self.cache.pod_by_name(self.namespace, name)
        assert pod is not None
        return pod

    @contextlib.asynccontextmanager
    async def running(self, **selection: Any) -> AsyncIterator[KubernetesClient]:
        """Keep the cache up to date until the block ends, from the first list on."""
        async with running(self.cache, self.reports, self.cluster.kubeconfig, **selection) as client:
            async with asyncio.timeout(30):
                await self.cache.synced()
            yield client


@contextlib.asynccontextmanager
async def running(cache: ClusterCache, reports: Reports, kubeconfig: Path, **selection: Any) -> AsyncIterator[KubernetesClient]:
    """Run a cache until the block ends."""
    async with connected(kubeconfig=kubeconfig) as client:
        task = asyncio.create_task(cache.run(client, cache.watches(**selection), report=reports))
        try:
            yield client
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await asyncio.sleep(0.25)  # connections with TLS end some turns of the loop after their session


@pytest.fixture
def watched(cluster: Cluster, request: pytest.FixtureRequest) -> Watched:
    """Give a test a namespace of its own and a cache of the whole cluster."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    return Watched(cluster, cluster.namespace(name, {"team": name}), ClusterCache(annotations=["kept/*"]))


def started(id: str, restarts: int = 0, last: str = "") -> Raw:
    """Return what a kubelet says of a container that runs."""
    status: Raw = {"containerID": f"containerd://{id}", "restartCount": restarts, "state": {"running": {}}}
    return status | ({"lastState": {"terminated": {"exitCode": 137, "containerID": f"containerd://{last}"}}} if last else {})


async def test_a_pods_life_is_followed(watched: Watched) -> None:
    """Created, changed, restarted, deleted, and made anew with its name."""
    cache, namespace = watched.cache, watched.namespace
    async with watched.running():
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d", "uid": "u1", "controller": True}
        labels, annotations = {"app": "web", "pod-template-hash": "7d"}, {"kept/a": "1", "other": "2"}
        uid = await watched.create("web-0", labels=labels, annotations=annotations, ownerReferences=[owner])
        await until(lambda: cache.pod_by_uid(uid))
        pod = watched.pod("web-0")
        assert (pod.labels, pod.annotations, pod.qos_class, pod.phase) == (labels, {"kept/a": "1"}, "BestEffort", "Pending")
        assert (pod.owner and pod.owner.name, cache.namespace(namespace)["team"]) == ("web", namespace)

        await watched.report("web-0", "10.1.0.1", app=started(IDS[0]), setup=started(IDS[1]))
        await until(lambda: cache.container(IDS[0]))
        assert cache.pod_by_ip("10.1.0.1") is pod
        assert [one.kind for one in pod.containers.values()] == ["init", "app"]
        generation = pod.generation
        await watched.ask("patch", f"{watched.pods}/web-0", {"metadata": {"labels": {"app": "other"}}})
        await until(lambda: pod.generation > generation)
        assert pod.labels["app"] == "other"

        await watched.report("web-0", "10.1.0.1", app=started(IDS[2], 1, IDS[0]), setup=started(IDS[1]))
        await until(lambda: cache.container(IDS[2]))
        await watched.report("web-0", "10.1.0.1", app=started(IDS[3], 2, IDS[2]), setup=started(IDS[1]))
        await until(lambda: cache.container(IDS[3]))
        found = [cache.pod_of_container(one) for one in (IDS[0], IDS[2], IDS[3])]
        assert [one and (one[0] is pod, one[1].state, one[1].restart_count) for one in found] == [
            (True, "terminated", 0),
            (True, "terminated", 1),
            (True, "running", 2),
        ]

        await watched.delete("web-0")
        await until(lambda: pod.deleted_at is not None)
        again = await watched.create("web-0")
        await until(lambda: cache.pod_by_uid(again))
        assert watched.pod("web-0").uid == again
        assert cache.pod_by_uid(uid) is pod
        assert cache.container(IDS[3]) is not None
    assert watched.reports.now is None


async def test_nodes_and_services_are_followed(watched: Watched) -> None:
    """By the lineage of a pod, by addresses and EndpointSlices."""
    cache, name = watched.cache, watched.namespace
    async with watched.running():
        uid = await watched.create("web-0")
        info = dict.fromkeys(
            ("bootID", "systemUUID", "kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture"), "x"
        ) | {
            "machineID": "c" * 32,
            "osImage": "Debian",
            "kernelVersion": "6.1.0",
            "containerRuntimeVersion": "containerd://2.1.0",
        }
        node = {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "a"}}, "status": {"nodeInfo": info}}
        made = await watched.ask("create", "/api/v1/nodes", node)
        await until(lambda: cache.node(name) and cache.pod_by_uid(uid) and watched.pod("web-0").node_place.kernel)  # type: ignore[union-attr]
        node_entity = watched.pod("web-0").entity.parent
        assert node_entity is not None
        assert [one.uid for one in node_entity.lineage()] == [made["metadata"]["uid"], "c" * 32]
        assert watched.pod("web-0").node_place is cache.node(name)

        service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
        made = await watched.ask("create", f"/api/v1/namespaces/{name}/services", service)
        endpoints = [{"addresses": ["10.1.0.1"], "targetRef": {"kind": "Pod", "name": "web-0", "namespace": name, "uid": uid}}]
        labels = {"kubernetes.io/service-name": "web"}
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{name}/endpointslices"
        await watched.ask(
            "create", slices, {"metadata": {"name": "web-x", "labels": labels}, "addressType": "IPv4", "endpoints": endpoints}
        )
        await until(lambda: cache.services_of(watched.pod("web-0")) == ("web",))
        ip = made["spec"]["clusterIP"]
        await until(lambda: cache.service_by_ip(ip))
        await watched.ask("patch", f"{slices}/web-x", {"endpoints": []})
        await until(lambda: cache.services_of(watched.pod("web-0")) == ())
        await watched.ask("delete", f"/api/v1/namespaces/{name}/services/web")
        await until(lambda: cache.service_by_ip(ip) is None)
        await watched.ask("patch", f"/api/v1/namespaces/{name}", {"metadata": {"labels": {"team": "b"}}})
        await until(lambda: cache.namespace(name)["team"] == "b")
        await watched.ask("delete", f"/api/v1/nodes/{name}")
        await watched.delete("web-0")
        await until(lambda: watched.pod("web-0").deleted_at is not None)
        assert watched.pod("web-0").entity.parent is node_entity


async def test_what_changed_while_nobody_watched_is_found_out(watched: Watched) -> None:
    """Pods that have gone meanwhile are remembered as deleted, others are known."""
    gone, kept = await watched.create("gone"), await watched.create("kept")
    async with watched.running(wanted=("pods",), namespaces=(watched.namespace,)):
        assert watched.cache.sizes["pods"] == 2
    await watched.delete("gone")
    new = await watched.create("new")
    async with watched.running(wanted=("pods",), namespaces=(watched.namespace,)):
        pods = [watched.cache.pod_by_uid(uid) for uid in (gone, kept, new)]
        assert [pod is not None and pod.deleted_at is None for pod in pods] == [False, True, True]
        assert watched.pod("gone").deleted_at is not None


async def test_only_the_own_nodes_pods_are_watched(watched: Watched) -> None:
    """As in a DaemonSet: the server does the selecting."""
    here = await watched.create("here")
    elsewhere = {"nodeName": "elsewhere", "containers": [{"name": "app", "image": "app:1"}]}
    await watched.ask("create", watched.pods, {"metadata": {"name": "there"}, "spec": elsewhere})
    async with watched.running(wanted=("pods", "nodes"), node=watched.namespace):
        assert watched.cache.pod_by_uid(here) is not None
        assert watched.cache.sizes["pods"] == 1


async def test_a_problem_with_one_kind_is_told_until_it_is_over(cluster: Cluster) -> None:
    """The rest goes on; what is missing is named."""
    watched = Watched(cluster, cluster.namespace("refused"), ClusterCache())
    token = cluster.service_account("half-sighted", "refused")
    cluster.allow("half-sighted", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}], "refused")
    uid = await watched.create("web-0")
    kubeconfig = cluster.write_kubeconfig("half-sighted", {"token": token})
    async with running(watched.cache, watched.reports, kubeconfig):
        await until(lambda: watched.cache.pod_by_uid(uid))
        await until(lambda: watched.reports.now)
        async with asyncio.timeout(30):
            await watched.cache.synced()
        assert any(kind in (watched.reports.now or "") for kind in ("nodes", "namespaces", "services", "endpointslices"))
        assert "pods" not in (watched.reports.now or "").split()


async def test_a_real_process_in_a_pods_cgroup_is_found(watched: Watched, real_cgroups: RealCgroups) -> None:
    """By pid, by cgroup id and by path, before the pod is known, while it runs, and after both have gone."""
    uid = await watched.create("web-0")
    mapper = EntityMapper()
    mapper.names = watched.cache
    below = f"kubepods/burstable/pod{uid}/{IDS[4]}"
    process, pause = real_cgroups.start(below), real_cgroups.start(f"kubepods/burstable/pod{uid}/{IDS[5]}")
    assert mapper.of_pid(process.pid).name == IDS[4][:12]
    async with watched.running():
        await watched.report("web-0", app=started(IDS[4]))
        await until(lambda: watched.cache.container(IDS[4]))
        entity = mapper.of_pid(process.pid)
        assert entity is watched.cache.container(IDS[4]) is mapper.of_cgroup_path(f"/{real_cgroups.name}/{below}")
        assert (entity.name, entity.parent) == ("app", watched.pod("web-0").entity)
        assert mapper.of_pid(pause.pid).parent is watched.pod("web-0").entity
        for hierarchy, directory in real_cgroups.make(below).items():
            controller = "unified" if hierarchy in {MOUNT, MOUNT / "unified"} else hierarchy.name
            path = mapper.cgroup_path(directory.stat().st_ino, controller)
            assert path is not None
            assert mapper.of_cgroup_path(path) is entity
        process.kill()
        process.wait()
        await watched.delete("web-0")
        await until(lambda: watched.pod("web-0").deleted_at is not None)
        assert mapper.of_cgroup_path(f"/{real_cgroups.name}/{below}") is entity
