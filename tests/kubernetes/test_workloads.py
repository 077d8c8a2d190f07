"""Owners of pods, found by the names that controllers give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.entity import EntityReference
from tapio_otel.kubernetes.workloads import Owner, OwnerNames, cron_job_of, with_owners
from tests.kubernetes.cluster_objects import CREATED, owned_by

NODE = EntityReference("node", "n1", uid="u1")


def owners(references: list[dict[str, Any]] | None, **labels: str) -> list[tuple[str, str]]:
    """Return kinds and names of the owners that metadata tell."""
    found = {name.replace("_", "-"): text for name, text in labels.items()}
    metadata = {"ownerReferences": references, "labels": found, "creationTimestamp": CREATED}
    return [(one.kind, one.name) for one in OwnerNames().of(metadata)]


def test_a_pod_without_owners_has_none() -> None:
    """As one made by hand."""
    assert owners(None) == owners([]) == []
    assert OwnerNames().of({}) == ()


def test_a_replica_sets_pod_belongs_to_its_deployment() -> None:
    """The hash in the pod's label ends the ReplicaSet's name."""
    reference = owned_by("ReplicaSet", "web-front-7d9f8b6c5")
    assert owners(reference, pod_template_hash="7d9f8b6c5") == [
        ("ReplicaSet", "web-front-7d9f8b6c5"),
        ("Deployment", "web-front"),
    ]
    assert owners(reference, rollouts_pod_template_hash="7d9f8b6c5")[-1] == ("Rollout", "web-front")
    assert owners(reference) == owners(reference, pod_template_hash="other") == [("ReplicaSet", "web-front-7d9f8b6c5")]
    assert owners(owned_by("ReplicaSet", "-7d"), pod_template_hash="7d") == [("ReplicaSet", "-7d")]


def test_the_uid_of_what_only_a_name_tells_is_unknown() -> None:
    """That of the nearest is told."""
    metadata = {"ownerReferences": owned_by("ReplicaSet", "web-7d", "u7"), "labels": {"pod-template-hash": "7d"}}
    assert OwnerNames().of(metadata) == (Owner("ReplicaSet", "web-7d", "u7"), Owner("Deployment", "web", ""))


def test_the_controller_is_the_owner() -> None:
    """Of several; the first if none controls."""
    other, controller = owned_by("Backup", "b", controller=False), owned_by("StatefulSet", "db")
    assert owners(other + controller) == [("StatefulSet", "db")]
    assert owners(other + owned_by("Other", "o", controller=False)) == [("Backup", "b")]


@pytest.mark.parametrize(
    ("job", "cron_job"),
    [
        ("backup-29511360", "backup"),  # minutes since 1970
        ("nightly-backup-2-29511360", "nightly-backup-2"),
        ("backup-1770681600", "backup"),  # seconds, up to Kubernetes 1.20
        ("backup-20260210", ""),  # a day
        ("backup-20991231", ""),
        ("backup-2026021009", ""),  # a day and an hour
        ("backup-99999999", ""),  # later than the pod
        ("backup-00000001", ""),
        ("backup-2951136", ""),
        ("backup-295113600", ""),
        ("backup-²9511360", ""),
        ("backup", ""),
        ("-29511360", ""),
        ("29511360", ""),
        ("", ""),
    ],
)
def test_a_cron_jobs_job_ends_in_the_time_it_was_due(job: str, cron_job: str) -> None:
    """Days that people write at the end of names are none."""
    assert cron_job_of(job, "2026-02-10T00:00:05Z") == cron_job
    expected = [("Job", job), *([("CronJob", cron_job)] if cron_job else [])]
    assert owners(owned_by("Job", job)) == expected


@given(st.text(max_size=40), st.text(max_size=30))
def test_any_name_can_be_asked(job: str, created: str) -> None:
    """What is found begins the name."""
    found = cron_job_of(job, created)
    assert not found or job.startswith(f"{found}-")


def test_equal_owners_are_one_object() -> None:
    """Thousands of pods have the same."""
    names = OwnerNames()
    metadata = [{"ownerReferences": owned_by("ReplicaSet", "web-7d"), "labels": {"pod-template-hash": "7d"}} for _ in range(2)]
    assert names.of(metadata[0]) is names.of(metadata[1])


def test_owners_become_a_lineage() -> None:
    """The nearest first; uid is that of the API, else namespace and name, which only one object of a kind has."""
    found = with_owners((Owner("ReplicaSet", "web-7d", "u7"), Owner("Deployment", "web")), "shop", NODE)
    assert found is not None
    assert [(one.type, one.name, one.namespace, one.uid) for one in found.lineage()] == [
        ("replicaset", "web-7d", "shop", "u7"),
        ("deployment", "web", "shop", "shop/web"),
        ("node", "n1", "", "u1"),
    ]


@pytest.mark.parametrize("kind", ["Node", "Pod", "Service", "Namespace", "Container", ""])
def test_what_is_no_workload_is_left_out_of_the_lineage(kind: str) -> None:
    """A static pod's owner is its node, which is there anyway."""
    assert with_owners((Owner(kind, "x", "u"),), "shop", NODE) is NODE
