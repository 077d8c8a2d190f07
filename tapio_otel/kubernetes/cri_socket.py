"""The socket of a container runtime: CRI calls (runtime.v1) over gRPC, each in a worker thread, only ever reading.

The lists are asked for, not `GetContainerEvents`: containerd 1.7 hands each of its events to one subscriber only, so that a
second one takes them away from the kubelet.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from tapio_otel.component import ComponentError
from tapio_otel.kubernetes.cri_messages import (
    RuntimeContainer,
    Sandbox,
    read_containers,
    read_runtime_name,
    read_sandboxes,
)
from tapio_otel.notices import quote

SOCKETS: Final = (
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
)
"""Where the runtimes listen by default."""
_SERVICE: Final = "/runtime.v1.RuntimeService"
_TIMEOUT: Final = 10.0
_OPTIONS: Final = (
    ("grpc.default_authority", "localhost"),  # some versions of gRPC send the path instead, which servers in Go refuse
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


class RuntimeState(NamedTuple):
    """Hold all that a runtime has; `name` is containerd or cri-o."""

    name: str
    sandboxes: list[Sandbox]
    containers: list[RuntimeContainer]


class RuntimeSocket:
    """Ask the runtime behind one unix socket; `auto` is the usual one that is there when it is asked."""

    def __init__(self, path: str) -> None:
        self.path = self._wanted = path
        self._channel: Any = None
        self._name = ""

    async def read(self) -> RuntimeState:
        """Return all sandboxes and containers; raises ComponentError saying what is in the way."""
        return await asyncio.to_thread(self._read)

    async def close(self) -> None:
        """Close the connection, which ends calls under way; safe at any time."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await asyncio.to_thread(channel.close)

    def _read(self) -> RuntimeState:
        self._check()
        try:
            if not self._name:
                self._name = read_runtime_name(self._call("Version")) or "unknown"
            # In this order a container that was just made finds its sandbox.
            containers = read_containers(self._call("ListContainers"))
            return RuntimeState(self._name, read_sandboxes(self._call("ListPodSandbox")), containers)
        except ValueError as error:
            raise ComponentError(f"the container runtime at {self.path!r} gave no answer of CRI v1: {error}") from error

    def _check(self) -> None:
        if self._channel is None:
            self.path = find_socket(self._wanted) or self._wanted
        path = Path(self.path)
        if not path.exists():
            known = ", ".join(SOCKETS)
            raise ComponentError(
                f"there is no container runtime at {self.path!r}: name its socket in `cri_socket` (usual are {known}), and "
                "mount it where the agent runs in a container"
            )
        if not path.is_socket():
            raise ComponentError(f"{self.path!r} is no socket: name that of the container runtime in `cri_socket`")
        if not os.access(path, os.W_OK):
            raise ComponentError(
                f"{self.path!r} may not be used by uid {os.geteuid()}: run as root or as a member of its group"
            )

    def _call(self, method: str) -> bytes:
        import grpc

        channel = self._channel
        if channel is None:
            channel = self._channel = grpc.insecure_channel(f"unix:{self.path}", options=_OPTIONS)
        try:
            answer: bytes = channel.unary_unary(f"{_SERVICE}/{method}")(b"", timeout=_TIMEOUT)
        except grpc.RpcError as error:
            self._name = ""  # after this, another version or another runtime may listen
            raise ComponentError(self._said(method, error)) from error
        return answer

    def _said(self, method: str, error: Any) -> str:
        code = error.code().name
        words = f"{method} of the container runtime at {self.path!r} failed: {code}: {quote(error.details() or '')}"
        if code == "UNIMPLEMENTED":
            return f"{words}: it has no CRI v1; take containerd 1.6 or CRI-O 1.23 or newer, with its `cri` plugin not disabled"
        return words


def find_socket(option: str) -> str:
    """Return the socket that an option means: `auto` is the first usual one that is there, empty if there is none."""
    if option != "auto":
        return option.removeprefix("unix://")
    return next((path for path in SOCKETS if Path(path).is_socket()), "")
