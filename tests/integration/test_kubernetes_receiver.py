"""The `kubernetes` receiver in `tapio run`, on a real kube-apiserver: what happens there arrives as OTLP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.agent import Agent
from tests.integration.kubernetes_agents import as_administrator, is_about, say, until_told
from tests.kubernetes import objects
from tests.kubernetes.cluster import Cluster

CONTAINER = "ab" * 32
SECOND = "cd" * 32
NODE = "node-17"


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> str:
    """Give a namespace of the test's own, and a node."""
    cluster.create(objects.NODES, objects.node(NODE))
    return cluster.namespace("shop")


@pytest.fixture(scope="module")
def agent(cluster: Cluster, shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Give the tests one agent that watches the namespace and all nodes, and wait until it does."""
    with Agent(tmp_path_factory.mktemp("agent"), {"kubernetes": as_administrator(cluster, namespaces=[shop])}) as running:
        until_told(say(cluster, shop, ["ready"]), running)
        yield running


def test_an_event_of_kubernetes_arrives_with_its_object(cluster: Cluster, shop: str, agent: Agent) -> None:
    """Reason, action, note, type, times, reporting controller and the pod with its owner and node."""
    pod = cluster.create(objects.pods(shop), objects.pod("web-7d9f-1", NODE, "web"))
    agent.wait_for(is_about("pod_state", k8s__pod__name="web-7d9f-1"))
    cluster.create(objects.events(shop), objects.event("web-1.backoff", pod))
    one = agent.wait_for(is_about("k8s_event", k8s__event__name="web-1.backoff"))
    assert one.body == "BackOff: Pod shop/web-7d9f-1"
    assert one["tapio.description"] == "note of web-1.backoff"
    assert one.severity == "error"  # by the table of reasons
    assert (one["k8s.pod.name"], one["k8s.namespace.name"], one["k8s.pod.uid"]) == ("web-7d9f-1", shop, pod["metadata"]["uid"])
    assert (one["k8s.deployment.name"], one["k8s.node.name"], one["service.name"]) == ("web", NODE, "web")


def test_a_container_that_ran_out_of_memory_is_told_with_its_end(cluster: Cluster, shop: str, agent: Agent) -> None:
    """The restart has the reason, exit code and container; a crash loop afterwards is told as such."""
    cluster.create(objects.pods(shop), objects.pod("oom-7d9f-1", NODE, "oom"))
    path = f"{objects.pods(shop)}/oom-7d9f-1/status"
    first = {"phase": "Running", "containerStatuses": [objects.container(CONTAINER)]}
    cluster.patch(path, {"status": first})
    agent.wait_for(is_about("pod_state", k8s__pod__name="oom-7d9f-1", k8s__pod__status__phase="Running"))
    end = {"exitCode": 137, "reason": "OOMKilled", "startedAt": objects.now(), "finishedAt": objects.now()}
    last = {"terminated": end | {"containerID": f"containerd://{CONTAINER}"}}
    cluster.patch(path, {"status": {"containerStatuses": [objects.container(SECOND, 1, last=last)]}})
    restart = agent.wait_for(is_about("container_restart", k8s__pod__name="oom-7d9f-1"))
    assert restart["k8s.container.status.last_terminated_reason"] == "OOMKilled"
    assert (restart["k8s.container.name"], restart["k8s.container.restart_count"]) == ("app", 1)
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    cluster.patch(path, {"status": {"containerStatuses": [objects.container(SECOND, 1, waiting, last)]}})
    told = agent.wait_for(is_about("pod_state", k8s__container__status__reason="CrashLoopBackOff"))
    assert told["k8s.pod.name"] == "oom-7d9f-1" and told.number >= 13


def test_a_pod_is_followed_to_its_end(cluster: Cluster, shop: str, agent: Agent) -> None:
    """Pending, running, deleted: one after the other."""
    path = objects.pods(shop)
    cluster.create(path, objects.pod("job-1", NODE, phase="Pending"))
    agent.wait_for(is_about("pod_state", k8s__pod__name="job-1", k8s__pod__status__phase="Pending"))
    cluster.patch(f"{path}/job-1/status", {"status": {"phase": "Running"}})
    agent.wait_for(is_about("pod_state", k8s__pod__name="job-1", k8s__pod__status__phase="Running"))
    cluster.delete(f"{path}/job-1")
    gone = agent.wait_for(is_about("pod_state", k8s__pod__name="job-1", tapio__change="deleted"))
    assert gone.body == "Pod shop/job-1: deleted"


def test_a_nodes_conditions_and_taints_are_told(cluster: Cluster, agent: Agent) -> None:
    """Memory pressure, the taint that follows, and the node's end."""
    name = objects.unique("node")
    cluster.create(objects.NODES, objects.node(name))
    agent.wait_for(is_about("node_condition", k8s__node__name=name))
    conditions = [
        objects.condition("Ready", "True"),
        objects.condition("MemoryPressure", "True", "KubeletHasInsufficientMemory"),
    ]
    cluster.patch(f"{objects.NODES}/{name}/status", {"status": {"conditions": conditions}})
    pressure = agent.wait_for(is_about("node_condition", k8s__node__name=name, k8s__node__condition__type="MemoryPressure"))
    assert pressure["k8s.node.condition.status"] == "true" and pressure.number >= 13
    taint = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
    cluster.patch(f"{objects.NODES}/{name}", {"spec": {"taints": [taint]}})
    agent.wait_for(is_about("node_condition", k8s__node__name=name, tapio__change="taint_added"))
    cluster.delete(f"{objects.NODES}/{name}")
    agent.wait_for(is_about("node_condition", k8s__node__name=name, tapio__change="deleted"))


def test_events_of_another_namespace_are_not_told(cluster: Cluster, shop: str, agent: Agent) -> None:
    """Only what was asked for is watched."""
    other = cluster.namespace("not-the-shop")
    say(cluster, other, ["elsewhere"])
    found = until_told(say(cluster, shop, ["here"]), agent)
    assert "elsewhere" not in found
