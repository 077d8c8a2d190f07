"""Several replicas on a real API server: one leads, and every event is told once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.kubernetes.access import ClusterOptions
from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.receivers.kubernetes.config import LeaderElectionConfig
from tapio_otel.receivers.kubernetes.election import ANNOTATION, Election
from tapio_otel.receivers.kubernetes.position import Position, Reached
from tests.collect import CollectingOutput, context, running
from tests.kubernetes.cluster import Cluster
from tests.receivers.kubernetes.test_receiver import NUMBERS, in_thread, names, post_event, post_pod, receiver

QUICK = {"enabled": True, "lease_duration": "3s", "renew_deadline": "2s", "retry_period": "300ms"}


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """Give a namespace that nobody else uses."""
    return cluster.namespace(f"election-{next(NUMBERS)}")


def options(namespace: str, **more: Any) -> dict[str, Any]:
    """Return the options of a replica."""
    return {
        "resources": ["events"],
        "namespaces": [namespace],
        "leader_election": {**QUICK, "lease_namespace": namespace},
        **more,
    }


def lease(cluster: Cluster, namespace: str) -> Any:
    """Return the Lease."""
    return cluster.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/tapio-otel")


async def leader_of(outputs: list[CollectingOutput], namespace: str) -> int:
    """Wait until a replica has listed the events; returns which."""

    def leading() -> list[int]:
        return [
            index for index, one in enumerate(outputs) if one.checkpoint and namespace in one.checkpoint["reached"]["events"]
        ]

    async with asyncio.timeout(20):
        while not leading():
            await asyncio.sleep(0.05)
    return leading()[0]


async def test_three_replicas_tell_each_event_once(cluster: Cluster, namespace: str) -> None:
    """One leads; when it stops, another goes on where it was, without a gap or a repetition."""
    outputs = [CollectingOutput() for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        tasks = [await stack.enter_async_context(running(receiver(cluster, **options(namespace)), one)) for one in outputs]
        first = await leader_of(outputs, namespace)
        told = [f"before-{number}" for number in range(3)]
        for name in told:
            await in_thread(post_event, cluster, namespace, name)
        await outputs[first].until(lambda: names(outputs[first]) == told)
        await asyncio.sleep(0.5)  # whoever else watched would have told them by now
        assert [len(one.events) for index, one in enumerate(outputs) if index != first] == [0, 0]
        tasks[first].cancel()
        await asyncio.wait([tasks[first]])
        between = [f"between-{number}" for number in range(3)]
        for name in between:
            await in_thread(post_event, cluster, namespace, name)
        others = [one for index, one in enumerate(outputs) if index != first]
        await others[0].until(lambda: sum(len(one.events) for one in others) >= 3)
        await asyncio.sleep(0.5)
        found = await in_thread(lease, cluster, namespace)
    assert sorted(name for one in others for name in names(one)) == between
    assert found["spec"]["leaseTransitions"] == 1
    assert (await in_thread(lease, cluster, namespace))["spec"]["holderIdentity"] == ""


@contextlib.asynccontextmanager
async def replica(cluster: Cluster, namespace: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a replica as a process, killed at the end."""
    given = {"kubeconfig": str(cluster.kubeconfig), "auth_type": "kubeConfig", "node_name": "", **options(namespace)}
    script = ("-m", "tests.receivers.kubernetes.replica", json.dumps(given))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def says(process: asyncio.subprocess.Process, wanted: str) -> None:
    """Wait for a line."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        async for line in process.stdout:
            if line.decode().strip() == wanted:
                return
    raise AssertionError(f"the replica ended without saying {wanted!r}")


async def test_a_dead_leader_is_followed_by_another_without_a_gap(cluster: Cluster, namespace: str) -> None:
    """What came between its last sign of life and the takeover is told by the successor."""
    output = CollectingOutput()
    async with replica(cluster, namespace) as process:
        await says(process, "leads")
        async with running(receiver(cluster, **options(namespace)), output):
            await in_thread(post_event, cluster, namespace, "told")
            await says(process, "told")
            handed = (await in_thread(lease, cluster, namespace))["metadata"]["resourceVersion"]
            while handed == (await in_thread(lease, cluster, namespace))["metadata"]["resourceVersion"]:
                await asyncio.sleep(0.05)  # the next renewal has the position after it
            await asyncio.sleep(0.4)
            process.kill()
            await process.wait()
            await in_thread(post_event, cluster, namespace, "in-between")
            assert names(output) == []
            await output.until(lambda: bool(output.events))
            await in_thread(post_event, cluster, namespace, "after")
            await output.until(lambda: "after" in names(output))
    assert names(output) == ["in-between", "after"]


async def test_pods_of_the_own_node_are_watched_by_every_replica(cluster: Cluster, namespace: str) -> None:
    """Only what is of the whole cluster is the leader's: the events."""
    outputs = [CollectingOutput() for _ in range(2)]
    several = [
        receiver(cluster, **options(namespace, resources=["events", "pods"], node_name=f"{namespace}-{index}"))
        for index in (0, 1)
    ]
    async with running(several[0], outputs[0]), running(several[1], outputs[1]):
        leader = await leader_of_pods(outputs)
        for index in (0, 1):
            await in_thread(post_pod, cluster, namespace, f"web-{index}", f"{namespace}-{index}")
        await in_thread(post_event, cluster, namespace, "any")
        await outputs[leader].until(lambda: "any" in names(outputs[leader]))
        for index, output in enumerate(outputs):
            await output.until(lambda output=output, index=index: f"web-{index}" in [one.entity.name for one in output.events])  # type: ignore[misc]
    assert sum(len(names(output)) for output in outputs) == 1


