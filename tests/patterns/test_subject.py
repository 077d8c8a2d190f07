"""Subjects: what a text is about, told only by those who may, and never a process that is somebody else by now."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.event import Origin, Severity, UnifiedEvent
from tapio_otel.patterns import SubjectRule, Subjects, make_subject
from tests.patterns.library_files import pattern

NODE = EntityReference("node", "n1", uid="m1")
UNIT = EntityReference("systemd_unit", "shop.service", parent=NODE)
POD_UID = "0e1f2a3b-4c5d-6e7f-8091-a2b3c4d5e6f7"
CONTAINER_ID = "4f" * 32
CONTAINER = EntityReference(
    "container", "shop", uid=CONTAINER_ID, parent=EntityReference("pod", "shop-0", "default", POD_UID, NODE)
)
KERNEL = {"_TRANSPORT": "kernel", "_BOOT_ID": "b1", "SYSLOG_IDENTIFIER": "kernel"}
ROOT = {"_TRANSPORT": "syslog", "_UID": "0", "_PID": "811", "_BOOT_ID": "b1", "_SYSTEMD_UNIT": "reporter.service"}
USER = {"_TRANSPORT": "stdout", "_UID": "1000", "_PID": "900", "_BOOT_ID": "b1", "_SYSTEMD_UNIT": "shop.service"}
CGROUP = f"/kubepods/burstable/pod{POD_UID}/{CONTAINER_ID}"


def event(record: dict[str, str], entity: EntityReference = NODE, at: int = 1_000_000_000) -> UnifiedEvent:
    """Return an event of the journal by this writer."""
    origin = Origin(entity, record={name: value.encode() for name, value in record.items()})
    return UnifiedEvent.of_origin(origin, "id", at, at, "journald", "log", Severity.INFO, "t", "t", {})


def made(type: str, groups: dict[str, str], of: UnifiedEvent, entities: EntityMapper | None = None, **more: str):
    """Return the subject by a rule whose group has the rule's name."""
    one = pattern("x", entity=SubjectRule(type, type, **more))
    return make_subject(one, groups, of, entities or EntityMapper(Path("/nonexistent")))


def test_a_process_that_is_no_more_is_named_by_pid_and_boot():
    """The same pid of another boot is another process; the node of the event is its parent."""
    found = made("process", {"process": "4242", "comm": "java"}, event(KERNEL), name="comm")
    assert found == EntityReference("process", "java", uid="process-4242-b1", parent=NODE)
    assert made("process", {"process": "4242"}, event(KERNEL)).name == "pid-4242"


def test_without_any_field_the_pid_alone_has_to_do():
    """For lines that come from no journal."""
    plain = UnifiedEvent("id", 1, "test", entity=NODE)
    assert made("process", {"process": "7"}, plain).uid == "process-7"


@pytest.mark.parametrize("pid", ["", "0", "x", "٣", "99999999999", "4194305"])
def test_what_is_no_pid_names_no_process(pid):
    """Nothing is better than something wrong."""
    assert made("process", {"process": pid}, event(KERNEL)) is None


def this_boot() -> str:
    """Return the boot id as the journal writes it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


def test_a_living_process_is_looked_up_for_those_who_may():
    """Its start is then part of its identity, or its cgroup says what it belongs to."""
    entities = EntityMapper()
    kernel, user = ({**record, "_BOOT_ID": this_boot()} for record in (KERNEL, USER))
    me, now = {"process": str(os.getpid())}, time.time_ns()
    assert made("process", me, event(kernel, at=now), entities) == entities.of_pid(os.getpid())
    assert made("process", me, event(user, at=now), entities).uid == f"process-{os.getpid()}-{this_boot()}"


def test_a_pid_that_went_to_another_process_is_not_blamed():
    """One that began after the event, one of another name, and one of another boot."""
    entities = EntityMapper()
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            kernel, pid, now = {**KERNEL, "_BOOT_ID": this_boot()}, str(child.pid), time.time_ns()
            gone = f"process-{pid}-{this_boot()}"
            assert made("process", {"process": pid}, event(kernel, at=now - 60 * 10**9), entities).uid == gone
            assert made("process", {"process": pid, "comm": "java"}, event(kernel, at=now), entities, name="comm").uid == gone
            assert made("process", {"process": pid}, event(KERNEL, at=now), entities).uid == f"process-{pid}-b1"
        finally:
            child.kill()


def test_a_container_s_pids_are_not_the_node_s():
    """What it says stays about itself, whatever it says."""
    inside = event(ROOT, CONTAINER)
    for type, value in [
        ("process", "1"),
        ("unit", "a.service"),
        ("container", "ab" * 32),
        ("interface", "eth0"),
        ("mount", "/"),
    ]:
        assert made(type, {type: value}, inside) is None


def test_a_user_s_process_belongs_to_the_user_s_unit():
    """Root reports on others; the processes of a unit of its own are its own."""
    assert made("process", {"process": "7"}, event(USER, UNIT)).parent is UNIT
    reporter = EntityReference("systemd_unit", "reporter.service", parent=NODE)
    assert made("process", {"process": "7"}, event(ROOT, reporter)).parent is NODE
    assert made("process", {"process": "7"}, event(ROOT, UNIT)).parent is UNIT


def test_only_root_may_speak_of_other_units():
    """And PID 1's own word on a unit keeps what the event knows of it."""
    found = made("unit", {"unit": "a.service"}, event(ROOT))
    assert found == EntityReference("systemd_unit", "a.service", parent=NODE)
    assert made("unit", {"unit": "a.service"}, event(USER, UNIT)) is None
    assert made("unit", {"unit": "a.service"}, event({**ROOT, "_SYSTEMD_USER_UNIT": "b.service"})) is None
    assert made("unit", {"unit": "shop.service"}, event(ROOT, UNIT)) is None


