"""What ships: each agent asks for just what its manifest grants, as the log of requests of a real API server shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.agent import Agent
from tests.integration.kubernetes_agents import say, until_told, wait_for_error
from tests.kubernetes import objects
from tests.kubernetes.cluster import Asked, Cluster
from tests.kubernetes.listening import until

CHECKOUT = Path(__file__).parents[2]
NAMESPACE = "tapio-otel"
CONFIGS = {"node": "kubernetes.yaml", "cluster": "kubernetes-cluster.yaml"}


def manifests(name: str) -> list[dict[str, Any]]:
    """Return the objects of a file in deploy/kubernetes/."""
    return list(yaml.safe_load_all((CHECKOUT / "deploy/kubernetes" / name).read_text()))


def granted(agent: str) -> set[tuple[str, str, str]]:
    """Return verb, group and resource of all that the roles in a manifest grant."""
    found = set()
    for one in manifests(f"rbac-{agent}.yaml"):
        for rule in one.get("rules", []):
            found |= {(verb, rule["apiGroups"][0], resource) for resource in rule["resources"] for verb in rule["verbs"]}
    return found


def shipped_agent(cluster: Cluster, room: Path, agent: str, node: str) -> Agent:
    """Return an agent with the shipped configuration of the receiver and the processors, as if it were in a pod."""
    account = f"tapio-otel-{agent}"
    mounted = {"service_account_directory": str(cluster.write_account_directory(account, NAMESPACE))}
    shipped = yaml.safe_load((CHECKOUT / "config" / CONFIGS[agent]).read_text())
    receiver = shipped["receivers"]["kubernetes"] | mounted
    processors = {name: options or {} for name, options in shipped["processors"].items()}
    processors["enrich"]["kubernetes"] = processors["enrich"].get("kubernetes", {}) | mounted
    host, port = "127.0.0.1", cluster.port
    in_pod = ["env", f"KUBERNETES_SERVICE_HOST={host}", f"KUBERNETES_SERVICE_PORT={port}", f"K8S_NODE_NAME={node}"]
    return Agent(room, {"kubernetes": receiver}, in_pod, processors)


@pytest.mark.parametrize("agent", CONFIGS)
async def test_a_shipped_agent_uses_just_what_its_manifest_grants(cluster: Cluster, tmp_path: Path, agent: str) -> None:
    """In a pod with the manifest's service account it asks for each thing granted, for nothing else, and is refused nothing."""
    cluster.namespace(NAMESPACE)
    cluster.apply(manifests(f"rbac-{agent}.yaml"))
    account = f"tapio-otel-{agent}"
    for verb, group, resource in granted(agent):
        where = {"namespace_of": NAMESPACE, "name": "tapio-otel"} if resource == "leases" else {}
        await until(
            lambda v=verb, g=group, r=resource, w=where: cluster.may(account, v, r, g, NAMESPACE, **w)  # type: ignore[misc]
        )
    node = objects.unique("node")
    cluster.create(objects.NODES, objects.node(node))
    with shipped_agent(cluster, tmp_path, agent, node) as running:
        await until(lambda: used(cluster.asked(account, NAMESPACE)) >= granted(agent), seconds=60)
        namespace = cluster.namespace(objects.unique("shop"))
        made = cluster.create(objects.pods(namespace), objects.pod("web-7d9f-1", node, "web"))
        cluster.patch(f"{objects.pods(namespace)}/web-7d9f-1/status", {"status": {"phase": "Failed"}})
        if agent == "node":
            one = running.wait_for(lambda found: found.name == "tapio.pod_state" and found["k8s.namespace.name"] == namespace)
        else:
            name = objects.unique("backoff")
            cluster.create(objects.events(namespace), objects.event(name, made))
            one = running.wait_for(lambda found: found["k8s.event.name"] == name)
        assert (one["k8s.pod.name"], one["k8s.deployment.name"], one["k8s.node.name"]) == ("web-7d9f-1", "web", node)
        assert "may not" not in running.errors.read_text()
    asked = cluster.asked(account, NAMESPACE)
    assert used(asked) == granted(agent)
    assert {one for one in asked if not one.allowed} == set()
    leases = {(one.namespace, one.name) for one in asked if one.resource == "leases" and one.verb != "create"}
    assert leases == ({(NAMESPACE, "tapio-otel")} if agent == "cluster" else set())


def test_an_agent_of_a_node_does_not_see_the_pods_of_others(cluster: Cluster, tmp_path: Path) -> None:
    """K8S_NODE_NAME alone makes it watch its own node: what happens elsewhere is not told."""
    cluster.namespace(NAMESPACE)
    cluster.apply(manifests("rbac-node.yaml"))
    mine, other = objects.unique("mine"), objects.unique("other")
    for node in (mine, other):
        cluster.create(objects.NODES, objects.node(node))
    namespace = cluster.namespace(objects.unique("shop"))
    with shipped_agent(cluster, tmp_path, "node", mine) as running:

        def change() -> None:
            for node in (other, mine):  # the other one first
                cluster.create(objects.pods(namespace), objects.pod(objects.unique(node), node))

        running.wait_for(lambda one: one.name == "tapio.pod_state" and one["k8s.node.name"] == mine, change, seconds=60)
        assert not [one for one in running.records() if one["k8s.node.name"] == other]


def test_a_replica_that_may_not_elect_says_so_until_it_may(cluster: Cluster, tmp_path: Path) -> None:
    """Without the Role of the Lease the receiver's part stands still, by name; as soon as it may, all is told."""
    namespace = cluster.namespace(objects.unique("partial"))
    mounted = {"auth_type": "serviceAccount", "server": cluster.server}
    mounted["service_account_directory"] = str(cluster.write_account_directory("partial", namespace))
    rules = [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["list", "watch"]}]
    cluster.allow("partial", rules, namespace)
    receiver = mounted | {"node_name": "", "resources": ["events"], "start_at": "beginning", "namespaces": [namespace]}
    agent = Agent(tmp_path, {"kubernetes": receiver | {"leader_election": {"enabled": True}}})
    with agent:
        said = say(cluster, namespace, ["refused"])
        wait_for_error(agent, "may not get leases.coordination.k8s.io tapio-otel in namespace")
        verbs = [["create"], ["get", "update"]]
        lease = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": one} for one in verbs]
        cluster.allow("partial", lease, namespace, only_in=namespace)
        until_told(said, agent)


def used(asked: set[Asked]) -> set[tuple[str, str, str]]:
    """Return verb, group and resource of everything that was asked for."""
    return {(one.verb, one.group, one.resource) for one in asked}
