"""What goes where: resources from lineage, service names, labels, and this machine's own description."""

from __future__ import annotations

import socket

import pytest

from tapio_otel.event import EntityReference, Origin
from tapio_otel.otlp.mapping import host_resource, map_origin

NODE_UID = "6cf4b5a2-93d4-4c83-8f0e-0f3a5f6c1a11"
NODE = EntityReference("node", "worker-1", uid=NODE_UID)
POD = EntityReference("pod", "api-7d9f", "shop", "pod-uid", NODE)
CONTAINER = EntityReference("container", "api", "shop", "c0ffee", POD)
UNIT = EntityReference("systemd_unit", "nginx.service")
POD_UID = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
CONTAINER_ID = "c0ffee" + "5" * 58


def mapped(entity=None, attributes=None, labels=None, annotations=None, source="journald", base=None):
    """Map an origin with these parts."""
    return map_origin(
        Origin(*([entity] if entity else [EntityReference("node", "unknown")]), attributes, labels, annotations),
        source,
        base or {},
    )


def test_lineage_becomes_the_resource():
    """A container in a pod on a node names all three, and its namespace."""
    resource = mapped(CONTAINER).resource
    assert resource == {
        "k8s.container.name": "api",
        "container.id": "c0ffee",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "api-7d9f",
        "k8s.pod.uid": "pod-uid",
        "k8s.node.name": "worker-1",
        "k8s.node.uid": NODE_UID,
        "service.name": "api-7d9f",
        "service.namespace": "shop",
        "service.instance.id": "shop.api-7d9f.api",
        "tapio.entity.type": "container",
        "tapio.entity.name": "api",
        "tapio.entity.namespace": "shop",
        "tapio.entity.uid": "c0ffee",
    }


def test_a_container_outside_kubernetes_has_the_general_name():
    """Without a pod there is no k8s attribute."""
    resource = mapped(EntityReference("container", "db", uid="c0ffee")).resource
    assert (resource["container.name"], resource["service.name"]) == ("db", "db")
    assert not any(name.startswith("k8s.") for name in resource)


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        (EntityReference("node", "host-a"), {"host.name": "host-a"}),
        (EntityReference("node", "host-a", uid="b" * 32), {"host.name": "host-a", "host.id": "b" * 32}),
        (EntityReference("namespace", "shop"), {"k8s.namespace.name": "shop"}),
        (
            EntityReference("deployment", "api", "shop"),
            {"k8s.deployment.name": "api", "k8s.namespace.name": "shop", "service.name": "api"},
        ),
        (EntityReference("service", "api", "shop"), {"service.name": "api", "service.namespace": "shop"}),
        (EntityReference("process", "java", uid="process-42-1234"), {"process.pid": 42}),
        (EntityReference("process", "java", uid="process-x"), {}),
        (EntityReference("device", "sda"), {}),
        (UNIT, {"systemd.unit.name": "nginx.service", "service.name": "nginx"}),
    ],
)
def test_each_kind_of_entity_has_its_names(entity, expected):
    """Beside `tapio.entity.*`, which every known entity has."""
    resource = {key: value for key, value in mapped(entity).resource.items() if not key.startswith("tapio.")}
    assert resource == expected


def test_the_unknown_entity_says_nothing():
    """An event whose subject nobody knows describes only the machine."""
    assert mapped(base={"host.name": "a"}).resource == {"host.name": "a"}


def test_owners_are_named_with_the_uids_that_are_known():
    """A Deployment of which only the name is known has its namespace and name for a UID, which is not exported."""
    deployment = EntityReference("deployment", "api", "shop", "shop/api", NODE)
    pod = EntityReference(
        "pod", "api-7d9f", "shop", POD_UID, EntityReference("replicaset", "api-7d", "shop", NODE_UID, deployment)
    )
    resource = mapped(pod).resource
    assert {key: value for key, value in resource.items() if key.startswith(("k8s.deployment", "k8s.replicaset"))} == {
        "k8s.deployment.name": "api",
        "k8s.replicaset.name": "api-7d",
        "k8s.replicaset.uid": NODE_UID,
    }
    assert resource["service.name"] == "api"


