"""Tests of list and watch against a real API server: pages, changes, and everything that breaks."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import Any

import pytest

from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.list_watch import Change
from tapio_otel.kubernetes.pauses import Pauses
from tapio_otel.kubernetes.resources import CONFIG_MAPS, CORE_EVENTS, EVENTS, NODES, PODS, Resource, Selection
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.listening import QUICK, Memory, connected, following, until

UNKNOWN = Resource("example.com/v1", "widgets", "Widget")


class Things:
    """ConfigMaps of one namespace: the cheapest objects to create."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, cluster.namespace(namespace)
        self.path = CONFIG_MAPS.path(self.namespace)

    @property
    def selection(self) -> Selection:
        """Select all of them."""
        return Selection((self.namespace,))

    def create(self, name: str, value: str = "") -> Any:
        """Create one whose label `value` is this."""
        return self.cluster.create(self.path, {"metadata": {"name": name, "labels": {"value": value}}})

    def change(self, name: str, value: str) -> Any:
        """Change the label."""
        return self.cluster.patch(f"{self.path}/{name}", {"metadata": {"labels": {"value": value}}})

    def delete(self, name: str) -> None:
        """Delete one."""
        self.cluster.delete(f"{self.path}/{name}")


@pytest.fixture
def things(cluster: Cluster, request: pytest.FixtureRequest) -> Things:
    """Give a namespace of the test's own."""
    return Things(cluster, re.sub("[^a-z0-9]+", "-", request.node.name)[5:60].strip("-"))


async def test_a_list_of_many_pages_is_told_as_one(cluster: Cluster, things: Things) -> None:
    """Eight objects, two a page: one list of all, in four requests, and then a watch."""
    for number in range(8):
        things.create(f"t{number}", str(number))
    async with (
        connected(kubeconfig=cluster.kubeconfig) as client,
        following(client, CONFIG_MAPS, things.selection, page_size=2) as run,
    ):
        await asyncio.wait_for(run.watch.synced.wait(), 30)
        assert run.memory.known == {f"t{number}": str(number) for number in range(8)}
        assert len(run.memory.lists) == 1 and run.memory.lists[0][0] == things.namespace
        assert run.requests == 5 and run.watch.versions == {things.namespace: run.memory.lists[0][2]}


async def test_changes_are_told_in_order(cluster: Cluster, things: Things) -> None:
    """Created, changed and deleted: each change once, with its version; the version reached is the last."""
    things.create("old", "0")
    async with connected(kubeconfig=cluster.kubeconfig) as client, following(client, CONFIG_MAPS, things.selection) as run:
        await run.watch.synced.wait()
        things.create("new", "1")
        things.change("old", "2")
        things.delete("old")
        await until(lambda: len(run.memory.changes) == 3)
        assert run.memory.told == [("ADDED", "new"), ("MODIFIED", "old"), ("DELETED", "old")]
        assert run.memory.changes[1] == Change("MODIFIED", ("old", "2"))
        assert run.memory.known == {"new": "1"} and run.watch.versions[things.namespace] == run.memory.versions[-1]
        assert run.counts["watch_events"] == 3 and run.counts["lists"] == 1 and run.reports.all == []


async def test_objects_of_lists_and_watches_look_alike(cluster: Cluster, things: Things) -> None:
    """Kind and apiVersion are there in both, though the server leaves them out of lists."""
    things.create("listed")
    seen: list[tuple[str, str, str]] = []

    def trim(raw: dict[str, Any]) -> Any:
        seen.append((raw["apiVersion"], raw["kind"], raw["metadata"]["name"]))
        return raw["metadata"]["name"], ""

    async with (
        connected(kubeconfig=cluster.kubeconfig) as client,
        following(client, CONFIG_MAPS, things.selection, trim=trim) as run,
    ):
        await run.watch.synced.wait()
        things.create("watched")
        await until(lambda: len(seen) == 2)
    assert seen == [("v1", "ConfigMap", "listed"), ("v1", "ConfigMap", "watched")]


