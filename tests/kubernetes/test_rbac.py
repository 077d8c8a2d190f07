"""Tests of the permissions: each feature is run under a service account that has just those, and with one of them missing."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapio_otel.component import Kind
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes.rbac import AGENTS, FEATURES, Need, grants, needs_of, role, rules
from tapio_otel.kubernetes.resources import EVENTS, LEASES, NAMESPACES, NODES, PODS
from tapio_otel.receivers.kubernetes import KubernetesConfig, KubernetesReceiver
from tests.components import context
from tests.kubernetes.cluster import Asked, Cluster
from tests.kubernetes.listening import Reports, connected, until

CHECKOUT = Path(__file__).parents[2]
DEPLOYED = CHECKOUT / "deploy" / "kubernetes"
RECEIVED = {"receive-events": "events", "receive-pods": "pods", "receive-nodes": "nodes"}
EVERYTHING = (*RECEIVED, "leader-election")


class Receiving:
    """A receiver that runs, what it emitted and what it reported."""

    def __init__(self, **options: Any) -> None:
        self.checkpoint: Any = None
        self.told: list[Any] = []
        self.problem: str | None = None
        surroundings = context(Kind.RECEIVER, "kubernetes")
        surroundings.report = self._report
        self.receiver = KubernetesReceiver(surroundings, KubernetesConfig(**options))

    @property
    def delivered(self) -> Any:
        """Return the checkpoint: what is taken is delivered."""
        return self.checkpoint

    async def emit(self, events: list[Any], checkpoint: Any | None = None) -> None:
        self.told += events
        self.checkpoint = checkpoint or self.checkpoint

    def progress(self, done: int, total: int | None) -> None:
        """Do nothing: it never comes to an end."""

    def _report(self, problem: str | None) -> None:
        self.problem = problem

    def types(self) -> set[str]:
        return {str(event.type) for event in self.told}


@asynccontextmanager
async def receiving(cluster: Cluster, account: str, features: tuple[str, ...]) -> AsyncIterator[Receiving]:
    """Run a receiver as a service account, with what the features stand for."""
    election = {"enabled": "leader-election" in features, "lease_name": account}
    running = Receiving(
        auth_type="serviceAccount",
        server=cluster.server,
        service_account_directory=str(cluster.write_account_directory(account)),
        resources=[RECEIVED[one] for one in features if one in RECEIVED] or ["events"],
        start_at="beginning",
        initial_state="all",
        node_name="",
        leader_election=election,
    )
    task = asyncio.create_task(running.receiver.run(running))  # type: ignore[arg-type]
    try:
        yield running
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


def allow(cluster: Cluster, account: str, needs: tuple[Need, ...]) -> None:
    """Give a service account these permissions: those of leases in its own namespace, all others in the cluster."""
    needs = tuple(Need(one.resource, one.verbs, (account,) if one.names else ()) for one in needs)
    cluster.service_account(account)
    cluster.allow(account, rules(one for one in needs if one.resource != LEASES))
    leases = rules(one for one in needs if one.resource == LEASES)
    if leases:
        cluster.allow(account, leases, only_in="default")


def populate(cluster: Cluster, name: str) -> None:
    """Create a pod, a node and an event, so that there is something to be told."""
    cluster.create("/api/v1/nodes", {"metadata": {"name": name}, "status": {"conditions": [condition("Ready", "True")]}})
    spec = {"nodeName": name, "containers": [{"name": "app", "image": "app:1"}]}
    pod = {"metadata": {"name": name}, "spec": spec, "status": {"phase": "Running"}}
    cluster.create("/api/v1/namespaces/default/pods", pod)
    event = {
        "metadata": {"name": name},
        "eventTime": "2026-02-03T04:05:06.000000Z",
        "reason": "Pulled",
        "note": "there",
        "type": "Normal",
        "action": "Pulling",
        "reportingController": "test/kubelet",
        "reportingInstance": name,
        "regarding": {"kind": "Pod", "namespace": "default", "name": name},
    }
    cluster.create("/apis/events.k8s.io/v1/namespaces/default/events", event)


def condition(kind: str, status: str) -> dict[str, str]:
    """Return a condition of a node."""
    return {"type": kind, "status": status, "lastTransitionTime": "2026-02-03T04:05:06Z", "reason": "Test", "message": ""}


@pytest.fixture(scope="module")
def populated(cluster: Cluster) -> Cluster:
    """Give a cluster in which each resource has an object to be told of."""
    populate(cluster, "rbac-1")
    return cluster


def granted(needs: tuple[Need, ...], account: str) -> set[tuple[str, str, str]]:
    """Return verb, group and resource of everything that is granted."""
    return {(verb, need.resource.group, need.resource.plural) for need in needs for verb in need.verbs}


def used(asked: set[Asked]) -> set[tuple[str, str, str]]:
    """Return verb, group and resource of everything that was asked for."""
    return {(one.verb, one.group, one.resource) for one in asked}


TOLD = {"events": "k8s_event", "pods": "pod_state", "nodes": "node_condition"}


@pytest.mark.parametrize("feature", RECEIVED)
async def test_a_receiver_uses_all_its_permissions_and_no_other(populated: Cluster, feature: str) -> None:
    """The server's own log of requests has each verb of each resource granted, nothing else, and nothing refused."""
    account = f"only-{feature}"
    needs = needs_of([feature])
    await asyncio.to_thread(allow, populated, account, needs)
    async with receiving(populated, account, (feature,)) as running:
        await until(lambda: TOLD[RECEIVED[feature]] in running.types())
        await until(lambda: used(populated.asked(account)) == granted(needs, account))
        assert running.problem is None
    assert used(populated.asked(account)) == granted(needs, account)
    assert all(one.allowed for one in populated.asked(account))


