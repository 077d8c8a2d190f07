"""Everyone else's events with the right pod on them: events of a real cgroup, names from a real API server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bpf_support import require_bpf
from tests.integration.agent import Agent, Record
from tests.integration.kubernetes_agents import as_administrator, until_told, wait_for_error
from tests.journal import entry, write_journal
from tests.kernel import EAT_MEMORY, Cgroup, run_in
from tests.kubernetes import objects
from tests.kubernetes.cluster import Cluster

MEBIBYTE = 1 << 20
NODE = "node-17"


class Shop:
    """A namespace with a Deployment's pod, its service and its node; `id` and `cgroup` are its container's."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace(objects.unique("prod"), {"team": "shop", "pod-security": "restricted"})
        self.node = objects.unique(NODE)
        cluster.create(objects.NODES, objects.node(self.node))
        self.id = uuid.uuid4().hex * 2
        self.pod = cluster.create(objects.pods(self.namespace), objects.pod("web-7d9f-x2x4q", self.node, "web"))
        self.uid = self.pod["metadata"]["uid"]
        self.path = f"{objects.pods(self.namespace)}/web-7d9f-x2x4q"
        cluster.patch(f"{self.path}/status", {"status": {"containerStatuses": [objects.container(self.id, 2)]}})
        cluster.create(objects.services(self.namespace), objects.service("storefront", "web"))
        cluster.create(objects.slices(self.namespace), objects.endpoint_slice("storefront", self.pod))
        self.cgroup = f"/kubepods/burstable/pod{self.uid}/{self.id}"

    @contextmanager
    def cgroups(self, id: str = "") -> Iterator[list[Cgroup]]:
        """Make the container's cgroups, of memory and for the process's own, and remove them."""
        path = f"/kubepods/burstable/pod{self.uid}/{id or self.id}"
        with ExitStack() as stack:
            memory = stack.enter_context(Cgroup("memory", path, memory_limit=20 * MEBIBYTE))
            yield [memory, *([] if memory.is_v2 else [stack.enter_context(Cgroup("unified", path))])]


@pytest.fixture
def shop(cluster: Cluster) -> Shop:
    """Give a namespace of the test's own, with a pod in it."""
    return Shop(cluster)


def enrich(cluster: Cluster, **options: Any) -> dict[str, Any]:
    """Return the processors, `enrich` among them with an administrator's kubeconfig."""
    kubernetes = {"auth_type": "kubeConfig", "kubeconfig": str(cluster.kubeconfig), "node_name": ""}
    return {"normalize": {}, "enrich": {"kubernetes": kubernetes, "wait_for_sync": "20s", **options}}


def watching_the_kernel(shop: Shop, room: Path, **options: Any) -> Agent:
    """Return an agent that watches for processes killed for want of memory, and for events of Kubernetes."""
    receivers = {
        "ebpf": {"required": True, "probes": {name: {"enabled": False} for name in ("cpu_throttle", "net_drop")}},
        "kubernetes": as_administrator(shop.cluster, namespaces=[shop.namespace], resources=["events"]),
    }
    return Agent(room, receivers, processors=enrich(shop.cluster, **options))


def ready(shop: Shop, agent: Agent) -> None:
    """Wait until an agent is at work, which a kernel event of another cgroup shows."""
    name = objects.unique("ready")
    shop.cluster.create(objects.events(shop.namespace), objects.event(name, shop.pod))
    until_told([name], agent)
    with Cgroup("memory", memory_limit=20 * MEBIBYTE) as other:
        agent.wait_for(
            lambda one: one.name == "tapio.oom_kill" and one["tapio.limit_cgroup"] == other.path,
            lambda: run_in([other], EAT_MEMORY),
            seconds=40,
        )


def is_named(one: Record, shop: Shop) -> None:
    """Assert that an event carries the names of the shop's container, pod, Deployment, namespace and node."""
    told = {name: one[name] for name in NAMES}
    assert told == {
        "k8s.container.name": "app",
        "container.id": shop.id,
        "container.image.name": "registry.example.com/shop/app",
        "k8s.pod.name": "web-7d9f-x2x4q",
        "k8s.pod.uid": shop.uid,
        "k8s.pod.qos_class": "Burstable",
        "k8s.namespace.name": shop.namespace,
        "k8s.replicaset.name": "web-7d9f",
        "k8s.deployment.name": "web",
        "k8s.node.name": shop.node,
        "service.name": "web",
        "service.namespace": shop.namespace,
    }


NAMES = (
    *("k8s.container.name", "container.id", "container.image.name", "k8s.pod.name", "k8s.pod.uid", "k8s.pod.qos_class"),
    *("k8s.namespace.name", "k8s.replicaset.name", "k8s.deployment.name", "k8s.node.name", "service.name", "service.namespace"),
)


