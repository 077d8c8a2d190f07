"""A cluster's objects as the API gives them, and an enrich processor that knows them: for tests and for bench/enrich.py."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tapio_otel.component import ComponentContext, ComponentId, Kind
from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.event import Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.processors.enrich import EnrichConfig, EnrichProcessor
from tests.components import CountingSink

NODE = "node-17"
MACHINE = "0123456789abcdef0123456789abcdef"
POD_UID = "0f1e2d3c-4b5a-4968-8776-655443322110"
CONTAINER_ID = "ab" * 32
PROXY_ID = "cd" * 32
POD_PATH = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_UID.replace('-', '_')}.slice"
CONTAINER_PATH = f"{POD_PATH}/cri-containerd-{CONTAINER_ID}.scope"


def pod(name: str = "web-7d9f4c-x2x8p", uid: str = POD_UID, **changes: Any) -> dict[str, Any]:
    """Return a pod of the Deployment web with the container app; `changes` replace some of what it says."""
    containers = changes.get("containers", {"app": CONTAINER_ID})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": changes.get("namespace", "prod"),
            "uid": uid,
            "labels": {"app": "web", "pod-template-hash": "7d9f4c", **changes.get("labels", {})},
            "annotations": changes.get("annotations", {}),
            "ownerReferences": changes.get(
                "owners", [{"kind": "ReplicaSet", "name": "web-7d9f4c", "uid": "rs-uid", "controller": True}]
            ),
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {
            "nodeName": changes.get("node", NODE),
            "serviceAccountName": "web",
            "containers": [{"name": one, "image": f"registry.example:5000/shop/{one}:1.2"} for one in containers],
        },
        "status": {
            "phase": changes.get("phase", "Running"),
            "qosClass": "Burstable",
            "startTime": "2026-01-02T03:04:06Z",
            "podIPs": [{"ip": changes.get("ip", "10.1.2.3")}],
            "containerStatuses": [
                {
                    "name": one,
                    "containerID": f"containerd://{id}",
                    "imageID": f"registry.example:5000/shop/{one}@sha256:{'0' * 64}",
                    "restartCount": changes.get("restarts", 3),
                    "state": {"running": {}},
                }
                for one, id in containers.items()
            ],
        },
    }


def node(name: str = NODE, machine: str = MACHINE, **labels: str) -> dict[str, Any]:
    """Return a node in eu-1a."""
    return {
        "metadata": {
            "name": name,
            "uid": "7b0e4a52-8a9c-4a2a-9f59-000000000017",
            "labels": {
                "topology.kubernetes.io/region": "eu-1",
                "topology.kubernetes.io/zone": "eu-1a",
                "node.kubernetes.io/instance-type": "m5.large",
                **labels,
            },
        },
        "spec": {"providerID": "aws:///eu-1a/i-0123"},
        "status": {
            "nodeInfo": {
                "machineID": machine,
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "kernelVersion": "6.1.0-18-amd64",
                "kubeletVersion": "v1.36.3",
                "containerRuntimeVersion": "containerd://2.1.0",
            },
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "192.168.0.17"}],
        },
    }


def namespace(name: str = "prod", **labels: str) -> dict[str, Any]:
    """Return a namespace."""
    return {"metadata": {"name": name, "uid": f"ns-{name}", "labels": labels}}


def service(name: str = "web", ip: str = "10.96.0.7") -> dict[str, Any]:
    """Return a service of namespace prod."""
    return {
        "metadata": {"name": name, "namespace": "prod", "uid": f"service-{name}"},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip]},
    }


def endpoints(name: str, *uids: str) -> dict[str, Any]:
    """Return the EndpointSlice that leads from a service to pods."""
    targets = [{"kind": "Pod", "uid": uid, "name": uid, "namespace": "prod"} for uid in uids]
    return {
        "metadata": {"name": f"{name}-1", "namespace": "prod", "labels": {"kubernetes.io/service-name": name}},
        "endpoints": [{"addresses": ["10.1.2.3"], "targetRef": target} for target in targets],
    }


async def learn(cache: ClusterCache, **objects: Iterable[Mapping[str, Any]]) -> None:
    """Give a cache all objects of some kinds, through the trimming and the consumers that its watches have."""
    for kind, found in objects.items():
        feed = next(iter(cache.watches([kind])))
        await feed.consumer.listed([feed.trim(dict(one)) for one in found], "1", "")


def processor(
    root: Path, provided: Mapping[str, Any] | None = None, entities: EntityMapper | None = None, **options: Any
) -> EnrichProcessor:
    """Return a processor on a machine whose root is `root`, with the given options; `cache_of` gives what it knows."""
    context = ComponentContext(
        ComponentId("enrich"),
        Kind.PROCESSOR,
        CountingSink(),
        root,
        logging.getLogger("tapio.processors/enrich"),
        lambda point: (provided or {}) if point == "enrichers" else {},
    )
    context.entities = entities or EntityMapper(root)
    options.setdefault("kubernetes", {"enabled": False})
    return EnrichProcessor(context, EnrichConfig.model_validate(options))


def machine(root: Path) -> Path:
    """Write what a machine's root tells of it: the name node-17, a machine id, a system, a kernel; returns the root."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text(f"{MACHINE}\n")
    (root / "etc/hostname").write_text(f"{NODE}\n")
    (root / "etc/os-release").write_text('NAME="Debian GNU/Linux"\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n')
    (root / "proc/sys/kernel").mkdir(parents=True, exist_ok=True)
    (root / "proc/sys/kernel/osrelease").write_text("6.1.0-18-amd64\n")
    return root


def event(entity: EntityReference | None = None, source: str = "ebpf", type: str = "log", **attributes: Any) -> UnifiedEvent:
    """Return an event that shares nothing with others."""
    return UnifiedEvent(event_id(source, "1"), 1, source, type, entity=entity, title="it happened", attributes=attributes)


HERE = EntityReference("node", NODE, uid=MACHINE)
"""The machine of `machine`."""


async def teach(made: EnrichProcessor, **objects: Any) -> None:
    """Let a processor know these objects, and those around them that are not given."""
    around = {"nodes": [node()], "namespaces": [namespace(team="shop", other="x")], "services": [service()]}
    await learn(made._connection.cache, **{**around, "endpointslices": [endpoints("web", POD_UID)], **objects})


def of_kernel(entities: EntityMapper, path: str = CONTAINER_PATH, **attributes: Any) -> UnifiedEvent:
    """Return an event as the kernel tells it: about the container of a cgroup."""
    return event(entities.of_cgroup_path(path), **attributes)


def one(made: EnrichProcessor, given: UnifiedEvent) -> UnifiedEvent:
    """Return what a processor makes of one event."""
    [passed] = made.process([given])
    return passed


def of_origin(origin: Origin, source: str = "journald", own: Any = None) -> UnifiedEvent:
    """Return an event that shares an origin."""
    return UnifiedEvent.of_origin(origin, "id", 1, 1, source, "log", Severity.INFO, "title", "text", own or {})
