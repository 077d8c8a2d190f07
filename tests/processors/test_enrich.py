"""The enrich processor puts what is known on events, keeps what they say, and costs little where nothing is known."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapio_otel.entities import EntityMapper
from tapio_otel.entities.process import read_process
from tapio_otel.entity import EntityReference
from tapio_otel.event import EventType, Origin
from tests.processors.enrich_samples import (
    CONTAINER_ID,
    CONTAINER_PATH,
    HERE,
    NODE,
    POD_PATH,
    POD_UID,
    event,
    namespace,
    node,
    of_kernel,
    of_origin,
    one,
    pod,
    processor,
    teach,
)
from tests.strategies import events, shared_events


async def test_a_container_named_by_its_id_gets_its_name_and_whole_lineage(known):
    """What the kernel calls by a cgroup is container app of pod web-…, ReplicaSet, Deployment web, node-17, this machine."""
    passed = one(known, of_kernel(EntityMapper(known.context.entities.root_path)))
    told = [(member.type, member.name) for member in passed.entity.lineage()]
    assert told == [
        ("container", "app"),
        ("pod", "web-7d9f4c-x2x8p"),
        ("replicaset", "web-7d9f4c"),
        ("deployment", "web"),
        ("node", NODE),
        ("node", NODE),
    ]
    assert (passed.entity.uid, passed.entity.namespace) == (CONTAINER_ID, "prod")


async def test_pod_container_node_namespace_and_services_are_added_by_their_names(known):
    """All that the cluster tells is there, by the names of the conventions where these have one."""
    await known.start()
    passed = one(known, of_kernel(known.context.entities))
    await known.shutdown()
    attributes = passed.attributes
    assert attributes == {
        "k8s.pod.name": "web-7d9f4c-x2x8p",
        "k8s.pod.uid": POD_UID,
        "k8s.pod.ip": "10.1.2.3",
        "k8s.pod.start_time": "2026-01-02T03:04:06Z",
        "k8s.pod.status.phase": "Running",
        "k8s.namespace.name": "prod",
        "k8s.namespace.label.team": "shop",
        "k8s.node.name": NODE,
        "k8s.node.uid": "7b0e4a52-8a9c-4a2a-9f59-000000000017",
        "k8s.serviceaccount.name": "web",
        "k8s.replicaset.name": "web-7d9f4c",
        "k8s.replicaset.uid": "rs-uid",
        "k8s.deployment.name": "web",
        "owner_kind": "Deployment",
        "owner_name": "web",
        "qos_class": "Burstable",
        "tapio.k8s.pod.restart_count": 3,
        "tapio.k8s.services": ["web"],
        "k8s.container.name": "app",
        "k8s.container.restart_count": 3,
        "k8s.container.status.state": "running",
        "container.id": CONTAINER_ID,
        "container.image.name": "registry.example:5000/shop/app",
        "container.image.tags": ["1.2"],
        "container.image.repo_digests": [f"registry.example:5000/shop/app@sha256:{'0' * 64}"],
        "container.runtime.name": "containerd",
        "container.runtime.version": "2.1.0",
        "host.arch": "amd64",
        "host.type": "m5.large",
        "os.type": "linux",
        "os.name": "Debian GNU/Linux",
        "os.version": "12",
        "os.description": "Debian GNU/Linux 12 (bookworm)",
        "cloud.provider": "aws",
        "cloud.region": "eu-1",
        "cloud.availability_zone": "eu-1a",
        "tapio.host.kernel_version": "6.1.0-18-amd64",
        "tapio.k8s.node.kubelet_version": "v1.36.3",
        "tapio.k8s.node.provider_id": "aws:///eu-1a/i-0123",
    }
    assert passed.labels == {"app": "web", "pod-template-hash": "7d9f4c"}


async def test_an_event_of_an_origin_shares_the_enriched_one(known):
    """All events of one process are enriched once, and encoders see one origin."""
    entity = known.context.entities.of_cgroup_path(CONTAINER_PATH)
    origin = Origin(entity, {"_COMM": "nginx"}, {"unit": "x"}, {"a": "b"}, {"_COMM": b"nginx"})
    first, second = known.process([of_origin(origin), of_origin(origin, own={"code_line": 1})])
    assert first.shared is second.shared is not origin
    assert first.shared.attributes["k8s.pod.name"] == "web-7d9f4c-x2x8p"
    assert first.shared.labels["unit"] == "x"
    assert (first.shared.annotations, first.shared.record) == ({"a": "b"}, {"_COMM": b"nginx"})
    assert second.own == {"code_line": 1}
    assert one(known, of_origin(origin)).shared is first.shared
    assert origin.attributes == {"_COMM": "nginx"}


async def test_enriching_twice_changes_nothing(known):
    """An event that passes again keeps what it got."""
    entity = known.context.entities.of_cgroup_path(CONTAINER_PATH)
    passed = one(known, of_origin(Origin(entity)))
    shared = passed.shared
    assert one(known, passed).shared is shared
    alone = one(known, of_kernel(known.context.entities))
    before = alone.copy()
    assert one(known, alone) == before


async def test_a_change_of_the_pod_is_seen_and_one_of_another_pod_is_not(known):
    """What an origin becomes is made anew only if its own pod has changed."""
    origin = Origin(known.context.entities.of_cgroup_path(CONTAINER_PATH))
    first = one(known, of_origin(origin)).shared
    await teach(known, pods=[pod(), pod("other", "ffffffff-0000-4000-8000-000000000000", containers={"app": "ef" * 32})])
    assert one(known, of_origin(origin)).shared is first
    await teach(known, pods=[pod(restarts=4)])
    again = one(known, of_origin(origin)).shared
    assert again.attributes["k8s.container.restart_count"] == 4


async def test_what_becomes_known_later_is_added_from_then_on(root):
    """Events that came before the cluster was seen lack names; the same process's later ones have them."""
    made = processor(root)
    origin = Origin(made.context.entities.of_cgroup_path(CONTAINER_PATH))
    before = one(made, of_origin(origin))
    assert (before.entity.name, before.get("k8s.pod.name")) == (CONTAINER_ID[:12], None)
    await teach(made, pods=[pod()])
    after = one(made, of_origin(origin))
    assert (after.entity.name, after.get("k8s.pod.name")) == ("app", "web-7d9f4c-x2x8p")


