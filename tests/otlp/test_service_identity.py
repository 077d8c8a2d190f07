"""What service a pod's events belong to, by OpenTelemetry's rules for Kubernetes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Scope
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.otlp.json import JsonRequestBuilder
from tapio_otel.otlp.mapping import map_origin
from tapio_otel.otlp.service_identity import Image, image_of
from tapio_otel.otlp.wire import RequestBuilder
from tests.otlp import reference
from tests.otlp.test_json import parse as parse_json

DEPLOYMENT = EntityReference("deployment", "shop", "prod")
POD = EntityReference("pod", "shop-7d9f-x", "prod", "1-2-3", EntityReference("replicaset", "shop-7d9f", "prod", "", DEPLOYMENT))
CONTAINER = EntityReference("container", "app", "prod", "c0ffee", POD)
DIGEST = "sha256:" + "a1" * 32
SAID = "resource.opentelemetry.io/"
INSTANCE, NAME, VERSION = (f"app.kubernetes.io/{one}" for one in ("instance", "name", "version"))


def service(attributes=None, labels=None, annotations=None, entity=CONTAINER):
    """Return what the resource says of the service, by names without `service.`."""
    resource = map_origin(Origin(entity, attributes, labels, annotations), "journald", {}).resource
    return {key.removeprefix("service."): value for key, value in resource.items() if key.startswith("service.")}


def test_a_pod_without_labels_is_named_by_its_workload():
    """Owner, namespace, and the instance of namespace, pod and container."""
    assert service() == {"name": "shop", "namespace": "prod", "instance.id": "prod.shop-7d9f-x.app"}


def test_without_a_container_there_is_no_instance():
    """The same pod's containers would all be one."""
    assert service(entity=POD) == {"name": "shop", "namespace": "prod"}


@pytest.mark.parametrize(
    ("attributes", "labels", "annotations", "expected"),
    [
        ({"service.name": "own"}, {INSTANCE: "i", NAME: "n"}, {SAID + "service.name": "said"}, "own"),
        ({}, {INSTANCE: "i", NAME: "n"}, {SAID + "service.name": "said"}, "said"),
        ({}, {INSTANCE: "i", NAME: "n"}, {}, "i"),
        ({}, {NAME: "n"}, {}, "n"),
        ({}, {INSTANCE: "", NAME: "n"}, {SAID + "service.name": ""}, "n"),
        ({}, {"app": "a"}, {"service.name": "x"}, "shop"),
    ],
)
def test_the_first_that_is_told_names_the_service(attributes, labels, annotations, expected):
    """The event itself, the annotation, the label of the instance, that of the name, the owner."""
    assert service(attributes, labels, annotations)["name"] == expected


@pytest.mark.parametrize(
    ("attributes", "labels", "annotations", "expected"),
    [
        ({"image": "shop:1.2"}, {VERSION: "l"}, {SAID + "service.version": "said"}, "said"),
        ({"image": "shop:1.2"}, {VERSION: "l"}, {}, "l"),
        ({"image": f"hub:5000/shop:1.2@{DIGEST}"}, {}, {}, f"1.2@{DIGEST}"),
        ({"image": f"shop@{DIGEST}"}, {}, {}, DIGEST),
        ({"image": "hub:5000/shop:1.2"}, {}, {}, "1.2"),
        ({"image": "hub:5000/shop"}, {}, {}, None),
        ({"container.image.name": "shop", "container.image.tags": ["1.2", "1"]}, {}, {}, "1.2"),
        ({"container.image.name": "shop", "container.image.repo_digests": [f"shop@{DIGEST}"]}, {}, {}, DIGEST),
        ({"container.image.name": "shop", "container.image.tags": [], "container.image.repo_digests": "odd"}, {}, {}, None),
        ({"container.image.name": 7, "container.image.tags": [8]}, {}, {}, None),
        ({}, {}, {}, None),
    ],
)
def test_the_first_that_is_told_is_the_version(attributes, labels, annotations, expected):
    """The annotation, the label, then tag and digest of the image, digest, or tag."""
    assert service(attributes, labels, annotations).get("version") == expected