async def leader_of_pods(outputs: list[CollectingOutput]) -> int:
    """Wait until both have listed their pods and one the events; returns which."""

    def reached(one: CollectingOutput) -> set[str]:
        return set(one.checkpoint["reached"]) if one.checkpoint else set()

    async with asyncio.timeout(20):
        while not (all("pods" in reached(one) for one in outputs) and any("events" in reached(one) for one in outputs)):
            await asyncio.sleep(0.05)
    return next(index for index, one in enumerate(outputs) if "events" in reached(one))


@contextlib.asynccontextmanager
async def candidate(cluster: Cluster, namespace: str, identity: str, position: str = "{}") -> AsyncIterator[Election]:
    """Yield an election that is ready to run."""
    surroundings = context("kubernetes")
    client = KubernetesClient(ClusterOptions(kubeconfig=str(cluster.kubeconfig), auth_type="kubeConfig"), surroundings.notices)
    await client.open()
    config = LeaderElectionConfig.model_validate({**QUICK, "lease_namespace": namespace})
    try:
        yield Election(client, config, lambda: position, surroundings.log, lambda _problem: None, identity)
    finally:
        await client.close()


async def forever(_handed: str) -> None:
    """Work without end."""
    await asyncio.Event().wait()


async def until(condition: Any) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_leader_that_cannot_renew_stops_before_another_begins(cluster: Cluster, namespace: str) -> None:
    """While the server stands still nobody leads; afterwards one does again."""
    async with candidate(cluster, namespace, "one") as one:
        task = asyncio.create_task(one.run(forever))
        try:
            await until(lambda: one.leads)
            cluster.pause_apiserver()
            try:
                await until(lambda: not one.leads)
            finally:
                cluster.resume_apiserver()
            await until(lambda: one.leads)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert (await in_thread(lease, cluster, namespace))["spec"]["holderIdentity"] == ""


async def test_a_lease_that_another_holds_is_left_alone_until_it_expires(cluster: Cluster, namespace: str) -> None:
    """By the own clock, since it was last seen to change; what it carries is given to the work."""
    position = Position({"events": {"": Reached("7", 1)}}).annotation()
    body = {
        "metadata": {"name": "tapio-otel", "annotations": {ANNOTATION: position, "other": "kept"}},
        "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 2, "leaseTransitions": 4},
    }
    await in_thread(cluster.request, "POST", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", body)
    handed: list[str] = []

    async def work(given: str) -> None:
        handed.append(given)
        await forever(given)

    async with candidate(cluster, namespace, "two", position="later") as two:
        task = asyncio.create_task(two.run(work))
        try:
            await asyncio.sleep(1)
            assert not two.leads
            await until(lambda: two.leads)
            found = await in_thread(lease, cluster, namespace)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert handed == [position]
    assert (found["spec"]["holderIdentity"], found["spec"]["leaseTransitions"]) == ("two", 5)
    assert found["metadata"]["annotations"]["other"] == "kept"
    after = await in_thread(lease, cluster, namespace)
    assert after["metadata"]["annotations"][ANNOTATION] == "later"


async def test_what_the_work_raises_is_raised(cluster: Cluster, namespace: str) -> None:
    """And the lease is given up."""

    async def broken(_handed: str) -> None:
        raise ValueError("broken")

    async with candidate(cluster, namespace, "one") as one:
        with pytest.raises(ValueError, match="broken"):
            await one.run(broken)
    assert (await in_thread(lease, cluster, namespace))["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("wrong", [{"renew_deadline": "15s"}, {"retry_period": "9s"}, {"lease_duration": "5s"}])
def test_times_that_allow_two_leaders_are_refused(wrong: dict[str, str]) -> None:
    """With all three in the message."""
    with pytest.raises(ValueError, match="else there could be two leaders"):
        LeaderElectionConfig.model_validate(wrong)


async def test_trouble_with_watching_ends_with_the_leadership(cluster: Cluster, namespace: str) -> None:
    """The server dies under a leader: once it leads again, or another does, health has nothing left to say of that."""
    one = receiver(cluster, **options(namespace))
    reports: list[str | None] = []
    one.context.report = reports.append
    output = CollectingOutput()
    async with running(one, output):
        await leader_of([output], namespace)
        await in_thread(cluster.stop_apiserver, signal.SIGKILL)
        try:
            await until(lambda: any(report and "watch events" in report for report in reports))
            await until(lambda: "no leader can be elected" in (reports[-1] or ""))
        finally:
            await in_thread(cluster.start_apiserver)
        await until(lambda: reports[-1] is None)
