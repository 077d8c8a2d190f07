"""The mapper: containers, pods, units and processes with their lineage, from whichever fact there is."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.entities import EntityMapper, FirstKnown
from tapio_otel.entities.process import read_process
from tapio_otel.entity import EntityReference, this_node
from tapio_otel.normalizers.journald import entity_of
from tests.entities.test_cgroup_path import BURSTABLE, ID, OTHER, POD_SLICE, UID, USER
from tests.entities.trees import MOUNT, RealCgroups, make_hybrid, make_process, make_unified

OTHER_UID = f"{UID[:-1]}2"
SCOPE = f"{BURSTABLE}/cri-containerd-{ID}.scope"
NODE = this_node()
POD = EntityReference("pod", UID, uid=UID, parent=NODE, attributes={"qos": "burstable"})
CONTAINER = EntityReference("container", ID[:12], uid=ID, parent=POD, attributes={"runtime": "containerd"})
SERVICE = EntityReference("systemd_unit", "web.service", parent=NODE, attributes={"slice": "system.slice"})


class Names:
    """Know one pod and one container by name."""

    def __init__(self) -> None:
        self.version = 1
        self.known_pod = EntityReference("pod", "api-7d9f", "shop", UID, NODE)
        self.known_container = EntityReference("container", "api", "shop", ID, self.known_pod)

    def container(self, container_id: str) -> EntityReference | None:
        return self.known_container if container_id == ID else None

    def pod(self, uid: str) -> EntityReference | None:
        return self.known_pod if uid == UID else None


@pytest.fixture
def mapper(tmp_path: Path) -> EntityMapper:
    """Give a test a mapper of a host with cgroup v2 and no processes."""
    make_unified(tmp_path)
    return EntityMapper(tmp_path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (SCOPE, CONTAINER),
        (f"{SCOPE}/init.scope", CONTAINER),
        (f"{BURSTABLE}/crio-conmon-{OTHER}.scope", POD),
        (BURSTABLE, POD),
        (f"/../../pod{UID}", EntityReference("pod", UID, parent=NODE)),
        (f"/docker/{ID}", EntityReference("container", ID[:12], uid=ID, parent=NODE, attributes={"runtime": "docker"})),
        (f"/actions_job/{ID}", EntityReference("container", ID[:12], uid=ID, parent=NODE)),
        ("/system.slice/web.service", SERVICE),
        ("/system.slice/web.service/worker", SERVICE),
        ("/init.scope", EntityReference("systemd_unit", "init.scope", parent=NODE, attributes={"slice": "-.slice"})),
        ("/", None),
        ("", None),
        ("/system.slice", None),
        ("/kubepods/burstable", None),
        ("/lxc/web", None),
    ],
)
def test_a_path_belongs_to_a_container_a_pod_or_a_unit(
    mapper: EntityMapper, path: str, expected: EntityReference | None
) -> None:
    """Containers lie in their pod, everything on the node; the root and bare slices belong to nobody."""
    assert mapper.of_cgroup_path(path) == expected


def test_equal_things_are_the_same_object(mapper: EntityMapper) -> None:
    """Whichever path, pid or unit led there."""
    container = mapper.of_cgroup_path(SCOPE)
    assert mapper.of_cgroup_path(str(SCOPE.encode(), "ascii")) is container
    assert mapper.of_cgroup_path(f"{SCOPE}/below") is container
    assert mapper.of_pid(1, 2, "java", SCOPE) is container
    assert container is not None
    scope = mapper.of_unit(f"cri-containerd-{ID}.scope", SCOPE)
    assert scope.parent is container
    assert container.parent is mapper.of_cgroup_path(BURSTABLE)
    assert container.lineage()[2] is mapper.node
    service = mapper.of_cgroup_path("/system.slice/web.service")
    assert service is not None
    assert mapper.of_unit("web.service", "/system.slice/web.service") is service
    assert mapper.of_unit("web.service") is service
    assert mapper.of_pid(1, 2, "web") is mapper.of_pid(1, 2, "web")


def test_what_is_known_already_is_not_unlearned(mapper: EntityMapper) -> None:
    """A path that tells less gives what a better one told."""
    container = mapper.of_cgroup_path(SCOPE)
    assert mapper.of_cgroup_path(f"/../cri-containerd-{ID}.scope") is container
    assert mapper.of_cgroup_path(f"/../{ID}") is container
    assert mapper.of_unit(f"cri-containerd-{ID}.scope").parent is container
    assert mapper.of_cgroup_path(f"/../../pod{UID}") is mapper.of_cgroup_path(BURSTABLE)


def test_what_becomes_known_later_replaces_what_was_known(mapper: EntityMapper) -> None:
    """First seen from inside of its pod, then from outside."""
    assert mapper.of_cgroup_path(f"/../{ID}") == EntityReference("container", ID[:12], uid=ID, parent=NODE)
    assert mapper.of_cgroup_path(f"/../../pod{UID}") == EntityReference("pod", UID, parent=NODE)
    assert mapper.of_cgroup_path(SCOPE) == CONTAINER


def test_names_that_become_known_are_used_at_once(mapper: EntityMapper) -> None:
    """Whoever knows names says with a version that they came or changed."""
    mapper.of_cgroup_path(SCOPE)
    names = Names()
    mapper.names = names
    assert mapper.of_cgroup_path(SCOPE) is names.known_container
    assert mapper.of_cgroup_path(BURSTABLE) is names.known_pod
    assert mapper.of_unit(f"cri-containerd-{ID}.scope", SCOPE).parent is names.known_container
    assert mapper.of_unit(POD_SLICE, BURSTABLE).parent is names.known_pod
    assert mapper.of_pid(1, cgroup_path=SCOPE) is names.known_container
    pause = mapper.of_cgroup_path(f"{BURSTABLE}/cri-containerd-{OTHER}.scope")
    assert pause is not None
    assert (pause.uid, pause.parent) == (OTHER, names.known_pod)
    assert mapper.of_cgroup_path(f"/docker/{'9' * 64}") == EntityReference(
        "container", "9" * 12, uid="9" * 64, parent=NODE, attributes={"runtime": "docker"}
    )
    renamed = names.known_pod = EntityReference("pod", "api-8e0a", "shop", UID, NODE)
    names.version += 1
    pause = mapper.of_cgroup_path(f"{BURSTABLE}/cri-containerd-{OTHER}.scope")
    assert pause is not None
    assert pause.parent is renamed


def test_names_known_to_several_are_asked_of_the_first_first() -> None:
    """What the first does not know, the next may; whichever changes, the version does."""
    names, others = Names(), Names()
    both = FirstKnown(names, others)
    assert both.pod(UID) is names.known_pod
    assert both.container(ID) is names.known_container
    assert FirstKnown(FirstKnown(), others).pod(UID) is others.known_pod
    assert FirstKnown(FirstKnown(), others).container(ID) is others.known_container
    assert both.pod(OTHER_UID) is None
    assert both.container(OTHER) is None
    before = both.version
    others.version += 1
    assert both.version > before


def test_other_names_replace_those_known_before(mapper: EntityMapper) -> None:
    """Even if their versions are equal; without names, ids are all there is."""
    names, others = Names(), Names()
    mapper.names = names
    assert mapper.of_cgroup_path(SCOPE) is names.known_container
    mapper.names = others
    assert mapper.names is others
    assert mapper.of_cgroup_path(SCOPE) is others.known_container
    mapper.names = None
    assert mapper.of_cgroup_path(SCOPE) == CONTAINER


def test_a_process_that_has_gone_is_found_where_it_was_seen(tmp_path: Path, mapper: EntityMapper) -> None:
    """If that was a container of a pod, which processes do not leave; by pid and start only."""
    make_process(tmp_path, 7, f"0::{SCOPE}\n")
    make_process(tmp_path, 8, "0::/system.slice/web.service\n")
    for pid in (7, 8):
        assert mapper.of_pid(pid, 4711).type != "process"
        shutil.rmtree(tmp_path / f"proc/{pid}")
    assert mapper.of_pid(7, 4711) == CONTAINER
    assert mapper.of_pid(8, 4711).type == "process"
    assert mapper.of_pid(7, 4712).type == "process"
    assert mapper.of_pid(7).type == "process"


@pytest.mark.parametrize(
    ("unit", "control_group", "expected"),
    [
        ("web.service", "/system.slice/web.service", SERVICE),
        ("web.service", "", EntityReference("systemd_unit", "web.service", parent=NODE)),
        (
            f"docker-{ID}.scope",
            "",
            EntityReference(
                "systemd_unit",
                f"docker-{ID}.scope",
                parent=EntityReference("container", ID[:12], uid=ID, parent=NODE, attributes={"runtime": "docker"}),
            ),
        ),
        (
            f"cri-containerd-{ID}.scope",
            SCOPE,
            EntityReference("systemd_unit", f"cri-containerd-{ID}.scope", parent=CONTAINER, attributes={"slice": POD_SLICE}),
        ),
        (f"crio-conmon-{ID}.scope", "", EntityReference("systemd_unit", f"crio-conmon-{ID}.scope", parent=NODE)),
        (
            f"crio-conmon-{ID}.scope",
            f"{BURSTABLE}/crio-conmon-{ID}.scope",
            EntityReference("systemd_unit", f"crio-conmon-{ID}.scope", parent=POD, attributes={"slice": POD_SLICE}),
        ),
        (POD_SLICE, "", EntityReference("systemd_unit", POD_SLICE, parent=POD)),
        (
            POD_SLICE,
            BURSTABLE,
            EntityReference("systemd_unit", POD_SLICE, parent=POD, attributes={"slice": "kubepods-burstable.slice"}),
        ),
        (
            "system.slice",
            "/system.slice",
            EntityReference("systemd_unit", "system.slice", parent=NODE, attributes={"slice": "-.slice"}),
        ),
        ("-.slice", "/", EntityReference("systemd_unit", "-.slice", parent=NODE)),
        ("backup.timer", "", EntityReference("systemd_unit", "backup.timer", parent=NODE)),
        (
            "user@1000.service",
            USER,
            EntityReference("systemd_unit", "user@1000.service", parent=NODE, attributes={"slice": "user-1000.slice"}),
        ),
        ("", "", EntityReference("systemd_unit", "", parent=NODE)),
    ],
)
def test_a_unit_lies_in_the_container_or_pod_it_was_made_for(
    mapper: EntityMapper, unit: str, control_group: str, expected: EntityReference
) -> None:
    """By its cgroup, else by its name; else it lies on the node."""
    assert mapper.of_unit(unit, control_group) == expected


def test_a_users_unit_lies_in_that_users_service_manager(mapper: EntityMapper) -> None:
    """Its uid holds both, as every user has units of the same names."""
    manager = EntityReference("systemd_unit", "user@1000.service", parent=NODE)
    uid = "user@1000.service/foo.service"
    expected = EntityReference("systemd_unit", "foo.service", uid=uid, parent=manager, attributes={"slice": "app.slice"})
    path = f"{USER}/app.slice/foo.service"
    assert mapper.of_cgroup_path(path) == expected
    assert mapper.of_unit("foo.service", path, "1000") == expected
    assert mapper.of_unit("foo.service", path) == expected
    assert mapper.of_unit("foo.service", user="1000") == expected
    assert mapper.of_unit("foo.service", user="7").uid == "user@7.service/foo.service"
    assert mapper.of_unit("foo.service").uid == "foo.service"


def test_a_users_container_is_the_parent_of_its_scope(mapper: EntityMapper) -> None:
    """As a system's is."""
    scope = mapper.of_unit(f"libpod-{ID}.scope", f"{USER}/user.slice/libpod-{ID}.scope", "1000")
    assert scope.uid == f"user@1000.service/libpod-{ID}.scope"
    assert [one.type for one in scope.lineage()] == ["systemd_unit", "container", "node"]


