"""Tests of reading lists and the lines of watches."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.kubernetes.answers import Reader, whole
from tapio_otel.kubernetes.failures import ApiFailure, Request
from tapio_otel.kubernetes.list_watch import identity
from tapio_otel.kubernetes.resources import EVENTS, PODS, Resource
from tests.kubernetes.cluster import Cluster

KEYS = ["type", "object", "metadata", "resourceVersion", "items", "continue", "spec", "code", "message"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text() | st.sampled_from(["ADDED", "BOOKMARK", "ERROR"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
LIST, WATCH = Request("list", "pods"), Request("watch", "pods")
EVERYTHING = Resource("v1", "pods", "Pod", parts=())


@given(st.lists(st.binary().filter(lambda line: b"\n" not in line) | JSON.map(orjson.dumps)))
def test_any_lines_of_a_watch_are_read_or_refused(lines: list[bytes]) -> None:
    """What is not read is told as a failure; nothing is raised."""
    told = Reader(PODS, identity).lines(lines, WATCH)
    assert told.failure is not None or len(told.changes) <= len(lines)


@given(st.binary() | JSON.map(orjson.dumps))
def test_any_page_is_read_or_refused(body: bytes) -> None:
    """Nothing but an ApiFailure is raised."""
    try:
        page = Reader(PODS, identity).page(body, LIST)
    except ApiFailure as failure:
        assert failure.status == 0
    else:
        assert page.version and isinstance(page.objects, list)


@given(st.lists(st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]), st.integers(1, 10**9), JSON)))
def test_the_lines_of_a_watch_are_read_as_they_were_written(events: list[tuple[str, int, Any]]) -> None:
    """Changes in order without bookmarks, whatever a part holds, and the last version."""
    objects = [(type_, {"metadata": {"resourceVersion": str(version)}, "spec": spec}) for type_, version, spec in events]
    told = Reader(PODS, identity).lines([orjson.dumps({"type": type_, "object": raw}) for type_, raw in objects], WATCH)
    assert [tuple(change) for change in told.changes] == [pair for pair in objects if pair[0] != "BOOKMARK"]
    assert told.version == (str(events[-1][1]) if events else "") and told.failure is None


def test_who_wrote_which_field_is_not_decoded() -> None:
    """Half of a pod is managedFields; a resource without parts has everything."""
    metadata = {"name": "web", "resourceVersion": "7", "managedFields": [{"manager": "kubelet"}]}
    line = orjson.dumps({"type": "ADDED", "object": {"metadata": metadata, "spec": {"a": 1}, "other": 2}})
    kept = {"metadata": {"name": "web", "resourceVersion": "7"}, "spec": {"a": 1}}
    assert Reader(PODS, identity).lines([line], WATCH).changes[0].object == kept
    assert Reader(EVERYTHING, identity).lines([line], WATCH).changes[0].object["metadata"] == metadata


@pytest.mark.parametrize("resource", [PODS, EVENTS], ids=str)
def test_all_other_parts_of_real_objects_are_kept(resource: Resource, cluster: Cluster) -> None:
    """What the server knows of an object's kind by its published schema is what is read."""
    group, _, version = resource.group_version.rpartition("/")
    path = f"/openapi/v3/apis/{group}/{version}" if group else f"/openapi/v3/api/{version}"
    schemas = cluster.request("GET", path)["components"]["schemas"]
    found = [one for one in schemas.values() if _is(one, group, version, resource.kind)]
    assert len(found) == 1
    assert set(found[0]["properties"]) == {"apiVersion", "kind", "metadata", *resource.parts}


def _is(schema: dict[str, Any], group: str, version: str, kind: str) -> bool:
    wanted = {"group": group, "version": version, "kind": kind}
    return wanted in schema.get("x-kubernetes-group-version-kind", [])


def test_text_that_is_no_json_is_quoted() -> None:
    """A portal or load balancer answers pages."""
    with pytest.raises(ApiFailure, match="cannot list pods in all namespaces: the server answered no JSON, but '<html>'"):
        whole(b"<html>", LIST)