async def test_an_election_uses_all_its_permissions_and_only_its_own_lease(populated: Cluster) -> None:
    """The Lease is created, read, renewed and given up; no other one is looked at."""
    account, needs = "only-leader", needs_of(EVERYTHING)
    await asyncio.to_thread(allow, populated, account, needs)
    async with receiving(populated, account, EVERYTHING) as running:
        await until(lambda: running.types() >= set(TOLD.values()))
        await until(lambda: used(populated.asked(account)) >= granted(needs, account))
        assert running.problem is None
    asked = populated.asked(account)
    assert used(asked) == granted(needs, account) and all(one.allowed for one in asked)
    leases = {(one.namespace, one.name) for one in asked if one.resource == "leases" and one.verb != "create"}
    assert leases == {("default", account)}


MISSING = [
    (resource, verb)
    for resource, verbs in (("events", "list watch"), ("pods", "list watch"), ("nodes", "list watch"))
    for verb in verbs.split()
]


@pytest.mark.parametrize(("resource", "verb"), MISSING, ids=[f"{verb}-{resource}" for resource, verb in MISSING])
async def test_what_is_not_permitted_is_named_and_the_rest_goes_on(populated: Cluster, resource: str, verb: str) -> None:
    """The report says which verb of which resource is missing and where to add it; the other resources are told."""
    account = f"no-{verb}-{resource}"
    needs = tuple(without(needs_of(RECEIVED), resource, verb))
    await asyncio.to_thread(allow, populated, account, needs)
    async with receiving(populated, account, tuple(RECEIVED)) as running:
        others = {told for one, told in TOLD.items() if one != resource}
        await until(lambda: running.types() >= others and running.problem)
        problem = running.problem or ""
    group = " (API group events.k8s.io)" if resource == "events" else ""
    assert f"system:serviceaccount:default:{account} may not {verb} {resource}" in problem
    assert f"add verbs [list, watch] of {resource}{group} to its ClusterRole" in problem
    assert problem.count("may not") == 1


@pytest.mark.parametrize("verb", ["get", "create", "update"])
async def test_an_election_that_is_not_permitted_is_named(populated: Cluster, verb: str) -> None:
    """Without one of the three verbs there is no leader, or none that lasts; the report says which one."""
    account = f"no-{verb}-leases"
    await asyncio.to_thread(allow, populated, account, tuple(without(needs_of(EVERYTHING), "leases", verb)))
    async with receiving(populated, account, EVERYTHING) as running:
        await until(lambda: f"may not {verb} leases.coordination.k8s.io" in (running.problem or ""))
        problem = running.problem or ""
    assert f"add verbs [{verb}] of leases (API group coordination.k8s.io)" in problem


def without(needs: tuple[Need, ...], resource: str, verb: str) -> list[Need]:
    """Return needs but for one verb of one resource."""
    kept = [
        Need(one.resource, tuple(each for each in one.verbs if (one.resource.plural, each) != (resource, verb)), one.names)
        for one in needs
    ]
    return [one for one in kept if one.verbs]


def test_rules_are_as_few_as_they_can_be() -> None:
    """Resources of one group with the same verbs share a rule; named objects have one of their own."""
    assert rules([Need(PODS), Need(NODES), Need(EVENTS), Need(PODS)]) == [
        {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["list", "watch"]},
    ]
    (create, update) = rules(FEATURES["leader-election"].needs)
    assert create["verbs"] == ["create"] and "resourceNames" not in create
    assert update["verbs"] == ["get", "update"] and update["resourceNames"] == ["tapio-otel"]


def test_a_role_cannot_grant_what_is_in_no_namespace() -> None:
    """Nodes and namespaces take a ClusterRole, and that is said."""
    with pytest.raises(ValueError, match="a Role in 'prod' cannot grant nodes, namespaces: they take a ClusterRole"):
        role("reader", [Need(PODS), Need(NODES), Need(NAMESPACES)], "prod")