async def test_selectors_are_applied_by_the_server(cluster: Cluster, things: Things) -> None:
    """Of one node's pods with a label, nothing else is listed or watched; no namespaces are all namespaces."""
    pods = PODS.path(things.namespace)

    def pod(name: str, node: str, label: str) -> None:
        spec = {"nodeName": node, "containers": [{"name": "app", "image": "app:1"}]}
        cluster.create(pods, {"metadata": {"name": name, "labels": {"value": label}}, "spec": spec})

    pod("a", "selected-node", "1")
    pod("b", "other-node", "1")
    pod("c", "selected-node", "2")
    selection = Selection(field_selector="spec.nodeName=selected-node", label_selector="value=1")
    async with connected(kubeconfig=cluster.kubeconfig) as client, following(client, PODS, selection) as run:
        await run.watch.synced.wait()
        pod("d", "other-node", "1")
        pod("e", "selected-node", "1")
        await until(lambda: run.memory.changes)
        assert run.memory.known == {"a": "1", "e": "1"} and list(run.memory.state) == [""]


async def test_a_bookmark_moves_the_version_of_a_quiet_watch(cluster: Cluster, things: Things) -> None:
    """The server tells its version before it ends a watch: the consumer learns it, without any change."""
    pauses = Pauses(shortest=0.02, longest=0.2, steady=0.2, watch=(3, 3))
    async with (
        connected(kubeconfig=cluster.kubeconfig) as client,
        following(client, CONFIG_MAPS, things.selection, pauses=pauses) as run,
    ):
        await run.watch.synced.wait()
        cluster.namespace("moves-the-version")
        others = Things(cluster, "moves-the-version")
        others.create("elsewhere")
        await until(lambda: run.memory.versions)
        assert not run.memory.changes and run.watch.versions == {things.namespace: run.memory.versions[-1]}
        assert int(run.memory.versions[-1]) > int(run.memory.lists[0][2])
        others.delete("elsewhere")
        await until(lambda: run.counts["watches"] > 1)
        assert len(run.memory.lists) == 1 and run.reports.all == []


async def test_a_killed_server_costs_no_change_and_no_list(cluster: Cluster, things: Things) -> None:
    """The watch goes on where it was; meanwhile the failure is reported by name, and few requests are made."""
    async with connected(kubeconfig=cluster.kubeconfig) as client, following(client, CONFIG_MAPS, things.selection) as run:
        await run.watch.synced.wait()
        things.create("before")
        await until(lambda: run.memory.changes)
        cluster.stop_apiserver(signal.SIGKILL)
        await until(lambda: run.reports.now)
        assert f"in namespace {things.namespace} at {cluster.server}" in (run.reports.now or "")
        before = run.requests
        await asyncio.sleep(1.0)
        assert 0 < run.requests - before <= 12  # pauses of 0.1 to 0.2 s
        await asyncio.to_thread(cluster.start_apiserver)
        things.create("after")
        await until(lambda: "after" in run.memory.known)
        assert run.memory.told == [("ADDED", "before"), ("ADDED", "after")]
        assert len(run.memory.lists) == 1 and run.reports.now is None


async def test_a_server_that_stands_still_is_left_and_found_again(cluster: Cluster, things: Things) -> None:
    """The connection stays open and says nothing: after quiet_timeout another is tried, until one is answered."""
    quick = {"quiet_timeout": "300ms", "connect_timeout": "200ms", "request_timeout": "5s"}
    async with (
        connected(kubeconfig=cluster.kubeconfig, **quick) as client,
        following(client, CONFIG_MAPS, things.selection) as run,
    ):
        await run.watch.synced.wait()
        cluster.pause_apiserver()
        try:
            await until(lambda: run.reports.now)
        finally:
            cluster.resume_apiserver()
        things.create("later")
        await until(lambda: "later" in run.memory.known)
        await until(lambda: run.reports.now is None)
        assert len(run.memory.lists) == 1 and run.counts["watch_failures:Quiet"]


async def test_a_version_that_the_server_has_forgotten_is_listed_anew(cluster: Cluster, things: Things) -> None:
    """After a compaction, and with an empty watch cache, a stored version is answered 410: the whole state is told."""
    version = things.create("old")["metadata"]["resourceVersion"]
    things.create("new")
    cluster.compact()
    await asyncio.to_thread(cluster.restart_apiserver)
    resume = {things.namespace: version}
    async with (
        connected(kubeconfig=cluster.kubeconfig) as client,
        following(client, CONFIG_MAPS, things.selection, resume=resume) as run,
    ):
        await until(lambda: run.memory.lists)
        assert set(run.memory.known) == {"old", "new"} and run.counts["watch_failures:Expired"] == 1
        things.create("newest")
        await until(lambda: "newest" in run.memory.known)
        assert len(run.memory.lists) == 1 and run.reports.all == []


