"""Tests of the control plane that other tests are made with."""

from __future__ import annotations

import pytest

from tests.kubernetes.cluster import Cluster, Refused


def test_a_real_apiserver_keeps_objects_and_says_its_version(cluster: Cluster) -> None:
    """What is created is listed, with the status it was given; a deleted object is gone."""
    pods = f"/api/v1/namespaces/{cluster.namespace('kept')}/pods"
    spec = {"nodeName": "n1", "containers": [{"name": "app", "image": "app:1"}]}
    made = cluster.create(pods, {"metadata": {"name": "web-0"}, "spec": spec, "status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Running" and cluster.request("GET", "/version")["major"] == "1"
    cluster.delete(f"{pods}/web-0")
    with pytest.raises(Refused, match="404"):
        cluster.request("GET", f"{pods}/web-0")
