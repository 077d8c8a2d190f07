"""Names from a container runtime: its messages, its socket, and what they add to what the API tells."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import ComponentError
from tapio_otel.entities.mapper import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.cri import ClusterCacheWithRuntime, RuntimePods
from tapio_otel.kubernetes.cri_messages import (
    RuntimeContainer,
    Sandbox,
    fields,
    read_containers,
    read_runtime_name,
    read_sandboxes,
)
from tapio_otel.kubernetes.cri_pods import owners_of
from tapio_otel.kubernetes.cri_socket import RuntimeSocket, RuntimeState, find_socket
from tapio_otel.kubernetes.workloads import Owner
from tests.kubernetes.cri_server import Runtime, container, make, sandbox

UID, OTHER = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "00000000-7dec-11d0-a765-00a0c91e6bf6"
APP, SIDECAR, NEXT = ("a" * 64, "b" * 64, "c" * 64)
MACHINE = EntityReference("node", "worker-1", uid="d" * 32)
HASHED = {"pod-template-hash": "7d9f8c5b4"}
texts = st.text(st.characters(codec="utf-8"), max_size=20)
maps = st.dictionaries(texts, texts, max_size=3)
unsigned = st.integers(0, 2**32 - 1)


@pytest.fixture
def runtime(tmp_path):
    """Return a runtime that listens, and ends."""
    one = Runtime(str(tmp_path / "cri.sock"))
    one.start()
    yield one
    one.stop()


class Clock:
    """Be a clock that is set by hand."""

    now = 100.0

    def __call__(self):
        """Return the time."""
        return self.now


@asynccontextmanager
async def running(pods):
    """Let it keep up; yields what it reports."""
    reports = []
    task = asyncio.create_task(pods.run(reports.append))
    try:
        yield reports
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds):
    """Wait until something holds."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def state(sandboxes=(), containers=(), name="containerd"):
    """Return what a runtime with these messages tells."""
    return RuntimeState(
        name,
        read_sandboxes(make("ListPodSandboxResponse", items=sandboxes).SerializeToString()),
        read_containers(make("ListContainersResponse", containers=containers).SerializeToString()),
    )


def raw_pod(uid=UID, name="web-7d9f8c5b4-x2x4z", **status):
    """Return a pod as the API gives it."""
    return {
        "metadata": {"name": name, "namespace": "prod", "uid": uid, "labels": {"from": "api"}},
        "spec": {"nodeName": "worker-1", "containers": [{"name": "app", "image": "shop:1.2"}]},
        "status": {"phase": "Running", **status},
    }


def fed(cache, *raws):
    """Put pods into a cache as a watch does."""
    feed = cache.watches(["pods"])[0]
    for raw in raws:
        cache._pods.put(feed.trim(raw))


# --- messages -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(texts, texts, texts, texts, st.integers(0, 2**63 - 1), maps, maps), max_size=3))
def test_sandboxes_are_read_as_protobuf_writes_them(rows):
    """Every field that is read, whatever it holds; a field that is not read does not matter."""
    items = [
        make(
            "PodSandbox",
            id=identifier,
            metadata=make("PodSandboxMetadata", name=name, namespace=namespace, uid=uid, attempt=7),
            state=1,
            created_at=created,
            labels=labels,
            annotations=annotations,
            runtime_handler="runc",
        )
        for identifier, name, namespace, uid, created, labels, annotations in rows
    ]
    assert read_sandboxes(make("ListPodSandboxResponse", items=items).SerializeToString()) == [Sandbox(*row) for row in rows]


