"""The cache after any changes whatever: as if the end had been listed, and empty when all is gone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.kubernetes.cluster import ClusterCache
from tapio_otel.kubernetes.pods import Pod
from tests.kubernetes.cluster_objects import (
    MIRROR,
    STATIC,
    TTL,
    Clock,
    Fed,
    Raw,
    a_pod,
    names,
    with_container,
)

PODS: st.SearchStrategy[Raw] = st.builds(
    dict,
    name=st.sampled_from(["web-0", "web-1"]),
    namespace=st.sampled_from(["shop", "data"]),
    node=st.sampled_from(["", "n1", "n2"]),
    podIP=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    phase=st.sampled_from(["Pending", "Running", "Succeeded"]),
    labels=st.sampled_from([{}, {"app": "web"}, {"app": "api"}]),
    hostNetwork=st.booleans(),
    startTime=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    annotations=st.sampled_from([{}, dict.fromkeys(MIRROR, STATIC)]),
)
CONTAINERS = st.dictionaries(
    st.sampled_from(["app", "proxy"]),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
"""Number of the container and of the one that it replaced, by name."""
CHANGES = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), st.sampled_from(["u1", "u2", "u3"]), PODS, CONTAINERS),
    max_size=12,
)


def made(uid: str, about: Raw, containers: dict[str, tuple[int, int]]) -> Raw:
    """Make a pod; containers have ids of their own, as real ones do."""
    raw = a_pod(uid=uid, **about)
    for name, (number, last) in containers.items():
        before = f"{uid}-{name}-{last}" if last < number else ""
        with_container(raw, name, f"{uid}-{name}-{number}" if number else "", last=before, restarts=number)
    return raw


def shown(cache: ClusterCache) -> Raw:
    """Return all that can be found of what lives."""
    pods = [pod for one in ("u1", "u2", "u3") if (pod := cache.pod_by_uid(one)) is not None and pod.deleted_at is None]
    ids = [one for pod in pods for each in pod.containers.values() for one in (each.id, each.last_id) if one]
    claimed: dict[str, dict[Any, Pod | None]] = {
        "names": {(where, name): cache.pod_by_name(where, name) for where in ("shop", "data") for name in ("web-0", "web-1")},
        "ips": {ip: cache.pod_by_ip(ip) for ip in ("10.0.0.1", "10.0.0.2", "")},
        "static": {"": cache.pod_of_static_uid(STATIC)},
    }
    living = {
        what: {key: pod.uid for key, pod in found.items() if pod is not None and pod.deleted_at is None}
        for what, found in claimed.items()
    }
    return {
        "pods": [
            (pod.uid, pod.name, pod.namespace, pod.node, pod.ips, pod.phase, pod.labels, pod.containers, pod.static_uid)
            for pod in pods
        ],
        "entities": [(pod.entity, names(pod.entity.lineage())) for pod in pods],
        "containers": {one: (cache.container(one), (cache.pod_of_container(one) or (None, None))[1]) for one in ids},
        **living,
    }


@given(CHANGES, CHANGES, st.booleans())
async def test_changes_after_a_list_lead_to_what_a_list_of_the_end_would_tell(
    before: list[tuple[str, str, Raw, Any]], changes: list[tuple[str, str, Raw, Any]], at_once: bool
) -> None:
    """Whatever they are, one by one or together, sensible or not; and listing it all again changes nothing."""
    fed = Fed(ClusterCache(TTL, clock=Clock()))
    state = {uid: made(uid, about, containers) for _, uid, about, containers in before}
    await fed.list("pods", *state.values())
    told = [(kind, made(uid, about, containers)) for kind, uid, about, containers in changes]
    for group in [told] if at_once else [[one] for one in told]:
        await fed.change("pods", *group)
    for kind, raw in told:
        state.pop(raw["metadata"]["uid"], None)
        if kind != "DELETED":
            state[raw["metadata"]["uid"]] = raw
    listed = Fed(ClusterCache(TTL, clock=Clock()))
    await listed.list("pods", *state.values())
    expected = shown(listed.cache)
    assert shown(fed.cache) == expected
    generation = fed.cache.generation
    await fed.list("pods", *state.values())
    assert (shown(fed.cache), fed.cache.generation) == (expected, generation)


@given(CHANGES)
async def test_nothing_is_left_when_everything_is_gone_long_enough(changes: list[tuple[str, str, Raw, Any]]) -> None:
    """Whatever came before."""
    clock = Clock()
    fed = Fed(ClusterCache(TTL, clock=clock))
    for kind, uid, about, containers in changes:
        await fed.change("pods", (kind, made(uid, about, containers)))
    await fed.list("pods")
    clock.now += TTL
    await fed.list("pods")
    assert fed.cache.sizes == dict.fromkeys(fed.cache.sizes, 0)
    index = fed.cache._pods
    held = (index._pods, index._names, index._ips, index._static, index._containers, index._deleted, index._replaced)
    assert [len(one) for one in held] == [0] * 7
