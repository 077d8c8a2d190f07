"""Lineage keys: what an event is about and what it failed to reach, in terms that join the sources."""

from __future__ import annotations

from hypothesis import given

from tapio_otel.correlation.address_book import AddressBook
from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.facts import Facts, Witness
from tapio_otel.correlation.keys import RANKS
from tapio_otel.correlation.lineage import keys_of, targets_of
from tapio_otel.event import EntityReference, Origin, UnifiedEvent
from tests.correlation.incidents import happening
from tests.strategies import events

NODE = EntityReference("node", "n1", uid="m" * 32)
CONTAINER = "c" * 64
POD_UID = "12345678-1234-1234-1234-123456789012"
_SLICES = "/kubepods.slice/kubepods-burstable.slice"
CGROUP = f"{_SLICES}/kubepods-burstable-pod{POD_UID.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope"


def about(entity, **attributes):
    """Return the keys of an event about an entity."""
    event = happening(0, "journald", "log", **attributes)
    event.entity = entity
    return keys_of(event)


def test_kernel_runtime_and_cluster_name_one_container_alike():
    """A process with its cgroup, a container by its id, and a pod's container share the container and the pod."""
    kernel = about(EntityReference("process", "java", uid="process-42-7", parent=NODE), cgroup=CGROUP, pid=42)
    pod = EntityReference("pod", "db-0", "prod", POD_UID, EntityReference("statefulset", "db", "prod", parent=NODE))
    cluster = about(EntityReference("container", "db", "prod", CONTAINER, pod))
    shared = {("container", CONTAINER), ("pod", POD_UID), ("node", "n1")}
    assert shared <= set(kernel) & set(cluster)
    assert ("process", 42, "n1") in kernel
    assert {("owner", "prod", "statefulset", "db"), ("pod_name", "prod", "db-0"), ("namespace", "prod")} <= set(cluster)


def test_a_unit_is_known_with_its_machine_its_run_and_its_cgroup():
    """What exists once on each machine has the machine in its key."""
    unit = EntityReference(
        "systemd_unit", "a.service", parent=NODE, attributes={"invocation_id": "i1", "cgroup": "/system.slice/a.service"}
    )
    assert about(unit) == (
        ("invocation", "i1"),
        ("cgroup", "/system.slice/a.service", "n1"),
        ("unit", "a.service", "n1"),
        ("node", "n1"),
    )
    assert ("unit", "a.service", "n1") in about(NODE, cgroup="/system.slice/a.service")


def test_the_unit_that_runs_a_container_is_not_what_its_log_is_about():
    """All containers of Docker share docker.service, and none of them is it."""
    docker = EntityReference("systemd_unit", "docker.service", parent=NODE)
    assert ("unit", "docker.service", "n1") not in about(EntityReference("container", "web", uid=CONTAINER, parent=docker))


def test_a_users_unit_is_not_its_service_manager():
    """Two units of one user share nothing but the node."""
    manager = EntityReference("systemd_unit", "user@1000.service", parent=NODE)
    one, other = (
        about(EntityReference("systemd_unit", name, uid=f"user@1000.service/{name}", parent=manager))
        for name in ("a.service", "b.service")
    )
    assert set(one) & set(other) == {("node", "n1")}


def test_what_pid_one_writes_is_about_no_process():
    """It speaks of its units."""
    assert not [key for key in about(NODE, pid=1) if key[0] == "process"]


def test_keys_are_remembered_with_the_origin_and_own_attributes_still_count():
    """The second event of an origin with an attribute of its own has that key as well."""
    origin = Origin(EntityReference("systemd_unit", "a.service", parent=NODE), {"comm": "a"})
    plain, own = (
        UnifiedEvent.of_origin(origin, str(n), 0, 0, "journald", "log", happening(0, "a", "log").severity, "", "", told)
        for n, told in enumerate(({}, {"pid": 5}))
    )
    assert keys_of(plain) is keys_of(plain)
    assert set(keys_of(own)) - set(keys_of(plain)) == {("process", 5, "n1")}


def test_targets_are_addresses_services_and_pods():
    """In the terms of what owns them."""
    assert targets_of(happening(0, "ebpf", "tcp_retransmit", dst_ip="10.0.0.1", dst_port=80)) == (
        ("address", "10.0.0.1", 80),
        ("address", "10.0.0.1"),
    )
    assert targets_of(happening(0, "ebpf", "tcp_retransmit", dst_ip="::ffff:10.0.0.1"))[0] == ("address", "10.0.0.1")
    assert targets_of(happening(0, "journald", "connection_failed", host="localhost", port=80)) == (
        ("address", "loopback@node", 80),
    )
    assert targets_of(happening(0, "journald", "connection_failed", host="db.prod.svc.cluster.local", port=5432)) == (
        ("service", "prod", "db"),
    )
    assert targets_of(happening(0, "journald", "connection_failed", "pod/prod/web", host="db")) == (("service", "prod", "db"),)
    assert ("pod_name", "prod", "db-0") in targets_of(happening(0, "journald", "connection_failed", host="db-0.db.prod.svc"))
    assert targets_of(happening(0, "journald", "connection_failed", host="api.example.com", port=443))[0][0] == "address"
    assert targets_of(
        happening(0, "ebpf", "tcp_reset", direction="received", src_ip="10.0.0.1", src_port=80, dst_ip="10.0.0.2")
    )[0] == (
        "address",
        "10.0.0.1",
        80,
    )


def test_a_refusal_by_the_kernel_teaches_no_address():
    """Nobody listens: whoever happened to run is not the address's owner."""
    book = AddressBook()
    refusal = happening(0, "ebpf", "tcp_reset", direction="sent", reason="NO_SOCKET", src_ip="127.0.0.1", src_port=80)
    book.observe(keys_of(refusal))
    assert len(book) == 0


def test_the_address_book_is_bounded():
    """The oldest addresses are forgotten."""
    book = AddressBook(limit=10)
    for number in range(100):
        book.learn(("address", str(number)), (("unit", "a", "n"),))
    assert len(book) <= 10


@given(events())
def test_any_event_has_keys_in_the_order_of_ranks(event):
    """Whatever is in it: each key once, hashable, nearest first."""
    keys = keys_of(event)
    assert len(set(keys)) == len(keys)
    assert [RANKS.index(key[0]) for key in keys] == sorted(RANKS.index(key[0]) for key in keys)
    assert isinstance(hash(targets_of(event)), int)


def test_facts_of_other_namespaces_with_equal_names_are_two():
    """`web-0` of prod and `web-0` of test."""
    facts = Facts(100)
    prod, test = (
        happening(0, source, "oom_kill", f"pod/{space}/web-0") for source, space in (("ebpf", "prod"), ("journald", "test"))
    )
    one, _ = facts.place(CLASSES["oom"], Witness(prod, keys_of(prod)), ())
    other, is_new = facts.place(CLASSES["oom"], Witness(test, keys_of(test)), ())
    assert is_new
    assert one is not other
