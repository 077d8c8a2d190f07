"""Tests of choosing the way a probe looks, and of what is said where a way does not work."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import Observation
from tapio_otel.receivers.ebpf.ways import OpenedProbes, Way

OOM, DROP = ProbeName.OOM, ProbeName.NET_DROP


class Feed:
    """Be open until it is closed."""

    interval = 0.0
    notes = ()

    def __init__(self, observed_by: ObservedBy) -> None:
        self.observed_by = observed_by
        self.closed = 0

    def fileno(self) -> int | None:
        return None

    def read(self) -> list[Observation]:
        return []

    def lost(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        self.closed += 1


def works(name: str, observed_by: ObservedBy) -> tuple[Way, list[Feed]]:
    """Return a way that works, and the feeds it will have opened."""
    opened: list[Feed] = []

    def open_one(_probe: ProbeName) -> Feed:
        opened.append(Feed(observed_by))
        return opened[-1]

    return Way(name, open_one), opened


def refused(name: str, cause: str, *probes: ProbeName) -> Way:
    """Return a way that is refused to some probes (to all when none is named)."""

    def open_one(probe: ProbeName) -> Feed:
        if not probes or probe in probes:
            raise ProbeUnavailable(cause, "Do this")
        return Feed(ObservedBy.LIBBPF)

    return Way(name, open_one)


def test_the_first_way_that_works_is_taken():
    """The later ones are not even opened."""
    first, one = works("libbpf", ObservedBy.LIBBPF)
    second, two = works("fallback", ObservedBy.KMSG)
    opened = OpenedProbes([OOM, DROP], [first, second])
    opened.open()
    assert (len(one), len(two), opened.blind, opened.without_program, opened.summary()) == (2, 0, [], [], "")


def test_one_refused_program_leaves_the_others_alone(caplog):
    """Only the probe concerned is watched in a lesser way, and one line tells cause and remedy."""
    fallback, _ = works("fallback", ObservedBy.KMSG)
    opened = OpenedProbes([OOM, DROP], [refused("libbpf", "the verifier refuses it", OOM), fallback])
    opened.open()
    with caplog.at_level(logging.WARNING):
        opened.tell(logging.getLogger("test"))
        opened.tell(logging.getLogger("test"))
    assert caplog.messages == [
        "libbpf cannot look for oom: the verifier refuses it. Do this",
        "watched in a lesser way: oom by kmsg",
    ]
    assert opened.without_program == [OOM]


def test_the_same_cause_is_told_once_for_all_probes():
    """Without rights there is one line, not five."""
    opened = OpenedProbes([OOM, DROP], [refused("libbpf", "no rights"), refused("bcc", "no rights")])
    opened.open()
    assert [str(one) for one in opened.refusals()] == [
        "libbpf cannot look for oom, net_drop: no rights. Do this",
        "bcc cannot look for oom, net_drop: no rights. Do this",
    ]
    assert opened.summary() == "not watched: oom, net_drop"


def test_a_feed_that_fails_is_closed_and_replaced_by_the_next_best():
    """At last nothing is left, and that is said."""
    first, one = works("libbpf", ObservedBy.LIBBPF)
    second, two = works("fallback", ObservedBy.KMSG)
    opened = OpenedProbes([OOM], [first, refused("bcc", "no headers"), second])
    opened.open()
    opened.replace(OOM, "read failed")
    assert (one[0].closed, opened.feeds, opened.summary()) == (1, {OOM: two[0]}, "watched in a lesser way: oom by kmsg")
    opened.replace(OOM, "read failed too")
    assert (two[0].closed, opened.blind) == (1, [OOM])
    assert [one.cause for one in opened.refusals()] == ["read failed", "no headers", "read failed too"]


def test_a_way_that_breaks_is_as_good_as_one_that_is_refused():
    """The error is named, and the next way is tried."""
    fallback, _ = works("fallback", ObservedBy.KMSG)

    def breaks(_probe: ProbeName) -> Feed:
        raise KeyError("no map")

    opened = OpenedProbes([OOM], [Way("libbpf", breaks), fallback])
    opened.open()
    assert [one.cause for one in opened.refusals()] == ["KeyError: 'no map'"]
    assert opened.summary() == "watched in a lesser way: oom by kmsg"


def test_a_start_that_is_interrupted_leaves_nothing_open():
    """What was opened before it is released."""
    first, one = works("libbpf", ObservedBy.LIBBPF)

    def interrupted(_probe: ProbeName) -> Feed:
        if one:
            raise KeyboardInterrupt
        return first.open(_probe)  # type: ignore[return-value]

    opened = OpenedProbes([OOM, DROP], [Way("libbpf", interrupted)])
    with pytest.raises(KeyboardInterrupt):
        opened.open()
    assert (one[0].closed, opened.feeds) == (1, {})


def test_closing_twice_is_safe():
    """Every feed is closed once."""
    first, one = works("libbpf", ObservedBy.LIBBPF)
    opened = OpenedProbes([OOM], [first])
    opened.open()
    opened.close()
    opened.close()
    assert one[0].closed == 1
