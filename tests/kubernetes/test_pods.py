"""What is kept of a pod's object, and how it changes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.kubernetes.nodes import Node
from tapio_otel.kubernetes.objects import Choice, Pool, Stamps
from tapio_otel.kubernetes.pods import Container, Pod, TrimPods
from tests.kubernetes.cluster_objects import CREATED, ID, MIRROR, STATIC, UID, Raw, a_pod, names, owned_by, with_container


def trimmed(raw: Raw, annotations: tuple[str, ...] = (), labels: tuple[str, ...] = ("*",)) -> Pod:
    """Return what is kept of a pod."""
    return TrimPods(Pool(), Choice(labels), Choice(annotations))(orjson.loads(orjson.dumps(raw)))


def test_a_pod_is_known_by_what_its_object_says() -> None:
    """Name, labels, owners, node, addresses, quality of service, account, phase, priority and start."""
    raw = a_pod(
        labels={"app": "web", "pod-template-hash": "7d"},
        annotations={"a": "1", "b": "2"},
        ownerReferences=owned_by("ReplicaSet", "web-7d"),
        podIPs=[{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        startTime="2026-02-10T09:14:00Z",
        priorityClassName="high",
    )
    pod = trimmed(raw, ("b",))
    assert (pod.name, pod.namespace, pod.uid, pod.node) == ("web-0", "shop", UID, "n1")
    assert (pod.labels, pod.annotations) == ({"app": "web", "pod-template-hash": "7d"}, {"b": "2"})
    assert pod.owner is not None
    assert (pod.owner.kind, pod.owner.name, pod.owners[0].name) == ("Deployment", "web", "web-7d")
    assert (pod.ips, pod.ip, pod.own_ips) == (("10.0.0.1", "fd00::1"), "10.0.0.1", ("10.0.0.1", "fd00::1"))
    assert (pod.qos_class, pod.service_account, pod.phase, pod.priority_class) == ("Burstable", "default", "Running", "high")
    assert (pod.start, pod.host_network, pod.static_uid, pod.deleted_at) == ("2026-02-10T09:14:00Z", False, "", None)
    assert trimmed(raw, labels=("app",)).labels == {"app": "web"}


def test_a_pod_that_was_only_created_has_little() -> None:
    """Before it was scheduled, without any status; absent and null are the same."""
    metadata = {"name": "web-0", "namespace": "shop", "uid": UID, "creationTimestamp": CREATED, "labels": None}
    for raw in ({"metadata": metadata}, {"metadata": metadata, "spec": None, "status": None}):
        pod = trimmed(raw)
        assert (pod.node, pod.ips, pod.ip, pod.labels, pod.owner, pod.containers) == ("", (), "", {}, None, {})
        assert (pod.start, pod.phase, pod.qos_class) == (CREATED, "", "")
        assert names(pod.entity.lineage()) == [("pod", "web-0")]


def test_a_pod_in_its_nodes_network_has_no_address_of_its_own() -> None:
    """Its address is the node's."""
    pod = trimmed(a_pod(hostNetwork=True, podIP="172.16.0.1"))
    assert (pod.host_network, pod.ips, pod.own_ips) == (True, ("172.16.0.1",), ())


@pytest.mark.parametrize(
    ("annotations", "static_uid"),
    [
        (dict.fromkeys(MIRROR, STATIC), STATIC),
        ({MIRROR[1]: STATIC}, ""),
        ({MIRROR[0]: STATIC}, ""),
        ({MIRROR[0]: STATIC, MIRROR[1]: "other"}, ""),
        ({}, ""),
    ],
)
def test_the_mirror_of_a_static_pod_names_its_cgroups(annotations: dict[str, str], static_uid: str) -> None:
    """By the hash of its configuration; that alone, which anybody may write, is not believed."""
    pod = trimmed(a_pod(annotations=annotations, ownerReferences=owned_by("Node", "n1")))
    assert (pod.static_uid, pod.uid) == (static_uid, UID)
    assert names(pod.entity.lineage()) == [("pod", "web-0")]


def test_containers_of_all_kinds_are_known() -> None:
    """Init, app and ephemeral, those that never began as well."""
    raw = with_container(a_pod(), "app", ID, restarts=2, last="b" * 64)
    with_container(raw, "setup", "a" * 64, "init", state={"terminated": {"exitCode": 0}})
    with_container(raw, "debug", kind="ephemeral")
    raw["spec"]["containers"].append({"name": "new", "image": "new:1"})
    assert trimmed(raw).containers == {
        "setup": Container("setup", "a" * 64, "setup:1", "setup@sha256:1", 0, "terminated", "init", "containerd"),
        "app": Container("app", ID, "app:1", "app@sha256:1", 2, "running", "app", "containerd", "b" * 64),
        "new": Container("new", image="new:1"),
        "debug": Container("debug", image="debug:1", kind="ephemeral"),
    }


