"""A container runtime for tests: messages made by google.protobuf from a description of its own, behind a real gRPC server."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE: Final = "/runtime.v1.RuntimeService"
_TEXT, _INT64, _UINT32, _BOOL, _MESSAGE, _INT32 = 9, 3, 13, 8, 11, 5
_SCALARS: Final = {"text": _TEXT, "int64": _INT64, "uint32": _UINT32, "bool": _BOOL, "int32": _INT32}

# Names, numbers and types of fields as in k8s.io/cri-api; states are int32, which is the same on the wire as their enums.
MESSAGES: Final[Mapping[str, str]] = {
    "VersionResponse": "version=1 runtime_name=2 runtime_version=3 runtime_api_version=4",
    "PodSandboxMetadata": "name=1 uid=2 namespace=3 attempt=4:uint32",
    "PodSandbox": "id=1 metadata=2:PodSandboxMetadata state=3:int32 created_at=4:int64 labels=5:map annotations=6:map "
    "runtime_handler=7",
    "ListPodSandboxResponse": "items=1:PodSandbox*",
    "ContainerMetadata": "name=1 attempt=2:uint32",
    "ImageSpec": "image=1 annotations=2:map user_specified_image=18 runtime_handler=19",
    "Container": "id=1 pod_sandbox_id=2 metadata=3:ContainerMetadata image=4:ImageSpec image_ref=5 state=6:int32 "
    "created_at=7:int64 labels=8:map annotations=9:map image_id=10",
    "ListContainersResponse": "containers=1:Container*",
    # what makes pods and containers, for a runtime that is real
    "NamespaceOption": "network=1:int32 pid=2:int32 ipc=3:int32",
    "LinuxSandboxSecurityContext": "namespace_options=1:NamespaceOption",
    "LinuxPodSandboxConfig": "cgroup_parent=1 security_context=2:LinuxSandboxSecurityContext",
    "PodSandboxConfig": "metadata=1:PodSandboxMetadata hostname=2 log_directory=3 labels=6:map annotations=7:map "
    "linux=8:LinuxPodSandboxConfig",
    "RunPodSandboxRequest": "config=1:PodSandboxConfig",
    "RunPodSandboxResponse": "pod_sandbox_id=1",
    "LinuxContainerSecurityContext": "namespace_options=3:NamespaceOption",
    "LinuxContainerConfig": "security_context=2:LinuxContainerSecurityContext",
    "ContainerConfig": "metadata=1:ContainerMetadata image=2:ImageSpec command=3* labels=9:map annotations=10:map log_path=11 "
    "linux=15:LinuxContainerConfig",
    "CreateContainerRequest": "pod_sandbox_id=1 config=2:ContainerConfig sandbox_config=3:PodSandboxConfig",
    "CreateContainerResponse": "container_id=1",
    "StartContainerRequest": "container_id=1",
    "RemovePodSandboxRequest": "pod_sandbox_id=1",
}


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="cri_of_tests.proto", package="cri_of_tests", syntax="proto3")
    for name, parts in MESSAGES.items():
        message = file.message_type.add(name=name)
        for part in parts.split():
            _add_field(message, part)
    return file


def _add_field(message: Any, part: str) -> None:
    head, _, kind = part.removesuffix("*").partition(":")
    name, _, number = head.partition("=")
    field = message.field.add(name=name, number=int(number), label=3 if part.endswith("*") else 1)
    kind = kind or "text"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _MESSAGE
    if kind != "map":
        field.type_name = f".cri_of_tests.{kind}"
        return
    entry = message.nested_type.add(name="".join(word.title() for word in name.split("_")) + "Entry")
    entry.options.map_entry = True
    for index, inner in enumerate(("key", "value"), 1):
        entry.field.add(name=inner, number=index, label=1, type=_TEXT)
    field.label, field.type_name = 3, f".cri_of_tests.{message.name}.{entry.name}"


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_described())


def make(kind: str, /, **parts: Any) -> Any:
    """Return a message of that name."""
    made = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"cri_of_tests.{kind}"))
    return made(**parts)


def sandbox(uid: str, name: str, namespace: str = "prod", number: int = 1, **parts: Any) -> Any:
    """Return a sandbox as the kubelet has it made."""
    labels = {f"io.kubernetes.pod.{key}": text for key, text in (("name", name), ("namespace", namespace), ("uid", uid))}
    return make(
        "PodSandbox",
        id=parts.pop("id", f"{number:064x}"),
        metadata=make("PodSandboxMetadata", name=name, uid=uid, namespace=namespace),
        created_at=parts.pop("created_at", 1_760_000_000_000_000_000 + number),
        labels={**labels, **parts.pop("labels", {})},
        annotations={"kubernetes.io/config.source": "api", **parts.pop("annotations", {})},
        **parts,
    )


def container(of: Any, name: str, identifier: str, *, attempt: int = 0, state: int = 1, image: str = "shop:1.2") -> Any:
    """Return a container as the kubelet has it made in a sandbox."""
    return make(
        "Container",
        id=identifier,
        pod_sandbox_id=of.id,
        metadata=make("ContainerMetadata", name=name, attempt=attempt),
        image=make("ImageSpec", image="sha256:" + "ab" * 32, user_specified_image=image),
        image_ref="hub.example/shop@sha256:" + "cd" * 32,
        state=state,
        labels={"io.kubernetes.container.name": name, **of.labels},
    )


class Runtime:
    """Answer CRI calls on a unix socket; `calls` counts them, `failure` is a gRPC status code to answer with instead."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "containerd"
        self.sandboxes: list[Any] = []
        self.containers: list[Any] = []
        self.calls: list[str] = []
        self.failure: grpc.StatusCode | None = None
        self.raw: bytes | None = None
        self._server: grpc.Server | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._server = grpc.server(ThreadPoolExecutor(2), handlers=[_Calls(self)])
        assert self._server.add_insecure_port(f"unix:{self.path}")
        self._server.start()

    def stop(self) -> None:
        """End; the socket goes with it."""
        server, self._server = self._server, None
        if server is not None:
            server.stop(None).wait(10)

    def answer(self, method: str) -> bytes:
        """Return the answer to a call."""
        self.calls.append(method)
        if self.raw is not None:
            return self.raw
        answers = {
            "Version": lambda: make("VersionResponse", version="0.1.0", runtime_name=self.name, runtime_api_version="v1"),
            "ListPodSandbox": lambda: make("ListPodSandboxResponse", items=self.sandboxes),
            "ListContainers": lambda: make("ListContainersResponse", containers=self.containers),
        }
        return answers[method]().SerializeToString()


class _Calls(grpc.GenericRpcHandler):
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def service(self, details: Any) -> Any:
        service, _, method = details.method.rpartition("/")
        if service != SERVICE:
            return None

        def answer(_request: bytes, context: Any) -> bytes:
            if self._runtime.failure is not None:
                self._runtime.calls.append(method)
                context.abort(self._runtime.failure, "by the test")
            return self._runtime.answer(method)

        return grpc.unary_unary_rpc_method_handler(answer)
