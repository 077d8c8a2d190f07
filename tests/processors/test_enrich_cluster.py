"""The enrich processor against a real API server: what is created there is on the next event, and denials stop nothing."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tapio_otel.entity import EntityReference
from tests.kubernetes.fixtures import apiserver_programs, cluster
from tests.processors.enrich_samples import MACHINE, NODE, event, machine, processor

__all__ = ["apiserver_programs", "cluster"]
PODS = "/api/v1/namespaces/{}/pods"


@pytest.fixture
def place(cluster):
    """Return a namespace of this test's own."""
    return cluster.namespace(f"enrich-{uuid4().hex[:8]}", {"team": "shop"})


def manifest(name, node=NODE, **labels):
    """Return a pod whose status says that it runs container app, with the container's id."""
    id = uuid4().hex + uuid4().hex
    container = {"name": "app", "image": "shop/app:1.2"}
    status = {
        "name": "app",
        "image": "shop/app:1.2",
        "imageID": "",
        "ready": True,
        "restartCount": 2,
        "containerID": f"containerd://{id}",
        "state": {"running": {}},
    }
    return id, {
        "metadata": {"name": name, "labels": {"app": name, **labels}},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.1.2.3"}], "podIP": "10.1.2.3", "containerStatuses": [status]},
    }


async def until(condition):
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def about(id):
    """Return an event about the container of an id."""
    return event(EntityReference("container", id[:12], uid=id, parent=EntityReference("node", NODE, uid=MACHINE)))


def options(cluster, **more):
    """Return the options of a connection to the cluster."""
    return {"kubeconfig": str(cluster.kubeconfig), "node_name": "", **more}


async def test_a_pod_is_on_events_as_soon_as_the_api_tells_of_it(cluster, place, tmp_path):
    """Created, relabelled and deleted: each is seen; the pod is known for a while after its end."""
    made = processor(machine(tmp_path), kubernetes=options(cluster, namespaces=[place]), namespace={"labels": ["team"]})
    await made.start()
    id, web = manifest("web")
    await until(lambda: made._connection.synced)
    await asyncio.to_thread(cluster.create, PODS.format(place), web)

    def seen(key):
        return made.process([about(id)])[0].get(key)

    await until(lambda: seen("k8s.container.restart_count") == 2)
    passed = made.process([about(id)])[0]
    assert (passed.entity.name, passed.entity.namespace) == ("app", place)
    assert passed.get("k8s.namespace.label.team") == "shop"
    assert passed.labels == {"app": "web"}
    change = {"metadata": {"labels": {"tier": "front"}}}
    await asyncio.to_thread(cluster.patch, f"{PODS.format(place)}/web", change)
    await until(lambda: made.process([about(id)])[0].labels == {"app": "web", "tier": "front"})
    await asyncio.to_thread(cluster.delete, f"{PODS.format(place)}/web")
    await until(lambda: seen("tapio.k8s.pod.deleted") is True)
    assert seen("k8s.pod.name") == "web"
    await made.shutdown()


