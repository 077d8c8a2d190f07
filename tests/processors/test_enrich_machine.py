"""Without a cluster the machine and its units are told, and the agent neither waits nor fails for want of one."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from pydantic import ValidationError

from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType
from tapio_otel.processors.enrich import EnrichConfig
from tests.processors.enrich_samples import (
    CONTAINER_ID,
    HERE,
    POD_UID,
    event,
    node,
    of_kernel,
    one,
    pod,
    processor,
    teach,
)


async def test_a_flow_to_a_pod_of_another_machine_stays_this_machines(known):
    """The other end is named, but is not whose event this is."""
    await teach(known, pods=[pod(node="node-18")], nodes=[node(), node("node-18", "f" * 32)])
    passed = one(known, event(HERE, type=EventType.TCP_RETRANSMIT, src_ip="192.168.0.17", dst_ip="10.1.2.3"))
    assert passed.entity.type == "node"
    assert passed.get("destination.k8s.pod.name") == "web-7d9f4c-x2x8p"


async def test_without_kubernetes_the_machine_and_its_units_are_told(root):
    """os-release, kernel and architecture, and of a unit its slice and description."""
    units = root / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    (units / "ssh.service").write_text("[Unit]\nDescription=OpenBSD Secure Shell server\n[Service]\nExecStart=/bin/true\n")
    made = processor(root)
    await made.start()
    unit = EntityReference("systemd_unit", "ssh.service", parent=HERE, attributes={"slice": "system.slice"})
    passed = one(made, event(unit, source="journald"))
    await made.shutdown()
    told = passed.attributes
    assert told.pop("host.arch")
    assert told == {
        "os.name": "Debian GNU/Linux",
        "os.version": "12",
        "os.description": "Debian GNU/Linux 12",
        "tapio.host.kernel_version": "6.1.0-18-amd64",
        "slice": "system.slice",
        "unit_description": "OpenBSD Secure Shell server",
    }
    assert passed.entity is unit


async def test_a_unit_of_another_machine_gets_nothing_from_this_one(root):
    """A journal that came from elsewhere is not this machine's."""
    made = processor(root)
    await made.start()
    elsewhere = EntityReference("node", "db-1", uid="f" * 32)
    passed = one(made, event(EntityReference("systemd_unit", "ssh.service", parent=elsewhere), source="journald"))
    await made.shutdown()
    assert passed.attributes == {}


async def test_in_a_container_without_the_hosts_root_the_images_system_is_not_told(root):
    """Where the machine's id is not the node's, os-release is another's."""
    made = processor(root)
    await teach(made, nodes=[node(machine="f" * 32)])
    await made.start()
    passed = one(made, event(EntityReference("pod", "x", uid=POD_UID, parent=HERE)))
    await made.shutdown()
    assert passed.get("os.description") == "Debian GNU/Linux 12 (bookworm)"
    assert passed.get("os.name") is None