async def test_a_deleted_pod_is_still_found_and_said_to_be_deleted(known):
    """What the kernel and the journal tell late has its names."""
    await teach(known, pods=[])
    passed = one(known, of_kernel(known.context.entities))
    assert passed.get("k8s.pod.name") == "web-7d9f4c-x2x8p"
    assert passed.get("tapio.k8s.pod.deleted") is True


async def test_a_pod_without_a_container_is_found_by_its_cgroup(known):
    """A slice of a pod, and its pause process, say the pod."""
    passed = one(known, of_kernel(known.context.entities, POD_PATH))
    assert (passed.entity.type, passed.entity.name) == ("pod", "web-7d9f4c-x2x8p")
    assert passed.get("k8s.container.name") is None


async def test_a_unit_of_a_container_gets_the_named_container_as_its_parent(known):
    """systemd's events about cri-containerd-….scope stay about the unit, which is now known to be a part of the pod."""
    entities = EntityMapper(known.context.entities.root_path)
    unit = entities.of_unit(f"cri-containerd-{CONTAINER_ID}.scope", CONTAINER_PATH)
    passed = one(known, event(unit, source="systemd"))
    assert [member.name for member in passed.entity.lineage()][1:4] == ["app", "web-7d9f4c-x2x8p", "web-7d9f4c"]
    assert passed.entity.name == unit.name
    assert passed.get("k8s.pod.name") == "web-7d9f4c-x2x8p"


async def test_a_process_is_found_in_its_container_by_proc(known, monkeypatch):
    """pid → cgroup → container → pod: /proc is asked once for each process."""
    facts = read_process(os.getpid())
    asked = []

    def of_pid(pid, start):
        asked.append((pid, start))
        return known.context.entities.of_cgroup_path(CONTAINER_PATH)

    monkeypatch.setattr(known.context.entities, "of_pid", of_pid)
    process = EntityReference("process", "nginx", uid=f"process-{facts.pid}-{facts.start_ticks}", parent=HERE)
    for index in range(2):
        passed = one(known, event(process, number=index))
        assert (passed.entity.type, passed.entity.name) == ("container", "app")
    assert asked == [(facts.pid, facts.start_ticks)]


async def test_a_process_whose_start_is_unknown_is_not_looked_for(known, monkeypatch):
    """The pid may be another's by now."""
    monkeypatch.setattr(known.context.entities, "of_pid", lambda *_: pytest.fail("asked"))
    passed = one(known, event(EntityReference("process", "x", uid="process-1-0123456789abcdef0123456789abcdef", parent=HERE)))
    assert passed.entity.type == "process"