def test_a_unit_of_this_node_is_the_mapper_s():
    """So that everything about it meets."""
    entities = EntityMapper()
    assert made("unit", {"unit": "a.service"}, event(ROOT, entities.node), entities) is entities.of_unit("a.service")


def test_containers_and_pods_are_named_by_what_the_text_has():
    """A pod's name may have its namespace before it; the container's id may have its runtime."""
    found = made("container", {"container": f"containerd://{CONTAINER_ID}"}, event(ROOT))
    assert (found.name, found.uid, found.parent) == (CONTAINER_ID[:12], CONTAINER_ID, NODE)
    found = made("pod", {"pod": "shop-0", "space": "default", "id": POD_UID}, event(ROOT), namespace="space", uid="id")
    assert (found.name, found.namespace, found.uid) == ("shop-0", "default", POD_UID)
    found = made("pod", {"pod": "kube-system/dns-1"}, event(ROOT))
    assert (found.name, found.namespace) == ("dns-1", "kube-system")


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        ("interface", "eth0", EntityReference("network_interface", "eth0", parent=NODE)),
        ("device", "/dev/sda1", EntityReference("device", "sda1", parent=NODE)),
        ("mount", "/var/lib", EntityReference("mount", "/var/lib", parent=NODE)),
    ],
)
def test_parts_of_the_node_are_below_it(type, value, expected):
    """Interfaces, devices and mounts, by their names."""
    assert made(type, {type: value}, event(KERNEL)) == expected


def test_a_missing_group_names_nothing():
    """The entity of the event stays."""
    assert made("unit", {}, event(ROOT)) is None
    assert made("unit", {"unit": " "}, event(ROOT)) is None


CHOSEN = pattern("x", name="chosen", entity=SubjectRule("cgroup", "cgroup"))
KILLED = pattern("x", name="killed", entity=SubjectRule("process", "pid", "comm"))
SECOND = 1_000_000_000


def oom(entities: EntityMapper, later: int = SECOND, pid: str = "4242", killer: dict[str, str] = KERNEL, kill=KILLED):
    """Return the subject of a kill that the kernel told the cgroup of a while before."""
    subjects = Subjects(entities)
    subjects.of(CHOSEN, {"cgroup": CGROUP, "pid": "4242"}, event(KERNEL, entities.node, 10 * SECOND))
    return subjects.of(kill, {"pid": pid, "comm": "java"}, event(killer, entities.node, 10 * SECOND + later))


def test_a_killed_process_is_blamed_on_the_cgroup_that_was_told_before():
    """The kernel names the victim's cgroup, then kills it: nobody could look the pid up any more."""
    entities = EntityMapper()
    assert oom(entities) is entities.of_cgroup_path(CGROUP)
    assert oom(entities).type == "container"


@pytest.mark.parametrize(
    "changed",
    [{"later": 6 * SECOND}, {"later": -SECOND}, {"pid": "4243"}, {"killer": {**KERNEL, "_BOOT_ID": "b2"}}, {"killer": USER}],
)
def test_what_was_told_long_ago_or_of_another_is_not_believed(changed):
    """Another pid, boot or writer, more than five seconds, or a clock that went back."""
    assert oom(EntityMapper(), **changed).type == "process"


def test_kernels_before_5_0_name_the_cgroup_without_the_pid():
    """Then the kill that follows is meant, but no other message about a process."""
    entities = EntityMapper()
    subjects = Subjects(entities)
    limit = replace(CHOSEN, event_type="container_oom")
    kill = replace(KILLED, event_type="container_oom")
    subjects.of(limit, {"cgroup": CGROUP}, event(KERNEL, entities.node))
    assert subjects.of(kill, {"pid": "7"}, event(KERNEL, entities.node)).type == "container"
    assert subjects.of(KILLED, {"pid": "7"}, event(KERNEL, entities.node)).type == "process"
