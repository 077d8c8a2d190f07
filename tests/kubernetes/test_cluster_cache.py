"""The cache of a cluster: found by every name, remembered for a while, bounded, and equal to what a list would have told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.cluster import EVERYTHING, ClusterCache
from tapio_otel.kubernetes.pods import Pod
from tapio_otel.otlp.mapping import describe
from tests.entities.trees import make_process
from tests.kubernetes.cluster_objects import (
    ID,
    MIRROR,
    UID,
    Clock,
    Fed,
    Raw,
    a_namespace,
    a_node,
    a_pod,
    a_service,
    a_slice,
    names,
    owned_by,
    with_container,
)

TTL = 300.0
OTHER_UID = f"{UID[:-1]}2"
OTHER = "ab" * 32
PAUSE = "9" * 64
STATIC = "0123456789abcdef" * 2
UID_ = UID.replace("-", "_")
SLICE = f"kubepods-burstable-pod{UID_}.slice"
BURSTABLE = f"/kubepods.slice/kubepods-burstable.slice/{SLICE}"
KIND = f"/docker/{OTHER}/kubelet/kubepods"
KIND2 = f"/system.slice/docker-{OTHER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"


@pytest.fixture
def clock() -> Clock:
    """Give a test time of its own."""
    return Clock()


@pytest.fixture
def fed(clock: Clock) -> Fed:
    """Give a test an empty cache and what feeds it."""
    return Fed(ClusterCache(TTL, clock=clock))


def web(**more: Any) -> Raw:
    """Make a pod of a Deployment with one container."""
    more = {"labels": {"app": "web", "pod-template-hash": "7d"}, "podIP": "10.0.0.1", **more}
    return with_container(a_pod(ownerReferences=owned_by("ReplicaSet", "web-7d"), **more), "app", ID)


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


@pytest.mark.parametrize(
    "path",
    [
        f"{BURSTABLE}/cri-containerd-{ID}.scope",  # version 2, systemd driver
        f"{BURSTABLE}/crio-{ID}.scope",
        f"{BURSTABLE}/docker-{ID}.scope",
        f"{BURSTABLE}/libpod-{ID}.scope",
        f"{BURSTABLE}/crio-{ID}.scope/container",
        f"{BURSTABLE}/cri-containerd-{ID}.scope/system.slice/nginx.service",
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope",
        f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
        f"/kubepods/burstable/pod{UID}/{ID}",  # cgroupfs driver
        f"/kubepods/pod{UID}/{ID}",
        f"/kubepods/burstable/pod{UID}/crio-{ID}",
        f"/system.slice/containerd.service/{SLICE}:cri-containerd:{ID}",  # version 1
        f"/{SLICE}:cri-containerd:{ID}",
        f"/docker/{ID}",
        f"/kubepods/burstable/pod{STATIC}/{ID}",  # static pod
        f"{KIND}/burstable/pod{UID}/{ID}",  # a node that is a container
        f"{KIND2}/kubelet-{SLICE}/cri-containerd-{ID}.scope",
        f"/../../{SLICE}/cri-containerd-{ID}.scope",  # seen from a private cgroup namespace
        f"/../cri-containerd-{ID}.scope",
        f"/../{ID}",
    ],
)
@pytest.mark.parametrize("hierarchies", ["0::{}\n", "12:pids:{0}\n5:name=systemd:{0}\n4:memory:{0}\n0::/\n"])
async def test_every_form_of_cgroup_leads_to_the_container(fed: Fed, tmp_path: Path, path: str, hierarchies: str) -> None:
    """By path, and by a process in it; under both versions."""
    await fed.list("pods", web(annotations=dict.fromkeys(MIRROR, STATIC)))
    mapper = EntityMapper(tmp_path)
    mapper.names = fed.cache
    expected = fed.cache.container(ID)
    assert expected is not None
    make_process(tmp_path, 7, hierarchies.format(path))
    assert mapper.of_cgroup_path(path) is mapper.of_pid(7, 4711) is expected


@pytest.mark.parametrize(
    "path",
    [
        f"{BURSTABLE}/cri-containerd-{PAUSE}.scope",
        f"/kubepods/burstable/pod{UID}/{PAUSE}",
        f"/{SLICE}:cri-containerd:{PAUSE}",
        f"/kubepods/burstable/pod{STATIC}/{PAUSE}",
        f"{KIND}/burstable/pod{UID}/{PAUSE}",
        f"/../../{SLICE}/cri-containerd-{PAUSE}.scope",
    ],
)
async def test_a_pause_process_is_found_by_its_pods_uid(fed: Fed, path: str) -> None:
    """Nobody tells the name of its container; a static pod has another uid there than in the API."""
    await fed.list("pods", web(annotations=dict.fromkeys(MIRROR, STATIC)))
    mapper = EntityMapper(Path("/nonexistent"))
    mapper.names = fed.cache
    entity = mapper.of_cgroup_path(path)
    assert entity is not None
    assert (entity.type, entity.uid) == ("container", PAUSE)
    assert entity.parent is fed.cache.pod(UID)


@pytest.mark.parametrize(
    "path", [BURSTABLE, f"{BURSTABLE}/crio-conmon-{ID}.scope", f"/kubepods/pod{UID}", f"/kubepods/pod{STATIC}"]
)
async def test_a_pods_own_cgroup_and_units_lead_to_the_pod(fed: Fed, path: str) -> None:
    """And what only watches its containers."""
    await fed.list("pods", web(annotations=dict.fromkeys(MIRROR, STATIC)))
    mapper = EntityMapper(Path("/nonexistent"))
    mapper.names = fed.cache
    assert mapper.of_cgroup_path(path) is fed.cache.pod(UID)
    assert mapper.of_unit(SLICE, BURSTABLE).parent is fed.cache.pod(UID)
    scope = f"cri-containerd-{ID}.scope"
    assert mapper.of_unit(scope, f"{BURSTABLE}/{scope}").parent is mapper.of_unit(scope).parent is fed.cache.container(ID)


async def test_a_path_seen_before_its_pod_is_named_afterwards(fed: Fed) -> None:
    """The kernel is quicker than the API."""
    mapper = EntityMapper(Path("/nonexistent"))
    mapper.names = fed.cache
    path = f"{BURSTABLE}/cri-containerd-{ID}.scope"
    seen = []
    for change in (("ADDED", a_pod()), ("MODIFIED", web()), ("MODIFIED", web(qosClass="Guaranteed"))):
        seen.append(mapper.of_cgroup_path(path))
        await fed.change("pods", change)
    seen.append(mapper.of_cgroup_path(path))
    assert [one and one.name for one in seen] == [ID[:12], ID[:12], "app", "app"]
    assert [name_of_parent(one) for one in seen] == [UID, "web-0", "web-0", "web-0"]
    assert [one and one.parent and one.parent.attributes["qos"] for one in seen][-2:] == ["burstable", "guaranteed"]


def name_of_parent(entity: EntityReference | None) -> str:
    """Return the name of an entity's parent."""
    assert entity is not None
    assert entity.parent is not None
    return entity.parent.name


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


