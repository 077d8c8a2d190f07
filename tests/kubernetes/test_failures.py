"""Tests of what is said about an answer that is no success."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.kubernetes.failures import Request, failure_of_answer, failure_of_status
from tapio_otel.kubernetes.resources import EVENTS, LEASES, NODES, PODS, Resource

JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "message", "details", "reason", "type", "object",
    "metadata", "resourceVersion", "retryAfterSeconds"]) | st.text(), inner, max_size=4)
), max_leaves=12)  # fmt: skip
WATCH = Request("watch", "pods")


@pytest.mark.parametrize(
    ("method", "path", "watch", "said"),
    [
        ("GET", PODS.path(), False, "list pods in all namespaces"),
        ("GET", PODS.path("prod"), True, "watch pods in namespace prod"),
        ("GET", PODS.path("prod", "web-0"), False, "get pods web-0 in namespace prod"),
        ("PATCH", PODS.path("prod", "web-0") + "/status", False, "patch pods/status web-0 in namespace prod"),
        ("GET", NODES.path(), False, "list nodes"),
        ("GET", NODES.path("ignored", "n1"), False, "get nodes n1"),
        ("GET", EVENTS.path(), True, "watch events.events.k8s.io in all namespaces"),
        ("POST", LEASES.path("kube-system"), False, "create leases.coordination.k8s.io in namespace kube-system"),
        ("DELETE", "/api/v1/namespaces/prod", False, "delete namespaces prod"),
        ("GET", "/api/v1/namespaces", False, "list namespaces"),
        ("GET", "/version", False, "GET /version"),
    ],
)
def test_a_request_is_named_as_rbac_names_it(method: str, path: str, watch: bool, said: str) -> None:
    """Verb, resource, API group, namespace and name are read from the path."""
    assert str(Request.of(method, path, watch)) == said


def test_a_resource_is_named_with_its_group() -> None:
    """As kubectl takes it."""
    assert (str(PODS), str(EVENTS), EVENTS.group, PODS.group) == ("pods", "events.events.k8s.io", "events.k8s.io", "")
    assert Resource("a.b/v2", "xs", "X").path("n", "one") == "/apis/a.b/v2/namespaces/n/xs/one"


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, b"{}", 7.0),
        ({}, b'{"details": {"retryAfterSeconds": 3}}', 3.0),
        ({"Retry-After": "soon"}, b"{}", None),
        ({"Retry-After": "-1"}, b"{}", None),
        ({"Retry-After": "inf"}, b"{}", None),
        ({}, b"", None),
    ],
)
def test_how_long_to_wait_is_read_from_header_or_body(headers: dict[str, str], body: bytes, seconds: float | None) -> None:
    """What is no number of seconds is not there."""
    assert failure_of_answer(429, body, headers, WATCH).retry_after == seconds


@given(st.integers(300, 599), st.binary() | JSON.map(orjson.dumps), st.dictionaries(st.just("Retry-After"), st.text()))
def test_any_answer_can_be_told(status: int, body: bytes, headers: dict[str, str]) -> None:
    """One line, of bounded length, with the status of HTTP."""
    failure = failure_of_answer(status, body, headers, WATCH)
    assert failure.status == status and str(failure).isprintable() and len(str(failure)) < 2500


@given(JSON)
def test_any_error_within_a_stream_can_be_told(said: object) -> None:
    """Whatever stands where a Status should."""
    assert str(failure_of_status(said, WATCH))
