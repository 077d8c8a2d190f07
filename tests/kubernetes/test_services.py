"""Services by address, and the services that lead to a pod."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.kubernetes.objects import Choice, Pool, Stamps
from tapio_otel.kubernetes.pods import Pod
from tapio_otel.kubernetes.services import ServiceMap, Services, Slice, TrimServices
from tests.kubernetes.cluster_objects import Raw, a_service, a_slice

TRIM = TrimServices(Pool(), Choice(["*"]))


def services(*raw: Raw) -> Services:
    """Return services that were listed."""
    found = Services(Stamps())
    found.replace([TRIM.service(one) for one in raw])
    return found


def pod(uid: str, name: str = "p", namespace: str = "shop") -> Pod:
    """Return a pod."""
    return Pod(name, namespace, uid)


def test_a_service_is_found_by_each_of_its_addresses() -> None:
    """Those inside, those of nodes and those of load balancers; one without addresses is not in the way."""
    web = a_service("web", "10.96.0.1", "fd00::1", externalIPs=["203.0.113.1"])
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.2"}, {"hostname": "lb.example"}]}}
    found = services(web, a_service("headless"))
    for ip in ("10.96.0.1", "fd00::1", "203.0.113.1", "203.0.113.2"):
        service = found.by_ip(ip)
        assert service is not None
        assert (service.entity.type, service.name, service.namespace, service.type) == ("service", "web", "shop", "ClusterIP")
        assert service.entity is service.entity
    assert found.by_ip("None") is found.by_ip("") is None
    assert len(found) == 2


@pytest.mark.parametrize("spec", [None, {}, {"clusterIP": "10.96.0.1"}, {"clusterIPs": None, "externalIPs": None}])
def test_a_service_may_say_little(spec: Raw | None) -> None:
    """As one that only stands for a name, or of an old server."""
    raw = a_service("web")
    raw["spec"], raw["status"] = spec, None
    assert TRIM.service(raw).ips == (("10.96.0.1",) if spec and "clusterIP" in spec else ())


def test_a_service_that_changes_is_found_as_it_is_now() -> None:
    """Its old addresses are nobody's, and only a change is one."""
    stamps = Stamps()
    found = Services(stamps)
    found.put(TRIM.service(a_service("web", "10.96.0.1")))
    before, kept = stamps.generation, found.by_ip("10.96.0.1")
    found.put(TRIM.service(a_service("web", "10.96.0.1")))
    assert (stamps.generation, found.by_ip("10.96.0.1")) == (before, kept)
    found.put(TRIM.service(a_service("web", "10.96.0.2")))
    assert stamps.generation > before
    assert found.by_ip("10.96.0.1") is None
    assert found.by_ip("10.96.0.2") is not None
    found.remove(TRIM.service(a_service("web", "10.96.0.2")))
    found.remove(TRIM.service(a_service("web", "10.96.0.2")))
    assert found.by_ip("10.96.0.2") is None
    assert len(found) == 0


def test_an_address_is_the_living_services() -> None:
    """When a deletion is told after the address was given to another."""
    found = services(a_service("old", "10.96.0.1"))
    found.put(TRIM.service(a_service("new", "10.96.0.1")))
    found.remove(TRIM.service(a_service("old", "10.96.0.1")))
    service = found.by_ip("10.96.0.1")
    assert service is not None
    assert service.name == "new"


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    """Each namespace is listed by itself."""
    found = services(a_service("web", "10.96.0.1"), a_service("db", "10.96.0.2", namespace="data"))
    found.replace([], "shop")
    assert found.by_ip("10.96.0.1") is None
    assert found.by_ip("10.96.0.2") is not None
    slices = ServiceMap(lambda _pod: None)
    slices.replace([TRIM.slice(a_slice("a", "web", "u1")), TRIM.slice(a_slice("b", "db", "u2", namespace="data"))])
    slices.replace([], "data")
    assert (slices.of(pod("u1")), slices.of(pod("u2")), len(slices)) == (("web",), (), 1)


def test_endpoints_lead_to_pods_by_uid_or_name() -> None:
    """Those that are no pods, or of no service, lead nowhere."""
    raw = a_slice("web-x", "web", "u1")
    raw["endpoints"] += [
        {"targetRef": {"kind": "Pod", "name": "by-name", "namespace": "shop"}},
        {"targetRef": {"kind": "Pod", "name": "by-name-2"}},
        {"targetRef": {"kind": "Node", "name": "n1", "uid": "u3"}},
        {"targetRef": None},
        {},
    ]
    trimmed = TRIM.slice(raw)
    assert trimmed == Slice("shop", "web-x", "web", frozenset(("u1", "shop/by-name", "shop/by-name-2")))
    assert TRIM.slice(a_slice("x", "", "u1")).pods == frozenset()
    assert TRIM.slice({**raw, "endpoints": None}).pods == frozenset()
    slices = ServiceMap(lambda _pod: None)
    slices.put(trimmed)
    assert slices.of(pod("u9", "by-name")) == slices.of(pod("u1")) == ("web",)
    assert slices.of(pod("u9")) == slices.of(pod("u3")) == ()


STEPS = st.lists(
    st.tuples(
        st.sampled_from("xyz"),
        st.sampled_from("ab"),
        st.none() | st.tuples(st.sampled_from(["web", "api"]), st.frozensets(st.sampled_from(["u1", "u2", "u3"]))),
    ),
    max_size=20,
)


@given(STEPS, st.booleans())
def test_slices_in_any_order_lead_where_the_last_of_each_does(
    steps: list[tuple[str, str, tuple[str, frozenset[str]] | None]], relisted: bool
) -> None:
    """As if only those were known; every pod that is led to otherwise than before is told of."""
    touched: set[str] = set()
    slices = ServiceMap(touched.add)
    model: dict[tuple[str, str], Slice] = {}
    pods = [pod(uid) for uid in ("u1", "u2", "u3")]
    for name, namespace, found in steps:
        before = [slices.of(one) for one in pods]
        touched.clear()
        if found is None:
            slices.remove(Slice(namespace, name, "", frozenset()))
            model.pop((namespace, name), None)
        else:
            model[(namespace, name)] = Slice(namespace, name, *found)
            slices.put(model[(namespace, name)])
        changed = [one.uid for one, led in zip(pods, before, strict=True) if slices.of(one) != led]
        assert touched >= set(changed)
    if relisted:
        slices.replace(model.values())
    for one in pods:
        assert slices.of(one) == tuple(sorted({each.service for each in model.values() if one.uid in each.pods}))
    assert len(slices) == len(model)
