"""Cgroup paths: every form that container runtimes, kubelets and systemd give them, and whatever else may come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.entities import Workload, parse_cgroup_path

UID = "6cf4b5a2-93d4-4c83-8f0e-0f3a5f6c1a11"
UID_ = UID.replace("-", "_")
STATIC = "0123456789abcdef" * 2
ID = "c0ffee" + "5" * 58
OTHER = "ab" * 32
BURSTABLE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice"
POD_SLICE = f"kubepods-burstable-pod{UID_}.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"
KIND = f"/docker/{OTHER}/kubelet/kubepods"
KIND2 = f"/system.slice/docker-{OTHER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"


def scope(name: str, **more: str) -> dict[str, str]:
    """Return what a container's scope below the pod's slice tells."""
    return {"pod_uid": UID, "qos": "burstable", "unit": name, "slice": POD_SLICE, **more}


CONTAINERS = [
    # cgroup v2 and the systemd driver
    (f"{BURSTABLE}/cri-containerd-{ID}.scope", scope(f"cri-containerd-{ID}.scope", container_id=ID, runtime="containerd")),
    (f"{BURSTABLE}/crio-{ID}.scope", scope(f"crio-{ID}.scope", container_id=ID, runtime="cri-o")),
    (f"{BURSTABLE}/docker-{ID}.scope", scope(f"docker-{ID}.scope", container_id=ID, runtime="docker")),
    (f"{BURSTABLE}/libpod-{ID}.scope", scope(f"libpod-{ID}.scope", container_id=ID, runtime="podman")),
    # cgroups below a container's: crun's, those of a systemd inside, those it makes itself
    (f"{BURSTABLE}/crio-{ID}.scope/container", scope(f"crio-{ID}.scope", container_id=ID, runtime="cri-o")),
    (
        f"{BURSTABLE}/cri-containerd-{ID}.scope/system.slice/nginx.service",
        scope(f"cri-containerd-{ID}.scope", container_id=ID, runtime="containerd"),
    ),
    (f"{BURSTABLE}/cri-containerd-{ID}.scope/x/y", scope(f"cri-containerd-{ID}.scope", container_id=ID, runtime="containerd")),
    # what watches a container belongs to the pod
    (f"{BURSTABLE}/crio-conmon-{ID}.scope", scope(f"crio-conmon-{ID}.scope")),
    (BURSTABLE, {"pod_uid": UID, "qos": "burstable", "slice": POD_SLICE}),
    (f"{BURSTABLE}/", {"pod_uid": UID, "qos": "burstable", "slice": POD_SLICE}),
    # levels of quality of service
    (
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice",
        {"pod_uid": UID, "qos": "besteffort", "slice": f"kubepods-besteffort-pod{UID_}.slice"},
    ),
    (
        f"/kubepods.slice/kubepods-pod{UID_}.slice",
        {"pod_uid": UID, "qos": "guaranteed", "slice": f"kubepods-pod{UID_}.slice"},
    ),
    (f"/kubepods/burstable/pod{UID}", {"pod_uid": UID, "qos": "burstable"}),
    (f"/kubepods/besteffort/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "besteffort"}),
    (f"/kubepods/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "guaranteed"}),
    # the cgroupfs driver
    (f"/kubepods/burstable/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "burstable"}),
    (f"/kubepods/burstable/pod{UID}/{ID}/system.slice", {"container_id": ID, "pod_uid": UID, "qos": "burstable"}),
    (f"/kubepods/burstable/pod{UID}/crio-{ID}", {"container_id": ID, "runtime": "cri-o", "pod_uid": UID, "qos": "burstable"}),
    (f"/kubepods/burstable/pod{UID}/crio-conmon-{ID}", {"pod_uid": UID, "qos": "burstable"}),
    # static pods
    (f"/kubepods/burstable/pod{STATIC}/{ID}", {"container_id": ID, "pod_uid": STATIC, "qos": "burstable"}),
    (
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice",
        {"pod_uid": STATIC, "qos": "burstable", "slice": f"kubepods-burstable-pod{STATIC}.slice"},
    ),
    # cgroup v1, containerd and docker where the parent is a slice but the driver cgroupfs
    (
        f"/system.slice/containerd.service/{POD_SLICE}:cri-containerd:{ID}",
        {
            "container_id": ID,
            "runtime": "containerd",
            "pod_uid": UID,
            "qos": "burstable",
            "unit": "containerd.service",
            "slice": "system.slice",
        },
    ),
    (f"/{POD_SLICE}:cri-containerd:{ID}", {"container_id": ID, "runtime": "containerd", "pod_uid": UID, "qos": "burstable"}),
    (f"/{POD_SLICE}:crio-conmon:{ID}", {"pod_uid": UID, "qos": "burstable"}),
    (f"/system.slice:docker:{ID}", {"container_id": ID, "runtime": "docker"}),
    (f"/system.slice:other:{ID}", {"container_id": ID}),
    # docker
    (f"/docker/{ID}", {"container_id": ID, "runtime": "docker"}),
    (f"/docker/{ID}/init.scope", {"container_id": ID, "runtime": "docker"}),
    (f"/actions_job/{ID}", {"container_id": ID}),
    (
        f"/system.slice/docker-{ID}.scope",
        {"container_id": ID, "runtime": "docker", "unit": f"docker-{ID}.scope", "slice": "system.slice"},
    ),
    # podman, as root, for a user, in a pod of podman's, below the service that started it
    (
        f"/machine.slice/libpod-{ID}.scope/container",
        {"container_id": ID, "runtime": "podman", "unit": f"libpod-{ID}.scope", "slice": "machine.slice"},
    ),
    (f"/machine.slice/libpod-conmon-{ID}.scope", {"unit": f"libpod-conmon-{ID}.scope", "slice": "machine.slice"}),
    (
        f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope",
        {
            "container_id": ID,
            "runtime": "podman",
            "unit": f"libpod-{ID}.scope",
            "slice": f"machine-libpod_pod_{OTHER}.slice",
        },
    ),
    (f"/libpod_parent/libpod-{ID}", {"container_id": ID, "runtime": "podman"}),
    (f"/libpod_parent/{OTHER}", {}),
    (f"/libpod_parent/{OTHER}/libpod-{ID}", {"container_id": ID, "runtime": "podman"}),
    (
        f"{USER}/user.slice/libpod-{ID}.scope/container",
        {
            "container_id": ID,
            "runtime": "podman",
            "unit": "user@1000.service",
            "user_unit": f"libpod-{ID}.scope",
            "slice": "user.slice",
        },
    ),
    (
        f"/system.slice/web.service/libpod-payload-{ID}",
        {"container_id": ID, "runtime": "podman", "unit": "web.service", "slice": "system.slice"},
    ),
    # nodes that are containers: the innermost counts
    (f"{KIND}/burstable/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "burstable"}),
    (f"{KIND}/burstable/pod{UID}", {"pod_uid": UID, "qos": "burstable"}),
    (f"{KIND}/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "guaranteed"}),
    (f"/docker/{OTHER}/kubelet", {"container_id": OTHER, "runtime": "docker"}),
    (
        f"{KIND2}/kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
        {
            "container_id": ID,
            "runtime": "containerd",
            "pod_uid": UID,
            "qos": "burstable",
            "unit": f"docker-{OTHER}.scope",
            "slice": "system.slice",
        },
    ),
    (
        f"/kubepods/burstable/pod{UID}/{OTHER}/docker/{ID}",
        {"container_id": ID, "runtime": "docker", "pod_uid": UID, "qos": "burstable"},
    ),
    # seen from a private cgroup namespace
    (
        f"/../../{POD_SLICE}/cri-containerd-{ID}.scope",
        scope(f"cri-containerd-{ID}.scope", container_id=ID, runtime="containerd"),
    ),
    (f"/../cri-containerd-{ID}.scope", {"container_id": ID, "runtime": "containerd", "unit": f"cri-containerd-{ID}.scope"}),
    (f"/../../pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID}),
    (f"/../../../burstable/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "burstable"}),
    (f"/../{ID}", {"container_id": ID}),
    ("/../../../system.slice/ssh.service", {"unit": "ssh.service", "slice": "system.slice"}),
    ("/../init.scope", {"unit": "init.scope"}),
]

UNITS = [
    ("/", {}),
    ("", {}),
    ("/..", {}),
    ("/system.slice", {"slice": "system.slice"}),
    ("/kubepods.slice/kubepods-burstable.slice", {"slice": "kubepods-burstable.slice"}),
    ("/kubepods/burstable", {}),
    ("/init.scope", {"unit": "init.scope", "slice": "-.slice"}),
    ("/system.slice/nginx.service", {"unit": "nginx.service", "slice": "system.slice"}),
    ("/system.slice/nginx.service/workers/1", {"unit": "nginx.service", "slice": "system.slice"}),
    ("/nginx.service", {"unit": "nginx.service", "slice": "-.slice"}),
    ("/a.slice/a-b.slice/x.socket", {"unit": "x.socket", "slice": "a-b.slice"}),
    ("/system.slice/system-getty.slice/getty@tty1.service", {"unit": "getty@tty1.service", "slice": "system-getty.slice"}),
    (
        r"/system.slice/system-serial\x2dgetty.slice/serial-getty@ttyS0.service",
        {"unit": "serial-getty@ttyS0.service", "slice": r"system-serial\x2dgetty.slice"},
    ),
    (r"/system.slice/run-my\x2ddisk.mount", {"unit": r"run-my\x2ddisk.mount", "slice": "system.slice"}),
    ("/system.slice/_cpu.service", {"unit": "cpu.service", "slice": "system.slice"}),
    ("/user.slice/user-1000.slice/session-3.scope", {"unit": "session-3.scope", "slice": "user-1000.slice"}),
    (USER, {"unit": "user@1000.service", "slice": "user-1000.slice"}),
    (f"{USER}/app.slice", {"unit": "user@1000.service", "slice": "user-1000.slice"}),
    (f"{USER}/init.scope", {"unit": "user@1000.service", "user_unit": "init.scope", "slice": "-.slice"}),
    (f"{USER}/app.slice/foo.service", {"unit": "user@1000.service", "user_unit": "foo.service", "slice": "app.slice"}),
    (
        rf"{USER}/app.slice/app-org.gnome.Terminal.slice/vte-spawn-{UID}.scope",
        {"unit": "user@1000.service", "user_unit": f"vte-spawn-{UID}.scope", "slice": "app-org.gnome.Terminal.slice"},
    ),
    (
        r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator",
        {"unit": r"machine-qemu\x2d1\x2dvm.scope", "slice": "machine.slice"},
    ),
    (
        "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
        {"unit": "systemd-nspawn@web.service", "slice": "machine.slice"},
    ),
    # no unit where systemd would see none
    ("/lxc/web/system.slice/nginx.service", {}),
    ("/system.slice/getty@.service", {"slice": "system.slice"}),
    ("/system.slice/.service", {"slice": "system.slice"}),
    ("/system.slice/a b.service", {"slice": "system.slice"}),
    ("/system.slice/x.timer", {"slice": "system.slice"}),
    (f"/system.slice/{'x' * 300}.service", {"slice": "system.slice"}),
]

LOOKALIKES = [
    "docker.service",
    "docker-compose.service",
    "kubepods-cleanup.service",
    f"docker-{ID}.service",
    f"{ID}.service",
    f"docker-{ID[:-1]}.scope",
    f"docker-{ID}0.scope",
    f"docker-{ID.upper()}.scope",
    f"backup-{ID}.scope",
    f"docker{ID}.scope",
    f"pod{UID}.service",
    f"kubepods-pod{UID_}.service",
    f"xkubepods-pod{UID_}.scope",
    "cri-containerd-web.scope",
]

NO_PODS = [
    f"/machine/pod{UID}",
    f"/system.slice/pod{UID}",
    f"/xkubepods.slice/xkubepods-pod{UID_}.slice",
    f"/kubepods.slice/kubepods-burstable-pod{UID}.slice",
    f"/kubepods.slice/kubepods-burstable-pod{UID_}0.slice",
    f"/burstable.slice/burstable-pod{UID_}.slice",
    "/kubepods/burstable/podinfo",
    "/kubepods.slice/kubepods-pod.slice",
]


@pytest.mark.parametrize(("path", "expected"), CONTAINERS)
def test_containers_and_pods_are_known_by_every_form_of_their_paths(path: str, expected: dict[str, str]) -> None:
    """Whichever runtime, driver, version of cgroups and point of view."""
    assert parse_cgroup_path(path) == Workload(**expected)


@pytest.mark.parametrize(("path", "expected"), UNITS)
def test_units_are_found_as_systemd_finds_them(path: str, expected: dict[str, str]) -> None:
    """The first name that is no slice, if a unit could have it; below a user's service manager the next such."""
    assert parse_cgroup_path(path) == Workload(**expected)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_units_that_merely_look_like_containers_are_units(name: str) -> None:
    """Ids have 64 lower-case hex digits, and scopes of containers the prefix of a runtime."""
    assert parse_cgroup_path(f"/system.slice/{name}") == Workload(unit=name, slice="system.slice")