async def test_without_kubernetes_nothing_is_begun(root, monkeypatch, caplog):
    """No task, no warning, no names asked for, though a kubeconfig lies in the home directory."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (root / ".kube").mkdir()
    (root / ".kube/config").write_text("{}")
    monkeypatch.setenv("HOME", str(root))
    made = processor(root, enrichers=["pod", "host"], kubernetes={})
    before = asyncio.all_tasks()
    await made.start()
    assert asyncio.all_tasks() == before
    assert made.context.entities.names is None
    await made.shutdown()
    assert caplog.records == []


async def test_a_cluster_that_is_wanted_and_missing_is_reported_and_the_agent_goes_on(root):
    """Health names what is missing and what to do; events pass at once."""
    reports = []
    made = processor(root, kubernetes={"enabled": True, "kubeconfig": str(root / "absent")})
    made.context.report = reports.append
    await made.start()
    while not reports:
        await asyncio.sleep(0.01)
    passed = one(made, of_kernel(made.context.entities))
    await made.shutdown()
    assert "there is no kubeconfig" in reports[0]
    assert "Correct kubeconfig" in reports[0]
    assert passed.entity.uid == CONTAINER_ID


async def test_events_wait_for_the_cluster_no_longer_than_they_may(root):
    """They are held back in their order, counted as held from their batch, and let go when the time is over."""
    made = processor(root, kubernetes={"enabled": True, "kubeconfig": str(root / "absent")}, wait_for_sync="300ms")
    await made.start()
    made.serial = 7
    first, second = event(HERE, number=1), event(HERE, number=2)
    assert made.process([first]) == []
    assert made.held_from == 7
    made.serial = 8
    assert made.process([second]) == []
    assert (made.held_from, made.flush(False)) == (7, [])
    await asyncio.sleep(0.35)
    assert made.flush(False) == [first, second]
    assert made.held_from is None
    assert made.process([third := event(HERE, number=3)]) == [third]
    await made.shutdown()


async def test_events_that_wait_are_passed_on_at_the_end(root):
    """A final flush gives everything, whatever is known."""
    made = processor(root, kubernetes={"enabled": True, "kubeconfig": str(root / "absent")}, wait_for_sync="1h")
    await made.start()
    given = event(HERE)
    assert made.process([given]) == []
    assert made.flush(True) == [given]
    assert made.flush(True) == []
    await made.shutdown()


async def test_processors_of_one_agent_share_what_they_know(root):
    """Two pipelines do not watch the cluster twice, unless they want other things of it."""
    entities = EntityMapper(root)
    first, second = processor(root, entities=entities), processor(root, entities=entities)
    other = processor(root, entities=entities, pod={"annotations": ["x"]})
    assert first._connection is second._connection
    assert other._connection is not first._connection
    assert processor(root)._connection is not first._connection


def test_an_enricher_is_named_once():
    """A list with a name twice is refused."""
    with pytest.raises(ValidationError, match="'pod' is there more than once"):
        EnrichConfig(enrichers=["pod", "node", "pod"])


async def test_a_container_runtime_that_is_missing_is_reported_and_the_agent_goes_on(root):
    """The socket of the runtime may come later."""
    reports = []
    made = processor(root, kubernetes={"enabled": False, "cri_socket": str(root / "absent.sock")})
    made.context.report = reports.append
    await made.start()
    async with asyncio.timeout(20):
        while not reports:
            await asyncio.sleep(0.01)
    assert "container runtime" in reports[0]
    assert one(made, of_kernel(made.context.entities)).entity.uid == CONTAINER_ID
    await made.shutdown()


async def test_what_was_known_of_a_cluster_goes_with_the_last_processor_that_asked_for_it(root):
    """A reload with other options does not leave the pods of the former ones in memory."""
    entities = EntityMapper(root)
    made = processor(root, entities=entities)
    cache = weakref.ref(made._connection.cache)
    await made.shutdown()
    del made
    gc.collect()
    assert cache() is None


async def test_units_are_described_anew_only_when_their_files_have_changed(root, monkeypatch):
    """A look at the files every few minutes does not make all origins be enriched anew."""
    monkeypatch.setattr("tapio_otel.processors.enrich.enrichers.unit._PAUSE", 0.01)
    file = root / "etc/systemd/system/one.service"
    file.parent.mkdir(parents=True)
    file.write_text("[Unit]\nDescription=First\n")
    made = processor(root, enrichers=["unit"])
    about = event(EntityReference("systemd_unit", "one.service", parent=HERE))
    await made.start()
    await asyncio.sleep(0.05)
    assert one(made, about).get("unit_description") == "First"
    version = made._chain.version
    await asyncio.sleep(0.1)
    assert made._chain.version == version
    file.write_text("[Unit]\nDescription=Second\n")
    async with asyncio.timeout(20):
        while made._chain.version == version:
            await asyncio.sleep(0.01)
    about = event(EntityReference("systemd_unit", "one.service", parent=HERE))
    assert one(made, about).get("unit_description") == "Second"
    await made.shutdown()


async def test_names_are_taken_from_another_connection_when_one_ends(root):
    """A reload that takes one of two pipelines away leaves the agent the names that the other knows."""
    entities = EntityMapper(root)
    cluster = {"enabled": True, "kubeconfig": str(root / "absent")}
    first = processor(root, entities=entities, kubernetes=cluster)
    second = processor(root, entities=entities, kubernetes=cluster, pod={"annotations": ["x"]})
    await first.start()
    await second.start()
    assert entities.names is first._connection.cache
    await first.shutdown()
    assert entities.names is second._connection.cache
    await second.shutdown()
    assert entities.names is None


def test_what_names_no_machine_is_on_this_one_unless_the_api_told_it(root):
    """A pod that the API tells of, on no node yet, does not have this machine's system."""
    made = processor(root, enrichers=["host"])
    made._chain.links[0].enricher._machine = {"host.arch": "amd64"}
    pending = EntityReference("pod", "web", "prod", "u-1")
    assert one(made, event(pending, source="kubernetes")).get("host.arch") is None
    assert one(made, event(pending, source="ebpf")).get("host.arch") == "amd64"
