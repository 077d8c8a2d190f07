"""Objects of a cluster as the API writes them, and a cache that is fed with them as a watch would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
import pytest

from tapio_otel.kubernetes.cluster import ClusterCache, Feed
from tapio_otel.kubernetes.list_watch import Change

Raw = dict[str, Any]
UID: Final = "6cf4b5a2-93d4-4c83-8f0e-0f3a5f6c1a11"
ID: Final = "c0ffee" + "5" * 58
CREATED: Final = "2026-02-10T09:13:32Z"
STATIC: Final = "0123456789abcdef" * 2
"""What the cgroups of a static pod are named by."""
TTL: Final = 300.0
MIRROR: Final = ("kubernetes.io/config.mirror", "kubernetes.io/config.hash")


class Clock:
    """Stand still until told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_pod(name: str = "web-0", namespace: str = "shop", uid: str = UID, node: str = "n1", **more: Any) -> Raw:
    """Make a running pod without containers; `more` goes into its metadata, specification or status by its name there."""
    raw: Raw = {
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": CREATED},
        "spec": {"nodeName": node, "serviceAccountName": "default"},
        "status": {"phase": "Running", "qosClass": "Burstable"},
    }
    for key, value in more.items():
        part = "metadata" if key in {"labels", "annotations", "ownerReferences"} else "status"
        raw["spec" if key in {"hostNetwork", "priorityClassName"} else part][key] = value
    return raw


def with_container(raw: Raw, name: str, id: str = "", kind: str = "", last: str = "", restarts: int = 0, **more: Any) -> Raw:
    """Give a pod one more container; `kind` is empty, `init` or `ephemeral`."""
    listed, statuses = (f"{kind}Containers", f"{kind}ContainerStatuses") if kind else ("containers", "containerStatuses")
    raw["spec"].setdefault(listed, []).append({"name": name, "image": f"{name}:1"})
    status: Raw = {"name": name, "restartCount": restarts, "state": {"running": {}} if id else {"waiting": {}}}
    if id:
        status |= {"containerID": f"containerd://{id}", "imageID": f"{name}@sha256:1"}
    if last:
        status["lastState"] = {"terminated": {"containerID": f"containerd://{last}", "exitCode": 137}}
    raw["status"].setdefault(statuses, []).append(status | more)
    return raw


def owned_by(kind: str, name: str, uid: str = "owner-1", controller: bool = True) -> list[Raw]:
    """Make owner references."""
    return [{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller}]


def web(**more: Any) -> Raw:
    """Make a pod of a Deployment with one container."""
    more = {"labels": {"app": "web", "pod-template-hash": "7d"}, "podIP": "10.0.0.1", **more}
    return with_container(a_pod(ownerReferences=owned_by("ReplicaSet", "web-7d"), **more), "app", ID)


def a_node(name: str = "n1", uid: str = "5b1c1f4e-0000-4000-8000-000000000001", machine: str = "", **more: Any) -> Raw:
    """Make a node; `more` goes into what its status says of its system."""
    system = {"machineID": machine, **more}
    return {"metadata": {"name": name, "uid": uid, "labels": {}}, "spec": {}, "status": {"nodeInfo": system, "addresses": []}}


def a_namespace(name: str, **labels: str) -> Raw:
    """Make a namespace."""
    return {"metadata": {"name": name, "uid": f"uid-of-{name}", "labels": labels}}


def a_service(name: str, *ips: str, namespace: str = "shop", **more: Any) -> Raw:
    """Make a service."""
    spec = {"type": "ClusterIP", "clusterIP": ips[0] if ips else "None", "clusterIPs": list(ips) or ["None"], **more}
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-of-{namespace}-{name}"}, "spec": spec, "status": {}}


def a_slice(name: str, service: str, *uids: str, namespace: str = "shop") -> Raw:
    """Make an EndpointSlice that leads to these pods."""
    endpoints = [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": f"pod-{uid}", "uid": uid}} for uid in uids]
    labels = {"kubernetes.io/service-name": service} if service else {}
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "endpoints": endpoints}


class Fed:
    """Feed a cache as a watch does: what is given is a server's JSON, read anew each time."""

    def __init__(self, cache: ClusterCache) -> None:
        self.cache = cache
        self.feeds: Mapping[str, Feed] = {feed.resource.plural: feed for feed in cache.watches()}

    async def list(self, plural: str, *objects: Raw, namespace: str = "") -> None:
        """Tell the whole state."""
        await self.feeds[plural].consumer.listed([self._trim(plural, one) for one in objects], "1", namespace)

    async def change(self, plural: str, *changes: tuple[str, Raw]) -> None:
        """Tell changes."""
        told = [Change(kind, self._trim(plural, one)) for kind, one in changes]
        await self.feeds[plural].consumer.changed(told, "2", "")

    async def put(self, plural: str, *objects: Raw) -> None:
        """Tell that objects are there or have changed."""
        await self.change(plural, *[("MODIFIED", one) for one in objects])

    async def delete(self, plural: str, *objects: Raw) -> None:
        """Tell that objects were deleted."""
        await self.change(plural, *[("DELETED", one) for one in objects])

    def _trim(self, plural: str, raw: Raw) -> Any:
        return self.feeds[plural].trim(orjson.loads(orjson.dumps(raw)))


def names(entities: Iterable[Any]) -> list[tuple[str, str]]:
    """Return types and names."""
    return [(one.type, one.name) for one in entities]


@pytest.fixture
def clock() -> Clock:
    """Give a test time of its own."""
    return Clock()


@pytest.fixture
def fed(clock: Clock) -> Fed:
    """Give a test an empty cache and what feeds it."""
    return Fed(ClusterCache(TTL, clock=clock))