@pytest.mark.parametrize("path", NO_PODS)
def test_what_merely_looks_like_a_pod_is_none(path: str) -> None:
    """A pod lies below the kubelet's cgroup and has a UID."""
    assert parse_cgroup_path(path).pod_uid == ""


def test_a_name_without_a_path_is_read_as_well() -> None:
    """The name of a unit tells whose it is, but not the slice."""
    assert parse_cgroup_path(f"docker-{ID}.scope") == Workload(ID, "docker", unit=f"docker-{ID}.scope")
    assert parse_cgroup_path(POD_SLICE) == Workload(pod_uid=UID, qos="burstable", slice=POD_SLICE)


@pytest.mark.parametrize(
    ("path", "rank"), [(f"{BURSTABLE}/crio-{ID}.scope", 3), (BURSTABLE, 2), ("/init.scope", 1), ("/system.slice", 0)]
)
def test_paths_are_ranked_by_what_they_tell(path: str, rank: int) -> None:
    """A container more than a pod, a pod more than a unit."""
    assert parse_cgroup_path(path).tells == rank


def test_the_same_path_is_read_once() -> None:
    """The answer is kept."""
    path = f"/system.slice/docker-{ID}.scope"
    assert parse_cgroup_path(path) is parse_cgroup_path(str(path.encode(), "ascii"))