@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("/system.slice/web.service", {"_SYSTEMD_UNIT": "web.service", "_SYSTEMD_SLICE": "system.slice"}),
        (
            f"{USER}/app.slice/foo.service",
            {
                "_SYSTEMD_UNIT": "user@1000.service",
                "_SYSTEMD_USER_UNIT": "foo.service",
                "_SYSTEMD_SLICE": "user-1000.slice",
                "_SYSTEMD_USER_SLICE": "app.slice",
            },
        ),
        (
            f"{USER}/init.scope",
            {"_SYSTEMD_UNIT": "user@1000.service", "_SYSTEMD_USER_UNIT": "init.scope", "_SYSTEMD_USER_SLICE": "-.slice"},
        ),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            {"_SYSTEMD_UNIT": "session-3.scope", "_SYSTEMD_SLICE": "user-1000.slice"},
        ),
        ("/init.scope", {"_SYSTEMD_UNIT": "init.scope", "_SYSTEMD_SLICE": "-.slice"}),
    ],
)
def test_a_unit_is_the_same_as_the_journals(mapper: EntityMapper, path: str, record: dict[str, str]) -> None:
    """So that events of both join: type, uid and name of it and of its parents, and even its attributes."""
    host = {"_HOSTNAME": NODE.name, "_MACHINE_ID": NODE.uid}
    assert mapper.of_cgroup_path(path) == entity_of({**record, **host})