@pytest.mark.parametrize("agent", AGENTS)
def test_the_server_takes_what_is_generated(cluster: Cluster, agent: str) -> None:
    """The service account that results may do what the features need, and cannot read secrets."""
    namespace = cluster.namespace("tapio-otel")
    cluster.apply(grants(f"made-{agent}", namespace, AGENTS[agent]))
    for need in needs_of(AGENTS[agent]):
        for verb in need.verbs:
            where = {"namespace_of": namespace if need.resource == LEASES else "", "name": next(iter(need.names), "")}
            wait(
                lambda v=verb, n=need, w=where: cluster.may(
                    f"made-{agent}", v, n.resource.plural, n.resource.group, namespace, **w
                )
            )
    assert not cluster.may(f"made-{agent}", "list", "secrets", "", namespace)
    assert not cluster.may(f"made-{agent}", "get", "pods", "", namespace)


def wait(condition: Any) -> None:
    """Wait until something is so."""
    asyncio.run(until(condition))


def test_the_manifests_are_those_that_are_generated() -> None:
    """deploy/kubernetes/rbac-*.yaml is what scripts/permissions.py makes."""
    script = CHECKOUT / "scripts" / "permissions.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", sorted(DEPLOYED.glob("*.yaml")), ids=lambda file: file.name)
def test_a_manifest_is_one_that_the_server_takes(cluster: Cluster, file: Path) -> None:
    """Every object passes the server's strict validation: no field is unknown or there twice."""
    cluster.namespace("tapio-otel")
    for one in yaml.safe_load_all(file.read_text()):
        kind = one["kind"].lower() + "s"
        root = f"/apis/{one['apiVersion']}" if "/" in one["apiVersion"] else f"/api/{one['apiVersion']}"
        where = f"/namespaces/{one['metadata']['namespace']}" if "namespace" in one["metadata"] else ""
        named = one | {"metadata": one["metadata"] | {"name": f"{one['metadata']['name']}-tried"}}
        cluster.request("POST", f"{root}{where}/{kind}?dryRun=All&fieldValidation=Strict", named)


@pytest.mark.parametrize("agent", AGENTS)
def test_the_manifests_of_an_agent_agree(agent: str) -> None:
    """The workload runs as the service account of its permissions, and says how it gets its configuration."""
    workload = {"node": "daemonset.yaml", "cluster": "deployment.yaml"}[agent]
    text = (DEPLOYED / workload).read_text()
    made = yaml.safe_load(text)
    pod = made["spec"]["template"]["spec"]
    account = next(yaml.safe_load_all((DEPLOYED / f"rbac-{agent}.yaml").read_text()))
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert made["metadata"]["namespace"] == account["metadata"]["namespace"]
    (config,) = re.findall(r"--from-file=tapio.yaml=(\S+)", text)
    assert (DEPLOYED / config).is_file()
    (mounted,) = [one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one]
    assert f"configmap {mounted} " in text


ENRICH = ("enrich", "enrich-services")
LISTED = sorted({need.resource.plural for need in needs_of(ENRICH)})


@asynccontextmanager
async def knowing(cluster: Cluster, account: str) -> AsyncIterator[tuple[ClusterCache, Reports]]:
    """Keep up with the cluster as a service account, as the processor enrich does."""
    directory = await asyncio.to_thread(cluster.write_account_directory, account)
    reports, cache = Reports(), ClusterCache()
    mounted = {"auth_type": "serviceAccount", "server": cluster.server, "service_account_directory": directory}
    async with connected(**mounted) as client:
        task = asyncio.create_task(cache.run(client, report=reports))
        try:
            yield cache, reports
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_enriching_uses_all_its_permissions_and_no_other(populated: Cluster) -> None:
    """All kinds of objects are listed and watched, none is refused, none is granted in vain."""
    account, needs = "only-enrich", needs_of(ENRICH)
    await asyncio.to_thread(allow, populated, account, needs)
    async with knowing(populated, account) as (cache, reports):
        await until(lambda: cache.pod_by_name("default", "rbac-1") and cache.node("rbac-1"))
        await until(lambda: used(populated.asked(account)) == granted(needs, account))
        assert reports.now is None
    assert all(one.allowed for one in populated.asked(account))


@pytest.mark.parametrize("resource", LISTED)
async def test_enriching_goes_on_without_what_is_not_permitted(populated: Cluster, resource: str) -> None:
    """The kind that may not be listed is named; the others are known."""
    account = f"no-{resource}"
    await asyncio.to_thread(allow, populated, account, tuple(without(needs_of(ENRICH), resource, "list")))
    async with knowing(populated, account) as (cache, reports):
        await until(lambda: reports.now and all(cache.sizes[one] for one in {"pods", "nodes", "namespaces"} - {resource}))
        assert f"may not list {resource}" in (reports.now or "")
        assert f"add verbs [list, watch] of {resource}" in (reports.now or "")
        assert not cache.sizes[resource]
