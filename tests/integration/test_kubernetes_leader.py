"""Replicas that elect a leader by a Lease: each event is told once, also when the leader is killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.integration.agent import Agent
from tests.integration.kubernetes_agents import as_administrator, ids, say, times, told, until_told
from tests.kubernetes.cluster import Cluster, Refused

ELECTION = {"enabled": True, "lease_duration": "3s", "renew_deadline": "2s", "retry_period": "500ms"}


def replica(cluster: Cluster, room: Path, namespace: str, exporters: Any = None) -> Agent:
    """Return an agent with a state of its own that stands for election."""
    room.mkdir()
    election = ELECTION | {"lease_name": f"lease-{namespace}", "lease_namespace": namespace}
    options = as_administrator(cluster, namespaces=[namespace], resources=["events"], leader_election=election)
    return Agent(room, {"kubernetes": options}, exporters=exporters)


def holder(cluster: Cluster, namespace: str) -> Any:
    """Return who holds the Lease, and since how many changes."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/lease-{namespace}"
    spec = cluster.request("GET", path)["spec"]
    return spec["holderIdentity"], spec.get("leaseTransitions", 0)


def names(prefix: str, count: int = 10) -> list[str]:
    """Return names of events."""
    return [f"{prefix}.{number}" for number in range(count)]


def test_one_of_two_replicas_tells_each_event_and_the_other_takes_over(cluster: Cluster, tmp_path: Path) -> None:
    """The leader is killed: what happened meanwhile is told by its successor, and nothing under another id."""
    namespace = cluster.namespace("elected")
    first, second = (replica(cluster, tmp_path / name, namespace) for name in ("first", "second"))
    with first:
        expected = say(cluster, namespace, names("alone"))
        until_told(expected, first)
        leader = holder(cluster, namespace)
        with second:
            expected += say(cluster, namespace, names("both"))
            until_told(expected, first)
            time.sleep(1.5)  # several renewals: the second one has had its opportunity, and the position is handed over
            assert told(second) == {}
            first.kill()
            expected += say(cluster, namespace, names("leaderless"))
            found = until_told(expected, first, second)
            assert holder(cluster, namespace)[0] != leader[0]
            assert holder(cluster, namespace)[1] == leader[1] + 1
            expected += say(cluster, namespace, names("later"))
            found = until_told(expected, first, second)
            assert (times(found, expected), ids(found, expected)) == ({1}, {1})
            assert set(names("leaderless") + names("later")) <= set(told(second))


def test_a_leader_that_is_stopped_hands_over_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """An orderly end gives the Lease up; with three replicas still each event is told once."""
    namespace = cluster.namespace("handed-over")
    replicas = [replica(cluster, tmp_path / name, namespace) for name in ("first", "second", "third")]
    expected: list[str] = []
    for one in replicas:
        one.__enter__()
    try:
        expected += say(cluster, namespace, names("first"))
        until_told(expected, *replicas)
        leaders = [one for one in replicas if told(one)]
        assert len(leaders) == 1
        leaders[0].stop()
        expected += say(cluster, namespace, names("second"))
        found = until_told(expected, *replicas)
        assert (times(found, expected), ids(found, expected)) == ({1}, {1})
    finally:
        for one in replicas:
            one.stop()


def test_what_a_dead_leader_could_not_deliver_is_told_by_its_successor(cluster: Cluster, tmp_path: Path) -> None:
    """Its backend was away: what waited in its queue is not handed over as done."""
    namespace = cluster.namespace("undelivered")
    nowhere = {"otlp": {"endpoint": "http://127.0.0.1:9", "retry_on_failure": {"max_elapsed_time": 0}}}
    first = replica(cluster, tmp_path / "first", namespace, nowhere)
    second = replica(cluster, tmp_path / "second", namespace)
    with first:
        until = time.monotonic() + 40
        while not _held(cluster, namespace):
            assert time.monotonic() < until, first.errors.read_text()
            time.sleep(0.05)
        expected = say(cluster, namespace, names("queued"))
        time.sleep(2.5)  # several renewals, each of which hands a position over
        first.kill()
        with second:
            found = until_told(expected, second)
    assert times(found, expected) == {1}


def _held(cluster: Cluster, namespace: str) -> bool:
    try:
        return bool(holder(cluster, namespace)[0])
    except Refused:
        return False