async def test_a_watch_is_resumed_without_a_list(cluster: Cluster, things: Things) -> None:
    """What happened since the stored version is told, and nothing that happened before."""
    things.create("before")
    version = things.change("before", "1")["metadata"]["resourceVersion"]
    things.create("meanwhile")
    resume = {things.namespace: version}
    async with (
        connected(kubeconfig=cluster.kubeconfig) as client,
        following(client, CONFIG_MAPS, things.selection, resume=resume) as run,
    ):
        await until(lambda: run.memory.changes)
        assert run.memory.told == [("ADDED", "meanwhile")] and run.memory.lists == [] and run.watch.synced.is_set()


@pytest.mark.parametrize("version", ["999999999999", "nonsense"])
async def test_a_version_of_another_history_is_listed_anew(version: str, cluster: Cluster, things: Things) -> None:
    """A cluster that was restored or replaced counts from lower numbers: waiting for them would miss everything."""
    things.create("here")
    resume = {things.namespace: version}
    async with (
        connected(kubeconfig=cluster.kubeconfig) as client,
        following(client, CONFIG_MAPS, things.selection, resume=resume) as run,
    ):
        await until(lambda: run.memory.lists)
        assert "here" in run.memory.known
        things.create("there")
        await until(lambda: "there" in run.memory.known)


async def test_a_list_whose_next_page_is_forgotten_is_read_whole(cluster: Cluster, things: Things) -> None:
    """Compacted between two pages, the list begins anew without pages: what is told is of one moment."""
    for number in range(4):
        things.create(f"t{number}")

    class Interrupted(KubernetesClient):
        """Compact etcd before a second page is asked for."""

        async def read(self, path: str, **params: str) -> bytes:
            if "continue" in params:
                things.create("t4")
                await asyncio.to_thread(cluster.compact)
                await asyncio.to_thread(cluster.restart_apiserver)
            return await super().read(path, **params)

    async with (
        connected(kubeconfig=cluster.kubeconfig, client_class=Interrupted) as client,
        following(client, CONFIG_MAPS, things.selection, page_size=2) as run,
    ):
        await run.watch.synced.wait()
        assert len(run.memory.lists) == 1 and set(run.memory.known) == {f"t{number}" for number in range(5)}
        assert run.requests == 4  # the first page, the refused one, the whole list, the watch


