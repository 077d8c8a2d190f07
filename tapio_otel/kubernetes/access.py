"""Where the API server is, and what the agent shows it to be let in.

A pod reads the files that the kubelet mounts; everywhere else a kubeconfig is read, by the official client. Both can be read
again while the agent runs: tokens expire and certificates are replaced.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from pydantic import Field

from tapio_otel.component import ComponentConfig, ComponentError, SourceUnavailable
from tapio_otel.config.types import Duration

MOUNTED: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
DEFAULT_KUBECONFIG: Final = "~/.kube/config"
HOST: Final = "KUBERNETES_SERVICE_HOST"
PORT: Final = "KUBERNETES_SERVICE_PORT"


class ClusterOptions(ComponentConfig):
    """Say how the Kubernetes API is reached, by the collector's names where it has them."""

    auth_type: Literal["auto", "serviceAccount", "kubeConfig", "none"] = Field(
        "auto",
        description="Who the agent is to the API: its pod's service account, a user of a kubeconfig, or nobody (`none`, for "
        "example behind kubectl proxy). `auto` takes the service account in a pod and a kubeconfig elsewhere.",
    )
    kubeconfig: str = Field(
        "", description="Path of the kubeconfig; several are joined by colons. Empty: $KUBECONFIG, else ~/.kube/config."
    )
    context: str = Field("", description="Context of the kubeconfig. Empty: its current context.")
    server: str = Field(
        "",
        description="URL of the API server, such as http://localhost:8001, with auth_type none or serviceAccount. Empty: from "
        "the environment variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which every pod has.",
    )
    service_account_directory: str = Field(
        MOUNTED, description="Directory of the service account's files: token, ca.crt and namespace."
    )
    connect_timeout: Duration = Field(10.0, gt=0, description="Longest time that a connection may take, TLS included.")
    request_timeout: Duration = Field(60.0, gt=0, description="Longest time that the server may take for an answer.")
    quiet_timeout: Duration = Field(
        150.0,
        gt=0,
        description="Time after which a watch on which nothing was heard is begun anew. The server sends a bookmark about "
        "every minute, though not for events.",
    )


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Name the files that a connection needs; `contents` tells those apart that were replaced."""

    authority: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True
    contents: int = field(default=0, repr=False)

    @classmethod
    def read(cls, authority: str = "", certificate: str = "", key: str = "", verify: bool = True) -> TlsFiles:
        """Note the files with their present contents; raises OSError."""
        contents = hash(tuple(Path(path).read_bytes() for path in (authority, certificate, key) if path))
        return cls(authority, certificate, key, verify, contents)

    def context(self) -> ssl.SSLContext:
        """Return what a connection is made with; raises ComponentError."""
        try:
            made = ssl.create_default_context(cafile=self.authority or None)
            # Many clusters have a CA without the key identifiers that Python 3.13 asks for and no other client does.
            made.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if not self.verify:
                made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
            if self.certificate:
                made.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ValueError) as error:
            files = ", ".join(path for path in (self.authority, self.certificate, self.key) if path) or "the system's CAs"
            raise ComponentError(f"cannot speak TLS with the Kubernetes API by {files}: {error}; check the files") from error
        return made


@dataclass(frozen=True, slots=True)
class Access:
    """Hold everything a request needs: equal ones would be answered alike."""

    server: str
    """URL without a slash at its end."""
    namespace: str = "default"
    """The own namespace."""
    authorization: str = field(default="", repr=False)
    """Value of the Authorization header."""
    tls: TlsFiles = TlsFiles()
    server_name: str = ""
    """Name that the server's certificate is for, where it is not the host of the URL."""
    proxy: str = field(default="", repr=False)
    problem: str = ""
    """Why there are no credentials at present."""


class AccessSource(Protocol):
    """Read who the agent is to the API. May block: called in a thread, one call at a time."""

    def read(self) -> Access:
        """Read everything anew; raises ComponentError."""

    def refresh(self) -> Access:
        """Read again what may have become old since `read`; raises ComponentError."""


class Unauthenticated:
    """Show the server nothing."""

    def __init__(self, server: str) -> None:
        self._server = server

    def read(self) -> Access:
        """Return the server."""
        return Access(self._server)

    refresh = read


def choose_source(options: ClusterOptions, environment: Mapping[str, str] = os.environ) -> AccessSource:
    """Return what `auth_type` asks for or, if `auto`, what is there; raises SourceUnavailable where nothing is."""
    from tapio_otel.kubernetes.kubeconfig import KubeConfig
    from tapio_otel.kubernetes.service_account import ServiceAccount

    server = options.server.rstrip("/") or _server_of(environment)
    paths = options.kubeconfig or environment.get("KUBECONFIG", "") or DEFAULT_KUBECONFIG
    wanted = options.auth_type
    if wanted == "auto":
        mounted = not options.kubeconfig and server and (Path(options.service_account_directory) / "token").exists()
        wanted = "serviceAccount" if mounted else "kubeConfig"
    if wanted == "kubeConfig":
        if not any(path and Path(path).expanduser().exists() for path in paths.split(os.pathsep)):
            raise SourceUnavailable(_nothing(options, paths), _remedy(options))
        return KubeConfig(paths, options.context)
    if not server:
        message = f"no Kubernetes API server is known: {HOST} and {PORT} are not set, as they are in every pod"
        raise SourceUnavailable(message, "Run the agent in a pod, or set server")
    return ServiceAccount(server, options.service_account_directory) if wanted == "serviceAccount" else Unauthenticated(server)


def _server_of(environment: Mapping[str, str]) -> str:
    host, port = environment.get(HOST, ""), environment.get(PORT, "")
    return f"https://{f'[{host}]' if ':' in host else host}:{port}" if host and port else ""


def _nothing(options: ClusterOptions, paths: str) -> str:
    if options.auth_type == "kubeConfig" or options.kubeconfig:
        return f"there is no kubeconfig {paths!r}"
    return f"this is no pod with a service account, and there is no kubeconfig {paths!r}"


def _remedy(options: ClusterOptions) -> str:
    if options.kubeconfig:
        return "Correct kubeconfig"
    return "Set kubeconfig or $KUBECONFIG to the path of one, or run the agent in a pod"
