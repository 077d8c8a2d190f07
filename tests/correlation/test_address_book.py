"""The address book: an address counts for the pod that had it last."""

from __future__ import annotations

from tapio_otel.correlation.address_book import AddressBook
from tapio_otel.correlation.lineage import targets_of
from tests.correlation.incidents import concluded, happening, oom, rule

WEB, API, UNIT = (("pod", "uid-web"),), (("pod", "uid-api"),), (("unit", "db.service", "node"),)
ADDRESS, PORT = ("address", "10.1.0.5"), ("address", "10.1.0.5", 8080)


def test_a_pod_stands_in_the_place_of_its_address():
    """Who cannot reach the address misses the pod."""
    book = AddressBook()
    book.learn(ADDRESS, WEB)
    assert book.owners((ADDRESS,)) == WEB


def test_an_address_is_the_last_pod_s():
    """Also with a port that the one before was seen to use."""
    book = AddressBook()
    book.learn(PORT, WEB)
    book.learn(ADDRESS, WEB)
    assert book.learn(ADDRESS, API)
    assert book.owners((PORT, ADDRESS)) == API


def test_what_a_pod_says_after_its_address_was_given_away_does_not_take_it_back():
    """As its deletion, which the API tells later than another pod is started."""
    book = AddressBook()
    book.learn(ADDRESS, WEB)
    book.learn(ADDRESS, API)
    assert not book.learn(ADDRESS, WEB)
    assert book.owners((ADDRESS,)) == API


def test_a_port_that_the_new_pod_uses_is_its_own():
    """And not that of whoever used it before."""
    book = AddressBook()
    for owner in (WEB, API):
        book.learn(ADDRESS, owner)
        book.learn(PORT, owner)
    assert book.owners((PORT,)) == API


def test_a_machine_s_address_stays_beside_the_unit_that_was_seen_to_use_a_port_of_it():
    """Others of the machine can be reached there, too."""
    book = AddressBook()
    book.learn(PORT, UNIT)
    assert book.owners((PORT, ADDRESS)) == (PORT, *UNIT, ADDRESS)


def test_a_destination_that_was_resolved_counts_and_not_its_address():
    """Enrichment knew at the time whose it was."""
    event = happening(
        0,
        "journald",
        "connection_failed",
        host="10.1.0.5",
        port=8080,
        **{"destination.k8s.pod.uid": "uid-web", "destination.k8s.pod.name": "web-0", "destination.k8s.namespace.name": "prod"},
    )
    assert targets_of(event) == (("pod", "uid-web"), ("pod_name", "prod", "web-0"))


def test_who_was_to_be_reached_sent_the_reset_that_came():
    """Its pod is the source's."""
    resolved = {"source.k8s.pod.uid": "uid-web", "destination.k8s.pod.uid": "uid-client"}
    event = happening(0, "ebpf", "tcp_reset", direction="received", src_ip="10.1.0.5", dst_ip="10.1.0.9", **resolved)
    assert targets_of(event) == (("pod", "uid-web"),)


# --- What comes of it ---------------------------------------------------------------------------------------------------------

MISSED = rule(
    facts={"oom": {"class": "oom"}, "client": {"class": "connection_failed", "join": "address"}},
    root="oom",
    group_by=["pod"],
)
"""A pod that is killed, and whoever cannot reach it."""


def pod(name):
    """Return a pod of the node."""
    return {"type": "pod", "name": name, "namespace": "prod", "uid": f"uid-{name}", "parent": "node/node"}


def test_who_cannot_reach_an_address_misses_the_pod_that_has_it():
    """And not the one that was killed, when the address was given to another one meanwhile."""
    killed = oom(0, pod("web-0"), **{"k8s.pod.ip": "10.1.0.5"})
    client = happening(9, "journald", "connection_failed", pod("shop-0"), host="10.1.0.5", port=8080)
    other = happening(5, "kubernetes", "pod_state", pod("api-0"), change="created", **{"k8s.pod.ip": "10.1.0.5"})
    (finding,) = concluded([killed, client], MISSED)
    assert finding.get("impacts") == [client.id]
    assert concluded([killed, other, client], MISSED) == []
