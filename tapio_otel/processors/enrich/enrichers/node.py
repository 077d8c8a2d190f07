"""node: what Kubernetes tells of the node: system, kernel, kubelet, region, zone, instance type, provider id."""

from __future__ import annotations

from typing import Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.kubernetes.nodes import Node
from tapio_otel.processors.enrich.config import Shown
from tapio_otel.processors.enrich.shown import Choice

PROVIDERS: Final = {
    "aws": "aws",
    "gce": "gcp",
    "azure": "azure",
    "alicloud": "alibaba_cloud",
    "ibm": "ibm_cloud",
    "ibmcloud": "ibm_cloud",
    "oci": "oracle_cloud",
    "tencentcloud": "tencent_cloud",
    "qcloud": "tencent_cloud",
}
"""`cloud.provider` by the scheme of a node's provider id."""


class NodeEnricher(Enricher):
    """Add what is known of the node."""

    def __init__(self, _context: EnricherContext, options: Shown) -> None:
        self._labels = Choice(options.labels)
        self._annotations = Choice(options.annotations)

    def enrich(self, subject: Subject) -> None:
        """Add to events about a node or anything on it."""
        node: Node | None = subject.node
        if node is None:
            return
        add = subject.add
        add("k8s.node.name", node.name)
        add("k8s.node.uid", node.uid)
        add("host.arch", node.architecture)
        add("os.type", node.os)
        add("os.description", node.os_image)
        add("tapio.host.kernel_version", node.kernel)
        add("tapio.k8s.node.kubelet_version", node.kubelet)
        add("host.type", node.instance_type)
        add("cloud.region", node.region)
        add("cloud.availability_zone", node.zone)
        scheme = node.provider_id.partition("://")[0] if "://" in node.provider_id else ""
        add("cloud.provider", PROVIDERS.get(scheme, ""))
        add("tapio.k8s.node.provider_id", node.provider_id)
        for name, text in self._labels.of(node.labels).items():
            add(f"k8s.node.label.{name}", text)
        for name, text in self._annotations.of(node.annotations).items():
            add(f"k8s.node.annotation.{name}", text)
