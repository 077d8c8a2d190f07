"""Objects of Kubernetes for scenarios, in the form that the API gives them: made from a few words, changed step by step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from tapio_otel.cli.scenarios.form import EventStep, KnownPod, NodeStep, PodStep

_KINDS: Final = {
    "deployment": ("apps/v1", "Deployment"),
    "statefulset": ("apps/v1", "StatefulSet"),
    "daemonset": ("apps/v1", "DaemonSet"),
    "replicaset": ("apps/v1", "ReplicaSet"),
    "job": ("batch/v1", "Job"),
    "cronjob": ("batch/v1", "CronJob"),
    "pod": ("v1", "Pod"),
    "node": ("v1", "Node"),
    "service": ("v1", "Service"),
}
_BEFORE: Final = "2025-12-31T08:00:00Z"
_HASH: Final = "5d4f7c9b8"
Object = dict[str, Any]


def time_text(at: int) -> str:
    """Return nanoseconds since 1970 as the API writes times: to the second."""
    return datetime.fromtimestamp(at // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def uid_of(*parts: str) -> str:
    """Return the UID of what has a name."""
    digits = sha256("/".join(parts).encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def container_id(pod: str, container: str, run: int) -> str:
    """Return the id of one run of a container."""
    return sha256(f"{pod}/{container}#{run}".encode()).hexdigest()


def new_pod(known: KnownPod, created: str = _BEFORE) -> Object:
    """Return a pod whose containers run."""
    namespace, name = known.name.split("/")
    conditions = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": "True", "Ready": "True"}
    made: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid_of("pod", known.name),
            "resourceVersion": "1",
            "creationTimestamp": created,
            "labels": {
                "app": name.split("-")[0],
                **({"pod-template-hash": _HASH} if known.owner.startswith("deployment") else {}),
            },
            "ownerReferences": _owners(known.owner, namespace),
        },
        "spec": {"nodeName": known.node, "containers": [{"name": one, "image": known.image} for one in known.containers]},
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "startTime": created,
            "podIP": known.ip,
            "podIPs": [{"ip": known.ip}] if known.ip else [],
            "conditions": [
                {"type": one, "status": status, "lastTransitionTime": created} for one, status in conditions.items()
            ],
            "containerStatuses": [_running(known, one) for one in known.containers],
        },
    }
    return made


def _running(known: KnownPod, container: str) -> Object:
    return {
        "name": container,
        "state": {"running": {"startedAt": _BEFORE}},
        "lastState": {},
        "ready": True,
        "started": True,
        "restartCount": 0,
        "image": known.image,
        "imageID": "",
        "containerID": f"cri-o://{container_id(known.name, container, 0)}",
    }


def _owners(owner: str, namespace: str) -> list[Object]:
    if not owner:
        return []
    kind, name = owner.split("/")
    if kind == "deployment":
        kind, name = "replicaset", f"{name}-{_HASH}"
    version, written = _KINDS[kind]
    uid = uid_of(kind, namespace, name)
    return [{"apiVersion": version, "kind": written, "name": name, "uid": uid, "controller": True}]


def change_pod(before: Object, step: PodStep, at: int, version: int) -> Object:
    """Return the next version of a pod."""
    status = before["status"]
    statuses = [dict(one) for one in status["containerStatuses"]]
    chosen = next((one for one in statuses if one["name"] == (step.container or statuses[0]["name"])), None)
    if chosen is None:
        raise ValueError(f"the pod {step.name} has no container {step.container!r}")
    _change_container(chosen, step, time_text(at))
    metadata = {**before["metadata"], "resourceVersion": str(version)}
    if step.terminating:
        metadata["deletionTimestamp"] = time_text(at + 30_000_000_000)
    words = {"phase": step.phase, "reason": step.reason, "message": step.message}
    conditions = [_condition(one, step, time_text(at)) for one in status["conditions"]]
    told = {key: value for key, value in words.items() if value}
    return {
        **before,
        "metadata": metadata,
        "status": {**status, **told, "containerStatuses": statuses, "conditions": conditions},
    }


def _condition(before: Object, step: PodStep, now: str) -> Object:
    status = step.conditions.get(before["type"], before["status"])
    if status == before["status"]:
        return before
    reason = {"reason": "ContainersNotReady"} if status == "False" and before["type"] != "PodScheduled" else {}
    return {"type": before["type"], "status": status, "lastTransitionTime": now, **reason}


def _change_container(status: Object, step: PodStep, now: str) -> None:
    if step.terminated is not None:
        end = {"startedAt": _BEFORE, "finishedAt": now, "containerID": status["containerID"], **step.terminated}
        status |= {"state": {"terminated": end}, "ready": False, "started": False}
    if step.waiting is not None:
        last = {"terminated": status["state"]["terminated"]} if "terminated" in status["state"] else status["lastState"]
        status |= {"state": {"waiting": step.waiting}, "lastState": last, "ready": False, "started": False}
    if step.restarted:
        run = status["restartCount"] + 1
        last = {"terminated": status["state"]["terminated"]} if "terminated" in status["state"] else status["lastState"]
        identity = f"cri-o://{container_id(step.name, status['name'], run)}"
        running = {"running": {"startedAt": now}}
        status |= {"state": running, "lastState": last, "restartCount": run, "containerID": identity, "started": True}


def new_node(name: str, machine: str) -> Object:
    """Return a node that is well."""
    well = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": uid_of("node", name),
            "resourceVersion": "1",
            "creationTimestamp": _BEFORE,
            "labels": {},
        },
        "spec": {"taints": []},
        "status": {
            "nodeInfo": {"machineID": machine, "osImage": "", "operatingSystem": "linux", "architecture": "amd64"},
            "addresses": [{"type": "Hostname", "address": name}],
            "conditions": [{"type": one, "status": status, "lastTransitionTime": _BEFORE} for one, status in well.items()],
        },
    }


def change_node(before: Object, step: NodeStep, at: int, version: int) -> Object:
    """Return the next version of a node."""
    now = time_text(at)
    known = {one["type"]: one for one in before["status"]["conditions"]}
    for name, told in step.conditions.items():
        known[name] = {"type": name, "lastTransitionTime": now, **told}
    earlier = {f"{one['key']}:{one['effect']}": one for one in before["spec"]["taints"]}
    taints = []
    for written in step.taints:
        key, effect = written.rsplit(":", 1)
        taints.append(earlier.get(written) or {"key": key, "effect": effect, "timeAdded": now})
    metadata = {**before["metadata"], "resourceVersion": str(version)}
    status = {**before["status"], "conditions": list(known.values())}
    return {**before, "metadata": metadata, "spec": {"taints": taints}, "status": status}


def new_event(step: EventStep, nodes: Mapping[str, str], at: int, version: int) -> Object:
    """Return an event of core/v1; `nodes` are those of pods, by `namespace/name`."""
    kind, *rest = step.about.split("/")
    api, written = _KINDS.get(kind, ("v1", kind.capitalize()))
    namespace, name = (rest[0], rest[1]) if len(rest) > 1 else ("", rest[0])
    uid = name if kind == "node" else uid_of(kind, *filter(None, (namespace,)), name)
    if kind == "pod":
        uid = uid_of("pod", f"{namespace}/{name}")
    host = nodes.get(f"{namespace}/{name}", name if kind == "node" else "")
    field = {"fieldPath": f"spec.containers{{{rest[2]}}}"} if len(rest) > 2 else {}
    where = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name}.{version:x}",
            "namespace": namespace or "default",
            "uid": uid_of("event", step.about, step.reason, str(version)),
            "resourceVersion": str(version),
            "creationTimestamp": time_text(at),
        },
        "involvedObject": {"apiVersion": api, "kind": written, "name": name, "uid": uid, **where, **field},
        "reason": step.reason,
        "message": step.message,
        "type": step.type,
        "count": step.count,
        "firstTimestamp": time_text(at),
        "lastTimestamp": time_text(at),
        "source": {"component": step.component, **({"host": host} if host and step.component == "kubelet" else {})},
        "reportingComponent": step.component,
    }


def new_service(name: str, address: str) -> Object:
    """Return a service."""
    namespace, own = name.split("/")
    metadata = {"name": own, "namespace": namespace, "uid": uid_of("service", name), "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address]}}


def new_endpoints(name: str, pods: list[KnownPod]) -> Object:
    """Return the EndpointSlice that leads from a service, `namespace/name`, to pods."""
    namespace, own = name.split("/")
    labels = {"kubernetes.io/service-name": own}
    targets = [
        {"kind": "Pod", "uid": uid_of("pod", one.name), "name": one.name.split("/")[1], "namespace": namespace} for one in pods
    ]
    ends = [{"addresses": [one.ip or "10.0.0.1"], "targetRef": target} for one, target in zip(pods, targets, strict=True)]
    return {
        "metadata": {"name": f"{own}-1", "namespace": namespace, "resourceVersion": "1", "labels": labels},
        "endpoints": ends,
    }
