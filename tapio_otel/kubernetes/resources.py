"""Kinds of objects that the API knows, where they are found, and which of them are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Resource:
    """Name a kind of object as the API does: `v1`/`pods`/`Pod`, `apps/v1`/`replicasets`/`ReplicaSet`."""

    group_version: str
    plural: str
    kind: str
    namespaced: bool = True
    parts: tuple[str, ...] = ("spec", "status")
    """What its objects hold besides apiVersion, kind and metadata; none to have all of it."""

    @property
    def group(self) -> str:
        """Return the API group as RBAC rules name it: empty for the core group."""
        return self.group_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path of the collection, in one namespace or in all, or of the named object in it."""
        root = f"/apis/{self.group_version}" if "/" in self.group_version else f"/api/{self.group_version}"
        where = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{where}/{self.plural}" + (f"/{name}" if name else "")

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(slots=True)
class Selection:
    """Say which objects of a resource are wanted; the server does the selecting."""

    namespaces: tuple[str, ...] = ()
    """Each is listed and watched by itself; empty for all at once."""
    field_selector: str = ""
    label_selector: str = ""


PODS: Final = Resource("v1", "pods", "Pod")
NODES: Final = Resource("v1", "nodes", "Node", namespaced=False)
NAMESPACES: Final = Resource("v1", "namespaces", "Namespace", namespaced=False)
SERVICES: Final = Resource("v1", "services", "Service")
ENDPOINT_SLICES: Final = Resource(
    "discovery.k8s.io/v1", "endpointslices", "EndpointSlice", parts=("addressType", "endpoints", "ports")
)
_OF_BOTH_EVENTS: Final = ("action", "eventTime", "reason", "related", "reportingInstance", "series", "type")
EVENTS: Final = Resource(
    "events.k8s.io/v1",
    "events",
    "Event",
    parts=(
        *_OF_BOTH_EVENTS,
        *("deprecatedCount", "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedSource"),
        *("note", "regarding", "reportingController"),
    ),
)
CORE_EVENTS: Final = Resource(
    "v1",
    "events",
    "Event",
    parts=(
        *_OF_BOTH_EVENTS,
        *("count", "firstTimestamp", "involvedObject", "lastTimestamp", "message", "reportingComponent", "source"),
    ),
)
LEASES: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")
CONFIG_MAPS: Final = Resource("v1", "configmaps", "ConfigMap", parts=("data", "binaryData", "immutable"))
REPLICA_SETS: Final = Resource("apps/v1", "replicasets", "ReplicaSet")
DEPLOYMENTS: Final = Resource("apps/v1", "deployments", "Deployment")
STATEFUL_SETS: Final = Resource("apps/v1", "statefulsets", "StatefulSet")
DAEMON_SETS: Final = Resource("apps/v1", "daemonsets", "DaemonSet")
JOBS: Final = Resource("batch/v1", "jobs", "Job")
CRON_JOBS: Final = Resource("batch/v1", "cronjobs", "CronJob")
