"""The kernel's terms turned into the event model's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import EntityReference, Severity, UnifiedEvent
from tapio_otel.normalizers import drop_reasons
from tapio_otel.normalizers.drop_reasons import drop_meaning
from tapio_otel.normalizers.ebpf import duration, normalize, size
from tests.strategies import attributes, severities

NODE = EntityReference("node", "n1")
UNIT = EntityReference("systemd_unit", "nginx.service", parent=NODE)
CONTAINER = EntityReference("container", "web", "shop", uid="c" * 64, parent=NODE)
FLOW = {"protocol": "tcp", "src_ip": "10.0.0.1", "src_port": 1234, "dst_ip": "fe80::1", "dst_port": 80}


def normal(type: str, attributes: dict[str, Any], entity: EntityReference = NODE) -> UnifiedEvent:
    """Return an event after normalize."""
    event = UnifiedEvent("id", 1, "ebpf", type, entity=entity, title=type, attributes=dict(attributes), observed=1)
    event.raw = object()
    normalize([event])
    assert event.raw is None
    assert event.attributes == attributes
    return event


OOM = {
    **{"pid": 42, "comm": "java", "scope": "cgroup", "memory_limit": 30 << 20, "memory_usage": 30 << 20},
    **{"limit_cgroup": "/kubepods", "anon_rss": 25 << 20, "file_rss": 1 << 20, "trigger_pid": 43, "trigger_comm": "gc"},
}


def test_an_oom_kill_says_who_whose_limit_and_why():
    """Title as in the original design; all numbers with units."""
    event = normal("oom_kill", OOM, CONTAINER)
    assert event.title == "OOM Kill: java (PID: 42)"
    assert event.severity is Severity.CRITICAL
    assert event.description == (
        "The kernel killed java (PID 42) of container shop/web because the cgroup /kubepods reached its memory limit of "
        "30.0 MiB with 30.0 MiB in use; it held 26.0 MiB; gc (PID 43) had asked for more."
    )


def test_a_machine_out_of_memory_is_worse():
    """Then every service of it is in danger."""
    event = normal("oom_kill", {"pid": 42, "comm": "java", "scope": "global", "trigger_pid": 42}, UNIT)
    assert event.severity is Severity.ALERT
    text = "The kernel killed java (PID 42) of nginx.service because the whole machine was out of memory."
    assert event.description == text


@pytest.mark.parametrize(
    ("facts", "title", "part"),
    [
        ({"pid": 42}, "OOM Kill: unknown (PID: 42)", "killed a process (PID 42) of nginx.service because memory ran out."),
        ({"comm": "java"}, "OOM Kill: java", "killed java of nginx.service"),
        ({"kills": 3, "scope": "cgroup"}, "OOM Kill: nginx.service", "killed 3 processes of nginx.service because its cgroup"),
        ({"cgroup": "/a", "memory_limit": 0}, "OOM Kill: nginx.service", "the cgroup /a reached its memory limit of 0 B."),
    ],
)
def test_an_oom_kill_says_what_is_known(facts, title, part):
    """Lesser ways of looking know less."""
    event = normal("oom_kill", facts, UNIT)
    assert event.title == title
    assert part in event.description
    assert event.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("ratio", "severity"),
    [
        *((1.0, Severity.ERROR), (0.5, Severity.ERROR), (0.49, Severity.WARNING), (0.25, Severity.WARNING)),
        *((0.24, Severity.NOTICE), (0.0, Severity.NOTICE), (None, Severity.NOTICE)),
    ],
)
def test_throttling_is_as_bad_as_its_ratio(ratio, severity):
    """The share of periods in which the quota was used up."""
    assert normal("cpu_throttle", {"throttle_ratio": ratio} if ratio is not None else {}).severity is severity


def test_throttling_says_how_long_and_of_what_limit():
    """The quota as a number of CPUs, for that is how limits are written."""
    facts = {"throttled_ns": 5_100_000_000, "throttle_ratio": 0.87, "periods": 100, "throttled_periods": 87}
    limits = {"quota_ns": 50_000_000, "period_ns": 100_000_000, "window_ns": 10**10}
    event = normal("cpu_throttle", {**facts, **limits}, UNIT)
    assert event.title == "CPU Throttling Detected"
    assert event.description == (
        "Threads of nginx.service had to wait 5.1 s for CPU time within 10 s: the quota of 0.5 CPUs (50 ms every 100 ms) was "
        "used up in 87 of 100 periods."
    )
    assert normal("cpu_throttle", {**facts, "cgroup": "/x"}).description == (
        "Threads of the cgroup /x had to wait 5.1 s for CPU time: the quota was used up in 87 of 100 periods."
    )


def test_a_drop_says_what_was_lost_where_and_why():
    """Reasons in plain words, and by name."""
    facts = {**FLOW, "reason": "SOCKET_RCVBUFF", "count": 12, "length": 18432, "interface": "eth0"}
    event = normal("network_drop", facts, CONTAINER)
    assert event.title == "Network Packet Drop"
    assert event.description == (
        "The kernel dropped 12 packets (18.0 KiB) of tcp from 10.0.0.1:1234 to [fe80::1]:80 on eth0 of container shop/web: the "
        "receiving socket's buffer was full, its process reads too slowly (SOCKET_RCVBUFF)."
    )


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "The kernel dropped 1 packet."),
        ({"reason": "NEW_ONE"}, "The kernel dropped 1 packet (NEW_ONE)."),
        ({"src_ip": "10.0.0.1"}, "The kernel dropped 1 packet from 10.0.0.1."),
        ({"src_port": 7, "count": 2000}, "The kernel dropped 2,000 packets from port 7."),
    ],
)
def test_a_drop_says_what_is_known(facts, text):
    """No gaps where something is not."""
    assert normal("network_drop", facts).description == text


@pytest.mark.parametrize(
    ("reason", "counts", "severity"),
    [
        ("NETFILTER_DROP", {"count": 10**6}, Severity.NOTICE),
        ("NO_SOCKET", {}, Severity.NOTICE),
        ("SOMETHING_NEW", {}, Severity.NOTICE),
        ("", {}, Severity.NOTICE),
        ("NEIGH_FAILED", {"count": 10**6}, Severity.WARNING),
        ("TCP_CSUM", {}, Severity.WARNING),
        ("SOCKET_RCVBUFF", {"count": 999}, Severity.WARNING),
        ("SOCKET_RCVBUFF", {"count": 1000}, Severity.ERROR),
        ("QDISC_DROP", {"count": 1, "suppressed": 999}, Severity.ERROR),
        ("CPU_BACKLOG", {"count": 1000}, Severity.ERROR),
    ],
)
def test_a_drop_is_as_bad_as_its_reason(reason, counts, severity):
    """Want of room becomes an error by numbers, a filter's decision never; those without a flow count too."""
    assert normal("network_drop", {"reason": reason, **counts}).severity is severity


