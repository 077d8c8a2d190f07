"""The cache of a cluster: found by every name, remembered for a while, bounded, and equal to what a list would have told."""

from __future__ import annotations

import pytest

from tapio_otel.kubernetes.cluster import EVERYTHING, ClusterCache
from tapio_otel.kubernetes.pods import Pod
from tapio_otel.otlp.mapping import describe
from tests.kubernetes.cluster_objects import (
    ID,
    TTL,
    UID,
    Clock,
    Fed,
    Raw,
    a_namespace,
    a_node,
    a_pod,
    a_service,
    a_slice,
    clock,
    fed,
    web,
    with_container,
)

__all__ = ["clock", "fed"]

OTHER_UID = f"{UID[:-1]}2"
OTHER = "ab" * 32


def name_of(pod: Pod | None) -> str:
    """Return a pod's name, empty if there is none."""
    return pod.name if pod is not None else ""


async def test_a_pod_is_found_by_everything_that_names_it(fed: Fed) -> None:
    """UID, name, address, and each of its containers."""
    await fed.list("pods", with_container(with_container(web(), "setup", "a" * 64, "init"), "debug", "b" * 64, "ephemeral"))
    cache = fed.cache
    pod = cache.pod_by_uid(UID)
    assert pod is not None
    assert cache.pod_by_name("shop", "web-0") is cache.pod_by_ip("10.0.0.1") is pod
    for container_id, name, kind in ((ID, "app", "app"), ("a" * 64, "setup", "init"), ("b" * 64, "debug", "ephemeral")):
        found = cache.pod_of_container(container_id)
        assert found is not None
        assert (found[0], found[1].name, found[1].kind) == (pod, name, kind)
    for unknown in (cache.pod_by_name("shop", "x"), cache.pod_by_name("x", "web-0"), cache.pod_by_ip(""), cache.pod_by_uid("")):
        assert unknown is None
    assert cache.pod_of_container("") is None
    assert cache.container("") is cache.pod("") is None
    assert cache.pod_of_static_uid("") is None


async def test_entities_have_their_whole_lineage(fed: Fed) -> None:
    """Container, pod, ReplicaSet, Deployment, node and machine, in whatever order they were seen; OTLP names them all."""
    await fed.list("pods", web())
    early = fed.cache.container(ID)
    await fed.list("nodes", a_node(machine="f" * 32))
    entity = fed.cache.container(ID)
    assert entity is not None
    assert early is not None
    expected = ["container", "pod", "replicaset", "deployment", "node", "node"]
    assert [one.type for one in entity.lineage()] == expected
    assert [one.type for one in early.lineage()] == expected[:-1]
    assert fed.cache.container(ID) is entity
    assert fed.cache.pod(UID) is entity.parent
    resource = describe(entity).resource
    expected_names = {
        "k8s.container.name": "app",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "web-0",
        "k8s.pod.uid": UID,
        "k8s.pod.qos_class": "Burstable",
        "k8s.replicaset.name": "web-7d",
        "k8s.deployment.name": "web",
        "k8s.node.name": "n1",
        "k8s.node.uid": "5b1c1f4e-0000-4000-8000-000000000001",
        "host.name": "n1",
        "host.id": "f" * 32,
    }
    assert {key: resource.get(key) for key in expected_names} == expected_names


async def test_a_deleted_pod_is_remembered_for_a_while(fed: Fed, clock: Clock) -> None:
    """By everything that named it, with its services; then nothing of it is left."""
    await fed.list("endpointslices", a_slice("web-x", "web", UID))
    await fed.list("pods", web())
    generation, version = fed.cache.generation, fed.cache.version
    await fed.delete("pods", web())
    await fed.delete("endpointslices", a_slice("web-x", "web", UID))
    cache = fed.cache
    assert cache.generation > generation
    assert cache.version > version
    for _ in range(2):
        pod = cache.pod_by_uid(UID)
        assert pod is not None
        assert pod.deleted_at == 100
        assert cache.services_of(pod) == ("web",)
        assert cache.pod_by_name("shop", "web-0") is cache.pod_by_ip("10.0.0.1") is pod
        assert cache.container(ID) is not None
        assert cache.sizes["deleted_pods"] == 1
        clock.now = 100 + TTL - 0.1
        cache.sweep()
        await fed.delete("pods", web())  # told again: it is remembered no longer for that
    clock.now = 100 + TTL
    version = cache.version
    cache.sweep()
    assert cache.pod_by_uid(UID) is cache.pod_by_name("shop", "web-0") is cache.pod_by_ip("10.0.0.1") is None
    assert cache.container(ID) is None
    assert cache.version > version
    assert cache.sizes == dict.fromkeys(cache.sizes, 0)