def test_a_node_that_a_cluster_only_names_is_no_machine():
    """A pod with a name, or an event of the cluster's, tells of nodes as Kubernetes calls them."""
    named = EntityReference("node", "worker-1")
    resource = mapped(EntityReference("pod", "api", "shop", POD_UID, named)).resource
    assert (resource["k8s.node.name"], "host.name" in resource, "k8s.node.uid" in resource) == ("worker-1", False, False)
    assert mapped(named, source="kubernetes").resource["k8s.node.name"] == "worker-1"
    assert mapped(named, labels={"a": "b"}, source="kubernetes").attributes["k8s.node.label.a"] == "b"
    machine = EntityReference("node", "worker-1", uid="b" * 32)
    assert mapped(EntityReference("pod", "api", "shop", POD_UID, machine)).resource["host.name"] == "worker-1"


def test_another_machines_event_has_not_this_machines_id():
    """A host's id belongs to its name."""
    base = {"host.name": "here", "host.id": "1", "os.type": "linux"}
    assert mapped(UNIT, {"_HOSTNAME": "far"}, base=base).resource.get("host.id") is None
    assert mapped(UNIT, {"_HOSTNAME": "far", "_MACHINE_ID": "2"}, base=base).resource["host.id"] == "2"
    assert mapped(UNIT, {"_HOSTNAME": "here"}, base=base).resource["host.id"] == "1"
    assert mapped(UNIT, base=base).resource["host.id"] == "1"


@pytest.mark.parametrize(
    ("entity", "attributes", "expected"),
    [
        (POD, {"owner_kind": "Deployment", "owner_name": "api"}, "api"),
        (POD, {"owner_kind": "DaemonSet", "owner_name": "agent"}, "agent"),
        (POD, {"owner_kind": "Rollout", "owner_name": "x"}, "api-7d9f"),
        (UNIT, {"service.name": "given"}, "given"),
        (UNIT, {"SYSLOG_IDENTIFIER": "ngx"}, "nginx"),
        (EntityReference("systemd_unit", "user@1000.service"), {}, "user@1000"),
        (EntityReference("process", "p", uid="process-1-2"), {"SYSLOG_IDENTIFIER": "sshd", "comm": "x"}, "sshd"),
        (EntityReference("process", "p", uid="process-1-2"), {"comm": "java"}, "java"),
    ],
)
def test_the_service_is_named_by_what_is_known_best(entity, attributes, expected):
    """Workload owner, else pod or container, else unit without its suffix, else syslog identifier, else command."""
    assert mapped(entity, attributes).resource["service.name"] == expected


def test_an_events_own_words_win_over_lineage_and_machine():
    """An attribute replaces what lineage says, and both what the machine says."""
    resource = mapped(
        EntityReference("process", "p", uid="process-1-2"), {"pid": 7, "_HOSTNAME": "far"}, base={"host.name": "here"}
    ).resource
    assert (resource["process.pid"], resource["host.name"]) == (7, "far")


