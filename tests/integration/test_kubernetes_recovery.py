"""The `kubernetes` receiver when things break: server, etcd's memory, agent, credentials. No event is missed or told anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agent import Agent
from tests.integration.kubernetes_agents import as_account, as_administrator, ids, say, times, told, until_told, wait_for_error
from tests.kubernetes import objects
from tests.kubernetes.cluster import Cluster

QUICK = {"connect_timeout": "2s", "request_timeout": "5s"}


@pytest.fixture
def own(apiserver_programs: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Run a control plane for one test, which may break it."""
    with Cluster(apiserver_programs, tmp_path / "cluster") as running:
        yield running


def names(prefix: str, count: int) -> list[str]:
    """Return names of events."""
    return [f"{prefix}.{number}" for number in range(count)]


def test_a_killed_server_costs_no_event(own: Cluster, tmp_path: Path) -> None:
    """Events from before, and from right after the restart, are told once each, under one id."""
    namespace = own.namespace("killed")
    with Agent(tmp_path, {"kubernetes": as_administrator(own, namespaces=[namespace], **QUICK)}) as agent:
        expected = say(own, namespace, names("before", 20))
        until_told(expected, agent)
        own.restart_apiserver()
        expected += say(own, namespace, names("after", 20))
        until_told(expected, agent, seconds=60)
        own.restart_apiserver()
        expected += say(own, namespace, names("last", 20))
        found = until_told(expected, agent, seconds=60)
        assert times(found, expected) == {1}


def test_a_killed_agent_repeats_no_event_under_another_id_and_misses_none(own: Cluster, tmp_path: Path) -> None:
    """It is killed while events come, and again while none is watched; what is told twice has the same id."""
    namespace = own.namespace("agent-killed")
    agent = Agent(tmp_path, {"kubernetes": as_administrator(own, namespaces=[namespace])})
    expected: list[str] = []
    for attempt in range(3):
        with agent:
            expected += say(own, namespace, names(f"running{attempt}", 15))
            if attempt != 1:  # the second time not even the first of them may have been told
                until_told(expected, agent)
            agent.kill()
        expected += say(own, namespace, names(f"away{attempt}", 15))
    with agent:
        found = until_told(expected, agent)
        assert ids(found, expected) == {1}


def test_an_agent_that_was_stopped_tells_each_event_once(own: Cluster, tmp_path: Path) -> None:
    """After an orderly end nothing is told a second time."""
    namespace = own.namespace("agent-stopped")
    agent = Agent(tmp_path, {"kubernetes": as_administrator(own, namespaces=[namespace])})
    with agent:
        expected = say(own, namespace, names("running", 15))
        until_told(expected, agent)
    expected += say(own, namespace, names("away", 15))
    with agent:
        until_told(expected, agent)
        expected += say(own, namespace, names("again", 5))
        found = until_told(expected, agent)
    assert times(found, expected) == {1}


def test_what_the_server_has_forgotten_is_listed(own: Cluster, tmp_path: Path) -> None:
    """The agent's version is really gone (410: etcd is compacted, the server's cache is new): all is told, once."""
    namespace = own.namespace("compacted")
    agent = Agent(tmp_path, {"kubernetes": as_administrator(own, namespaces=[namespace])})
    with agent:
        expected = say(own, namespace, names("running", 10))
        until_told(expected, agent)
    expected += say(own, namespace, names("away", 10))
    for _ in range(2):  # the last revision itself survives a compaction
        own.create(objects.pods(namespace), objects.pod(objects.unique("filler"), "n1"))
    own.compact()
    own.restart_apiserver()
    with agent:
        until_told(expected, agent)
        expected += say(own, namespace, names("again", 10))
        found = until_told(expected, agent)
    assert times(found, expected) == {1}


def test_pods_and_nodes_that_changed_while_the_agent_was_away_are_told(own: Cluster, tmp_path: Path) -> None:
    """Also when the server has forgotten how they were: what they say themselves of the time since then."""
    namespace = own.namespace("states")
    own.create(objects.NODES, objects.node("n1"))
    own.create(objects.pods(namespace), objects.pod("web", "n1"))
    agent = Agent(tmp_path, {"kubernetes": as_administrator(own, namespaces=[namespace], initial_state="none")})
    with agent:
        until_told(say(own, namespace, ["seen"]), agent)
    time.sleep(2.1)  # times of the API are whole seconds
    broken = [objects.condition("Ready", "False", "ContainersNotReady")]
    own.patch(f"{objects.pods(namespace)}/web/status", {"status": {"conditions": broken}})
    own.patch(
        f"{objects.NODES}/n1/status", {"status": {"conditions": [objects.condition("Ready", "Unknown", "NodeStatusUnknown")]}}
    )
    own.compact()
    own.restart_apiserver()
    with agent:
        agent.wait_for(lambda one: one.name == "tapio.pod_state" and one["k8s.pod.name"] == "web", seconds=40)
        agent.wait_for(
            lambda one: one.name == "tapio.node_condition" and one["k8s.node.condition.status"] == "unknown", seconds=40
        )


def test_a_replaced_token_is_taken_up(own: Cluster, tmp_path: Path) -> None:
    """A token that is no longer valid is reported; once the file holds another one, everything since is told."""
    namespace = own.namespace("tokens")
    secret = f"/api/v1/namespaces/{namespace}/secrets"
    made = own.create(secret, {"metadata": {"name": "bound"}})
    own.service_account("agent", namespace)
    rules = [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["list", "watch"]}]
    own.allow("agent", rules, namespace, only_in=namespace)
    bound = {"kind": "Secret", "apiVersion": "v1", "name": "bound", "uid": made["metadata"]["uid"]}
    asked = {"spec": {"expirationSeconds": 600, "boundObjectRef": bound}}
    token = own.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/agent/token", asked)["status"]["token"]
    directory = own.write_account_directory("agent", namespace, token)
    options = as_account(own, directory, namespaces=[namespace], resources=["events"], **QUICK)
    with Agent(tmp_path, {"kubernetes": options}) as agent:
        expected = say(own, namespace, names("first", 5))
        until_told(expected, agent)
        own.delete(f"{secret}/bound")  # with it the token is void
        own.restart_apiserver()  # which ends the watch: the next one needs a valid token
        expected += say(own, namespace, names("void", 5))
        wait_for_error(agent, "does not accept the credentials")
        assert not set(names("void", 5)) & set(told(agent))
        # As a kubelet does it: written aside, put in place at once.
        (directory / "new").write_text(own.service_account("agent", namespace, seconds=600))
        (directory / "new").replace(directory / "token")
        expected += say(own, namespace, names("renewed", 5))
        found = until_told(expected, agent, seconds=60)
        assert times(found, expected) == {1}
