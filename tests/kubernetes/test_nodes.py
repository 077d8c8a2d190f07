"""Nodes and namespaces, known by name before they are seen."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tapio_otel.kubernetes.nodes import Namespace, Node, Places, TrimPlaces
from tapio_otel.kubernetes.objects import Choice, Pool, Stamps
from tapio_otel.otlp.mapping import describe
from tests.kubernetes.cluster_objects import a_namespace, a_node

MACHINE = "b" * 32
TRIM = TrimPlaces(Pool(), Choice(["*"]), Choice(["kept"]))


def nodes() -> tuple[Places[Node], Stamps]:
    """Return places for nodes, and their stamps."""
    stamps = Stamps()
    return Places(Node, stamps), stamps


def test_a_node_is_known_by_what_its_object_says() -> None:
    """System, versions, place in the cloud and addresses."""
    raw = a_node(
        machine=MACHINE,
        osImage="Debian GNU/Linux 12",
        operatingSystem="linux",
        architecture="arm64",
        kernelVersion="6.1.0",
        kubeletVersion="v1.36.3",
        containerRuntimeVersion="containerd://2.1.0",
    )
    raw["metadata"] |= {"annotations": {"kept": "1", "other": "2"}}
    raw["metadata"]["labels"] = {
        "topology.kubernetes.io/region": "eu",
        "topology.kubernetes.io/zone": "eu-1",
        "node.kubernetes.io/instance-type": "large",
    }
    raw["spec"]["providerID"] = "cloud:///eu-1/i-1"
    pairs = [("Hostname", "n1.local"), ("InternalIP", "172.16.0.1"), ("ExternalIP", "203.0.113.1"), ("InternalDNS", "x")]
    raw["status"]["addresses"] = [{"type": kind, "address": address} for kind, address in pairs]
    node = TRIM.node(raw)
    assert (node.os, node.os_image, node.architecture) == ("linux", "Debian GNU/Linux 12", "arm64")
    assert (node.kernel, node.kubelet, node.runtime) == ("6.1.0", "v1.36.3", "containerd://2.1.0")
    assert (node.region, node.zone, node.instance_type, node.provider_id) == ("eu", "eu-1", "large", "cloud:///eu-1/i-1")
    assert (node.hostname, node.ips, node.machine_id) == ("n1.local", ("172.16.0.1", "203.0.113.1"), MACHINE)
    assert node.annotations == {"kept": "1"}


@pytest.mark.parametrize("raw", [{}, {"spec": None, "status": None}, {"status": {"nodeInfo": None, "addresses": None}}])
def test_a_node_that_says_little_is_known_by_name(raw: dict[str, Any]) -> None:
    """As one that has just registered; old labels tell its place as new ones do."""
    labels = {"failure-domain.beta.kubernetes.io/region": "eu", "failure-domain.beta.kubernetes.io/zone": "eu-1"}
    metadata = {"name": "n1", "uid": "u1", "labels": labels | {"beta.kubernetes.io/instance-type": "large"}}
    node = TRIM.node({"metadata": metadata, **raw})
    assert (node.name, node.uid, node.ips, node.machine_id) == ("n1", "u1", (), "")
    assert (node.region, node.zone, node.instance_type) == ("eu", "eu-1", "large")


def test_a_node_is_a_machine_as_well() -> None:
    """Its parent is what the kernel's and the journal's events call this machine; both get their names in OTLP."""
    node = TRIM.node(a_node(machine=MACHINE))
    assert [(one.type, one.uid) for one in node.entity.lineage()] == [("node", node.uid), ("node", MACHINE)]
    assert node.entity is node.entity
    resource = describe(node.entity).resource
    assert (resource["k8s.node.name"], resource["k8s.node.uid"]) == ("n1", node.uid)
    assert (resource["host.name"], resource["host.id"]) == ("n1", MACHINE)
    assert len(TRIM.node(a_node()).entity.lineage()) == 1


def test_a_place_is_filled_in_when_it_is_seen() -> None:
    """Whoever held it before sees that."""
    places, _ = nodes()
    held = places.named("n1")
    entity = held.entity
    assert (held.uid, places.get("n1"), places.get("n2")) == ("", None, None)
    places.put(TRIM.node(a_node(kernelVersion="6.1.0")))
    assert places.get("n1") is held
    assert (held.uid != "", held.kernel) == (True, "6.1.0")
    assert held.entity is not entity
    assert len(places) == 1


def test_only_changes_are_counted() -> None:
    """Nodes tell every few minutes that nothing has changed."""
    places, stamps = nodes()
    places.put(TRIM.node(a_node()))
    before, entity = stamps.generation, places.named("n1").entity
    places.put(TRIM.node(a_node()))
    assert (stamps.generation, places.named("n1").generation) == (before, before)
    places.put(TRIM.node(a_node(kernelVersion="6.2.0")))
    assert stamps.generation == places.named("n1").generation == before + 1
    assert places.named("n1").entity is entity


def test_a_place_that_is_gone_is_known_while_somebody_holds_it() -> None:
    """A deleted pod still tells where it ran; then nothing is left."""
    places, stamps = nodes()
    places.replace([TRIM.node(a_node("n1")), TRIM.node(a_node("n2"))])
    held = places.named("n1")
    before = stamps.generation
    places.replace([])
    assert stamps.generation > before
    assert places.get("n1") is held
    gc.collect()
    assert places.get("n2") is None
    assert len(places) == len(places._seen) == 0
    assert list(places._held) == ["n1"]
    places.put(TRIM.node(a_node("n1", uid="another")))
    assert held.uid == "another"


def test_a_namespace_is_known_by_its_labels() -> None:
    """And by nothing else."""
    places: Places[Namespace] = Places(Namespace, Stamps())
    places.put(TRIM.namespace(a_namespace("shop", team="a")))
    found = places.get("shop")
    assert found is not None
    assert (found.labels, found.uid) == ({"team": "a"}, "uid-of-shop")
    places.remove(TRIM.namespace(a_namespace("other")))
    assert len(places) == 1