def test_labels_have_a_prefix_and_pods_have_their_own():
    """The journal's four labels are tapio's whatever the entity is; a pod's follow Kubernetes' convention."""
    labels, annotations = {"unit": "a.service", "app": "api"}, {"owner": "team"}
    plain = mapped(UNIT, {}, labels, annotations).attributes
    assert plain == {
        "tapio.source": "journald",
        "tapio.label.unit": "a.service",
        "tapio.label.app": "api",
        "tapio.annotation.owner": "team",
    }
    assert mapped(CONTAINER, {}, labels, annotations).attributes == {
        "tapio.source": "journald",
        "tapio.label.unit": "a.service",
        "k8s.pod.label.app": "api",
        "k8s.pod.annotation.owner": "team",
    }
    assert "k8s.node.label.app" in mapped(NODE, {}, labels).attributes
    assert "k8s.namespace.label.app" in mapped(EntityReference("namespace", "shop"), {}, labels).attributes


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        (EntityReference("pod", POD_UID), {"k8s.pod.uid": POD_UID}),
        (EntityReference("pod", "0123456789abcdef" * 2), {"k8s.pod.uid": "0123456789abcdef" * 2}),
        (EntityReference("pod", "api", uid=POD_UID), {"k8s.pod.name": "api", "k8s.pod.uid": POD_UID, "service.name": "api"}),
        (EntityReference("pod", "api"), {"k8s.pod.name": "api", "service.name": "api"}),
        (EntityReference("container", CONTAINER_ID[:12], uid=CONTAINER_ID), {"container.id": CONTAINER_ID}),
        (EntityReference("container", CONTAINER_ID), {"container.id": CONTAINER_ID}),
        (
            EntityReference("container", "c", uid=CONTAINER_ID),
            {"container.name": "c", "container.id": CONTAINER_ID, "service.name": "c"},
        ),
        (EntityReference("container", "db"), {"container.name": "db", "service.name": "db"}),
        (
            EntityReference("container", CONTAINER_ID[:12], uid=CONTAINER_ID, parent=EntityReference("pod", POD_UID)),
            {"container.id": CONTAINER_ID, "k8s.pod.uid": POD_UID},
        ),
        (
            EntityReference(
                "container", CONTAINER_ID[:12], uid=CONTAINER_ID, parent=EntityReference("pod", "api", uid=POD_UID)
            ),
            {"container.id": CONTAINER_ID, "k8s.pod.uid": POD_UID, "k8s.pod.name": "api", "service.name": "api"},
        ),
    ],
)
def test_an_id_is_not_exported_as_a_name(entity, expected):
    """Of a pod or container that only its cgroup tells of, the name is not known, nor what service it is."""
    resource = {key: value for key, value in mapped(entity).resource.items() if not key.startswith("tapio.")}
    assert resource == expected


def test_runtime_and_quality_of_service_belong_to_the_resource():
    """They never change; written as the conventions and Kubernetes do, of parents too, and not twice."""
    pod = EntityReference("pod", POD_UID, attributes={"qos": "besteffort", "x": "1"})
    container = EntityReference("container", "api", uid=CONTAINER_ID, parent=pod, attributes={"runtime": "cri-o", "y": "2"})
    found = mapped(container)
    assert (found.resource["container.runtime.name"], found.resource["k8s.pod.qos_class"]) == ("cri-o", "BestEffort")
    assert found.attributes == {"tapio.source": "journald", "tapio.entity.y": "2"}
    assert mapped(pod).attributes == {"tapio.source": "journald", "tapio.entity.x": "1"}
    assert mapped(EntityReference("pod", "a", attributes={"qos": "Guaranteed"})).resource["k8s.pod.qos_class"] == "Guaranteed"
    assert "container.runtime.name" not in mapped(CONTAINER).resource
    unit = mapped(EntityReference("systemd_unit", "a.service", attributes={"qos": "x"}))
    assert unit.attributes["tapio.entity.qos"] == "x"


def test_a_plugins_odd_attributes_are_no_error():
    """Only texts describe a resource."""
    odd = EntityReference("pod", "api", attributes={"qos": ["burstable"]})
    assert mapped(odd).attributes["tapio.entity.qos"] == ["burstable"]


def test_an_entitys_own_attributes_belong_to_the_record():
    """States change, so they must not make new resources."""
    entity = EntityReference("systemd_unit", "a.service", attributes={"active_state": "failed"})
    found = mapped(entity)
    assert found.attributes["tapio.entity.active_state"] == "failed"
    assert "tapio.entity.active_state" not in found.resource


def test_the_machine_describes_itself(tmp_path):
    """Name, id and operating system; without a machine id there is none."""
    machine_id = tmp_path / "machine-id"
    assert host_resource(str(machine_id)) == {"host.name": socket.gethostname(), "os.type": "linux"}
    machine_id.write_text("b" * 32 + "\n")
    assert host_resource(str(machine_id))["host.id"] == "b" * 32
