"""The table of names, checked against OpenTelemetry's registry."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from opentelemetry.semconv._incubating import attributes as registry
from opentelemetry.semconv._incubating.attributes import k8s_attributes, network_attributes

from tapio_otel.otlp.semconv import (
    CONVENTIONS,
    SOURCE_CONVENTIONS,
    WORKLOAD_KINDS,
    attribute_name,
    convention,
    quality_of_service,
    workload_name_key,
    workload_uid_key,
)
from tapio_otel.receivers.ebpf.records import STATES

OWN = {"systemd.unit.name", "k8s.pod.qos_class"}
"""Names of ours, by the design, or of the collector, for what the registry has no name for."""
EVENTS = {
    *(f"k8s.event.{one}" for one in ("reason", "action", "count", "name", "uid", "start_time")),
    *(f"k8s.object.{one}" for one in ("kind", "name", "uid", "api_version", "fieldpath", "resource_version")),
}
"""Names of the collector's receiver of Kubernetes events."""


def registered() -> set[str]:
    """Return every attribute name in OpenTelemetry's registry."""
    modules = (importlib.import_module(f"{registry.__name__}.{one.name}") for one in pkgutil.iter_modules(registry.__path__))
    return {value for module in modules for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}


def test_the_table_uses_names_of_the_registry():
    """A misspelt or invented name would be found here."""
    assert {one.name for one in CONVENTIONS.values()} - registered() <= OWN


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("pid", "process.pid"),
        ("comm", "process.command"),
        ("src_ip", "source.address"),
        ("protocol", "network.transport"),
        ("CODE_FILE", "code.file.path"),
        ("_TRANSPORT", "journald._transport"),
        ("_BOOT_ID", "journald._boot_id"),
        ("REQUEST_ID", "journald.request_id"),
        ("http.response.status_code", "http.response.status_code"),
        ("throttle_ratio", "tapio.throttle_ratio"),
        ("reason", "tapio.reason"),
        ("", "tapio."),
        ("source", "tapio.attribute.source"),
        ("log.record.uid", "tapio.attribute.log.record.uid"),
    ],
)
def test_every_key_has_one_name(key, name):
    """Table, journal field, dotted name, or tapio's; never a name that the event's own fields have."""
    assert attribute_name(key) == name


def test_a_source_may_give_a_key_another_meaning():
    """Kubernetes events have a reason with a name of its own."""
    assert attribute_name("reason", "kubernetes") == "k8s.event.reason"


@pytest.mark.parametrize(
    ("key", "is_resource"),
    [
        *(("pid", True), ("_HOSTNAME", True), ("k8s.pod.name", True), ("cloud.region", True), ("service.version", True)),
        *(("src_ip", False), ("k8s.pod.label.app", False), ("process.exit.code", False), ("k8s.event.reason", False)),
        *(("tid", False), ("http.route", False), ("k8s.container.restart_count", False)),
        *(("k8s.deployment.name", True), ("k8s.pod.start_time", True), ("k8s.pod.ip", True), ("k8s.cluster.uid", True)),
        *(("container.image.tags", True), ("host.type", True), ("service.instance.id", True), ("qos_class", True)),
        *(("k8s.pod.status.phase", False), ("k8s.node.label.zone", False), ("k8s.deployment.annotation.a", False)),
        *(("k8s.container.status.state", False), ("k8s.service.name", False), ("service.peer.name", False)),
        *(("k8s.namespace.phase", False), ("container.label.com.docker.compose.project", True)),
    ],
)
def test_what_describes_the_resource_is_known(key, is_resource):
    """What stays with the process or pod, and not what one event says of it."""
    assert convention(key).resource is is_resource


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        *(("pid", "42", 42), ("CODE_LINE", "-7", -7), ("pid", "4x", "4x"), ("pid", "", ""), ("pid", 4, 4), ("pid", "٣", "٣")),
        *(("pid", "9" * 19, "9" * 19), ("pid", None, None), ("protocol", "TCP", "tcp"), ("protocol", 6, 6)),
    ],
)
def test_values_take_the_conventions_type(key, value, expected):
    """Numbers that came as text become numbers; what is none stays as it is."""
    convert = convention(key).convert
    assert convert is not None
    assert convert(value) == expected
    assert type(convert(value)) is type(expected)


def test_kernel_events_use_names_of_the_registry():
    """Connection states and directions have conventions; what the kernel measured of memory and CPU has none."""
    assert {one.name for one in SOURCE_CONVENTIONS["ebpf"].values()} <= registered()
    assert attribute_name("state", "ebpf") == "network.connection.state"
    assert attribute_name("direction", "ebpf") == "network.io.direction"
    assert attribute_name("state", "systemd") == "tapio.state"
    assert attribute_name("memory_limit", "ebpf") == "tapio.memory_limit"
    assert convention("uid", "ebpf").resource
    assert not convention("socket_uid", "ebpf").resource


def test_states_of_kubernetes_use_names_of_the_registry():
    """What the receiver tells of containers, pods and nodes; of events, the collector's names."""
    assert {one.name for one in SOURCE_CONVENTIONS["kubernetes"].values()} - EVENTS <= registered()
    assert not any(one.resource for one in SOURCE_CONVENTIONS["kubernetes"].values())
    convert = convention("condition_status", "kubernetes").convert
    assert convert is not None
    known = {one.value for one in k8s_attributes.K8sNodeConditionStatusValues}
    assert {convert(one) for one in ("True", "False", "Unknown")} == known
    assert [convert(one) for one in ("", "odd", None, ["True"])] == ["", "odd", None, ["True"]]


@pytest.mark.parametrize(
    ("value", "expected"), [("burstable", "Burstable"), ("BestEffort", "BestEffort"), ("odd", "odd"), (3, 3)]
)
def test_the_class_of_quality_of_service_is_written_as_kubernetes_does(value, expected):
    """Cgroups have it in lower case."""
    assert quality_of_service(value) == expected


@pytest.mark.parametrize("kind", WORKLOAD_KINDS)
def test_every_kind_of_workload_has_a_name_and_a_uid_in_the_registry(kind):
    """Whatever the capitals of the kind are."""
    assert {workload_name_key(kind.upper()), workload_uid_key(kind.title())} <= registered()
    assert (workload_name_key("Rollout"), workload_uid_key("Rollout")) == ("", "")


def test_every_connection_state_is_the_conventions():
    """Whatever state the kernel tells, its exported value is one of the registry's."""
    convert = convention("state", "ebpf").convert
    assert convert is not None
    known = {one.value for one in network_attributes.NetworkConnectionStateValues}
    assert {convert(name) for name in STATES.values() if name} <= known
    assert convert(7) == 7


@pytest.mark.parametrize(("value", "expected"), [("sent", "transmit"), ("received", "receive"), ("odd", "odd"), (None, None)])
def test_directions_are_the_conventions(value, expected):
    """Anything else stays as it is."""
    convert = convention("direction", "ebpf").convert
    assert convert is not None
    assert convert(value) == expected