def test_a_process_killed_for_memory_is_told_with_container_pod_and_deployment(shop: Shop, tmp_path: Path) -> None:
    """A real kill in a cgroup named like the pod's; what the kernel knows is a cgroup, what is told is a Deployment's pod."""
    require_bpf()
    with watching_the_kernel(shop, tmp_path) as agent:
        ready(shop, agent)
        with shop.cgroups() as cgroups:
            pid, status = run_in(cgroups, EAT_MEMORY)
        assert status == -9
        one = agent.wait_for(lambda found: found.name == "tapio.oom_kill" and found["process.pid"] == pid)
    is_named(one, shop)
    assert one["tapio.memory_limit"] == 20 * MEBIBYTE
    assert one["tapio.entity.type"] == "container"


def test_a_pod_that_is_deleted_still_names_the_kill(shop: Shop, tmp_path: Path) -> None:
    """The kernel tells after the API has forgotten the pod: it is remembered for a while."""
    require_bpf()
    with watching_the_kernel(shop, tmp_path) as agent:
        ready(shop, agent)
        shop.cluster.delete(shop.path)
        name = objects.unique("after")
        shop.cluster.create(objects.events(shop.namespace), objects.event(name, shop.pod))
        until_told([name], agent)
        with shop.cgroups() as cgroups:
            pid, _ = run_in(cgroups, EAT_MEMORY)
        one = agent.wait_for(lambda found: found.name == "tapio.oom_kill" and found["process.pid"] == pid)
    is_named(one, shop)


def test_a_container_that_started_while_the_agent_runs_is_named(shop: Shop, tmp_path: Path) -> None:
    """The container was restarted: its new id comes by the watch."""
    require_bpf()
    with watching_the_kernel(shop, tmp_path) as agent:
        ready(shop, agent)
        old, shop.id = shop.id, uuid.uuid4().hex * 2
        last = {"terminated": {"exitCode": 1, "reason": "Error", "containerID": f"containerd://{old}"}}
        status = {"containerStatuses": [objects.container(shop.id, 3, last=last)]}
        shop.cluster.patch(f"{shop.path}/status", {"status": status})
        with shop.cgroups() as cgroups:
            name = objects.unique("after")
            shop.cluster.create(objects.events(shop.namespace), objects.event(name, shop.pod))
            until_told([name], agent)
            pid, _ = run_in(cgroups, EAT_MEMORY)
        one = agent.wait_for(lambda found: found.name == "tapio.oom_kill" and found["process.pid"] == pid)
        with shop.cgroups(old) as cgroups:
            pid, _ = run_in(cgroups, EAT_MEMORY)
        late = agent.wait_for(lambda found: found.name == "tapio.oom_kill" and found["process.pid"] == pid)
    is_named(one, shop)
    assert (late["container.id"], late["k8s.pod.name"], late["k8s.container.name"]) == (old, "web-7d9f-x2x4q", "app")


def test_a_kill_goes_on_without_a_name_where_the_api_is_away(shop: Shop, tmp_path: Path, apiserver_programs: Path) -> None:
    """The event waits for nobody: it has what the cgroup tells."""
    require_bpf()
    away = Cluster(apiserver_programs, tmp_path / "away")  # it is never started
    kubernetes = {"auth_type": "kubeConfig", "kubeconfig": str(away.kubeconfig), "node_name": ""}
    processors = {"normalize": {}, "enrich": {"kubernetes": kubernetes}}
    with Agent(tmp_path, {"ebpf": {"required": True}}, processors=processors) as agent, shop.cgroups() as cgroups:
        one = agent.wait_for(
            lambda found: found.name == "tapio.oom_kill" and found["k8s.pod.uid"] == shop.uid,
            lambda: run_in(cgroups, EAT_MEMORY),
        )
        assert one["container.id"] == shop.id and one["k8s.pod.name"] in {None, shop.uid}
        wait_for_error(agent, "cannot list")


def test_journal_entries_of_a_containers_process_carry_its_pod(shop: Shop, tmp_path: Path) -> None:
    """The journal tells the cgroup of whoever wrote an entry; labels of pod and namespace, and the service, come along."""
    inside = entry(1, _SYSTEMD_CGROUP=shop.cgroup, _SYSTEMD_UNIT=None, _SYSTEMD_SLICE=None, MESSAGE="out of stock")
    journal = write_journal(tmp_path / "journal", [inside, entry(2, MESSAGE="of a unit")])
    receivers = {"journald": {"directory": str(journal), "start_at": "beginning"}}
    processors = enrich(shop.cluster, namespace={"labels": ["team"]})
    with Agent(tmp_path, receivers, processors=processors) as agent:
        one = agent.wait_for(lambda found: found.body == "out of stock", seconds=40)
        other = agent.wait_for(lambda found: found.body == "of a unit")
    is_named(one, shop)
    assert other["k8s.pod.name"] is None and other["systemd.unit.name"]
    told = repr(one.attributes)
    assert "storefront" in told and "'shop'" in told and "7d9f" in told
