"""What meshes write on pods and namespaces is told of their events."""

from __future__ import annotations

import pytest

from tests.processors.enrich_samples import (
    CONTAINER_ID,
    CONTAINER_PATH,
    PROXY_ID,
    namespace,
    of_kernel,
    one,
    pod,
    teach,
)


async def test_istios_sidecar_is_told_with_service_revision_and_tls_mode(known):
    """What the sidecar's injector wrote on the pod; its own output is marked."""
    labels = {
        "security.istio.io/tlsMode": "istio",
        "service.istio.io/canonical-name": "shop",
        "service.istio.io/canonical-revision": "v2",
        "istio.io/rev": "stable",
    }
    await teach(known, pods=[pod(labels=labels, containers={"app": CONTAINER_ID, "istio-proxy": PROXY_ID})])
    app = one(known, of_kernel(known.context.entities))
    assert mesh(app) == {
        "name": "istio",
        "mode": "sidecar",
        "mtls": True,
        "tls_mode": "istio",
        "revision": "stable",
        "canonical_service": "shop",
        "canonical_revision": "v2",
    }
    proxy = one(known, of_kernel(known.context.entities, CONTAINER_PATH.replace(CONTAINER_ID, PROXY_ID)))
    assert mesh(proxy)["proxy"] is True


def mesh(passed):
    """Return what an event says of the mesh."""
    prefix = "tapio.mesh."
    return {key.removeprefix(prefix): value for key, value in passed.attributes.items() if key.startswith(prefix)}


@pytest.mark.parametrize(
    ("labels", "annotations", "around", "expected"),
    [
        ({}, {"ambient.istio.io/redirection": "enabled"}, {}, True),
        ({}, {}, {"istio.io/dataplane-mode": "ambient"}, False),
        ({"istio.io/dataplane-mode": "ambient"}, {}, {}, False),
        ({"istio.io/dataplane-mode": "none"}, {}, {"istio.io/dataplane-mode": "ambient"}, None),
        ({"istio.io/dataplane-mode": "ambient"}, {"ambient.istio.io/redirection": "disabled"}, {}, None),
        ({}, {}, {}, None),
    ],
)
async def test_ambient_is_told_with_whether_it_is_in_effect(known, labels, annotations, around, expected):
    """The annotation of Istio's agent is sure, labels of pod or namespace only say what is wanted."""
    await teach(known, pods=[pod(labels=labels, annotations=annotations)], namespaces=[namespace(**around)])
    found = mesh(one(known, of_kernel(known.context.entities)))
    assert (found.get("mode"), found.get("mtls")) == (("ambient", expected) if expected is not None else (None, None))
    assert found.get("canonical_service") == ("web" if expected is not None else None)


@pytest.mark.parametrize(("mode", "mtls"), [(None, True), ("disabled", False)])
async def test_linkerd_is_told_with_its_version_and_identity(known, mode, mtls):
    """Mutual TLS is on unless the pod's identity is turned off."""
    annotations = {"linkerd.io/proxy-version": "stable-2.14", **({"linkerd.io/identity-mode": mode} if mode else {})}
    await teach(known, pods=[pod(annotations=annotations, containers={"app": CONTAINER_ID, "linkerd-proxy": PROXY_ID})])
    found = mesh(one(known, of_kernel(known.context.entities)))
    assert (found["name"], found["mtls"], found["proxy_version"]) == ("linkerd", mtls, "stable-2.14")
