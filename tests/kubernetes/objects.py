"""Objects as they are sent to the API, and where they are: what controllers and kubelets write in a real cluster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

NODES = "/api/v1/nodes"
_NUMBERS = itertools.count(1)


def pods(namespace: str) -> str:
    """Return the path of the pods of a namespace."""
    return f"/api/v1/namespaces/{namespace}/pods"


def events(namespace: str) -> str:
    """Return the path of the events of a namespace."""
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"


def services(namespace: str) -> str:
    """Return the path of the services of a namespace."""
    return f"/api/v1/namespaces/{namespace}/services"


def slices(namespace: str) -> str:
    """Return the path of the EndpointSlices of a namespace."""
    return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"


def now() -> str:
    """Return the time as the API writes it in most fields."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_now() -> str:
    """Return the time as the API writes it in the times of events."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def node(name: str, ready: str = "True", **more: Any) -> dict[str, Any]:
    """Return a node with the condition Ready."""
    labels = {
        "kubernetes.io/hostname": name,
        "topology.kubernetes.io/zone": "zone-a",
        "topology.kubernetes.io/region": "region-1",
    }
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": f"aws:///zone-a/i-{name}"},
        "status": {"conditions": [condition("Ready", ready, "KubeletReady")], "nodeInfo": NODE_INFO},
        **more,
    }


NODE_INFO = {
    "machineID": "0" * 32,
    "systemUUID": "00000000-0000-0000-0000-000000000000",
    "bootID": "00000000-0000-0000-0000-000000000000",
    "kernelVersion": "6.1.0",
    "osImage": "Debian GNU/Linux 12",
    "containerRuntimeVersion": "containerd://2.0.0",
    "kubeletVersion": "v1.36.3",
    "kubeProxyVersion": "v1.36.3",
    "operatingSystem": "linux",
    "architecture": "amd64",
}


def condition(kind: str, status: str, reason: str = "Test", message: str = "") -> dict[str, str]:
    """Return a condition of a pod or node that has changed now."""
    return {"type": kind, "status": status, "lastTransitionTime": now(), "reason": reason, "message": message}


def pod(name: str, node_name: str, deployment: str = "", phase: str = "Running", **more: Any) -> dict[str, Any]:
    """Return a pod with a container `app`; that of a Deployment has its ReplicaSet as its owner."""
    labels, owners = {"app": name}, []
    if deployment:
        labels = {"app": deployment, "pod-template-hash": "7d9f"}
        uid = str(uuid5(NAMESPACE_DNS, deployment))
        owners = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{deployment}-7d9f", "uid": uid, "controller": True}]
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": owners},
        "spec": {
            "nodeName": node_name,
            "containers": [{"name": "app", "image": "registry.example.com/shop/app:1.2", **RESOURCES}],
        },
        "status": {"phase": phase, "qosClass": "Burstable", "podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]},
        **more,
    }


RESOURCES = {"resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "30Mi"}}}


def container(id: str, restarts: int = 0, state: Mapping[str, Any] | None = None, last: Any = None) -> dict[str, Any]:
    """Return the status of the container `app`."""
    return {
        "name": "app",
        "image": "registry.example.com/shop/app:1.2",
        "imageID": "registry.example.com/shop/app@sha256:" + "1" * 64,
        "containerID": f"containerd://{id}",
        "ready": state is None,
        "restartCount": restarts,
        "state": dict(state) if state else {"running": {"startedAt": now()}},
        "lastState": last or {},
    }


def event(name: str, regarding: Mapping[str, Any] | None = None, namespace: str = "default", **more: Any) -> dict[str, Any]:
    """Return an event of the newer form, about an object of the API or a pod nobody knows."""
    about = {"kind": "Pod", "namespace": namespace, "name": "nobody", "uid": "bbbbbbbb-0000-4000-8000-000000000001"}
    if regarding is not None:
        metadata = regarding["metadata"]
        about = {"kind": regarding.get("kind", "Pod"), "name": metadata["name"], "uid": metadata["uid"]}
        about |= {"namespace": metadata["namespace"]} if "namespace" in metadata else {}
    return {
        "metadata": {"name": name},
        "eventTime": micro_now(),
        "reason": "BackOff",
        "action": "Restarting",
        "type": "Warning",
        "note": f"note of {name}",
        "reportingController": "test/kubelet",
        "reportingInstance": "node-17",
        "regarding": about,
        **more,
    }


def service(name: str, app: str) -> dict[str, Any]:
    """Return a service that selects the pods of an app."""
    return {"metadata": {"name": name}, "spec": {"selector": {"app": app}, "ports": [{"port": 80}]}}


def endpoint_slice(service_name: str, *members: Mapping[str, Any]) -> dict[str, Any]:
    """Return an EndpointSlice of a service that leads to pods of the API."""
    return {
        "metadata": {"name": f"{service_name}-{next(_NUMBERS)}", "labels": {"kubernetes.io/service-name": service_name}},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [
            {
                "addresses": [f"10.244.1.{at + 1}"],
                "conditions": {"ready": True},
                "targetRef": {
                    "kind": "Pod",
                    "namespace": one["metadata"]["namespace"],
                    "name": one["metadata"]["name"],
                    "uid": one["metadata"]["uid"],
                },
            }
            for at, one in enumerate(members)
        ],
    }


def unique(prefix: str) -> str:
    """Return a name that no other test uses."""
    return f"{prefix}-{next(_NUMBERS)}-{time.monotonic_ns() % 100_000}"
