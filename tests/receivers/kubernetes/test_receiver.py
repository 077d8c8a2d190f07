"""The receiver on a real API server; each test has a namespace and names of its own."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tapio_otel.component import SourceUnavailable
from tapio_otel.event import UnifiedEvent
from tapio_otel.normalizers.kubernetes import normalize
from tapio_otel.receivers.kubernetes import KubernetesConfig, KubernetesReceiver
from tests.collect import CollectingOutput, context, running
from tests.kubernetes.cluster import Cluster
from tests.receivers.kubernetes.objects import condition, container, ended
from tests.receivers.kubernetes.objects import running as up

NUMBERS = itertools.count(1)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """Give a namespace that nobody else uses."""
    return cluster.namespace(f"receiver-{next(NUMBERS)}")


def receiver(cluster: Cluster, **options: Any) -> KubernetesReceiver:
    """Return a receiver of the cluster."""
    base = {"kubeconfig": str(cluster.kubeconfig), "auth_type": "kubeConfig", "node_name": ""}
    return KubernetesReceiver(context("kubernetes"), KubernetesConfig.model_validate(base | options))


def post_event(cluster: Cluster, namespace: str, name: str, **more: Any) -> str:
    """Create an event; returns its path."""
    body = {
        "metadata": {"name": name},
        "eventTime": "2026-11-23T12:00:00.000000Z",
        "reason": "Tested",
        "action": "Test",
        "note": f"note of {name}",
        "type": "Normal",
        "reportingController": "tests.example/one",
        "reportingInstance": "one",
        "regarding": {"kind": "Pod", "namespace": namespace, "name": "web-0", "uid": "u-0"},
        **more,
    }
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    cluster.request("POST", path, body)
    return f"{path}/{name}"


def report(cluster: Cluster, namespace: str, name: str, host: str) -> None:
    """Create an event as kubelets do, which use the older API."""
    body = {
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": "web-9", "uid": "u-9"},
        "reason": "Pulled",
        "message": f"note of {name}",
        "type": "Normal",
        "source": {"component": "kubelet", "host": host},
        "firstTimestamp": "2026-11-23T12:00:00Z",
        "lastTimestamp": "2026-11-23T12:00:00Z",
        "count": 1,
    }
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/events", body)


def repeat(cluster: Cluster, path: str, count: int) -> None:
    """Let an event have occurred so often."""
    cluster.patch(path, {"series": {"count": count, "lastObservedTime": "2026-11-23T12:00:09.000000Z"}})


def post_pod(cluster: Cluster, namespace: str, name: str, node: str = "n1", **status: Any) -> str:
    """Create a pod; returns its path."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    spec = {"nodeName": node, "containers": [{"name": "app", "image": "app:1"}]}
    cluster.create(path, {"metadata": {"name": name}, "spec": spec, "status": status or {"phase": "Pending"}})
    return f"{path}/{name}"


def names(output: CollectingOutput) -> list[str]:
    """Return the names of the Kubernetes events that were told."""
    return [event.get("event_name") for event in output.events if event.type == "k8s_event"]


def of(output: CollectingOutput, pod: str) -> list[tuple[str, str]]:
    """Return type and change of what was told about a pod and its containers."""
    mine = [event for event in output.events if any(one.name == pod for one in event.entity.lineage())]
    return [(event.type, event.get("change", "")) for event in mine if event.type != "k8s_event"]


async def ready(output: CollectingOutput, *resources: str) -> None:
    """Wait until everything was listed."""
    await output.until(lambda: output.checkpoint is not None and set(resources) <= set(output.checkpoint["reached"]))


async def in_thread(function: Any, *arguments: Any, **options: Any) -> Any:
    """Talk to the server while the receiver runs."""
    return await asyncio.to_thread(function, *arguments, **options)


async def test_each_event_is_told_once_over_restarts(cluster: Cluster, namespace: str) -> None:
    """What comes while the agent is down is told when it is up again, and nothing else is repeated."""
    options = {"resources": ["events"], "namespaces": [namespace]}
    await in_thread(post_event, cluster, namespace, "before")
    output = CollectingOutput()
    async with running(receiver(cluster, **options), output):
        await ready(output, "events")
        await in_thread(post_event, cluster, namespace, "first")
        await output.until(lambda: names(output) == ["first"])
    await in_thread(post_event, cluster, namespace, "down-1")
    await in_thread(post_event, cluster, namespace, "down-2")
    again = CollectingOutput(output.checkpoint)
    async with running(receiver(cluster, **options), again):
        await again.until(lambda: len(again.events) == 2)
        await in_thread(post_event, cluster, namespace, "last")
        await again.until(lambda: "last" in names(again))
    assert names(again) == ["down-1", "down-2", "last"]


