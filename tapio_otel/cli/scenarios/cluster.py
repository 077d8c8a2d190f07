"""The cluster of a scenario: its objects change, and the Kubernetes receiver's code makes events of that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tapio_otel.cli.scenarios import objects
from tapio_otel.cli.scenarios.form import Cluster, EventStep, KnownPod, NodeStep, PodStep
from tapio_otel.event import UnifiedEvent
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes.list_watch import Change
from tapio_otel.receivers.kubernetes import events, nodes, pods
from tapio_otel.receivers.kubernetes.nodes import NodeChanges
from tapio_otel.receivers.kubernetes.pod_changes import PodChanges
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.told import Circumstances


class ClusterState:
    """Keep the objects of a cluster as they are now, and let `caches` (those of enrich processors) know them."""

    def __init__(self, written: Cluster, machines: dict[str, str]) -> None:
        self._known = {one.name: one for one in written.pods}
        self._pods: dict[str, dict[str, Any]] = {}
        self._nodes = {name: objects.new_node(name, machine) for name, machine in machines.items()}
        self._services = written.services
        self._version = 100
        severities = Severities()
        self._subjects = Subjects()
        self._pod_changes = PodChanges(self._subjects, severities)
        self._node_changes = NodeChanges(self._subjects, severities)
        self._severities = severities
        self._trim_pod = pods.trimmer()
        self.caches: list[ClusterCache] = []

    async def begin(self, coming: Iterable[str]) -> None:
        """Take all objects that there are at first; `coming` are the pods that are created later."""
        for node in self._nodes.values():
            self._node_changes.learn(nodes.trim(node))
        absent = set(coming)
        for one in self._known.values():
            if one.name not in absent:
                self._pods[one.name] = objects.new_pod(one)
                self._pod_changes.learn(self._trim_pod(self._pods[one.name]))
        leading = defaultdict(list)
        for one in self._known.values():
            for service in one.services:
                leading[f"{one.name.split('/')[0]}/{service}"].append(one)
        namespaces = {name.split("/")[0] for name in (*self._known, *self._services)}
        await self._learn(
            nodes=list(self._nodes.values()),
            namespaces=[{"metadata": {"name": one, "uid": objects.uid_of("namespace", one)}} for one in sorted(namespaces)],
            pods=list(self._pods.values()),
            services=[objects.new_service(name, address) for name, address in self._services.items()],
            endpointslices=[objects.new_endpoints(name, leading[name]) for name in sorted(leading)],
        )

    async def _learn(self, **found: list[dict[str, Any]]) -> None:
        for cache in self.caches:
            for kind, some in found.items():
                feed = cache.watches([kind])[0]
                await feed.consumer.listed([feed.trim(one) for one in some], "1", "")

    async def _changed(self, kind: str, change: str, one: dict[str, Any]) -> None:
        for cache in self.caches:
            feed = cache.watches([kind])[0]
            await feed.consumer.changed([Change(change, feed.trim(one))], str(self._version), "")

    def cgroup_of(self, container: str) -> str:
        """Return the cgroup of a container, `namespace/pod` or `namespace/pod/container`, as it runs now."""
        namespace, pod, *rest = container.split("/")
        found = self._pods.get(f"{namespace}/{pod}")
        if found is None:
            raise ValueError(f"there is no pod {namespace}/{pod} in the scenario's cluster")
        name = rest[0] if rest else found["spec"]["containers"][0]["name"]
        status = next(one for one in found["status"]["containerStatuses"] if one["name"] == name)
        uid = found["metadata"]["uid"].replace("-", "_")
        id = status["containerID"].rpartition("/")[2]
        return f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/crio-{id}.scope"

    async def pod(self, step: PodStep, at: int, observed: int) -> list[UnifiedEvent]:
        """Return the events of a pod's next version."""
        self._version += 1
        found = Circumstances(observed)
        if step.created:
            raw = self._created(step, at)
            self._pods[step.name] = raw
            await self._changed("pods", "ADDED", raw)
            return list(self._pod_changes.between(None, self._trim_pod(raw), found))
        before = self._pods[step.name]
        raw = objects.change_pod(before, step, at, self._version)
        if step.deleted:
            del self._pods[step.name]
            await self._changed("pods", "DELETED", raw)
            return [self._pod_changes.deleted(self._trim_pod(raw), found)]
        self._pods[step.name] = raw
        await self._changed("pods", "MODIFIED", raw)
        return list(self._pod_changes.between(self._trim_pod(before), self._trim_pod(raw), found))

    def _created(self, step: PodStep, at: int) -> dict[str, Any]:
        """Return a pod that does not run yet."""
        made = objects.new_pod(self._known.get(step.name) or KnownPod(name=step.name), objects.time_text(at))
        status = made["status"]
        status["phase"] = step.phase or "Pending"
        for one in status["conditions"]:
            one["status"] = "True" if one["type"] in {"PodScheduled", "Initialized"} else "False"
        for one in status["containerStatuses"]:
            one |= {"state": {"waiting": step.waiting or {"reason": "ContainerCreating"}}, "ready": False, "started": False}
        return made

    async def node(self, step: NodeStep, at: int, observed: int) -> list[UnifiedEvent]:
        """Return the events of a node's next version."""
        self._version += 1
        before = self._nodes[step.name]
        found = Circumstances(observed)
        raw = objects.change_node(before, step, at, self._version)
        if step.deleted:
            await self._changed("nodes", "DELETED", raw)
            return [self._node_changes.deleted(nodes.trim(raw), found)]
        self._nodes[step.name] = raw
        await self._changed("nodes", "MODIFIED", raw)
        return list(self._node_changes.between(nodes.trim(before), nodes.trim(raw), found))

    async def event(self, step: EventStep, at: int, observed: int) -> list[UnifiedEvent]:
        """Return the event of an event of Kubernetes."""
        self._version += 1
        placed = {name: one["spec"].get("nodeName", "") for name, one in self._pods.items()}
        raw = objects.new_event(step, placed, at, self._version)
        return [events.make(events.trim(raw), self._subjects, self._severities, observed)]