def test_no_drop_reason_means_two_things():
    """The tables do not overlap."""
    tables = [drop_reasons.ORDINARY, drop_reasons.FAULTY, drop_reasons.EXHAUSTED]
    assert len({name for table in tables for name in table}) == sum(map(len, tables))
    assert drop_meaning("NOMEM").exhausted
    assert not drop_meaning("NO_SOCKET").exhausted


@pytest.mark.parametrize(
    ("facts", "severity"),
    [
        ({"count": 1}, Severity.NOTICE),
        ({"count": 9}, Severity.NOTICE),
        ({"count": 10}, Severity.WARNING),
        ({"count": 2, "suppressed": 8}, Severity.WARNING),
        ({"state": "SYN_SENT"}, Severity.WARNING),
    ],
)
def test_retransmits_are_bad_in_numbers_and_when_connecting(facts, severity):
    """One is how TCP works."""
    event = normal("tcp_retransmit", facts)
    assert event.severity is severity
    assert event.title == "TCP Retransmit"


def test_a_retransmit_says_which_connection():
    """And what it was waiting for."""
    text = "1 segment of tcp from 10.0.0.1:1234 to [fe80::1]:80 of nginx.service sent again: "
    event = normal("tcp_retransmit", {**FLOW, "state": "ESTABLISHED"}, UNIT)
    assert event.description == text + "no acknowledgement came in time."
    assert "connect" in normal("tcp_retransmit", {**FLOW, "state": "SYN_SENT"}, UNIT).description


SENDER, OTHER = "10.0.0.1:1234", "[fe80::1]:80"