async def test_all_events_of_the_server_are_told_where_that_is_asked_for(cluster: Cluster, namespace: str) -> None:
    """With everything that a server says of an event, and in order."""
    await in_thread(post_event, cluster, namespace, "one", related={"kind": "Node", "name": "n1"})
    await in_thread(post_event, cluster, namespace, "two", type="Warning", reason="OOMKilling")
    output = CollectingOutput()
    async with running(receiver(cluster, resources=["events"], namespaces=[namespace], start_at="beginning"), output):
        await output.until(lambda: names(output) == ["one", "two"])
    first, second = output.events
    normalize(output.events)
    assert (first.get("action"), first.get("related_name"), first.description) == ("Test", "n1", "note of one")
    assert (second.title, second.severity.keyword) == (f"OOMKilling: Pod {namespace}/web-0", "critical")


async def test_an_event_that_expired_from_the_watch_is_found_in_the_list(cluster: Cluster, namespace: str) -> None:
    """After a compaction the server refuses the version (410): what is newer is told, what was told is not."""
    options = {"resources": ["events"], "namespaces": [namespace]}
    output = CollectingOutput()
    async with running(receiver(cluster, **options), output):
        await ready(output, "events")
        await in_thread(post_event, cluster, namespace, "told")
        await output.until(lambda: names(output) == ["told"])
    await in_thread(post_event, cluster, namespace, "missed")
    await in_thread(cluster.compact)
    await in_thread(cluster.restart_apiserver)  # its watch cache knows nothing older
    again = CollectingOutput(output.checkpoint)
    async with running(receiver(cluster, **options), again):
        await again.until(lambda: bool(again.events))
        await in_thread(post_event, cluster, namespace, "after")
        await again.until(lambda: "after" in names(again))
    assert names(again) == ["missed", "after"]


async def test_repetitions_are_held_back_over_a_restart(cluster: Cluster, namespace: str) -> None:
    """The last of them is told by the next run, whose checkpoint has it."""
    options = {"resources": ["events"], "namespaces": [namespace]}
    output = CollectingOutput()
    async with running(receiver(cluster, **options, dedup_interval="1h"), output):
        await ready(output, "events")
        path = await in_thread(post_event, cluster, namespace, "again")
        for count in (2, 3):
            await in_thread(repeat, cluster, path, count)
        await in_thread(post_event, cluster, namespace, "other")
        await output.until(lambda: names(output) == ["again", "other"])
    again = CollectingOutput(output.checkpoint)
    async with running(receiver(cluster, **options, dedup_interval="1h"), again):
        await again.until(lambda: bool(again.events))
    assert [(event.get("event_name"), event.get("count")) for event in again.events] == [("again", 3)]
    assert again.checkpoint["held"] == []


async def test_repetitions_are_told_at_the_end_of_the_interval(cluster: Cluster, namespace: str) -> None:
    """Once, with the count reached; those between are counted as dropped."""
    one = receiver(cluster, resources=["events"], namespaces=[namespace], dedup_interval="3s")
    output = CollectingOutput()
    async with running(one, output):
        await ready(output, "events")
        path = await in_thread(post_event, cluster, namespace, "again")
        for count in (2, 3, 4):
            await in_thread(repeat, cluster, path, count)
        await output.until(lambda: 4 in [event.get("count") for event in output.events])
    assert [event.get("count") for event in output.events] == [1, 4]
    assert one.context.counters.values["dropped/repeated"] == 2  # type: ignore[attr-defined]


