"""Names: the one table that says what an event's keys are called in OTLP.

OpenTelemetry's semantic conventions decide where they have a name (the registry); the names of the collector's
Kubernetes events receiver where they have none; `journald.*` for journal fields and `tapio.*` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

HOST_NAME: Final = "host.name"
HOST_ID: Final = "host.id"
OS_TYPE: Final = "os.type"
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SYSTEMD_UNIT_NAME: Final = "systemd.unit.name"
CONTAINER_ID: Final = "container.id"
CONTAINER_NAME: Final = "container.name"
CONTAINER_IMAGE_NAME: Final = "container.image.name"
CONTAINER_IMAGE_TAGS: Final = "container.image.tags"
CONTAINER_IMAGE_REPO_DIGESTS: Final = "container.image.repo_digests"
K8S_CONTAINER_NAME: Final = "k8s.container.name"
K8S_NAMESPACE_NAME: Final = "k8s.namespace.name"
K8S_NODE_NAME: Final = "k8s.node.name"
K8S_NODE_UID: Final = "k8s.node.uid"
K8S_POD_NAME: Final = "k8s.pod.name"
K8S_POD_UID: Final = "k8s.pod.uid"
K8S_POD_QOS_CLASS: Final = "k8s.pod.qos_class"  # the collector's name: the registry has none
PROCESS_PID: Final = "process.pid"
PROCESS_COMMAND: Final = "process.command"
PROCESS_EXECUTABLE_NAME: Final = "process.executable.name"

LOG_RECORD_UID: Final = "log.record.uid"
TAPIO_SOURCE: Final = "tapio.source"
TAPIO_TITLE: Final = "tapio.title"
TAPIO_DESCRIPTION: Final = "tapio.description"
TAPIO_PARENT_ID: Final = "tapio.parent_id"
TAPIO_ENTITY: Final = "tapio.entity."
TAPIO_LABEL: Final = "tapio.label."
TAPIO_ANNOTATION: Final = "tapio.annotation."
EVENT_NAME: Final = "tapio."
TAPIO_TYPE: Final = "tapio.type"
TAPIO_SEVERITY: Final = "tapio.severity"
CORRELATION: Final = "tapio.correlation."
CORRELATION_ID: Final = "tapio.correlation.id"
CORRELATION_ROLE: Final = "tapio.correlation.role"
EMIT_TRACE: Final = "tapio.emit_trace"
"""The attribute in which a finding that is to be exported as a trace brings its members; it is never exported itself."""

_RESERVED: Final = frozenset((LOG_RECORD_UID, TAPIO_SOURCE, TAPIO_TITLE, TAPIO_DESCRIPTION, TAPIO_PARENT_ID))
"""Names that the event's own fields have; an attribute that would take one gets another."""

TRACE_FLAGS: Final = "trace_flags"
"""The attribute that becomes the record's `flags`, not an attribute of it."""

WORKLOAD_KINDS: Final = ("deployment", "replicaset", "statefulset", "daemonset", "cronjob", "job", "replicationcontroller")
"""Kinds of Kubernetes workload, in the order in which the conventions let them name the service; they leave out the last."""


class Convention(NamedTuple):
    """Say how one key is exported: its name, whether it describes the resource, and what its value becomes."""

    name: str
    resource: bool = False
    convert: Callable[[Any], Any] | None = None


def _integer(value: Any) -> Any:
    """Return the number a text of at most 18 decimal digits stands for; anything else unchanged."""
    if isinstance(value, str) and len(value) <= 19 and value.isascii():
        digits = value[1:] if value[:1] == "-" else value
        return int(value) if digits.isdigit() and len(digits) <= 18 else value
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


_CONNECTION_STATES: Final = {
    "CLOSE": "closed",
    "FIN_WAIT1": "fin_wait_1",
    "FIN_WAIT2": "fin_wait_2",
    "SYN_RECV": "syn_received",
}
"""The kernel's names of a connection's states that are not the conventions' but for the capitals."""
_DIRECTIONS: Final = {"sent": "transmit", "received": "receive"}


QOS_CLASSES: Final = {"guaranteed": "Guaranteed", "burstable": "Burstable", "besteffort": "BestEffort"}
"""Quality of service as cgroups are named after it, and as Kubernetes writes it."""


