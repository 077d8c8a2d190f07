"""Cgroups of a cluster's pods: every form in which runtimes and kubelets name them leads to the pod and its container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tests.entities.trees import make_process
from tests.kubernetes.cluster_objects import (
    ID,
    MIRROR,
    STATIC,
    UID,
    Fed,
    a_pod,
    clock,
    fed,
    web,
)

__all__ = ["clock", "fed"]

OTHER = "ab" * 32
PAUSE = "9" * 64
UID_ = UID.replace("-", "_")
SLICE = f"kubepods-burstable-pod{UID_}.slice"
BURSTABLE = f"/kubepods.slice/kubepods-burstable.slice/{SLICE}"
KIND = f"/docker/{OTHER}/kubelet/kubepods"
KIND2 = f"/system.slice/docker-{OTHER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"


@pytest.mark.parametrize(
    "path",
    [
        f"{BURSTABLE}/cri-containerd-{ID}.scope",  # version 2, systemd driver
        f"{BURSTABLE}/crio-{ID}.scope",
        f"{BURSTABLE}/docker-{ID}.scope",
        f"{BURSTABLE}/libpod-{ID}.scope",
        f"{BURSTABLE}/crio-{ID}.scope/container",
        f"{BURSTABLE}/cri-containerd-{ID}.scope/system.slice/nginx.service",
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope",
        f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
        f"/kubepods/burstable/pod{UID}/{ID}",  # cgroupfs driver
        f"/kubepods/pod{UID}/{ID}",
        f"/kubepods/burstable/pod{UID}/crio-{ID}",
        f"/system.slice/containerd.service/{SLICE}:cri-containerd:{ID}",  # version 1
        f"/{SLICE}:cri-containerd:{ID}",
        f"/docker/{ID}",
        f"/kubepods/burstable/pod{STATIC}/{ID}",  # static pod
        f"{KIND}/burstable/pod{UID}/{ID}",  # a node that is a container
        f"{KIND2}/kubelet-{SLICE}/cri-containerd-{ID}.scope",
        f"/../../{SLICE}/cri-containerd-{ID}.scope",  # seen from a private cgroup namespace
        f"/../cri-containerd-{ID}.scope",
        f"/../{ID}",
    ],
)
@pytest.mark.parametrize("hierarchies", ["0::{}\n", "12:pids:{0}\n5:name=systemd:{0}\n4:memory:{0}\n0::/\n"])
async def test_every_form_of_cgroup_leads_to_the_container(fed: Fed, tmp_path: Path, path: str, hierarchies: str) -> None:
    """By path, and by a process in it; under both versions."""
    await fed.list("pods", web(annotations=dict.fromkeys(MIRROR, STATIC)))
    mapper = EntityMapper(tmp_path)
    mapper.names = fed.cache
    expected = fed.cache.container(ID)
    assert expected is not None
    make_process(tmp_path, 7, hierarchies.format(path))
    assert mapper.of_cgroup_path(path) is mapper.of_pid(7, 4711) is expected


@pytest.mark.parametrize(
    "path",
    [
        f"{BURSTABLE}/cri-containerd-{PAUSE}.scope",
        f"/kubepods/burstable/pod{UID}/{PAUSE}",
        f"/{SLICE}:cri-containerd:{PAUSE}",
        f"/kubepods/burstable/pod{STATIC}/{PAUSE}",
        f"{KIND}/burstable/pod{UID}/{PAUSE}",
        f"/../../{SLICE}/cri-containerd-{PAUSE}.scope",
    ],
)
async def test_a_pause_process_is_found_by_its_pods_uid(fed: Fed, path: str) -> None:
    """Nobody tells the name of its container; a static pod has another uid there than in the API."""
    await fed.list("pods", web(annotations=dict.fromkeys(MIRROR, STATIC)))
    mapper = EntityMapper(Path("/nonexistent"))
    mapper.names = fed.cache
    entity = mapper.of_cgroup_path(path)
    assert entity is not None
    assert (entity.type, entity.uid) == ("container", PAUSE)
    assert entity.parent is fed.cache.pod(UID)


@pytest.mark.parametrize(
    "path", [BURSTABLE, f"{BURSTABLE}/crio-conmon-{ID}.scope", f"/kubepods/pod{UID}", f"/kubepods/pod{STATIC}"]
)
async def test_a_pods_own_cgroup_and_units_lead_to_the_pod(fed: Fed, path: str) -> None:
    """And what only watches its containers."""
    await fed.list("pods", web(annotations=dict.fromkeys(MIRROR, STATIC)))
    mapper = EntityMapper(Path("/nonexistent"))
    mapper.names = fed.cache
    assert mapper.of_cgroup_path(path) is fed.cache.pod(UID)
    assert mapper.of_unit(SLICE, BURSTABLE).parent is fed.cache.pod(UID)
    scope = f"cri-containerd-{ID}.scope"
    assert mapper.of_unit(scope, f"{BURSTABLE}/{scope}").parent is mapper.of_unit(scope).parent is fed.cache.container(ID)


async def test_a_path_seen_before_its_pod_is_named_afterwards(fed: Fed) -> None:
    """The kernel is quicker than the API."""
    mapper = EntityMapper(Path("/nonexistent"))
    mapper.names = fed.cache
    path = f"{BURSTABLE}/cri-containerd-{ID}.scope"
    seen = []
    for change in (("ADDED", a_pod()), ("MODIFIED", web()), ("MODIFIED", web(qosClass="Guaranteed"))):
        seen.append(mapper.of_cgroup_path(path))
        await fed.change("pods", change)
    seen.append(mapper.of_cgroup_path(path))
    assert [one and one.name for one in seen] == [ID[:12], ID[:12], "app", "app"]
    assert [name_of_parent(one) for one in seen] == [UID, "web-0", "web-0", "web-0"]
    assert [one and one.parent and one.parent.attributes["qos"] for one in seen][-2:] == ["burstable", "guaranteed"]


def name_of_parent(entity: EntityReference | None) -> str:
    """Return the name of an entity's parent."""
    assert entity is not None
    assert entity.parent is not None
    return entity.parent.name
