"""The options of the kubernetes receiver."""

from __future__ import annotations

import os
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration
from tapio_otel.event import Severity
from tapio_otel.kubernetes.access import ClusterOptions

NODE_NAME: Final = "K8S_NODE_NAME"
"""The environment variable that a DaemonSet sets from `spec.nodeName`."""
Watched = Literal["events", "pods", "nodes"]
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_SLACK: Final = 1.2
"""A renewal may come later than `retry_period` by as much: client-go's jitter."""


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise ValueError(f"{name!r} is no name of a Kubernetes object: write lower-case letters, digits, - and .")
    return name


def _check_optional(name: str) -> str:
    return _check_name(name) if name else name


Name = Annotated[str, AfterValidator(_check_name)]
OptionalName = Annotated[str, AfterValidator(_check_optional)]
SeverityKeyword = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


class LeaderElectionConfig(ComponentConfig):
    """Let one of several replicas watch the cluster, by a Lease; the others stand by."""

    enabled: bool = Field(False, description="Elect a leader for what is watched in the whole cluster.")
    lease_name: Name = Field("tapio-otel", description="Name of the Lease; replicas with the same one elect one leader.")
    lease_namespace: OptionalName = Field("", description="Namespace of the Lease. Empty: the agent's own.")
    lease_duration: Duration = Field(
        15.0, ge=1, description="Time without a renewal after which another replica takes over, rounded up to whole seconds."
    )
    renew_deadline: Duration = Field(
        10.0, gt=0, description="Time without a successful renewal after which the leader itself stops watching."
    )
    retry_period: Duration = Field(2.0, gt=0, description="Time between two attempts to get or to renew the Lease.")

    @model_validator(mode="after")
    def _ordered(self) -> LeaderElectionConfig:
        if not self.lease_duration > self.renew_deadline > self.retry_period * _SLACK:
            raise ValueError(
                f"lease_duration ({self.lease_duration:g}s) must be longer than renew_deadline ({self.renew_deadline:g}s), and "
                f"that longer than {_SLACK} times retry_period ({self.retry_period:g}s): else there could be two leaders"
            )
        return self


class KubernetesConfig(ClusterOptions):
    """Choose what is watched of which cluster, and how it is told."""

    resources: list[Watched] = Field(
        ["events", "pods", "nodes"], min_length=1, description="What is watched: `events`, `pods`, `nodes`."
    )
    namespaces: list[Name] = Field([], description="Only events and pods of these namespaces; empty for all of them.")
    field_selector: dict[Watched, str] = Field(
        {}, description="By resource, which objects the server selects by their fields, such as `events: type=Warning`."
    )
    label_selector: dict[Watched, str] = Field(
        {}, description="By resource, which objects the server selects by their labels, such as `pods: app=web`."
    )
    node_name: str | None = Field(
        None,
        description="Only this node, its pods and their events; empty for the whole cluster. Unset: the node that the "
        "environment variable K8S_NODE_NAME names, as in a DaemonSet, else the whole cluster.",
    )
    leader_election: LeaderElectionConfig = Field(
        default_factory=LeaderElectionConfig,
        description="Let one of several replicas watch what is of the whole cluster, so that each event is told once.",
    )
    start_at: Literal["beginning", "end"] = Field(
        "end", description="Without a checkpoint: tell the events that the server still has (an hour), or only later ones."
    )
    initial_state: Literal["none", "unhealthy", "all"] = Field(
        "unhealthy", description="Without a checkpoint: which pods and nodes are told of once when the receiver starts."
    )
    dedup_interval: Duration = Field(
        60.0,
        ge=0,
        description="An event that occurs again within this time is told at its end, once, with the count reached. 0 tells "
        "every repetition.",
    )
    severities: dict[str, SeverityKeyword] = Field(
        {}, description="By reason (`BackOff: warning`), severities that differ from the built-in table."
    )

    @property
    def node(self) -> str:
        """Return the node that this is about; empty for all."""
        return os.environ.get(NODE_NAME, "") if self.node_name is None else self.node_name

    @property
    def own_severities(self) -> dict[str, Severity]:
        """Return `severities` as such."""
        return {reason: Severity.from_keyword(keyword) for reason, keyword in self.severities.items()}