@pytest.mark.parametrize(
    ("direction", "state", "reason", "severity", "text"),
    [
        ("received", "SYN_SENT", "", Severity.WARNING, f"{SENDER} refused the connection from {OTHER}."),
        (
            "received",
            "ESTABLISHED",
            "",
            Severity.WARNING,
            f"{SENDER} broke off the connection with {OTHER} in state ESTABLISHED.",
        ),
        ("received", "LAST_ACK", "", Severity.NOTICE, f"{SENDER} broke off the connection with {OTHER} in state LAST_ACK."),
        ("received", "", "", Severity.NOTICE, f"{SENDER} broke off the connection with {OTHER}."),
        (
            *("sent", "", "NO_SOCKET", Severity.NOTICE),
            f"{SENDER} refused a segment of {OTHER}, as no socket takes it (NO_SOCKET).",
        ),
        ("sent", "LISTEN", "", Severity.NOTICE, f"{SENDER} refused a segment of {OTHER}, as no socket takes it."),
        (
            "sent",
            "ESTABLISHED",
            "NOT_SPECIFIED",
            Severity.WARNING,
            f"{SENDER} broke off the connection with {OTHER} in state ESTABLISHED.",
        ),
        (
            *("sent", "CLOSE", "TCP_ABORT_ON_DATA", Severity.WARNING),
            f"{SENDER} broke off the connection with {OTHER} (TCP_ABORT_ON_DATA).",
        ),
        (
            *("sent", "CLOSE", "TCP_STATE", Severity.WARNING),
            f"{SENDER} broke off the connection with {OTHER} (TCP_STATE).",
        ),
        ("sent", "CLOSE", "", Severity.WARNING, f"{SENDER} broke off the connection with {OTHER}."),
        (
            *("sent", "ESTABLISHED", "TCP_ABORT_ON_MEMORY", Severity.ERROR),
            f"{SENDER} broke off the connection with {OTHER} for want of memory (TCP_ABORT_ON_MEMORY).",
        ),
    ],
)
def test_a_reset_says_who_broke_off_what(direction, state, reason, severity, text):
    """Source is who sent it."""
    event = normal("tcp_reset", {**FLOW, "direction": direction, "state": state, "reason": reason})
    assert (event.title, event.severity, event.description) == ("TCP Reset", severity, text)


def test_resets_that_are_only_counted_are_told_as_a_number():
    """The network stack's counters name no connection."""
    sent = normal("tcp_reset", {"direction": "sent", "count": 3, "protocol": "tcp"})
    received = normal("tcp_reset", {"direction": "received", "count": 1, "protocol": "tcp"})
    assert (sent.severity, sent.description) == (Severity.NOTICE, "3 TCP resets sent, of connections that are not known.")
    assert (received.severity, received.description[:20]) == (Severity.WARNING, "1 TCP reset received")


def test_several_resets_of_one_connection_are_counted():
    """At the sentence's end."""
    event = normal("tcp_reset", {**FLOW, "direction": "received", "count": 1200}, UNIT)
    assert event.description.endswith(" of nginx.service (1,200 resets).")


def test_losses_are_a_warning():
    """What happened and was not seen may have been important."""
    event = normal("events_lost", {"probe": "oom", "count": 7, "lost_ring_full": 5, "lost_suppressed": 2})
    assert (event.title, event.severity) == ("Kernel Events Lost", Severity.WARNING)
    assert event.description == "The probe oom could not see everything: ring_full 5, suppressed 2."


def test_what_was_counted_is_not_lost():
    """Samples are left out on purpose, and their numbers are told."""
    event = normal("events_lost", {"probe": "net_drop", "count": 2000, "lost_suppressed": 2000})
    assert (event.title, event.severity) == ("Kernel Events Summarised", Severity.NOTICE)
    assert "suppressed 2,000" in event.description


@given(attributes, severities)
def test_what_was_normalized_stays(values, severity):
    """Events of a replay, or of a plugin, keep title, severity and description."""
    event = UnifiedEvent("id", 1, "ebpf", "oom_kill", severity, NODE, "title", "text", dict(values), observed=1)
    before = event.copy()
    normalize([event])
    assert event == before


def test_other_types_stay_as_they_are():
    """A plugin's own probe may use the source; only the mark is taken off."""
    event = normal("my_probe", {"pid": 1})
    assert (event.title, event.description) == ("my_probe", "")


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (30 << 20, "30.0 MiB"), (5 << 30, "5.0 GiB"), (3 << 50, "3072.0 TiB")],
)
def test_sizes_are_written_for_people(amount, text):
    """Powers of 1,024."""
    assert size(amount) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 µs"),
        (1500, "1.5 µs"),
        (12_500_000, "12.5 ms"),
        (10**9, "1 s"),
        (59_900_000_000, "59.9 s"),
        (150 * 10**9, "2.5 min"),
    ],
)
def test_durations_are_written_for_people(nanoseconds, text):
    """One decimal at most."""
    assert duration(nanoseconds) == text


@given(st.integers(0, 1 << 63))
def test_any_amount_can_be_written(number):
    """Short enough for a sentence."""
    assert len(size(number)) < 20
    assert len(duration(number)) < 20
