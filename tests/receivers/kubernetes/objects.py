"""Objects in the form that the API gives them, as kubelets, schedulers and controllers write them."""

from __future__ import annotations

from typing import Any

POD_UID = "0b5d9e06-5f7b-4b0a-9d5e-5f8f0c8d9a01"
NODE_UID = "6f1c1f0e-3a5b-4a3e-8a53-0d9d4f1c2b03"
EVENT_UID = "c5c8a0c2-86a1-4b0c-8cf5-9f5d2d1b7e02"
FIRST_ID = "5f2c9e0d" * 8
SECOND_ID = "9a1b3c4d" * 8


def condition(type: str, status: str, changed: str = "2026-11-23T12:00:00Z", reason: str = "", message: str = "") -> Any:
    """Return a condition of a pod or a node."""
    found = {"type": type, "status": status, "lastTransitionTime": changed, "lastHeartbeatTime": "2026-11-23T13:00:00Z"}
    return found | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def running(restarts: int = 0, id: str = FIRST_ID, started: str = "2026-11-23T12:00:05Z", **more: Any) -> Any:
    """Return the status of a container that runs."""
    state = {"running": {"startedAt": started}}
    return container(state, restarts, id, ready=True, **more)


def container(
    state: Any, restarts: int = 0, id: str = FIRST_ID, name: str = "app", ready: bool = False, last: Any = None
) -> Any:
    """Return the status of a container."""
    return {
        "name": name,
        "state": state,
        "lastState": {"terminated": last} if last else {},
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "image": "registry.example/app:1",
        "imageID": "registry.example/app@sha256:" + "0" * 64,
        "containerID": f"containerd://{id}" if id else "",
    }


def ended(code: int, reason: str, id: str = FIRST_ID, finished: str = "2026-11-23T12:10:00Z", **more: Any) -> Any:
    """Return how a container ended."""
    return {
        "exitCode": code,
        "reason": reason,
        "startedAt": "2026-11-23T12:00:05Z",
        "finishedAt": finished,
        "containerID": f"containerd://{id}",
        **more,
    }


def pod(
    version: int = 100, phase: str = "Running", containers: Any = (), conditions: Any = (), **status: Any
) -> dict[str, Any]:
    """Return a pod of a Deployment."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f7", "uid": "rs-uid", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-5d4f7-abcde",
            "namespace": "prod",
            "uid": POD_UID,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-23T11:59:58Z",
            "labels": {"app": "web", "pod-template-hash": "5d4f7"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": "node-17", "containers": [{"name": "app", "image": "registry.example/app:1"}]},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": list(containers), **status},
    }


def node(version: int = 100, conditions: Any = (), taints: Any = ()) -> dict[str, Any]:
    """Return a node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "node-17",
            "uid": NODE_UID,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-01T00:00:00Z",
        },
        "spec": {"taints": list(taints)},
        "status": {"conditions": list(conditions)},
    }


def event(version: int = 200, **more: Any) -> dict[str, Any]:
    """Return an event of events.k8s.io/v1 as a kubelet's recorder (client-go's older one) makes it."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": "web-5d4f7-abcde.17a1",
            "namespace": "prod",
            "uid": EVENT_UID,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-23T12:10:01Z",
        },
        "eventTime": None,
        "reason": "BackOff",
        "note": "Back-off restarting failed container app in pod web-5d4f7-abcde_prod(0b5d9e06)",
        "type": "Warning",
        "reportingController": "kubelet",
        "reportingInstance": "node-17",
        "deprecatedSource": {"component": "kubelet", "host": "node-17"},
        "deprecatedFirstTimestamp": "2026-11-23T12:10:01Z",
        "deprecatedLastTimestamp": "2026-11-23T12:14:01Z",
        "deprecatedCount": 7,
        "regarding": {
            "kind": "Pod",
            "namespace": "prod",
            "name": "web-5d4f7-abcde",
            "uid": POD_UID,
            "apiVersion": "v1",
            "resourceVersion": "90",
            "fieldPath": "spec.containers{app}",
        },
        **more,
    }


def core_event(version: int = 200) -> dict[str, Any]:
    """Return the same event as core/v1 shows it."""
    newer = event(version)
    renamed = {
        "regarding": "involvedObject",
        "note": "message",
        "deprecatedSource": "source",
        "deprecatedFirstTimestamp": "firstTimestamp",
        "deprecatedLastTimestamp": "lastTimestamp",
        "deprecatedCount": "count",
        "reportingController": "reportingComponent",
    }
    return {renamed.get(key, key): value for key, value in newer.items()} | {"apiVersion": "v1"}