async def test_services_and_addresses_are_known_by_the_api(cluster, place, tmp_path):
    """Services lead to pods by their EndpointSlices, and are found by their addresses."""
    id, web = manifest("web")
    created = await asyncio.to_thread(cluster.create, PODS.format(place), web)
    ports = [{"port": 80}]
    service = {"metadata": {"name": "front"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    made_service = await asyncio.to_thread(cluster.create, f"/api/v1/namespaces/{place}/services", service)
    target = {"kind": "Pod", "name": "web", "namespace": place, "uid": created["metadata"]["uid"]}
    slices = {
        "metadata": {"name": "front-1", "labels": {"kubernetes.io/service-name": "front"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "targetRef": target}],
    }
    await asyncio.to_thread(cluster.create, f"/apis/discovery.k8s.io/v1/namespaces/{place}/endpointslices", slices)
    made = processor(machine(tmp_path), kubernetes=options(cluster, namespaces=[place]))
    await made.start()
    await until(lambda: made._connection.synced)
    assert made.process([about(id)])[0].get("tapio.k8s.services") == ["front"]
    passed = made.process([event(src_ip="10.1.2.3", dst_ip=made_service["spec"]["clusterIP"])])[0]
    assert passed.get("source.k8s.pod.name") == "web"
    assert passed.get("destination.k8s.service.name") == "front"
    await made.shutdown()


async def test_only_the_pods_of_the_own_node_are_kept_in_a_daemon_set(cluster, place, tmp_path, monkeypatch):
    """K8S_NODE_NAME names it, as it is set from spec.nodeName."""
    monkeypatch.setenv("K8S_NODE_NAME", f"{place}-1")
    near, here = manifest("here", f"{place}-1")
    far, there = manifest("there", f"{place}-2")
    for one in (here, there):
        await asyncio.to_thread(cluster.create, PODS.format(place), one)
    made = processor(machine(tmp_path), kubernetes={"kubeconfig": str(cluster.kubeconfig)})
    await made.start()
    await until(lambda: made._connection.synced)
    assert made.process([about(near)])[0].get("k8s.pod.name") == "here"
    assert made.process([about(far)])[0].get("k8s.pod.name") is None
    await made.shutdown()


async def test_what_may_not_be_watched_is_reported_by_name_and_the_rest_is_known(cluster, place, tmp_path):
    """A role without nodes: health names verb and resource, pods are on events all the same; a new role mends it."""
    account = f"enrich-{uuid4().hex[:8]}"
    token = await asyncio.to_thread(cluster.service_account, account)
    await asyncio.to_thread(
        cluster.allow, account, [{"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["list", "watch"]}]
    )
    kubeconfig = cluster.write_kubeconfig(account, {"token": token})
    id, web = manifest("web")
    await asyncio.to_thread(cluster.create, PODS.format(place), web)
    reports = []
    made = processor(
        machine(tmp_path),
        kubernetes={"kubeconfig": str(kubeconfig), "node_name": ""},
        enrichers=["pod", "container", "node", "namespace"],
    )
    made.context.report = reports.append
    await made.start()
    await until(lambda: made.process([about(id)])[0].get("k8s.pod.name") == "web")
    await until(lambda: any(reports))
    told = next(filter(None, reports))
    assert "may not" in told
    assert "nodes" in told
    await made.shutdown()


async def test_events_wait_for_the_first_sight_of_the_cluster(cluster, place, tmp_path):
    """With wait_for_sync the very first event has its names."""
    id, web = manifest("web")
    await asyncio.to_thread(cluster.create, PODS.format(place), web)
    made = processor(machine(tmp_path), kubernetes=options(cluster, namespaces=[place]), wait_for_sync="30s")
    await made.start()
    assert made.process([about(id)]) == []
    passed = []

    def let_go():
        passed.extend(made.flush(False))
        return bool(passed)

    await until(let_go)
    assert passed[0].get("k8s.pod.name") == "web"
    assert made.held_from is None
    await made.shutdown()


async def test_names_are_there_for_the_whole_agent_and_gone_after_the_end(cluster, tmp_path):
    """Receivers that ask the EntityMapper find what this knows."""
    made = processor(machine(tmp_path), kubernetes=options(cluster))
    await made.start()
    assert made.context.entities.names is made._connection.cache
    await made.shutdown()
    assert made.context.entities.names is None


async def test_a_cluster_that_is_found_later_is_no_trouble_any_more(cluster, tmp_path, monkeypatch):
    """Health forgets that there was no kubeconfig as soon as there is one that works."""
    monkeypatch.setattr("tapio_otel.processors.enrich.connection._SHORTEST", 0.05)
    path = cluster.kubeconfig.with_name("late.kubeconfig")
    reports = []
    made = processor(machine(tmp_path), kubernetes={"enabled": True, "kubeconfig": str(path), "node_name": ""})
    made.context.report = reports.append
    await made.start()
    try:
        await until(lambda: any(reports))
        path.write_bytes(cluster.kubeconfig.read_bytes())
        await until(lambda: made._connection.synced)
    finally:
        await made.shutdown()
        path.unlink(missing_ok=True)
    assert reports[-1] is None