async def test_what_is_forbidden_is_told_while_the_rest_goes_on(
    cluster: Cluster, things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two namespaces one may be watched: it is; the other is reported, and watched once its role is there."""
    other = Things(cluster, f"x-{things.namespace}"[:60])
    things.create("seen")
    other.create("unseen")
    account, rules = (
        f"half-{things.namespace}"[:50],
        [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}],
    )
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.port))
    directory = cluster.write_account_directory(account)
    cluster.allow(account, rules, only_in=things.namespace)
    both = Selection((things.namespace, other.namespace))
    async with connected(service_account_directory=directory) as client, following(client, CONFIG_MAPS, both) as run:
        await run.watch.synced.wait()
        await until(lambda: "seen" in run.memory.known and run.reports.now)
        assert f"may not list configmaps in namespace {other.namespace}: add verbs [list, watch] of configmaps" in str(
            run.reports.now
        )
        things.create("also")
        await until(lambda: "also" in run.memory.known)
        assert "unseen" not in run.memory.known
        cluster.allow(account, rules, only_in=other.namespace)
        await until(lambda: "unseen" in run.memory.known and run.reports.now is None)


async def test_a_resource_that_the_server_does_not_know_is_replaced_by_the_fallback(cluster: Cluster, things: Things) -> None:
    """After one 404 the other resource is listed and watched, and nothing is reported."""
    things.create("found")
    async with (
        connected(kubeconfig=cluster.kubeconfig) as client,
        following(client, UNKNOWN, things.selection, fallback=CONFIG_MAPS) as run,
    ):
        await run.watch.synced.wait()
        assert run.memory.known["found"] == "" and run.watch.resource == CONFIG_MAPS
        assert run.requests == 3 and run.reports.all == []


async def test_a_resource_that_nobody_knows_is_told_and_asked_for_again_later(cluster: Cluster) -> None:
    """It may be installed later; until then it is settled that nothing comes."""
    async with connected(kubeconfig=cluster.kubeconfig) as client, following(client, UNKNOWN, Selection()) as run:
        await run.watch.synced.wait()
        await until(lambda: run.reports.now)
        assert run.reports.now == "the server knows no widgets in API group example.com"
        await until(lambda: run.requests == 3)
        assert run.memory.lists == []


async def test_both_kinds_of_events_are_the_same_objects(cluster: Cluster, things: Things) -> None:
    """What is created as a core event is watched as one of events.k8s.io, which is what the fallback rests on."""
    pod = {"kind": "Pod", "namespace": things.namespace, "name": "web"}
    core = {"metadata": {"name": "web.1"}, "involvedObject": pod, "reason": "Started", "type": "Normal"}
    async with connected(kubeconfig=cluster.kubeconfig) as client, following(client, EVENTS, things.selection) as run:
        await run.watch.synced.wait()
        cluster.create(CORE_EVENTS.path(things.namespace), core)
        await until(lambda: run.memory.changes)
        assert run.memory.told == [("ADDED", "web.1")]


async def test_resources_of_the_cluster_have_no_namespace(cluster: Cluster) -> None:
    """Nodes are listed and watched as they are."""
    async with connected(kubeconfig=cluster.kubeconfig) as client, following(client, NODES, Selection()) as run:
        await run.watch.synced.wait()
        cluster.create(NODES.path(), {"metadata": {"name": "watched-node", "labels": {"value": "v"}}})
        try:
            await until(lambda: "watched-node" in run.memory.known)
        finally:
            cluster.delete(NODES.path(name="watched-node"))


async def test_a_consumer_that_fails_ends_the_run_and_is_told_the_same_again(cluster: Cluster, things: Things) -> None:
    """The error is the caller's to see; run again, the change it failed on comes again."""

    class Failing(Memory):
        """Fail on the first change."""

        failed = 0

        async def changed(self, changes: list[Change], version: str, namespace: str) -> None:
            if changes and not self.failed:
                self.failed = 1
                raise RuntimeError("full")
            await super().changed(changes, version, namespace)

    memory = Failing()
    async with connected(kubeconfig=cluster.kubeconfig) as client:
        with pytest.raises(RuntimeError, match="full"):
            async with following(client, CONFIG_MAPS, things.selection, consumer=memory) as run:
                await run.watch.synced.wait()
                things.create("one")
                await until(lambda: memory.failed)
                await asyncio.sleep(0)
        again = asyncio.create_task(run.watch.run())
        await until(lambda: memory.changes)
        again.cancel()
        await asyncio.wait([again])
    assert memory.told == [("ADDED", "one")] and len(memory.lists) == 1


async def test_a_slow_consumer_loses_nothing(cluster: Cluster, things: Things) -> None:
    """While it waits nothing is read, even beyond quiet_timeout; then all changes come, in order."""
    gate = asyncio.Event()

    class Slow(Memory):
        """Wait at the gate."""

        async def changed(self, changes: list[Change], version: str, namespace: str) -> None:
            await gate.wait()
            await super().changed(changes, version, namespace)

    memory = Slow()
    async with (
        connected(kubeconfig=cluster.kubeconfig, quiet_timeout="300ms") as client,
        following(client, CONFIG_MAPS, things.selection, consumer=memory) as run,
    ):
        await run.watch.synced.wait()
        for number in range(20):
            await asyncio.to_thread(things.create, f"t{number:02}")
        await asyncio.sleep(0.5)
        gate.set()
        await until(lambda: len(memory.known) == 20)
        assert memory.told == [("ADDED", f"t{number:02}") for number in range(20)]


def test_pauses_grow_with_jitter_and_are_bounded() -> None:
    """From half a second to half a minute; never nothing, never more."""
    pauses = Pauses()
    for failures, least, most in [(1, 0.5, 1.0), (2, 1.0, 2.0), (5, 8.0, 16.0), (6, 15.0, 30.0), (1000, 15.0, 30.0)]:
        drawn = {pauses.after(failures) for _ in range(200)}
        assert least <= min(drawn) < max(drawn) <= most
    assert all(300 <= pauses.watch_seconds() <= 600 and 30 <= pauses.after_refusal() <= 60 for _ in range(200))
    assert QUICK.after(1) <= 0.04
