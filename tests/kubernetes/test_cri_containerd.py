"""Names from a real containerd: of containers that run in real cgroups, before and after a restart of the runtime."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tapio_otel.entities.mapper import EntityMapper
from tapio_otel.kubernetes.cri import ClusterCacheWithRuntime, RuntimePods
from tests.kubernetes.containerd import IMAGE, containerd, remove_cgroups


@pytest.fixture
def runtime(tmp_path):
    """Return a containerd of this test's own."""
    with containerd(tmp_path) as one:
        yield one


@pytest.fixture
def top():
    """Return the name of a cgroup for this test's pods, which is removed."""
    name = f"tapio-{uuid4().hex[:12]}"
    yield name
    remove_cgroups(name)


def pid_in(container_id):
    """Return a process whose cgroup has this name."""
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):
            if container_id in path.read_text():
                return int(path.parent.name)
    raise AssertionError(f"no process in {container_id}")


@pytest.mark.timeout(120)
async def test_a_process_of_a_container_has_the_name_that_the_runtime_knows(top, runtime):
    """With pod, Deployment, image and number of restarts, without any API; asked for by its pid alone."""
    uid = str(uuid4())
    mapper = EntityMapper()
    pods = RuntimePods(runtime.socket, mapper.node, interval=3600)
    cache = mapper.names = ClusterCacheWithRuntime(pods)
    task = asyncio.create_task(pods.run())
    try:
        async with asyncio.timeout(60):
            await pods.synced.wait()
            cgroup = f"/{top}/kubepods/burstable/pod{uid}"
            pod = await asyncio.to_thread(
                runtime.run_pod, uid, "web-7d9f-x2x4z", "prod", cgroup, {"pod-template-hash": "7d9f", "app": "web"}
            )
            identifier = await asyncio.to_thread(runtime.run_container, pod, "app", 3)
            pid = pid_in(identifier)
            while (entity := mapper.of_pid(pid)).name != "app":
                assert entity.uid == identifier
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    names = [(one.type, one.name) for one in entity.lineage()]
    assert names[:4] == [("container", "app"), ("pod", "web-7d9f-x2x4z"), ("replicaset", "web-7d9f"), ("deployment", "web")]
    found, container = cache.pod_of_container(identifier)
    assert (found.uid, found.namespace, found.labels) == (uid, "prod", {"pod-template-hash": "7d9f", "app": "web"})
    assert (container.restart_count, container.state, container.runtime) == (3, "running", "containerd")
    assert container.image == IMAGE