@pytest.mark.parametrize(
    ("told", "runtime", "id"),
    [
        (f"containerd://{ID}", "containerd", ID),
        (f"cri-o://{ID}", "cri-o", ID),
        (f"docker://{ID}", "docker", ID),
        (ID, "", ID),
        ("", "", ""),
        (None, "", ""),
    ],
)
def test_a_containers_id_names_its_runtime(told: str | None, runtime: str, id: str) -> None:
    """As mappers by cgroup path name it."""
    container = trimmed(with_container(a_pod(), "app", "x", containerID=told)).containers["app"]
    assert (container.runtime, container.id) == (runtime, id)


def test_an_entity_is_the_same_until_what_it_is_made_of_changes() -> None:
    """Quality of service is written as cgroups write it."""
    pod, stamps = trimmed(a_pod()), Stamps()
    entity = pod.entity
    assert (entity.type, entity.name, entity.namespace, entity.uid) == ("pod", "web-0", "shop", UID)
    assert entity.attributes == {"qos": "burstable"}
    changed = trimmed(a_pod(podIP="10.0.0.1"))
    assert pod.differences(changed) == ["ips"]
    pod.take(changed, ["ips"])
    assert pod.entity is entity
    pod.node_place = Node("n1")
    assert names(pod.entity.lineage()) == [("pod", "web-0"), ("node", "n1")]
    assert pod.entity is pod.entity
    assert pod.entity is not entity
    pod.node_place.take(Node("n1", uid="u1"), stamps)
    assert pod.entity.lineage()[-1].uid == "u1"
    owned = trimmed(a_pod(ownerReferences=owned_by("StatefulSet", "web")))
    pod.take(owned, pod.differences(owned))
    assert names(pod.entity.lineage()) == [("pod", "web-0"), ("statefulset", "web"), ("node", "n1")]


def test_equal_objects_have_no_differences() -> None:
    """Each is read anew."""
    raw = with_container(a_pod(labels={"a": "b"}, podIP="10.0.0.1"), "app", ID)
    assert trimmed(raw).differences(trimmed(raw)) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"labels": {"a": "c"}}, "labels"),
        ({"annotations": {"kept": "2"}}, "annotations"),
        ({"phase": "Failed"}, "phase"),
        ({"node": "n2"}, "node"),
        ({"podIPs": [{"ip": "10.0.0.2"}]}, "ips"),
        ({"qosClass": "Guaranteed"}, "qos_class"),
        ({"startTime": "2026-02-10T09:14:00Z"}, "start"),
        ({"ownerReferences": owned_by("Job", "j")}, "owners"),
        ({"hostNetwork": True}, "host_network"),
        ({"priorityClassName": "high"}, "priority_class"),
        ({"annotations": {"kept": "1", **dict.fromkeys(MIRROR, STATIC)}}, "static_uid"),
    ],
)
def test_what_events_show_is_compared(change: dict[str, Any], part: str) -> None:
    """And nothing else, so that most changes are none."""
    before: Raw = {"labels": {"a": "b"}, "annotations": {"kept": "1", "other": "1"}}
    pods = [trimmed(a_pod(**one), ("kept",)) for one in (before, {**before, **change})]
    assert pods[0].differences(pods[1]) == [part]
    unseen: Raw = {**before, "conditions": [{"type": "Ready"}], "annotations": {"kept": "1", "other": "2"}}
    assert pods[0].differences(trimmed(a_pod(**unseen), ("kept",))) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)
)
STATUS = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["Running", "", None]),
        "podIPs": st.none() | st.lists(st.fixed_dictionaries({"ip": st.text(max_size=5)}), max_size=2),
        "podIP": st.none() | st.text(max_size=5),
        "containerStatuses": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["a", "b"])},
                optional={
                    "containerID": st.none() | st.text(max_size=5),
                    "state": st.none() | st.sampled_from([{}, {"running": {}}, {"waiting": None}]),
                    "lastState": st.none() | st.sampled_from([{}, {"terminated": None}, {"terminated": {}}]),
                    "restartCount": st.none() | st.integers(0, 3),
                    "imageID": st.none() | st.text(max_size=5),
                    "unknown": JSON,
                },
            ),
            max_size=3,
        ),
        "unknown": JSON,
    },
)


@given(STATUS, st.none() | st.lists(st.sampled_from([{"name": "a", "image": None}, {"name": "c"}]), max_size=2))
def test_whatever_the_server_leaves_out_a_pod_is_known(status: Raw, containers: list[Raw] | None) -> None:
    """Absent, null and empty are read; what is unknown is left alone."""
    raw = a_pod()
    raw["status"], raw["spec"]["containers"] = status, containers
    pod = trimmed(raw)
    assert set(pod.containers) == {one["name"] for one in containers or ()}
    assert pod.entity.name == "web-0"