@pytest.mark.parametrize(
    "attributes",
    [
        {"container_id": CONTAINER_ID},
        {"pod_uid": POD_UID},
        {"namespace": "prod", "pod_name": "web-7d9f4c-x2x8p"},
        {"k8s.namespace.name": "prod", "k8s.pod.name": "web-7d9f4c-x2x8p"},
        {"pod_ip": "10.1.2.3"},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
async def test_attributes_that_name_a_pod_make_the_event_the_pods(known, attributes):
    """An event about the node as a whole becomes that of the pod or container it speaks of."""
    passed = one(known, event(HERE, source="plugin", **attributes))
    assert passed.get("owner_name") == "web"
    assert "web-7d9f4c-x2x8p" in [member.name for member in passed.entity.lineage()]


@pytest.mark.parametrize("addresses", [("10.1.2.3", "8.8.8.8"), ("8.8.8.8", "10.1.2.3")])
async def test_a_flow_of_nobody_becomes_the_pods_of_this_machine(known, addresses):
    """The kernel drops and retransmits packets without knowing whose they are: the address tells."""
    source, destination = addresses
    passed = one(known, event(HERE, type=EventType.TCP_RETRANSMIT, src_ip=source, dst_ip=destination))
    assert (passed.entity.type, passed.entity.name) == ("pod", "web-7d9f4c-x2x8p")
    told = one(known, event(HERE, type=EventType.LOG, src_ip=source, dst_ip=destination))
    assert told.entity.type == "node"


async def test_both_ends_of_a_flow_are_named(known):
    """Pods and services by their addresses, below source. and destination., for events that share an origin too."""
    ends = {"src_ip": "10.1.2.3", "dst_ip": "10.96.0.7"}
    expected = {
        "source.k8s.pod.name": "web-7d9f4c-x2x8p",
        "source.k8s.pod.uid": POD_UID,
        "source.k8s.namespace.name": "prod",
        "source.k8s.node.name": NODE,
        "source.k8s.deployment.name": "web",
        "destination.k8s.service.name": "web",
        "destination.k8s.namespace.name": "prod",
    }
    alone = one(known, event(HERE, **ends))
    shared = one(known, of_origin(Origin(HERE), own=dict(ends)))
    common = one(known, of_origin(Origin(HERE, ends)))
    for passed in (alone, shared, common):
        assert {key: passed.get(key) for key in expected} == expected
    assert shared.shared is not None
    assert common.own == {}


async def test_an_end_that_is_named_already_is_kept(known):
    """Of what an event says about its source, nothing is replaced."""
    passed = one(known, event(HERE, src_ip="10.1.2.3", **{"source.k8s.pod.name": "mine"}))
    assert passed.get("source.k8s.pod.name") == "mine"


async def test_what_an_event_says_is_kept_whatever_key_it_has(known):
    """Attributes that mean the same in OTLP, labels and annotations are not replaced."""
    given = of_kernel(known.context.entities, namespace="mine", **{"k8s.node.name": "mine too", "owner_name": "me"})
    given.labels["app"] = "own"
    passed = one(known, given)
    assert (passed.get("namespace"), passed.get("k8s.namespace.name")) == ("mine", None)
    assert (passed.get("k8s.node.name"), passed.get("owner_name")) == ("mine too", "me")
    assert passed.labels["app"] == "own"


async def test_overwrite_replaces_what_an_event_says(root):
    """Each meaning is there once, with what is known."""
    made = processor(root, overwrite=True)
    await teach(made, pods=[pod()])
    given = of_kernel(made.context.entities, namespace="mine", pod_name="web-7d9f4c-x2x8p", comm="nginx")
    given.labels["app"] = "own"
    passed = one(made, given)
    assert (passed.get("namespace"), passed.get("k8s.namespace.name")) == (None, "prod")
    assert (passed.get("comm"), passed.labels["app"]) == ("nginx", "web")


async def test_labels_and_annotations_are_chosen_by_include_lists(root):
    """Whole names, and names with `*` anywhere; what names the service by OpenTelemetry's rules is always there."""
    made = processor(root, pod={"labels": ["app.kubernetes.io/*", "t*m"], "annotations": ["example.com/*"]})
    labels = {"app.kubernetes.io/name": "web", "team": "shop", "tea": "x"}
    annotations = {"example.com/a": "1", "other": "2", "resource.opentelemetry.io/service.name": "front"}
    await teach(made, pods=[pod(labels=labels, annotations=annotations)])
    passed = one(made, of_kernel(made.context.entities))
    assert passed.labels == {"app.kubernetes.io/name": "web", "team": "shop"}
    assert passed.annotations == {"example.com/a": "1", "resource.opentelemetry.io/service.name": "front"}


async def test_labels_of_nodes_and_annotations_of_namespaces_are_added_when_wanted(root):
    """They become attributes by the conventions' names."""
    made = processor(root, node={"labels": ["pool"]}, namespace={"annotations": ["owner"]})
    around = namespace()
    around["metadata"]["annotations"] = {"owner": "me"}
    await teach(made, pods=[pod()], nodes=[node(pool="spot")], namespaces=[around])
    passed = one(made, of_kernel(made.context.entities))
    assert passed.get("k8s.node.label.pool") == "spot"
    assert passed.get("k8s.namespace.annotation.owner") == "me"


async def test_a_cron_jobs_pod_has_its_whole_chain_of_owners(known):
    """Job and CronJob, the latter by the name of the former."""
    owner = {"kind": "Job", "name": "backup-29453220", "uid": "job-uid", "controller": True}
    await teach(known, pods=[pod(owners=[owner])])
    passed = one(known, of_kernel(known.context.entities))
    assert (passed.get("k8s.job.name"), passed.get("k8s.cronjob.name")) == ("backup-29453220", "backup")
    assert (passed.get("owner_kind"), passed.get("owner_name")) == ("CronJob", "backup")


async def test_events_of_the_api_about_another_node_get_that_nodes_facts_only(known):
    """This machine's system is not that of a pod elsewhere."""
    await known.start()
    await teach(known, pods=[pod(node="node-18")], nodes=[node(), node("node-18", "f" * 32)])
    entity = EntityReference("pod", "web-7d9f4c-x2x8p", "prod", POD_UID)
    passed = one(known, event(entity, source="kubernetes"))
    await known.shutdown()
    assert passed.get("k8s.node.name") == "node-18"
    assert passed.get("os.description") == "Debian GNU/Linux 12 (bookworm)"
    assert passed.get("os.name") is None


async def test_a_pod_the_api_only_named_is_found_by_its_name(known):
    """An event that regards a pod may lack its UID."""
    passed = one(known, event(EntityReference("pod", "web-7d9f4c-x2x8p", "prod"), source="kubernetes"))
    assert passed.entity.uid == POD_UID


async def test_the_attributes_of_an_event_tie_it_to_its_trace(known):
    """As in trace_context, for pipelines without that; what is invalid changes nothing, and a trace id that is there stays."""
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    header = f"00-{trace}-{span}-01"
    for one_given in (
        event(HERE, traceparent=header),
        of_origin(Origin(HERE), own={"traceparent": header}),
        of_origin(Origin(HERE, {"uber-trace-id": f"{trace}:{span}:0:1"})),
        event(HERE, trace_id=trace, span_id=span),
    ):
        passed = one(known, one_given)
        assert (passed.trace_id, passed.span_id) == (trace, span)
        assert passed.get("tapio.trace.source")
    wrong = one(known, event(HERE, traceparent="00-zz"))
    assert wrong.trace_id == ""
    own = event(HERE, traceparent=header)
    own.trace_id = "a" * 32
    assert one(known, own).trace_id == "a" * 32


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.one_of(events(), shared_events()), max_size=4), st.booleans())
def test_any_event_passes_and_keeps_what_it_says(known, batch, in_pod):
    """Nothing is dropped, moved or replaced, whatever events hold; and a second time changes nothing."""
    if in_pod:
        for given_event in batch:
            given_event.set("container_id", CONTAINER_ID)
    before = [(given_event, given_event.copy()) for given_event in batch]
    passed = known.process(list(batch))
    assert [id(one) for one in passed] == [id(one) for one in batch]
    for after, said in before:
        told, earlier = after.view(), said.view()
        assert {key: told.attributes.get(key) for key in earlier.attributes} == dict(earlier.attributes)
        assert {key: told.labels.get(key) for key in earlier.labels} == dict(earlier.labels)
        assert {key: told.annotations.get(key) for key in earlier.annotations} == dict(earlier.annotations)
        assert (after.id, after.timestamp, after.type, after.title) == (said.id, said.timestamp, said.type, said.title)
    copies = [one.copy() for one in passed]
    assert known.process(passed) == copies
    assert not known.context.counters.counts


async def test_a_flow_is_not_said_to_be_that_of_a_pod_elsewhere(known):
    """A packet that this machine's kernel drops is not about the pod of another node that it came from."""
    await teach(known, pods=[pod(node="node-2")])
    passed = one(known, event(HERE, type=EventType.NETWORK_DROP, src_ip="10.1.2.3", dst_ip="10.1.9.9"))
    assert passed.entity.type == "node"
    assert passed.get("source.k8s.pod.name") == "web-7d9f4c-x2x8p"