@given(st.lists(st.tuples(texts, texts, texts, unsigned, texts, texts, st.integers(0, 3), maps), max_size=3))
def test_containers_are_read_as_protobuf_writes_them(rows):
    """The same of containers; the state is told as the API does."""
    written, expected = [], []
    for identifier, within, name, attempt, image, found, number, labels in rows:
        one = make("Container", id=identifier, pod_sandbox_id=within, image_ref=found, state=number, labels=labels)
        one.metadata.name, one.metadata.attempt, one.image.image, one.image_id = name, attempt, image, "x"
        written.append(one)
        named = ("waiting", "running", "terminated", "")[number]
        expected.append(RuntimeContainer(identifier, within, name, attempt, image, found, named, labels))
    assert read_containers(make("ListContainersResponse", containers=written).SerializeToString()) == expected


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read(message):
    """Nothing but ValueError, whatever comes."""
    for read in (read_sandboxes, read_containers, read_runtime_name):
        with suppress(ValueError):
            read(message)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        *((b"\x0a\x05ab", "cut off"), (b"\x0a", "cut off"), (b"\x80", "cut off"), (b"\x0b", "wire type 3")),
        *((b"\x09\x00", "cut off"), (b"\x08" + b"\xff" * 11, "more than 10 bytes"), (b"\x0f", "wire type 7")),
    ],
)
def test_what_is_wrong_with_a_message_is_said(message, said):
    """Where it ends too early, or is none."""
    with pytest.raises(ValueError, match=said):
        list(fields(message))


def test_fields_of_fixed_size_are_passed_over():
    """No message here has any, later versions may."""
    assert list(fields(b"\x09" + b"\x01" * 8 + b"\x15" + b"\x02" * 4 + b"\x18\x07")) == [(3, 7)]


# --- pods ---------------------------------------------------------------------------------------------------------------


async def test_a_container_has_the_name_that_the_kubelet_gave():
    """With its pod, its owners and its machine."""
    pods = RuntimePods("", MACHINE)
    web = sandbox(UID, "web-7d9f8c5b4-x2x4z", labels=HASHED, annotations={"team": "a"})
    pods.take(state([web], [container(web, "app", APP, attempt=2)]))
    entity = pods.held(APP).entity
    chain = [(one.type, one.name, one.namespace, one.uid) for one in entity.lineage()]
    assert chain == [
        ("container", "app", "prod", APP),
        ("pod", "web-7d9f8c5b4-x2x4z", "prod", UID),
        ("replicaset", "web-7d9f8c5b4", "prod", "prod/web-7d9f8c5b4"),
        ("deployment", "web", "prod", "prod/web"),
        ("node", "worker-1", "", "d" * 32),
    ]
    assert entity.attributes == {"runtime": "containerd"}
    assert pods.held(APP).entity is entity


async def test_a_pod_is_what_the_api_would_have_told():
    """Without what the kubelet adds for itself; annotations only as far as they are wanted."""
    pods = RuntimePods("", MACHINE, "node-a", annotations=("team", "kubernetes.io/*"))
    web = sandbox(UID, "web", labels={"app": "web"}, annotations={"team": "a", "other": "b"})
    pods.take(state([web], [container(web, "app", APP, attempt=2)], "cri-o"))
    pod = pods.pod_by_uid(UID)
    assert (pod.name, pod.namespace, pod.labels, pod.annotations) == ("web", "prod", {"app": "web"}, {"team": "a"})
    assert (pod.node, pod.start, pod.deleted_at) == ("node-a", "2025-10-09T08:53:20Z", None)
    one = pod.containers["app"]
    assert (one.id, one.image, one.restart_count, one.state, one.runtime) == (APP, "shop:1.2", 2, "running", "cri-o")
    assert one.image_id == "hub.example/shop@sha256:" + "cd" * 32
    assert [(above.name, above.uid) for above in pod.entity.lineage()[1:]] == [("node-a", "node-a"), ("worker-1", "d" * 32)]


async def test_a_restarted_container_keeps_the_old_ids_name_for_a_while():
    """Late events tell of the one before; the pod's container is the one of the last attempt."""
    clock = Clock()
    pods = RuntimePods("", MACHINE, tombstone_ttl=60, clock=clock)
    web = sandbox(UID, "web")
    pods.take(state([web], [container(web, "app", APP)]))
    version = pods.version
    again = container(web, "app", NEXT, attempt=1)
    pods.take(state([web], [again, container(web, "app", APP, state=2)]))
    assert pods.version > version
    assert (pods.held(APP).container.state, pods.held(NEXT).container.state) == ("terminated", "running")
    assert pods.pod_by_uid(UID).containers["app"].id == NEXT
    pods.take(state([web], [again]))
    clock.now += 59
    pods.take(state([web], [again]))
    assert pods.held(APP).entity.name == "app"
    clock.now += 2
    pods.take(state([web], [again]))
    assert pods.held(APP) is None
    assert pods.held(NEXT) is not None