def test_a_process_is_the_same_as_the_journals(mapper: EntityMapper) -> None:
    """By pid and start."""
    record = {"_PID": "42", "_COMM": "java", "process_start": "4711", "_HOSTNAME": NODE.name, "_MACHINE_ID": NODE.uid}
    assert mapper.of_pid(42, 4711, "java") == entity_of(record)


def test_a_process_belongs_to_what_its_cgroup_tells(tmp_path: Path, mapper: EntityMapper) -> None:
    """Whether it is told or read."""
    make_process(tmp_path, 7, f"0::{SCOPE}\n")
    make_process(tmp_path, 8, "0::/system.slice/web.service\n")
    make_process(tmp_path, 9, "0::/\n", comm="kthreadd")
    assert mapper.of_pid(7) == CONTAINER
    assert mapper.of_pid(8, 4711) == SERVICE
    assert mapper.of_pid(9) == EntityReference("process", "kthreadd", uid="process-9-4711", parent=NODE)
    assert mapper.of_pid(9, cgroup_path=SCOPE) == CONTAINER
    assert mapper.of_pid(9, cgroup_path="/system.slice/web.service") == SERVICE
    assert mapper.of_pid(8, cgroup_path="/") == SERVICE


def test_a_pid_given_to_another_process_is_not_asked(tmp_path: Path, mapper: EntityMapper) -> None:
    """The start tells; what the kernel told of the first is still true."""
    make_process(tmp_path, 7, f"0::{SCOPE}\n", start=4711)
    assert mapper.of_pid(7, 4000, "java") == EntityReference("process", "java", uid="process-7-4000", parent=NODE)
    assert mapper.of_pid(7, 4000, "java", "/system.slice/web.service") == SERVICE
    assert mapper.of_pid(7, 4711) == CONTAINER


