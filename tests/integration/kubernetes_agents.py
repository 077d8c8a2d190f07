"""What the integration tests with Kubernetes are made with: options that lead to a cluster, and what an agent told of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.integration.agent import Agent, Record
from tests.kubernetes import objects
from tests.kubernetes.cluster import Cluster


def as_administrator(cluster: Cluster, **options: Any) -> dict[str, Any]:
    """Return options of the receiver: an administrator's kubeconfig, everything from the beginning, each repetition told."""
    usual = {"auth_type": "kubeConfig", "kubeconfig": str(cluster.kubeconfig), "start_at": "beginning", "initial_state": "all"}
    return {**usual, "node_name": "", "dedup_interval": "0s", **options}


def as_account(cluster: Cluster, directory: object, **options: Any) -> dict[str, Any]:
    """Return options for what is mounted in a pod."""
    own = {"auth_type": "serviceAccount", "server": cluster.server, "service_account_directory": str(directory)}
    return {**as_administrator(cluster, **options), "kubeconfig": "", **own}


def say(cluster: Cluster, namespace: str, names: Iterable[str]) -> list[str]:
    """Create events of these names; returns the names."""
    path = objects.events(namespace)
    done = list(names)
    for name in done:
        cluster.create(path, objects.event(name, namespace=namespace))
    return done


def told(*agents: Agent) -> dict[str, Counter[str]]:
    """Return the events of Kubernetes that agents have told: by name, how often under which id."""
    found: dict[str, Counter[str]] = {}
    for agent in agents:
        for one in agent.records():
            if one.name == "tapio.k8s_event":
                found.setdefault(one["k8s.event.name"], Counter())[one["log.record.uid"]] += 1
    return found


def until_told(names: Iterable[str], *agents: Agent, seconds: float = 40) -> dict[str, Counter[str]]:
    """Wait until agents have told all of these events; returns `told`."""
    wanted = set(names)
    until = time.monotonic() + seconds
    while wanted - set(found := told(*agents)):
        if time.monotonic() > until:
            errors = "\n".join(one.errors.read_text()[-3000:] for one in agents)
            raise AssertionError(f"not told: {sorted(wanted - set(found))}\n{errors}")
        time.sleep(0.05)
    return found


def ids(found: dict[str, Counter[str]], names: Iterable[str]) -> set[int]:
    """Return under how many ids each of the events was told."""
    return {len(found[name]) for name in names}


def times(found: dict[str, Counter[str]], names: Iterable[str]) -> set[int]:
    """Return how often each of the events was told."""
    return {found[name].total() for name in names}


def is_about(kind: str, **attributes: Any) -> Callable[[Record], bool]:
    """Return a condition: an event of a type that has these attributes, a dot written as two underscores."""
    wanted = {name.replace("__", "."): value for name, value in attributes.items()}
    return lambda one: one.name == f"tapio.{kind}" and all(one[name] == value for name, value in wanted.items())


def wait_for_error(agent: Agent, words: str) -> None:
    """Wait until the agent has said something on standard error."""
    until = time.monotonic() + 40
    while words not in agent.errors.read_text():
        assert time.monotonic() < until, agent.errors.read_text()
        time.sleep(0.05)
