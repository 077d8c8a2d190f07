"""A containerd of the test's own: its CRI on a socket, with an image made here that does nothing but wait."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import grpc

from tests.kubernetes.cri_server import SERVICE, make
from tests.requirements import require

IMAGE: Final = "tapio.test/pause:1"
_FETCH: Final = Path(__file__).parents[2] / "scripts" / "fetch-containerd"
_HOST_NETWORK: Final = 2
_CONFIG: Final = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{1}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{2}"
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"""
_PAUSE: Final = bytes.fromhex("b8 22000000  0f05  ebf7")  # mov eax, SYS_pause; syscall; jmp to the begin
_BASE: Final = 0x400000


class Containerd:
    """Make pods and containers by CRI calls, as the kubelet does."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self._sandboxes: list[str] = []
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=(("grpc.default_authority", "localhost"),))

    def run_pod(self, uid: str, name: str, namespace: str, cgroup: str, labels: dict[str, str]) -> Any:
        """Start a pod in a cgroup; returns its configuration, which containers are made with."""
        told = {"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": uid}
        network = make("NamespaceOption", network=_HOST_NETWORK)
        config = make(
            "PodSandboxConfig",
            metadata=make("PodSandboxMetadata", name=name, namespace=namespace, uid=uid),
            labels={**told, **labels},
            linux=make(
                "LinuxPodSandboxConfig",
                cgroup_parent=cgroup,
                security_context=make("LinuxSandboxSecurityContext", namespace_options=network),
            ),
        )
        answer = self._call("RunPodSandbox", make("RunPodSandboxRequest", config=config), "RunPodSandboxResponse")
        self._sandboxes.append(answer.pod_sandbox_id)
        return config

    def run_container(self, pod: Any, name: str, attempt: int) -> str:
        """Start a container in the pod that was started last; returns its id."""
        network = make("NamespaceOption", network=_HOST_NETWORK)
        config = make(
            "ContainerConfig",
            metadata=make("ContainerMetadata", name=name, attempt=attempt),
            image=make("ImageSpec", image=IMAGE, user_specified_image=IMAGE),
            command=["/pause"],
            labels={**pod.labels, "io.kubernetes.container.name": name},
            linux=make(
                "LinuxContainerConfig", security_context=make("LinuxContainerSecurityContext", namespace_options=network)
            ),
        )
        request = make("CreateContainerRequest", pod_sandbox_id=self._sandboxes[-1], config=config, sandbox_config=pod)
        identifier: str = self._call("CreateContainer", request, "CreateContainerResponse").container_id
        self._call("StartContainer", make("StartContainerRequest", container_id=identifier))
        return identifier

    def remove_pods(self) -> None:
        """End every pod with its containers."""
        while self._sandboxes:
            self._call("RemovePodSandbox", make("RemovePodSandboxRequest", pod_sandbox_id=self._sandboxes.pop()))

    def wait(self) -> None:
        """Wait until the runtime answers."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self._call("Version")
            except grpc.RpcError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def _call(self, method: str, request: Any = None, answer: str = "") -> Any:
        encoded = request.SerializeToString() if request is not None else b""
        raw = self._channel.unary_unary(f"{SERVICE}/{method}")(encoded, timeout=60)
        if not answer:
            return None
        told = make(answer)
        told.ParseFromString(raw)
        return told


@contextmanager
def containerd(directory: Path) -> Iterator[Containerd]:
    """Run a containerd in this directory; all of its pods end with it."""
    require("root", os.geteuid() == 0, "containers are made by root only")
    require("containerd", os.uname().machine == "x86_64", "the image made here is for x86-64")
    found = subprocess.run([_FETCH, "--cached"], capture_output=True, text=True, check=False)
    require("containerd", found.returncode == 0, found.stderr.strip())
    programs = Path(found.stdout.strip())
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    socket = directory / "containerd.sock"
    (directory / "config.toml").write_text(_CONFIG.format(directory, socket, IMAGE))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "containerd", "-c", directory / "config.toml"], stdout=log, stderr=log, env=environment
        )
        runtime = Containerd(str(socket))
        try:
            runtime.wait()
            _load_image(programs / "ctr", directory / "image.tar", str(socket))
            yield runtime
        finally:
            with suppress(grpc.RpcError):
                runtime.remove_pods()
            runtime.close()
            process.terminate()
            process.wait(30)


def remove_cgroups(name: str) -> None:
    """Remove what is left of a cgroup and those in it, of every hierarchy."""
    root = Path("/sys/fs/cgroup")
    for top in (root / name, *root.glob(f"*/{name}")):
        for below in sorted(top.rglob("*/"), reverse=True):
            if below.is_dir():
                below.rmdir()
        if top.is_dir():
            top.rmdir()


def _load_image(program: Path, path: Path, socket: str) -> None:
    layer = _tar({"pause": _program()})
    layer_id = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_id}"]},
    }
    encoded = json.dumps(config).encode()
    names = (f"{hashlib.sha256(encoded).hexdigest()}.json", f"{layer_id}.tar")
    manifest = json.dumps([{"Config": names[0], "RepoTags": [IMAGE], "Layers": [names[1]]}]).encode()
    path.write_bytes(_tar({names[0]: encoded, names[1]: layer, "manifest.json": manifest}))
    command = [program, "--address", socket, "--namespace", "k8s.io", "images", "import", path]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _program() -> bytes:
    """Return a program for x86-64 that waits for ever, linked against nothing (ELF: one header, one segment)."""
    size = 64 + 56 + len(_PAUSE)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return b"\x7fELF\x02\x01\x01" + bytes(9) + header + segment + _PAUSE


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