async def test_the_life_of_a_pod_is_told(cluster: Cluster, namespace: str) -> None:
    """From its creation over a crash and the restart to its end."""
    output = CollectingOutput()
    async with running(receiver(cluster, resources=["pods"], namespaces=[namespace]), output):
        await ready(output, "pods")
        path = await in_thread(post_pod, cluster, namespace, "web-0")
        status = f"{path}/status"
        oom = ended(137, "OOMKilled")
        steps = [
            {"phase": "Running", "conditions": [condition("Ready", "True")], "containerStatuses": [up()]},
            {
                "containerStatuses": [container({"terminated": oom, "running": None})],
                "conditions": [condition("Ready", "False")],
            },
            {"containerStatuses": [container({"waiting": {"reason": "CrashLoopBackOff"}}, last=oom)]},
            {"containerStatuses": [up(1, "b" * 64, last=oom)]},
        ]
        for step in steps:
            await in_thread(cluster.patch, status, {"status": step})
        await in_thread(cluster.delete, path)
        await output.until(lambda: ("pod_state", "deleted") in of(output, "web-0"))
    assert [one for one in of(output, "web-0") if one != ("pod_state", "terminating")] == [
        ("pod_state", "created"),
        ("pod_state", "phase"),
        ("pod_state", "condition"),
        ("pod_state", "terminated"),
        ("pod_state", "waiting"),
        ("container_restart", ""),
        ("pod_state", "deleted"),
    ]


async def test_what_happened_to_pods_meanwhile_is_told_after_a_restart(cluster: Cluster, namespace: str) -> None:
    """The server says what they were; each change is told as if it had been watched, and none twice."""
    options = {"resources": ["pods"], "namespaces": [namespace], "initial_state": "none"}
    kept = await in_thread(post_pod, cluster, namespace, "kept", phase="Running", containerStatuses=[up()])
    gone = await in_thread(post_pod, cluster, namespace, "gone", phase="Running")
    output = CollectingOutput()
    async with running(receiver(cluster, **options), output):
        await ready(output, "pods")
    assert output.events == []
    restarted = [up(1, "b" * 64, last=ended(1, "Error"))]
    await in_thread(cluster.patch, f"{kept}/status", {"status": {"containerStatuses": restarted}})
    await in_thread(cluster.delete, gone)
    await in_thread(post_pod, cluster, namespace, "new")
    again = CollectingOutput(output.checkpoint)
    async with running(receiver(cluster, **options), again):
        await again.until(lambda: ("pod_state", "created") in of(again, "new"))
    assert of(again, "kept") == [("container_restart", "")]
    assert of(again, "gone")[-1] == ("pod_state", "deleted")
    assert not any(event.get("reconciled") for event in again.events)


async def test_after_a_long_absence_the_pods_own_times_tell(cluster: Cluster, namespace: str) -> None:
    """The server has forgotten (410): what changed since is told as reconciled, what is older is not."""
    options = {"resources": ["pods"], "namespaces": [namespace], "initial_state": "none"}
    old = [condition("Ready", "True", "2020-01-01T00:00:00Z")]
    await in_thread(post_pod, cluster, namespace, "idle", phase="Running", conditions=old)
    kept = await in_thread(post_pod, cluster, namespace, "kept", phase="Running", conditions=old)
    output = CollectingOutput()
    async with running(receiver(cluster, **options), output):
        await ready(output, "pods")
    checkpoint = output.checkpoint
    checkpoint["reached"]["pods"][namespace]["time"] = 1_700_000_000_000_000_000
    lost = [condition("Ready", "False", "2024-01-01T00:00:00Z")]
    await in_thread(cluster.patch, f"{kept}/status", {"status": {"conditions": lost}})
    await in_thread(cluster.compact)
    await in_thread(cluster.restart_apiserver)
    again = CollectingOutput(checkpoint)
    async with running(receiver(cluster, **options), again):
        await again.until(lambda: bool(of(again, "kept")))
    events = [event for event in again.events if event.get("conditions")]
    assert [event.get("conditions") for event in events if event.entity.name == "kept"] == [{"Ready": "False"}]
    assert all(event.get("reconciled") for event in again.events)