async def test_a_pod_that_a_list_does_not_name_was_deleted(fed: Fed) -> None:
    """Meanwhile, while there was no watch; only in the namespace that was listed."""
    await fed.list("pods", web(), a_pod(uid=OTHER_UID, namespace="data"))
    await fed.list("pods", namespace="shop")
    pods = [fed.cache.pod_by_uid(uid) for uid in (UID, OTHER_UID)]
    assert [pod is not None and pod.deleted_at is not None for pod in pods] == [True, False]
    await fed.list("pods", web())
    assert [pod is not None and pod.deleted_at is not None for pod in pods] == [False, True]


async def test_what_was_deleted_unseen_is_remembered_as_well(fed: Fed) -> None:
    """The deletion tells what it was."""
    await fed.delete("pods", web())
    pod = fed.cache.pod_by_uid(UID)
    assert pod is not None
    assert (pod.deleted_at, pod.name) == (100, "web-0")


async def test_of_several_of_one_name_the_living_one_is_meant(fed: Fed, clock: Clock) -> None:
    """A StatefulSet's pod is made anew with its name and maybe its address; both are known by uid and container."""
    new = with_container(a_pod(uid=OTHER_UID, podIP="10.0.0.1", startTime="2026-02-10T10:00:00Z"), "app", OTHER)
    await fed.list("pods", web())
    for change in (("ADDED", new), ("DELETED", web())):  # in the order that one is not used to
        await fed.change("pods", change)
        assert fed.cache.pod_by_name("shop", "web-0") is fed.cache.pod_by_ip("10.0.0.1") is fed.cache.pod_by_uid(OTHER_UID)
    for container_id, uid in ((ID, UID), (OTHER, OTHER_UID)):
        found = fed.cache.pod_of_container(container_id)
        assert found is not None
        assert found[0].uid == uid
    clock.now += TTL
    await fed.put("pods", new)
    assert fed.cache.pod_by_uid(UID) is None
    assert fed.cache.pod_by_name("shop", "web-0") is fed.cache.pod_by_uid(OTHER_UID)


async def test_an_address_is_that_of_the_pod_that_runs(fed: Fed) -> None:
    """A pod that is over keeps it in its status, though it may be another's by now; a node's belongs to none of its pods."""
    job = a_pod("job", uid=OTHER_UID, podIP="10.0.0.1", phase="Succeeded", startTime="2027-01-01T00:00:00Z")
    await fed.list("pods", job, a_pod("proxy", uid="u3", hostNetwork=True, podIP="172.16.0.1"))
    assert name_of(fed.cache.pod_by_ip("10.0.0.1")) == "job"
    assert fed.cache.pod_by_ip("172.16.0.1") is None
    await fed.put("pods", web())
    assert name_of(fed.cache.pod_by_ip("10.0.0.1")) == "web-0"
    await fed.put("pods", web(podIP="10.0.0.2"))
    assert name_of(fed.cache.pod_by_ip("10.0.0.1")) == "job"
    assert name_of(fed.cache.pod_by_ip("10.0.0.2")) == "web-0"


async def test_a_restarted_container_is_found_by_its_old_ids(fed: Fed, clock: Clock) -> None:
    """The last one for as long as the API tells it, earlier ones for a while."""
    ids = ["1" * 64, "2" * 64, "3" * 64]
    await fed.list("pods", with_container(a_pod(), "app", ids[0]))
    first = fed.cache.container(ids[0])
    assert first is not None
    for restarts in (1, 2):
        clock.now += 10
        await fed.put("pods", with_container(a_pod(), "app", ids[restarts], last=ids[restarts - 1], restarts=restarts))
    found = [fed.cache.pod_of_container(one) for one in ids]
    assert [one and (one[1].name, one[1].id, one[1].state, one[1].restart_count) for one in found] == [
        ("app", ids[0], "terminated", 0),
        ("app", ids[1], "terminated", 1),
        ("app", ids[2], "running", 2),
    ]
    assert [one.uid for one in map(fed.cache.container, ids) if one] == ids
    assert fed.cache.container(ids[0]) is first
    clock.now += TTL
    fed.cache.sweep()
    assert [fed.cache.container(one) is not None for one in ids] == [False, True, True]
    await fed.delete("pods", with_container(a_pod(), "app", ids[2], last=ids[1], restarts=2))
    clock.now += TTL
    fed.cache.sweep()
    assert [fed.cache.container(one) for one in ids] == [None] * 3


