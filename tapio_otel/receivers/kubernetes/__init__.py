"""The kubernetes receiver: events, pods and nodes of a cluster, or of one node, as the API server tells them.

Kubernetes' events are told once each, also over a restart; what happens to pods, containers and nodes is told as it is seen,
each occurrence with an id that is the same whenever it is seen again.
"""

from __future__ import annotations

from tapio_otel.receivers.kubernetes.config import KubernetesConfig
from tapio_otel.receivers.kubernetes.receiver import KubernetesReceiver

__all__ = ["KubernetesConfig", "KubernetesReceiver"]