async def test_only_the_pods_of_the_own_node_are_watched(cluster: Cluster, namespace: str) -> None:
    """And its own conditions, and the events about both."""
    nodes = f"{namespace}-a", f"{namespace}-b"
    for node in nodes:
        await in_thread(cluster.create, "/api/v1/nodes", {"metadata": {"name": node}})
    one = receiver(cluster, namespaces=[namespace], node_name=nodes[0])
    output = CollectingOutput()
    async with running(one, output):
        await ready(output, "events", "pods", "nodes")
        for index, node in enumerate(nodes):
            path = await in_thread(post_pod, cluster, namespace, f"web-{index}", node)
            uid = (await in_thread(cluster.request, "GET", path))["metadata"]["uid"]
            if index == 0:
                await output.until(lambda: bool(of(output, "web-0")))
            about = {"kind": "Pod", "namespace": namespace, "name": f"web-{index}", "uid": uid}
            await in_thread(post_event, cluster, namespace, f"about-{index}", regarding=about)
            await in_thread(
                cluster.patch, f"/api/v1/nodes/{node}/status", {"status": {"conditions": [condition("Ready", "False")]}}
            )
        await in_thread(report, cluster, namespace, "reported", nodes[0])
        await output.until(lambda: "reported" in names(output) and bool(conditions(output)))
    assert of(output, "web-1") == []
    assert names(output) == ["about-0", "reported"]
    assert [event.entity.name for event in conditions(output)] == [nodes[0]]


def conditions(output: CollectingOutput) -> list[UnifiedEvent]:
    """Return what was told of nodes."""
    return [event for event in output.events if event.type == "node_condition" and event.get("condition")]


async def test_a_forbidden_resource_is_named_and_the_others_go_on(cluster: Cluster, namespace: str) -> None:
    """The message says which verbs of what are missing."""
    token = await in_thread(cluster.service_account, "half", namespace)
    rules = [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["list", "watch"]}]
    await in_thread(cluster.allow, "half", rules, namespace, namespace)
    kubeconfig = await in_thread(cluster.write_kubeconfig, f"half-{namespace}", {"token": token})
    problems: list[str | None] = []
    one = receiver(cluster, kubeconfig=str(kubeconfig), resources=["events", "pods"], namespaces=[namespace])
    one.context.report = problems.append
    output = CollectingOutput()
    async with running(one, output):
        await ready(output, "events")
        await in_thread(post_event, cluster, namespace, "told")
        await output.until(lambda: names(output) == ["told"] and bool(problems) and problems[-1] is not None)
    assert "pods" in str(problems[-1]) and "list" in str(problems[-1])


async def test_events_are_told_through_a_restart_of_the_server(cluster: Cluster, namespace: str) -> None:
    """Each once, whatever is lost on the way."""
    output = CollectingOutput()
    async with running(receiver(cluster, resources=["events"], namespaces=[namespace]), output):
        await ready(output, "events")
        await in_thread(post_event, cluster, namespace, "one")
        await in_thread(cluster.restart_apiserver)
        await in_thread(post_event, cluster, namespace, "two")
        await output.until(lambda: "two" in names(output))
    assert names(output) == ["one", "two"]


async def test_a_server_without_the_newer_api_is_asked_by_the_older_one(cluster: Cluster, namespace: str) -> None:
    """The events are the same, and so is the position: it holds for both."""
    options = {"resources": ["events"], "namespaces": [namespace]}
    output = CollectingOutput()
    async with running(receiver(cluster, **options), output):
        await ready(output, "events")
        await in_thread(post_event, cluster, namespace, "newer")
        await output.until(lambda: names(output) == ["newer"])
    try:
        await in_thread(cluster.restart_apiserver, "--runtime-config=events.k8s.io/v1=false")
        again = CollectingOutput(output.checkpoint)
        async with running(receiver(cluster, **options), again):
            await in_thread(report, cluster, namespace, "older", "n1")
            await again.until(lambda: names(again) == ["older"])
    finally:
        await in_thread(cluster.restart_apiserver)
    (event,) = again.events
    assert (event.get("reporting_controller"), event.get("object_name"), event.description) == (
        "kubelet",
        "web-9",
        "note of older",
    )


async def test_a_checkpoint_that_is_none_is_reported_and_forgotten(
    cluster: Cluster, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The receiver starts anew."""
    output = CollectingOutput({"version": 99})
    async with running(receiver(cluster, resources=["events"], namespaces=[namespace]), output):
        await output.until(lambda: "reached" in output.checkpoint)
    assert "expected a checkpoint of version 1, found 99" in caplog.text


async def test_without_any_cluster_the_source_is_unavailable(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the remedy."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    config = KubernetesConfig(kubeconfig=str(tmp_path / "none"))
    with pytest.raises(SourceUnavailable):
        await KubernetesReceiver(context("kubernetes"), config).run(CollectingOutput())