async def test_a_removed_pod_is_remembered_for_a_while():
    """And known on, should it come back."""
    clock = Clock()
    pods = RuntimePods("", MACHINE, tombstone_ttl=60, clock=clock)
    web = sandbox(UID, "web")
    there, gone = state([web], [container(web, "app", APP)]), state()
    for seconds in (0, 40, 40):  # it is gone for 40 s twice, which is not 80 s
        clock.now += seconds
        pods.take(gone)
        assert (pods.pod_by_uid(UID) is not None) == bool(seconds)
        pods.take(there)
    pods.take(gone)
    clock.now += 61
    pods.take(gone)
    assert (pods.pod_by_uid(UID), pods.held(APP), len(pods)) == (None, None, 0)


async def test_a_pod_of_two_sandboxes_is_one():
    """After the machine was started anew there is an old one and a new one, with containers each."""
    pods = RuntimePods("", MACHINE)
    old, new = sandbox(UID, "web", number=1), sandbox(UID, "web", number=2, labels={"app": "web"})
    pods.take(state([new, old], [container(old, "app", APP, state=2), container(new, "app", NEXT, attempt=1)]))
    assert pods.pod_by_uid(UID).labels == {"app": "web"}
    assert pods.held(APP).pod is pods.held(NEXT).pod


async def test_nothing_changes_as_long_as_the_runtime_tells_the_same():
    """Nothing that was computed of it has to be computed again; a new state is a change, but renames nothing."""
    pods = RuntimePods("", MACHINE)
    web = sandbox(UID, "web")
    pods.take(state([web], [container(web, "app", APP)]))
    before, pod = (pods.generation, pods.version), pods.pod_by_uid(UID)
    pods.take(state([web], [container(web, "app", APP)]))
    assert (pods.generation, pods.version) == before
    pods.take(state([web], [container(web, "app", APP, state=2)]))
    assert pods.generation > before[0]
    assert pods.version == before[1]
    assert pods.pod_by_uid(UID) is pod
    assert pod.generation == pods.generation


async def test_what_is_kept_is_bounded():
    """The eldest of what is gone goes first."""
    pods = RuntimePods("", MACHINE, limit=3)
    for number in range(1, 9):
        one = sandbox(f"uid-{number}", f"pod-{number}", number=number)
        pods.take(state([one], [container(one, "app", f"{number:x}" * 64)]))
    assert len(pods) == 3
    assert [pods.pod_by_uid(f"uid-{number}") is not None for number in (5, 6, 8)] == [False, True, True]


async def test_what_is_not_of_kubernetes_has_no_name_here():
    """A container without a sandbox, a sandbox without a UID."""
    pods = RuntimePods("", MACHINE)
    strange = sandbox("", "strange")
    pods.take(state([strange], [container(strange, "app", APP), container(sandbox(UID, "gone", number=9), "x", NEXT)]))
    assert (pods.held(APP), pods.held(NEXT), len(pods)) == (None, None, 0)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("web-7d9f-x2x4z", {"pod-template-hash": "7d9f"}, [("ReplicaSet", "web-7d9f"), ("Deployment", "web")]),
        ("web-7d9f-x2x4z", {"rollouts-pod-template-hash": "7d9f"}, [("ReplicaSet", "web-7d9f"), ("Rollout", "web")]),
        ("web-0000-x2x4z", {"pod-template-hash": "7d9f"}, []),
        ("-7d9f-x2x4z", {"pod-template-hash": "7d9f"}, []),
        ("db-0", {"statefulset.kubernetes.io/pod-name": "db-0", "controller-revision-hash": "1"}, [("StatefulSet", "db")]),
        ("agent-x2x4z", {"controller-revision-hash": "1"}, [("DaemonSet", "agent")]),
        ("x2x4z", {"controller-revision-hash": "1"}, []),
        ("a-29000000-x2x4z", {"batch.kubernetes.io/job-name": "a-29000000"}, [("Job", "a-29000000"), ("CronJob", "a")]),
        ("once-x2x4z", {"job-name": "once"}, [("Job", "once")]),
        ("web", {"app": "web"}, []),
        ("", {"pod-template-hash": "7d9f", "controller-revision-hash": "1"}, []),
    ],
)
def test_owners_are_known_by_the_labels_of_controllers(name, labels, expected):
    """As far as the pod's name agrees."""
    assert owners_of(name, labels, "2026-01-01T00:00:00Z") == tuple(Owner(*one) for one in expected)