def test_annotations_name_any_attribute_of_the_resource():
    """But cannot replace what is known of the pod; they are not exported once more as annotations."""
    annotations = {
        f"{SAID}service.namespace": "shops",
        f"{SAID}service.instance.id": "one",
        f"{SAID}deployment.environment.name": "production",
        f"{SAID}k8s.pod.name": "another",
        SAID: "nothing",
        "team": "a",
    }
    found = map_origin(Origin(CONTAINER, None, None, annotations), "journald", {})
    expected = {"service.namespace": "shops", "service.instance.id": "one", "deployment.environment.name": "production"}
    assert {**found.resource, **expected, "k8s.pod.name": "shop-7d9f-x"} == found.resource
    assert found.attributes == {"tapio.source": "journald", "k8s.pod.annotation.team": "a"}


def test_only_pods_are_services_by_their_labels():
    """A label of a unit or a node says nothing of that kind."""
    unit = EntityReference("systemd_unit", "a.service")
    labels, annotations = {NAME: "n", VERSION: "1"}, {SAID + "service.name": "said"}
    assert service({}, labels, annotations, unit) == {"name": "a"}
    assert service({}, labels, annotations, EntityReference("namespace", "prod")) == {}


def test_an_images_parts_are_where_the_conventions_have_them():
    """Whoever wrote the name whole: a runtime's journal driver or Kubernetes."""
    for key in ("image", "IMAGE_NAME", "container.image.name"):
        resource = map_origin(Origin(CONTAINER, {key: f"hub:5000/a/shop:1.2@{DIGEST}"}), "journald", {}).resource
        assert resource["container.image.name"] == "hub:5000/a/shop"
        assert resource["container.image.tags"] == ["1.2"]
        assert resource["container.image.repo_digests"] == [f"hub:5000/a/shop@{DIGEST}"]
    told = {"image": "shop:1.2", "container.image.tags": ["1.2.3"]}
    assert map_origin(Origin(CONTAINER, told), "journald", {}).resource["container.image.tags"] == ["1.2.3"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("shop", Image("shop")),
        ("shop:1.2", Image("shop", "1.2")),
        ("localhost:5000/shop", Image("localhost:5000/shop")),
        ("localhost:5000/shop:latest", Image("localhost:5000/shop", "latest")),
        (f"shop@{DIGEST}", Image("shop", "", DIGEST)),
        (DIGEST, Image(DIGEST)),
        ("shop@sha256:short", Image("shop@sha256:short")),
        ("shop@", Image("shop@")),
        ("shop:", Image("shop:")),
        (":tag", Image(":tag")),
        ("", Image("")),
    ],
)
def test_references_to_images_are_split(reference, expected):
    """As the runtimes read them."""
    assert image_of(reference) == expected


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(":/@"), max_size=100))
def test_nothing_of_a_reference_is_lost(reference):
    """Put together again, the parts are what they were taken from, whatever that was."""
    image = image_of(reference)
    tag, digest = image.tag and f":{image.tag}", image.digest and f"@{image.digest}"
    assert f"{image.name}{tag}{digest}" == reference


def test_both_encodings_have_the_whole_identity():
    """Lists in the resource, too, are the same in protobuf and JSON, and what the independent construction says."""
    origin = Origin(CONTAINER, {"image": f"shop:1.2@{DIGEST}"}, {NAME: "n"}, {SAID + "team": "a"})
    event = UnifiedEvent.of_origin(origin, "i" * 36, 1, 2, "journald", "log", Severity.INFO, "", "x", {"restart_count": 3})
    scope, base = Scope("s", "1"), {"host.name": "h"}
    requests = []
    for builder in (RequestBuilder(base), JsonRequestBuilder(base)):
        builder.add([event], scope)
        requests.append(builder.build())
    expected = reference.flat(reference.request([([event], scope)], base))
    assert reference.flat(reference.parse(requests[0])) == expected
    assert reference.flat(parse_json(requests[1])) == expected
    assert any(one.key == "container.image.tags" for one in reference.parse(requests[0]).resource_logs[0].resource.attributes)