def quality_of_service(value: Any) -> Any:
    """Return a class of quality of service as Kubernetes writes it."""
    return QOS_CLASSES.get(value.lower(), value) if isinstance(value, str) else value


def _connection_state(value: Any) -> Any:
    return _CONNECTION_STATES.get(value, value.lower()) if isinstance(value, str) else value


def _direction(value: Any) -> Any:
    return _DIRECTIONS.get(value, value) if isinstance(value, str) else value


def _of_resource(name: str, convert: Callable[[Any], Any] | None = None) -> Convention:
    return Convention(name, True, convert)


CONVENTIONS: Final[Mapping[str, Convention]] = {
    # process
    "pid": _of_resource(PROCESS_PID, _integer),
    "_PID": _of_resource(PROCESS_PID, _integer),
    "ppid": _of_resource("process.parent_pid", _integer),
    "comm": _of_resource(PROCESS_COMMAND),
    "_COMM": _of_resource(PROCESS_COMMAND),
    "process_name": _of_resource(PROCESS_EXECUTABLE_NAME),
    "exe": _of_resource("process.executable.path"),
    "_EXE": _of_resource("process.executable.path"),
    "cmdline": _of_resource("process.command_line"),
    "_CMDLINE": _of_resource("process.command_line"),
    "uid": _of_resource("process.user.id", _integer),
    "_UID": _of_resource("process.user.id", _integer),
    "_SYSTEMD_CGROUP": _of_resource("process.linux.cgroup"),
    "cgroup": Convention("process.linux.cgroup"),
    "exit_code": Convention("process.exit.code", convert=_integer),
    "tid": Convention("thread.id", convert=_integer),
    "TID": Convention("thread.id", convert=_integer),
    # host, unit, container, Kubernetes
    "_HOSTNAME": _of_resource(HOST_NAME),
    "_MACHINE_ID": _of_resource(HOST_ID),
    "unit": _of_resource(SYSTEMD_UNIT_NAME),
    "_SYSTEMD_UNIT": _of_resource(SYSTEMD_UNIT_NAME),
    "container_id": _of_resource(CONTAINER_ID),
    "CONTAINER_ID_FULL": _of_resource(CONTAINER_ID),
    "container_name": _of_resource(CONTAINER_NAME),
    "CONTAINER_NAME": _of_resource(CONTAINER_NAME),
    "container_runtime": _of_resource("container.runtime.name"),
    "image": _of_resource(CONTAINER_IMAGE_NAME),
    "IMAGE_NAME": _of_resource(CONTAINER_IMAGE_NAME),
    "pod_name": _of_resource(K8S_POD_NAME),
    "pod_uid": _of_resource(K8S_POD_UID),
    "namespace": _of_resource(K8S_NAMESPACE_NAME),
    "node_name": _of_resource(K8S_NODE_NAME),
    "qos_class": _of_resource(K8S_POD_QOS_CLASS, quality_of_service),
    # code
    "code_file": Convention("code.file.path"),
    "CODE_FILE": Convention("code.file.path"),
    "code_line": Convention("code.line.number", convert=_integer),
    "CODE_LINE": Convention("code.line.number", convert=_integer),
    "code_func": Convention("code.function.name"),
    "CODE_FUNC": Convention("code.function.name"),
    # network
    "src_ip": Convention("source.address"),
    "src_port": Convention("source.port", convert=_integer),
    "dst_ip": Convention("destination.address"),
    "dst_port": Convention("destination.port", convert=_integer),
    "protocol": Convention("network.transport", convert=_lower),
    "interface": Convention("network.interface.name"),
    "host": Convention("server.address"),
    "port": Convention("server.port", convert=_integer),
    "dns_name": Convention("dns.question.name"),
}