@pytest.mark.parametrize(
    ("start", "comm", "name", "uid"),
    [
        (9, "java", "java", "process-3-9"),
        (9, "", "pid-3", "process-3-9"),
        (None, "", "pid-3", "process-3"),
        (0, "a", "a", "process-3-0"),
    ],
)
def test_a_process_that_has_gone_is_named_by_what_was_told(
    mapper: EntityMapper, start: int | None, comm: str, name: str, uid: str
) -> None:
    """The race with its end may always be lost."""
    assert mapper.of_pid(3, start, comm) == EntityReference("process", name, uid=uid, parent=NODE)


def test_the_hierarchy_that_tells_most_is_taken(tmp_path: Path) -> None:
    """With version 1, the service manager's own may tell only which service started the container."""
    make_hybrid(tmp_path)
    mapper = EntityMapper(tmp_path)
    unit = "/system.slice/containerd.service"
    container = f"/kubepods/burstable/pod{UID}/{ID}"
    make_process(tmp_path, 1, f"5:name=systemd:{unit}\n4:memory:{container}\n3:cpu:/kubepods/burstable/pod{UID}\n0::{unit}\n")
    make_process(
        tmp_path, 2, f"5:name=systemd:/\n4:memory:/system.slice/web.service\n3:cpu:/kubepods/burstable/pod{UID}\n0::/\n"
    )
    make_process(tmp_path, 3, "5:name=systemd:/system.slice/web.service\n4:memory:/system.slice\n0::/\n")
    make_process(tmp_path, 4, "5:name=systemd:/\n4:memory:/system.slice/web.service\n0::/\n")
    make_process(tmp_path, 5, f"5:name=systemd:{unit}\n4:memory:/system.slice/web.service\n0::{unit}\n")
    assert mapper.of_pid(1).uid == ID
    assert mapper.of_pid(1, cgroup_path=unit).uid == ID
    assert mapper.of_pid(2).uid == UID
    assert [mapper.of_pid(pid).name for pid in (3, 4, 5)] == ["web.service", "web.service", "containerd.service"]
    assert mapper.of_pid(5, cgroup_path="/system.slice/web.service").name == "web.service"


def test_cgroups_seen_from_a_private_namespace_are_understood(tmp_path: Path, mapper: EntityMapper) -> None:
    """As in an agent's own container, with the host's /proc."""
    make_process(tmp_path, 7, f"0::/../../{POD_SLICE}/cri-containerd-{ID}.scope\n")
    make_process(tmp_path, 8, "0::/../../../../system.slice/web.service\n")
    assert mapper.of_pid(7) == CONTAINER
    assert mapper.of_pid(8) == SERVICE


def test_a_cgroup_id_leads_to_the_entity(tmp_path: Path, mapper: EntityMapper) -> None:
    """Found in the tree, or told by the kernel."""
    directory = tmp_path / f"sys/fs/cgroup{SCOPE}"
    directory.mkdir(parents=True)
    mapper.refresh()
    gone = directory.stat().st_ino
    assert mapper.cgroup_path(gone) == SCOPE
    assert mapper.cgroup_path(1 << 60) is None
    mapper.learn_cgroup(1 << 60, "/told")
    assert mapper.cgroup_path(1 << 60) == "/told"
    directory.rmdir()
    mapper.refresh()
    assert mapper.cgroup_path(gone) == SCOPE