PODS: st.SearchStrategy[Raw] = st.builds(
    dict,
    name=st.sampled_from(["web-0", "web-1"]),
    namespace=st.sampled_from(["shop", "data"]),
    node=st.sampled_from(["", "n1", "n2"]),
    podIP=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    phase=st.sampled_from(["Pending", "Running", "Succeeded"]),
    labels=st.sampled_from([{}, {"app": "web"}, {"app": "api"}]),
    hostNetwork=st.booleans(),
    startTime=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    annotations=st.sampled_from([{}, dict.fromkeys(MIRROR, STATIC)]),
)
CONTAINERS = st.dictionaries(
    st.sampled_from(["app", "proxy"]),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
"""Number of the container and of the one that it replaced, by name."""
CHANGES = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), st.sampled_from(["u1", "u2", "u3"]), PODS, CONTAINERS),
    max_size=12,
)


def made(uid: str, about: Raw, containers: dict[str, tuple[int, int]]) -> Raw:
    """Make a pod; containers have ids of their own, as real ones do."""
    raw = a_pod(uid=uid, **about)
    for name, (number, last) in containers.items():
        before = f"{uid}-{name}-{last}" if last < number else ""
        with_container(raw, name, f"{uid}-{name}-{number}" if number else "", last=before, restarts=number)
    return raw


