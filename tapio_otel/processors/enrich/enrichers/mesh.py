"""mesh: whether a pod's traffic goes through a service mesh, Istio (sidecar or ambient) or Linkerd, and how it is encrypted.

All of it is read from what the meshes themselves write on pods and namespaces. What a pod accepts in the end is decided by
policies, which are not read: `tapio.mesh.mtls` tells whether its proxy speaks mutual TLS, not whether all else is refused.
"""

from __future__ import annotations

from typing import Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.kubernetes.objects import Words
from tapio_otel.kubernetes.pods import Pod

ISTIO_PROXY: Final = "istio-proxy"
LINKERD_PROXY: Final = "linkerd-proxy"
_TLS_MODE: Final = "security.istio.io/tlsMode"
_CANONICAL_NAME: Final = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_CANONICAL_REVISION: Final = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
_REVISION: Final = "istio.io/rev"
_DATAPLANE: Final = "istio.io/dataplane-mode"
_WAYPOINT: Final = "istio.io/use-waypoint"
_REDIRECTION: Final = "ambient.istio.io/redirection"
_LINKERD_VERSION: Final = "linkerd.io/proxy-version"
_LINKERD_IDENTITY: Final = "linkerd.io/identity-mode"
_LINKERD_CONTROL_PLANE: Final = "linkerd.io/control-plane-ns"
MESH_LABELS: Final = (
    *(_TLS_MODE, *_CANONICAL_NAME, *_CANONICAL_REVISION, _REVISION, _DATAPLANE, _WAYPOINT),
    _LINKERD_CONTROL_PLANE,
)
MESH_ANNOTATIONS: Final = (_REDIRECTION, _LINKERD_VERSION, _LINKERD_IDENTITY)
"""What has to be kept of pods and namespaces for this."""


class MeshEnricher(Enricher):
    """Add what is known of the mesh that a pod is in."""

    def __init__(self, context: EnricherContext, _options: object) -> None:
        self._cluster = context.cluster

    def enrich(self, subject: Subject) -> None:
        """Add to events about a pod or anything in it."""
        pod: Pod | None = subject.pod
        if pod is None:
            return
        if ISTIO_PROXY in pod.containers:
            _add_sidecar(subject, pod)
        elif LINKERD_PROXY in pod.containers or _LINKERD_VERSION in pod.annotations:
            _add_linkerd(subject, pod)
        else:
            self._add_ambient(subject, pod)

    def _add_ambient(self, subject: Subject, pod: Pod) -> None:
        """Add Istio without sidecars: what the node's agent has noted is sure, the labels only say what is wanted."""
        redirected = pod.annotations.get(_REDIRECTION)
        around = self._cluster.namespace(pod.namespace)
        wanted = pod.labels.get(_DATAPLANE) or around.get(_DATAPLANE)
        if redirected != "enabled" and (redirected == "disabled" or wanted != "ambient"):
            return
        subject.add("tapio.mesh.name", "istio")
        subject.add("tapio.mesh.mode", "ambient")
        subject.add("tapio.mesh.mtls", redirected == "enabled")
        subject.add("tapio.mesh.tls_mode", "hbone" if redirected == "enabled" else "")
        waypoint = pod.labels.get(_WAYPOINT) or around.get(_WAYPOINT, "")
        subject.add("tapio.mesh.waypoint", waypoint if waypoint != "none" else "")
        _add_canonical(subject, pod)


def _add_sidecar(subject: Subject, pod: Pod) -> None:
    mode = pod.labels.get(_TLS_MODE, "")
    subject.add("tapio.mesh.name", "istio")
    subject.add("tapio.mesh.mode", "sidecar")
    subject.add("tapio.mesh.mtls", mode == "istio")
    subject.add("tapio.mesh.tls_mode", mode or "disabled")
    subject.add("tapio.mesh.revision", pod.labels.get(_REVISION))
    _add_canonical(subject, pod)
    _add_proxy(subject, ISTIO_PROXY)


def _add_linkerd(subject: Subject, pod: Pod) -> None:
    mode = pod.annotations.get(_LINKERD_IDENTITY, "default")
    subject.add("tapio.mesh.name", "linkerd")
    subject.add("tapio.mesh.mode", "sidecar")
    subject.add("tapio.mesh.mtls", mode != "disabled")
    subject.add("tapio.mesh.tls_mode", mode)
    subject.add("tapio.mesh.proxy_version", pod.annotations.get(_LINKERD_VERSION))
    subject.add("tapio.mesh.control_plane", pod.labels.get(_LINKERD_CONTROL_PLANE))
    _add_proxy(subject, LINKERD_PROXY)


def _add_canonical(subject: Subject, pod: Pod) -> None:
    """Add the service and revision as Istio names them: by its labels, else by those it falls back to itself."""
    name = _first(pod.labels, _CANONICAL_NAME) or (pod.owners[-1].name if pod.owners else pod.name)
    subject.add("tapio.mesh.canonical_service", name)
    subject.add("tapio.mesh.canonical_revision", _first(pod.labels, _CANONICAL_REVISION) or "latest")


def _add_proxy(subject: Subject, proxy: str) -> None:
    """Mark what the mesh's own proxy says."""
    if subject.container is not None and subject.container.name == proxy:
        subject.add("tapio.mesh.proxy", True)


def _first(labels: Words, names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")