def test_the_node_is_the_host_even_in_a_container(tmp_path: Path) -> None:
    """The host's own name and machine id, where its root is mounted; else what this machine says."""
    assert EntityMapper().node is this_node()
    assert EntityMapper(tmp_path).node is this_node()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("b" * 32 + "\n")
    assert EntityMapper(tmp_path).node == EntityReference("node", NODE.name, uid="b" * 32)
    (tmp_path / "etc/hostname").write_text("worker-1\n")
    assert EntityMapper(tmp_path).node == EntityReference("node", "worker-1", uid="b" * 32)


def test_creating_a_mapper_reads_nothing(tmp_path: Path) -> None:
    """The directory need not even be there; what is asked is answered as far as possible."""
    mapper = EntityMapper(tmp_path / "none")
    assert mapper.of_cgroup_path(SCOPE) == CONTAINER
    assert mapper.cgroup_path(1) is None
    assert mapper.of_pid(1).uid == "process-1"


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=8), st.integers())
def test_anything_told_gives_an_entity_on_the_node(unit: str, path: str, user: str, pid: int) -> None:
    """Nothing raises, whatever the kernel or systemd say."""
    mapper = EntityMapper(Path("/nonexistent"))
    for entity in (mapper.of_unit(unit, path, user), mapper.of_pid(pid, pid, unit, path), mapper.of_cgroup_path(path)):
        assert entity is None or entity.lineage()[-1] is mapper.node


def test_a_real_process_belongs_to_its_real_cgroup(real_cgroups: RealCgroups) -> None:
    """In a path like a pod's, in every hierarchy, looked up by pid and by every id; and after its end."""
    below = f"kubepods/burstable/pod{UID}/{ID}"
    process = real_cgroups.start(below)
    facts = read_process(process.pid)
    assert facts is not None
    path = f"/{real_cgroups.name}/{below}"
    mapper = EntityMapper()
    assert path in facts.cgroup_paths
    expected = EntityReference("container", ID[:12], uid=ID, parent=POD)
    assert mapper.of_pid(process.pid, facts.start_ticks) == expected
    assert mapper.of_pid(process.pid) is mapper.of_cgroup_path(path)
    for hierarchy, directory in real_cgroups.make(below).items():
        controller = "unified" if hierarchy in {MOUNT, MOUNT / "unified"} else hierarchy.name
        assert mapper.cgroup_path(directory.stat().st_ino, controller) == path
    process.kill()
    process.wait()
    assert mapper.of_pid(process.pid, facts.start_ticks, facts.comm) == expected
    assert mapper.of_pid(process.pid, facts.start_ticks + 1).uid == f"process-{process.pid}-{facts.start_ticks + 1}"
    assert EntityMapper().of_pid(process.pid, facts.start_ticks).uid == f"process-{process.pid}-{facts.start_ticks}"
    assert mapper.of_pid(process.pid, facts.start_ticks, facts.comm, path) == expected


def test_real_paths_in_a_private_cgroup_namespace_are_understood(tmp_path: Path, real_cgroups: RealCgroups) -> None:
    """What an agent in a pod of its own reads of itself, of its pod's other container, and of other pods."""
    agent = real_cgroups.start(f"kubepods/burstable/pod{UID}/{ID}", "unshare", "--cgroup", "sleep", "60")
    beside = real_cgroups.start(f"kubepods/burstable/pod{UID}/{OTHER}")
    other = real_cgroups.start(f"kubepods/besteffort/pod{OTHER_UID}/{'9' * 64}")
    until = time.monotonic() + 20
    while Path(f"/proc/{agent.pid}/ns/cgroup").readlink() == Path("/proc/self/ns/cgroup").readlink():
        assert time.monotonic() < until
        time.sleep(0.01)
    for number, process in enumerate((agent, beside, other)):
        read = ["nsenter", f"--target={agent.pid}", "--cgroup", "cat", f"/proc/{process.pid}/cgroup"]
        make_process(tmp_path, number, subprocess.run(read, capture_output=True, text=True, check=True).stdout)
    mapper = EntityMapper(tmp_path)
    assert mapper.of_pid(0).type == "process"  # at its root, it does not see where it is itself
    assert (mapper.of_pid(1).type, mapper.of_pid(1).uid) == ("container", OTHER)
    found = mapper.of_pid(2)
    assert (found.uid, found.parent and found.parent.attributes["qos"]) == ("9" * 64, "besteffort")