SOURCE_CONVENTIONS: Final[Mapping[str, Mapping[str, Convention]]] = {
    "ebpf": {
        "state": Convention("network.connection.state", convert=_connection_state),
        "direction": Convention("network.io.direction", convert=_direction),
    },
    "kubernetes": {
        "reason": Convention("k8s.event.reason"),
        "action": Convention("k8s.event.action"),
        "count": Convention("k8s.event.count", convert=_integer),
        "event_name": Convention("k8s.event.name"),
        "event_uid": Convention("k8s.event.uid"),
        "first_time": Convention("k8s.event.start_time"),
        "phase": Convention("k8s.pod.status.phase"),
        "status_reason": Convention("k8s.pod.status.reason"),
        "container_state": Convention("k8s.container.status.state"),
        "container_reason": Convention("k8s.container.status.reason"),
        "last_terminated_reason": Convention("k8s.container.status.last_terminated_reason"),
        "restart_count": Convention("k8s.container.restart_count", convert=_integer),
        "object_kind": Convention("k8s.object.kind"),
        "object_name": Convention("k8s.object.name"),
        "object_uid": Convention("k8s.object.uid"),
        "object_api_version": Convention("k8s.object.api_version"),
        "object_field_path": Convention("k8s.object.fieldpath"),
        "object_resource_version": Convention("k8s.object.resource_version"),
        "condition": Convention("k8s.node.condition.type"),
        "condition_status": Convention("k8s.node.condition.status", convert=_lower),
    },
    "correlation": {
        **{
            key: Convention(f"{CORRELATION}{key}")
            for key in ("rule", "confidence", "entities", "sources", "witnesses", "first_seen", "last_seen", "window")
        },
        **{key: Convention(f"{CORRELATION}{key}") for key in ("revision", "state", "hint", "left_out")},
        "root_cause": Convention(f"{CORRELATION}root.uid"),
        "impacts": Convention(f"{CORRELATION}impact.uids"),
        "members": Convention(f"{CORRELATION}member.uids"),
        "traces": Convention(f"{CORRELATION}trace.ids"),
        "superseded_by": Convention(f"{CORRELATION}superseded_by.id"),
    },
}
"""What a key means in events of one source only."""

_RESOURCE_PREFIXES: Final = (
    "host.",
    "os.",
    "k8s.",
    "container.",
    "service.",
    "process.",
    "cloud.",
    "deployment.",
    "systemd.unit.",
    "tapio.host.",
    "tapio.k8s.node.",
)
_NOT_RESOURCE: Final = (
    *("process.exit.", "process.linux.cgroup", "process.cpu.", "container.cpu.", "k8s.event.", "k8s.pod.status."),
    *("k8s.container.status.", "k8s.container.restart_count", "k8s.node.condition.", "k8s.namespace.phase"),
    *("k8s.service.", "k8s.hpa.", "k8s.object.", "service.peer."),
)
"""What changes during the life of what the resource describes, or is not about it: a new value must not be a new resource."""
_CHANGING: Final = (".label.", ".annotation.")
"""Parts of the names of what may change at any time of whatever Kubernetes has."""


def describes_resource(name: str) -> bool:
    """Tell whether an attribute, by its OTLP name, says what an event comes from, and not what happened there."""
    if not name.startswith(_RESOURCE_PREFIXES) or name.startswith(_NOT_RESOURCE):
        return False
    return not (name.startswith("k8s.") and any(part in name for part in _CHANGING))


@lru_cache(maxsize=8192)
def convention(key: str, source: str = "") -> Convention:
    """Return how an event's key is exported."""
    known = SOURCE_CONVENTIONS.get(source, {}).get(key) or CONVENTIONS.get(key)
    if known is not None:
        return known
    if key in _RESERVED or f"tapio.{key}" in _RESERVED:
        return Convention(f"tapio.attribute.{key}")
    if "." in key:
        return Convention(key, describes_resource(key))
    if key.isupper():
        return Convention(f"journald.{key.lower()}")
    return Convention(f"tapio.{key}")


def attribute_name(key: str, source: str = "") -> str:
    """Return the OTLP attribute name of an event's key."""
    return convention(key, source).name


def workload_name_key(kind: str) -> str:
    """Return the attribute that names a workload of this kind (`Deployment`), or an empty text for an unknown kind."""
    kind = kind.lower()
    return f"k8s.{kind}.name" if kind in WORKLOAD_KINDS else ""


def workload_uid_key(kind: str) -> str:
    """Return the attribute that holds the UID of a workload of this kind, or an empty text for an unknown kind."""
    kind = kind.lower()
    return f"k8s.{kind}.uid" if kind in WORKLOAD_KINDS else ""
