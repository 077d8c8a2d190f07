"""The options of the enrich processor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration
from tapio_otel.kubernetes.access import HOST, ClusterOptions
from tapio_otel.processors.enrich.geoip import GeoIpOptions

NODE_NAME: Final = "K8S_NODE_NAME"
"""The environment variable that a DaemonSet sets from `spec.nodeName`."""
PLUGINS: Final = "plugins"
"""Stands for every enricher that plugins bring and that is not named."""
CHAIN: Final = (
    *("pod", "container", "node", "host", "unit", "namespace", "services", "mesh", "addresses", "geoip", PLUGINS),
    "trace_context",
)
"""All enrichers in the order in which they are asked: of two that say the same thing, the first is heard."""


class Shown(ComponentConfig):
    """Choose the labels and annotations that are added; `*` stands for anything, also within a name."""

    labels: list[str] = Field([], description="Names of labels to add, such as `app` or `app.kubernetes.io/*`.")
    annotations: list[str] = Field([], description="Names of annotations to add, such as `example.com/*`.")


class ShownOfPod(Shown):
    """Choose the labels and annotations of pods that are added."""

    labels: list[str] = Field(["*"], description="Names of labels to add, such as `app` or `app.kubernetes.io/*`.")


class KubernetesOptions(ClusterOptions):
    """Say which cluster tells what pods, nodes and services are called, and how much of it is kept."""

    enabled: bool | Literal["auto"] = Field(
        "auto",
        description="Whether to ask a cluster. `auto`: in a pod with a service account, or where `kubeconfig`, `context` or "
        "`server` says which; a kubeconfig that merely lies in the home directory is not used.",
    )
    node_name: str | None = Field(
        None,
        description="Only the pods of this node; empty for all of the cluster. Unset: the node that the environment variable "
        "K8S_NODE_NAME names, as in a DaemonSet, else the whole cluster.",
    )
    namespaces: list[str] = Field([], description="Only pods and services of these namespaces; empty for all of them.")
    cri_socket: str = Field(
        "",
        description="Path of the container runtime's socket (/run/containerd/containerd.sock, /run/crio/crio.sock): it knows "
        "names before the API does, and without any API. Empty: it is not asked.",
    )
    tombstone_ttl: Duration = Field(
        300.0,
        ge=0,
        description="Time for which deleted pods and replaced containers are remembered, for events that come late.",
    )
    max_pods: int = Field(200_000, ge=1, description="Most pods that are kept, of some 3 KB each.")

    @property
    def node(self) -> str:
        """Return the node whose pods are wanted; empty for all."""
        return os.environ.get(NODE_NAME, "") if self.node_name is None else self.node_name

    @property
    def wanted(self) -> bool:
        """Tell whether a cluster is to be asked, by the options and by where the agent runs."""
        if self.enabled != "auto":
            return self.enabled
        if self.kubeconfig or self.context or self.server or self.auth_type != "auto":
            return True
        return bool(os.environ.get(HOST)) and (Path(self.service_account_directory) / "token").exists()


class EnrichConfig(ComponentConfig):
    """Be the options of `enrich`."""

    kubernetes: KubernetesOptions = Field(
        default_factory=KubernetesOptions, description="The cluster that is asked, if there is one."
    )
    enrichers: list[str] = Field(
        list(CHAIN),
        description="The enrichers in their order: of two that say the same thing, the first is heard. `plugins` stands for "
        "all that plugins bring and that are not named.",
    )
    overwrite: bool = Field(False, description="Replace what events say already by what is known.")
    wait_for_sync: Duration = Field(
        0.0,
        ge=0,
        description="Longest time for which events are held back at the start until the cluster's objects are known. 0: not "
        "at all; the first events then may lack names.",
    )
    pod: ShownOfPod = Field(default_factory=ShownOfPod, description="What is added of pods.")
    node: Shown = Field(default_factory=Shown, description="What is added of nodes.")
    namespace: Shown = Field(default_factory=Shown, description="What is added of namespaces.")
    geoip: GeoIpOptions = Field(default_factory=GeoIpOptions, description="Where public addresses are, and in whose network.")
    options: dict[str, dict[str, Any]] = Field({}, description="The options of enrichers that plugins bring, by their names.")

    @field_validator("enrichers")
    @classmethod
    def _once_each(cls, names: list[str]) -> list[str]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} is there more than once: name each enricher once")
        return names