# --- beside the API -----------------------------------------------------------------------------------------------------


async def test_the_mapper_has_names_before_the_api_tells_them():
    """A container of a cgroup's path; once the API knows it, that is heard."""
    runtime = RuntimePods("", MACHINE)
    cache = ClusterCacheWithRuntime(runtime)
    mapper = EntityMapper()
    mapper.names = cache
    path = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{APP}.scope"
    assert mapper.of_cgroup_path(path).name == APP[:12]
    version = cache.version
    web = sandbox(UID, "web")
    runtime.take(state([web], [container(web, "app", APP)]))
    assert cache.version > version
    assert mapper.of_cgroup_path(path).name == "app"
    assert mapper.of_cgroup_path(path).parent.name == "web"
    assert cache.pod(UID).name == "web"
    generation = cache.generation
    fed(cache, raw_pod())
    assert cache.generation > generation
    assert cache.pod(UID).name == "web-7d9f8c5b4-x2x4z"
    assert cache.pod_by_uid(UID).labels == {"from": "api"}


async def test_a_container_that_only_the_runtime_knows_is_in_the_pod_that_the_api_knows():
    """The kubelet tells the API of a restart some seconds later."""
    runtime = RuntimePods("", MACHINE)
    cache = ClusterCacheWithRuntime(runtime)
    web = sandbox(UID, "web")
    runtime.take(state([web], [container(web, "app", APP)]))
    fed(cache, raw_pod())
    pod, one = cache.pod_of_container(APP)
    assert (pod, one.name) == (cache.pod_by_uid(UID), "app")
    assert cache.container(APP).parent is pod.entity
    assert cache.container(APP) is cache.container(APP)
    told = {"name": "app", "containerID": f"containerd://{APP}", "restartCount": 5, "state": {"running": {}}}
    fed(cache, raw_pod(containerStatuses=[told]))
    assert cache.pod_of_container(APP)[1].restart_count == 5


async def test_a_static_pods_uid_at_the_runtime_is_that_of_its_cgroups():
    """The API knows its mirror by another, and by this one as well."""
    runtime = RuntimePods("", MACHINE)
    cache = ClusterCacheWithRuntime(runtime)
    digest = "0123456789abcdef" * 2
    etcd = sandbox(digest, "etcd-worker-1", "kube-system")
    runtime.take(state([etcd], [container(etcd, "etcd", APP)]))
    assert cache.pod(digest).name == "etcd-worker-1"
    mirror = raw_pod(OTHER, "etcd-worker-1")
    mirror["metadata"]["annotations"] = {f"kubernetes.io/config.{key}": digest for key in ("mirror", "hash")}
    fed(cache, mirror)
    assert cache.pod(digest).uid == OTHER
    assert cache.pod_by_uid(digest) is None
    assert cache.pod_of_container(APP)[0].uid == OTHER


async def test_unknown_ids_are_nobodys():
    """Of no runtime and no cluster."""
    cache = ClusterCacheWithRuntime(RuntimePods("", MACHINE))
    assert (cache.container("x"), cache.pod("x"), cache.pod_by_uid("x"), cache.pod_of_container("x")) == (None,) * 4


# --- the socket ---------------------------------------------------------------------------------------------------------