async def test_the_container_before_the_first_list_is_known(fed: Fed) -> None:
    """As after the start of the agent, when the journal still tells of it."""
    await fed.list("pods", with_container(a_pod(), "app", ID, last=OTHER, restarts=1))
    entity = fed.cache.container(OTHER)
    assert entity is not None
    assert (entity.name, entity.uid, entity.attributes) == ("app", OTHER, {"runtime": "containerd"})


async def test_replaced_containers_do_not_grow_without_end(clock: Clock) -> None:
    """Of a pod that crashes again and again."""
    fed = Fed(ClusterCache(TTL, max_pods=5, clock=clock))
    for number in range(50):
        await fed.put("pods", with_container(a_pod(), "app", f"{number:064d}"))
    known = [number for number in range(50) if fed.cache.container(f"{number:064d}") is not None]
    assert known == [44, 45, 46, 47, 48, 49]


async def test_too_many_pods_make_others_forgotten(clock: Clock) -> None:
    """Deleted ones first; each is counted, and nothing of it is left."""
    fed = Fed(ClusterCache(TTL, max_pods=3, clock=clock))
    pods = [with_container(a_pod(f"p{at}", uid=f"u{at}", podIP=f"10.0.0.{at}"), "app", f"{at:064d}") for at in range(5)]
    await fed.list("pods", *pods[:3])
    await fed.delete("pods", pods[1])
    assert fed.cache.evicted == 0
    await fed.put("pods", pods[3])
    assert [fed.cache.pod_by_uid(f"u{at}") is not None for at in range(4)] == [True, False, True, True]
    await fed.put("pods", pods[4])
    assert [fed.cache.pod_by_uid(f"u{at}") is not None for at in range(5)] == [False, False, True, True, True]
    assert fed.cache.evicted == 2
    assert fed.cache.pod_by_ip("10.0.0.0") is fed.cache.pod_by_name("shop", "p0") is None
    assert fed.cache.container("0" * 64) is None
    await fed.list("pods", *pods)
    assert fed.cache.sizes["pods"] == 3
    assert fed.cache.evicted > 2


async def test_services_lead_to_pods_whatever_is_told_first(fed: Fed) -> None:
    """A pod's generation counts that; that of others does not."""
    await fed.list("endpointslices", a_slice("web-x", "web", UID), a_slice("api-x", "api", UID, OTHER_UID))
    await fed.list("pods", web(), a_pod("other", uid=OTHER_UID))
    pod, other = fed.cache.pod_by_uid(UID), fed.cache.pod_by_uid(OTHER_UID)
    assert pod is not None
    assert other is not None
    assert (fed.cache.services_of(pod), fed.cache.services_of(other)) == (("api", "web"), ("api",))
    before = (pod.generation, other.generation, fed.cache.version)
    await fed.put("endpointslices", a_slice("web-x", "web"))
    assert fed.cache.services_of(pod) == ("api",)
    assert pod.generation > before[0]
    assert (other.generation, fed.cache.version) == before[1:]
    by_name = a_slice("named", "named")
    by_name["endpoints"] = [{"targetRef": {"kind": "Pod", "name": "other", "namespace": "shop"}}]
    await fed.put("endpointslices", by_name)
    assert fed.cache.services_of(other) == ("api", "named")
    assert other.generation > before[1]


async def test_services_nodes_and_namespaces_are_found(fed: Fed) -> None:
    """By address and by name."""
    await fed.list("services", a_service("web", "10.96.0.1"))
    await fed.list("nodes", a_node(kernelVersion="6.1.0"))
    await fed.list("namespaces", a_namespace("shop", team="a"))
    service, node = fed.cache.service_by_ip("10.96.0.1"), fed.cache.node("n1")
    assert service is not None
    assert node is not None
    assert (service.name, node.kernel, fed.cache.namespace("shop")) == ("web", "6.1.0", {"team": "a"})
    assert fed.cache.service_by_ip("10.96.0.2") is None
    assert fed.cache.node("n2") is None
    assert fed.cache.namespace("other") == {}
    await fed.delete("services", a_service("web", "10.96.0.1"))
    await fed.delete("nodes", a_node())
    await fed.delete("namespaces", a_namespace("shop"))
    assert fed.cache.service_by_ip("10.96.0.1") is None
    assert (fed.cache.node("other"), fed.cache.namespace("shop")) == (None, {})