@pytest.mark.parametrize(
    "path",
    [
        "/a" * 100_000,
        "/" * 200_000,
        "/" + "kubepods-pod" * 20_000 + ".slice",
        "/" + "a@" * 100_000 + ".service",
        "/" + "-" * 200_000 + ID,
        f"/{ID}" * 3_000,
        "/x.slice" * 20_000 + "/a.service",
        "/" + "a." * 100_000,
    ],
)
def test_hostile_paths_take_time_in_proportion_to_their_length(path: str) -> None:
    """None of these would ever end if a name were tried again from each of its characters."""
    parse_cgroup_path.__wrapped__(path)


pieces = st.one_of(
    st.sampled_from(
        [
            *("..", ".", "", "kubepods", "kubepods.slice", "burstable", f"pod{UID}", POD_SLICE, ID, f"docker-{ID}.scope"),
            *(
                "docker",
                "system.slice",
                "a.service",
                "user@1.service",
                "user@1000.service",
                "app.slice",
                "-.slice",
                "init.scope",
            ),
            *(f"{POD_SLICE}:cri-containerd:{ID}", f"crio-conmon-{ID}.scope", "libpod_parent", "_cpu.service", ":", "@", "_"),
        ]
    ),
    st.text(max_size=12),
)


@given(st.one_of(st.text(), st.lists(pieces, max_size=8).map("/".join)))
def test_any_text_gives_a_well_formed_answer(path: str) -> None:
    """Nothing raises; ids are ids, and what is said is in the path."""
    found = parse_cgroup_path(path)
    assert found == parse_cgroup_path.__wrapped__(path)
    assert len(found.container_id) in {0, 64}
    assert found.container_id in path
    assert found.pod_uid.replace("-", "_") in path.replace("-", "_")
    assert found.qos in {"", "guaranteed", "burstable", "besteffort"}
    assert found.runtime in {"", "containerd", "cri-o", "docker", "podman"}
    assert found.container_id or not found.runtime
    assert found.pod_uid or not found.qos
    assert found.unit in path
    assert found.unit or not found.user_unit
