"""The permissions that each feature needs, and not one more: rules of a ClusterRole or Role.

`deploy/kubernetes/` is made from this. Tests run the components against a real API server with just these rules, and with one
of them missing. RBAC knows no field selectors: who may list the pods of its node may list all pods.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tapio_otel.kubernetes.resources import ENDPOINT_SLICES, EVENTS, LEASES, NAMESPACES, NODES, PODS, SERVICES, Resource

API_GROUP: Final = "rbac.authorization.k8s.io"
WATCH: Final = ("list", "watch")
"""What a list/watch loop asks for."""
LEASE: Final = "tapio-otel"
"""The Lease of the default configuration."""


@dataclass(frozen=True, slots=True)
class Need:
    """Name a resource, what is done with it and, where these are known, the objects that it is done with."""

    resource: Resource
    verbs: tuple[str, ...] = WATCH
    names: tuple[str, ...] = ()

    @property
    def of_cluster(self) -> bool:
        """Tell whether only a ClusterRole can grant it."""
        return not self.resource.namespaced


@dataclass(frozen=True, slots=True)
class Feature:
    """Be a part of the agent that can be used by itself, with what it needs."""

    description: str
    needs: tuple[Need, ...]
    in_own_namespace: bool = False
    """Whether a Role in one namespace is enough whatever is watched."""


def lead(lease_name: str = LEASE) -> tuple[Need, ...]:
    """Return what electing a leader by this Lease needs; RBAC cannot limit `create` to a name."""
    return Need(LEASES, ("create",)), Need(LEASES, ("get", "update"), (lease_name,))


FEATURES: Final[dict[str, Feature]] = {
    "receive-events": Feature("The receiver kubernetes with resources: [events].", (Need(EVENTS),)),
    "receive-pods": Feature("The receiver kubernetes with resources: [pods].", (Need(PODS),)),
    "receive-nodes": Feature("The receiver kubernetes with resources: [nodes].", (Need(NODES),)),
    "enrich": Feature(
        "The processor enrich: names, labels and owners of pods, what is known of nodes, labels of namespaces.",
        (Need(PODS), Need(NODES), Need(NAMESPACES)),
    ),
    "enrich-services": Feature(
        "Its enrichers services (which lead to a pod) and addresses (whose an address is), both used unless left out.",
        (Need(PODS), Need(SERVICES), Need(ENDPOINT_SLICES)),
    ),
    "leader-election": Feature(
        "The receiver kubernetes with leader_election, in the namespace of the Lease.", lead(), in_own_namespace=True
    ),
}

AGENTS: Final[dict[str, tuple[str, ...]]] = {
    "node": ("receive-pods", "receive-nodes", "enrich", "enrich-services"),
    "cluster": ("receive-events", "leader-election", "enrich", "enrich-services"),
}
"""The features of the agents that `config/kubernetes.yaml` and `config/kubernetes-cluster.yaml` make."""


def needs_of(features: Iterable[str]) -> tuple[Need, ...]:
    """Return what several features need together, each need once; raises KeyError for a name that is none of `FEATURES`."""
    return tuple(dict.fromkeys(need for feature in features for need in FEATURES[feature].needs))


def rules(needs: Iterable[Need]) -> list[dict[str, Any]]:
    """Return the fewest rules that grant these, in a stable order: one for all resources of a group with the same verbs."""
    together: dict[tuple[str, tuple[str, ...], tuple[str, ...]], set[str]] = {}
    for need in needs:
        together.setdefault((need.resource.group, need.verbs, need.names), set()).add(need.resource.plural)
    made = []
    for (group, verbs, names), resources in sorted(together.items()):
        rule: dict[str, Any] = {"apiGroups": [group], "resources": sorted(resources), "verbs": list(verbs)}
        made.append(rule | ({"resourceNames": list(names)} if names else {}))
    return made


def role(name: str, needs: Iterable[Need], namespace: str = "") -> dict[str, Any]:
    """Return a ClusterRole or, with a namespace, a Role; raises ValueError for needs that no Role can grant."""
    wanted = tuple(needs)
    impossible = [need.resource.plural for need in wanted if need.of_cluster] if namespace else []
    if impossible:
        raise ValueError(f"a Role in {namespace!r} cannot grant {', '.join(impossible)}: they take a ClusterRole")
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": _metadata(name, namespace),
        "rules": rules(wanted),
    }


def binding(of: dict[str, Any], account: str, account_namespace: str) -> dict[str, Any]:
    """Return what gives a role, as `role` returned it, to a service account."""
    metadata = of["metadata"]
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": f"{of['kind']}Binding",
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": API_GROUP, "kind": of["kind"], "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    }


def account(name: str, namespace: str) -> dict[str, Any]:
    """Return a service account."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(name, namespace)}


def grants(name: str, namespace: str, features: Iterable[str]) -> list[dict[str, Any]]:
    """Return all objects that let the agent of this name in this namespace do what the features need."""
    wanted = tuple(features)
    cluster = needs_of(one for one in wanted if not FEATURES[one].in_own_namespace)
    own = needs_of(one for one in wanted if FEATURES[one].in_own_namespace)
    roles = [role(name, needs, where) for needs, where in ((cluster, ""), (own, namespace)) if needs]
    return [account(name, namespace), *(one for made in roles for one in (made, binding(made, name, namespace)))]


def _metadata(name: str, namespace: str = "") -> dict[str, Any]:
    where = {"namespace": namespace} if namespace else {}
    return {"name": name, **where, "labels": {"app.kubernetes.io/name": "tapio-otel"}}