def shown(cache: ClusterCache) -> Raw:
    """Return all that can be found of what lives."""
    pods = [pod for one in ("u1", "u2", "u3") if (pod := cache.pod_by_uid(one)) is not None and pod.deleted_at is None]
    ids = [one for pod in pods for each in pod.containers.values() for one in (each.id, each.last_id) if one]
    claimed: dict[str, dict[Any, Pod | None]] = {
        "names": {(where, name): cache.pod_by_name(where, name) for where in ("shop", "data") for name in ("web-0", "web-1")},
        "ips": {ip: cache.pod_by_ip(ip) for ip in ("10.0.0.1", "10.0.0.2", "")},
        "static": {"": cache.pod_of_static_uid(STATIC)},
    }
    living = {
        what: {key: pod.uid for key, pod in found.items() if pod is not None and pod.deleted_at is None}
        for what, found in claimed.items()
    }
    return {
        "pods": [
            (pod.uid, pod.name, pod.namespace, pod.node, pod.ips, pod.phase, pod.labels, pod.containers, pod.static_uid)
            for pod in pods
        ],
        "entities": [(pod.entity, names(pod.entity.lineage())) for pod in pods],
        "containers": [(one, cache.container(one), (cache.pod_of_container(one) or (None, None))[1]) for one in ids],
        **living,
    }


@given(CHANGES, CHANGES, st.booleans())
async def test_changes_after_a_list_lead_to_what_a_list_of_the_end_would_tell(
    before: list[tuple[str, str, Raw, Any]], changes: list[tuple[str, str, Raw, Any]], at_once: bool
) -> None:
    """Whatever they are, one by one or together, sensible or not; and listing it all again changes nothing."""
    fed = Fed(ClusterCache(TTL, clock=Clock()))
    state = {uid: made(uid, about, containers) for _, uid, about, containers in before}
    await fed.list("pods", *state.values())
    told = [(kind, made(uid, about, containers)) for kind, uid, about, containers in changes]
    for group in [told] if at_once else [[one] for one in told]:
        await fed.change("pods", *group)
    for kind, raw in told:
        state.pop(raw["metadata"]["uid"], None)
        if kind != "DELETED":
            state[raw["metadata"]["uid"]] = raw
    listed = Fed(ClusterCache(TTL, clock=Clock()))
    await listed.list("pods", *state.values())
    expected = shown(listed.cache)
    assert shown(fed.cache) == expected
    generation = fed.cache.generation
    await fed.list("pods", *state.values())
    assert (shown(fed.cache), fed.cache.generation) == (expected, generation)


@given(CHANGES)
async def test_nothing_is_left_when_everything_is_gone_long_enough(changes: list[tuple[str, str, Raw, Any]]) -> None:
    """Whatever came before."""
    clock = Clock()
    fed = Fed(ClusterCache(TTL, clock=clock))
    for kind, uid, about, containers in changes:
        await fed.change("pods", (kind, made(uid, about, containers)))
    await fed.list("pods")
    clock.now += TTL
    await fed.list("pods")
    assert fed.cache.sizes == dict.fromkeys(fed.cache.sizes, 0)
    index = fed.cache._pods
    held = (index._pods, index._names, index._ips, index._static, index._containers, index._deleted, index._replaced)
    assert [len(one) for one in held] == [0] * 7
