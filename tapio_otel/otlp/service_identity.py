"""What service a pod's events belong to: `service.*` by OpenTelemetry's rules for Kubernetes.

The rules are those of "Specify resource attributes using Kubernetes annotations" (non-normative part of the semantic
conventions). They ask that labels are used only when somebody wants that: here, when the labels are on the event, which is
decided by what is enriched. What an event says itself is never replaced. Runs once for each origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tapio_otel.otlp import semconv

Attributes = dict[str, Any]

ANNOTATION: Final = "resource.opentelemetry.io/"
"""Beginning of annotations that name a resource attribute, in which they are put."""
_LABELS: Final = (
    (semconv.SERVICE_NAME, ("app.kubernetes.io/instance", "app.kubernetes.io/name")),
    (semconv.SERVICE_VERSION, ("app.kubernetes.io/version",)),
)
_INSTANCE: Final = (semconv.K8S_NAMESPACE_NAME, semconv.K8S_POD_NAME, semconv.K8S_CONTAINER_NAME)
_ALGORITHMS: Final = ("sha256", "sha512")
"""Beginnings of what is an image's id and no name."""
_SHORTEST_DIGEST: Final = 32
"""Digits of the shortest digest that references to images may have."""


class Image(NamedTuple):
    """Hold the parts of a reference to an image; empty where it has none."""

    name: str
    tag: str = ""
    digest: str = ""

    @property
    def version(self) -> str:
        """Return what tells one build from the other."""
        return "@".join(part for part in (self.tag, self.digest) if part)


def image_of(reference: str) -> Image:
    """Split a reference such as `registry:5000/team/shop:1.2@sha256:…`; something else is a name whole."""
    name, at, digest = reference.partition("@")
    algorithm, colon, digits = digest.partition(":")
    if at and not (algorithm and colon and len(digits) >= _SHORTEST_DIGEST and digits.isalnum()):
        return Image(reference)
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # the colon is that of the registry's port
        return Image(name, "", digest)
    return Image(path, tag, digest) if path and tag and path not in _ALGORITHMS else Image(reference)


def split_image(resource: Attributes) -> None:
    """Put an image's tag and digest where the conventions have them: the name is to be without."""
    written = resource.get(semconv.CONTAINER_IMAGE_NAME)
    if not isinstance(written, str) or not (":" in written or "@" in written):
        return
    image = image_of(written)
    resource[semconv.CONTAINER_IMAGE_NAME] = image.name
    if image.tag:
        resource.setdefault(semconv.CONTAINER_IMAGE_TAGS, [image.tag])
    if image.digest:
        resource.setdefault(semconv.CONTAINER_IMAGE_REPO_DIGESTS, [f"{image.name}@{image.digest}"])


def take_annotations(resource: Attributes, annotations: Mapping[str, str]) -> None:
    """Put what a pod's annotations say of the resource into it."""
    for key, text in annotations.items():
        if key.startswith(ANNOTATION) and text and (name := key[len(ANNOTATION) :]):
            resource.setdefault(name, text)


def take_labels(resource: Attributes, labels: Mapping[str, str]) -> None:
    """Name the service, and its version, by a pod's well-known labels."""
    for name, keys in _LABELS:
        if name not in resource and (text := next((labels[key] for key in keys if labels.get(key)), "")):
            resource[name] = text


def complete(resource: Attributes, image: str) -> None:
    """Add what follows from the pod and container that a resource names, and from the `image` as it was written."""
    if namespace := resource.get(semconv.K8S_NAMESPACE_NAME):
        resource.setdefault(semconv.SERVICE_NAMESPACE, namespace)
    if semconv.SERVICE_VERSION not in resource and (version := image_of(image).version or _told_version(resource)):
        resource[semconv.SERVICE_VERSION] = version
    parts = [part for name in _INSTANCE if isinstance(part := resource.get(name), str) and part]
    if len(parts) == len(_INSTANCE):
        resource.setdefault(semconv.SERVICE_INSTANCE_ID, ".".join(parts))


def _told_version(resource: Attributes) -> str:
    """Return the tag, else the digest of an image whose parts were told one by one."""
    if tag := _first(resource.get(semconv.CONTAINER_IMAGE_TAGS)):
        return tag
    return image_of(_first(resource.get(semconv.CONTAINER_IMAGE_REPO_DIGESTS))).digest


def _first(values: Any) -> str:
    found = values[0] if isinstance(values, list) and values else ""
    return found if isinstance(found, str) else ""