async def test_names_come_over_the_socket(runtime):
    """From a server that speaks gRPC, with messages that protobuf has written."""
    web = sandbox(UID, "web")
    runtime.sandboxes, runtime.containers = [web], [container(web, "app", APP)]
    pods = RuntimePods(runtime.path, MACHINE)
    async with running(pods) as reports:
        async with asyncio.timeout(30):
            await pods.synced.wait()
        assert pods.held(APP).entity.parent.name == "web"
    assert reports[0] is None
    assert sorted(runtime.calls) == ["ListContainers", "ListPodSandbox", "Version"]


async def test_an_unknown_id_is_asked_for_soon_but_not_for_ever(runtime):
    """Without it, the next question would come after the interval; of another runtime's container, a few times are enough."""
    pods = RuntimePods(runtime.path, MACHINE, interval=3600)
    async with running(pods):
        await pods.synced.wait()
        web = sandbox(UID, "web")
        runtime.sandboxes, runtime.containers = [web], [container(web, "app", APP)]
        await until(lambda: pods.held(APP) is not None)
        asked = runtime.calls.count("ListContainers")
        assert asked <= 3
        for _ in range(3):
            pods.take(state([web], [container(web, "app", APP)]))
        pods._asked.update({NEXT: 0})
        pods._wanted.clear()
        assert pods.held(NEXT) is None
        assert not pods._wanted.is_set()
        assert pods.held(web.id) is None, "a sandbox is no container"
        assert not pods._wanted.is_set()
        assert pods.pod_by_uid(OTHER) is None
        assert pods._wanted.is_set()


async def test_a_runtime_that_ends_and_comes_back_is_reported_and_found_again(runtime):
    """What is known stays in use meanwhile."""
    web = sandbox(UID, "web")
    runtime.sandboxes, runtime.containers = [web], [container(web, "app", APP)]
    pods = RuntimePods(runtime.path, MACHINE, interval=1)
    async with running(pods) as reports:
        await until(lambda: None in reports)
        runtime.stop()
        await until(lambda: reports[-1] is not None)
        assert "names from the container runtime are missing" in reports[-1]
        assert pods.held(APP) is not None
        runtime.start()
        await until(lambda: reports[-1] is None)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, r"UNIMPLEMENTED: by the test: it has no CRI v1; take containerd 1\.6"),
        (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED: by the test"),
    ],
)
async def test_a_refusal_is_said(runtime, status, said):
    """With the call, the socket and, where it is known, what to do."""
    runtime.failure = status
    socket = RuntimeSocket(runtime.path)
    with pytest.raises(ComponentError, match=said):
        await socket.read()
    await socket.close()


async def test_an_answer_that_is_none_is_said(runtime):
    """Another service may listen there."""
    runtime.raw = b"\xff\xff"
    socket = RuntimeSocket(runtime.path)
    with pytest.raises(ComponentError, match=r"gave no answer of CRI v1: .* cut off"):
        await socket.read()
    await socket.close()
    await socket.close()


async def test_a_socket_that_is_not_there_is_said(tmp_path):
    """And where it usually is."""
    with pytest.raises(ComponentError, match=r"no container runtime at .*/run/containerd/containerd\.sock"):
        await RuntimeSocket(str(tmp_path / "none")).read()
    (tmp_path / "file").touch()
    with pytest.raises(ComponentError, match="is no socket"):
        await RuntimeSocket(str(tmp_path / "file")).read()


async def test_the_usual_socket_is_found(monkeypatch, runtime):
    """Where `auto` is asked for."""
    monkeypatch.setattr("tapio_otel.kubernetes.cri_socket.SOCKETS", (os.devnull, "/none", runtime.path))
    assert find_socket("auto") == runtime.path
    assert find_socket("unix:///run/a.sock") == "/run/a.sock"
    assert find_socket("") == ""
    socket = RuntimeSocket("auto")
    assert (await socket.read()).name == "containerd"
    await socket.close()
    monkeypatch.setattr("tapio_otel.kubernetes.cri_socket.SOCKETS", ())
    assert find_socket("auto") == ""
    with pytest.raises(ComponentError, match="no container runtime at 'auto'"):
        await RuntimeSocket("auto").read()