async def test_a_deleted_pod_still_tells_of_its_deleted_node(fed: Fed) -> None:
    """A node that is taken away takes its pods with it; what happened there is told later."""
    await fed.list("pods", web())
    await fed.list("nodes", a_node(kernelVersion="6.1.0"))
    await fed.list("nodes")
    await fed.delete("pods", web())
    pod, node = fed.cache.pod_by_uid(UID), fed.cache.node("n1")
    assert pod is not None
    assert node is not None
    assert (pod.node_place, node.kernel) == (node, "6.1.0")


async def test_a_pods_generation_goes_up_with_all_that_is_shown_of_it(fed: Fed) -> None:
    """Its own, its node's and its namespace's; what changes nothing of interest changes no number."""
    await fed.list("pods", web())
    pod = fed.cache.pod_by_uid(UID)
    assert pod is not None
    steps: list[tuple[str, Raw]] = [
        ("pods", web(labels={"app": "other"})),
        ("nodes", a_node()),
        ("nodes", a_node(kernelVersion="6.2.0")),
        ("namespaces", a_namespace("shop", team="a")),
        ("endpointslices", a_slice("web-x", "web", UID)),
        ("pods", with_container(web(labels={"app": "other"}), "more")),
    ]
    for plural, raw in steps:
        before = (pod.generation, fed.cache.generation)
        await fed.put(plural, raw)
        assert pod.generation > before[0]
        assert fed.cache.generation > before[1]
        before = (pod.generation, fed.cache.generation)
        await fed.put(plural, raw)
        assert (pod.generation, fed.cache.generation) == before
    before = (pod.generation, fed.cache.generation)
    await fed.put("nodes", a_node("n2"))
    assert pod.generation == before[0]
    assert fed.cache.generation > before[1]


async def test_what_renames_nothing_leaves_the_version_alone(fed: Fed) -> None:
    """So that mappers need not look again at each change of a status."""
    await fed.list("pods", web())
    entity, version = fed.cache.container(ID), fed.cache.version
    await fed.put("pods", web(phase="Failed", labels={"app": "b", "pod-template-hash": "7d"}, podIP="10.0.0.9"))
    assert (fed.cache.version, fed.cache.container(ID)) == (version, entity)
    await fed.put("pods", with_container(web(phase="Failed"), "more", OTHER))
    assert fed.cache.version > version


def test_what_is_watched_is_what_is_wanted() -> None:
    """In some namespaces, or on one node."""
    cache = ClusterCache()
    assert tuple(feed.resource.plural for feed in cache.watches()) == EVERYTHING
    pods, nodes = cache.watches(("pods", "nodes", "pods"), node="n1")
    assert (pods.selection.field_selector, nodes.selection.field_selector) == ("spec.nodeName=n1", "metadata.name=n1")
    selections = {feed.resource.plural: feed.selection for feed in cache.watches(namespaces=("a", "b"))}
    assert {name: one.namespaces for name, one in selections.items() if one.namespaces} == dict.fromkeys(
        ("pods", "services", "endpointslices"), ("a", "b")
    )
    with pytest.raises(ValueError, match=r"'secrets'.*pods, nodes"):
        cache.watches(("secrets",))


async def test_a_pod_that_is_there_again_is_no_longer_about_to_be_forgotten(fed: Fed, clock: Clock) -> None:
    """A watch begun anew may tell an earlier state: those deleted after it are forgotten in their time all the same."""
    first, second = a_pod("p1", uid="u1"), a_pod("p2", uid="u2")
    await fed.list("pods", first, second)
    await fed.delete("pods", first)
    await fed.put("pods", first)
    await fed.delete("pods", second)
    assert fed.cache.sizes["deleted_pods"] == 1
    clock.now += TTL
    fed.cache.sweep()
    assert [fed.cache.pod_by_uid(uid) is not None for uid in ("u1", "u2")] == [True, False]
