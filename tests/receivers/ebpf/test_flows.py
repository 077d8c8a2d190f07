"""Tests of summing up what happens to one flow over and over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf.flows import FlowWindows
from tapio_otel.receivers.ebpf.observations import Flow, Observation, OomKill, PacketDrop, TcpReset

A, B = (Flow("tcp", "10.0.0.1", port, "10.0.0.2", 80) for port in (1000, 1001))


def drop(flow: Flow = A, time: int = 1, **more: int) -> PacketDrop:
    """Return a dropped packet of 100 bytes."""
    return PacketDrop(time, flow, reason=3, **{"length": 100, **more})


def test_the_first_of_a_flow_is_told_at_once():
    """Another flow, reason or kind of occurrence is a first of its own."""
    first = [drop(), drop(B), PacketDrop(1, A, reason=4), TcpReset(1, "sent", A)]
    assert FlowWindows(10).take(first, 0.0) == first


def test_repeats_are_told_once_a_window_with_their_sum():
    """Counts, lengths and what was suppressed add up; the time is that of the first repeat."""
    windows = FlowWindows(10)
    assert len(windows.take([drop()], 0.0)) == 1
    assert windows.take([drop(time=5, count=2, length=200, suppressed=7), drop(time=6)], 1.0) == []
    assert windows.due(9.9) == []
    assert windows.due(10.0) == [drop(time=5, count=3, length=300, suppressed=7)]
    assert windows.take([drop(time=9)], 12.0) == []
    assert windows.due(20.0) == [drop(time=9)]


def test_a_flow_that_falls_silent_is_forgotten():
    """Its next packet is a first again."""
    windows = FlowWindows(10)
    windows.take([drop()], 0.0)
    assert windows.due(10.0) == []
    assert windows.take([drop(time=2)], 10.1) == [drop(time=2)]


def test_what_has_no_flow_passes():
    """Every OOM kill is told."""
    kill = OomKill(1, 42)
    assert FlowWindows(10).take([kill, kill], 0.0) == [kill, kill]


def test_closing_tells_what_open_windows_hold():
    """Nothing that was counted goes when the agent ends; twice is once."""
    windows = FlowWindows(10)
    windows.take([drop(), drop(count=4, time=2), drop(B)], 0.0)
    assert windows.close() == [drop(count=4, time=2)]
    assert windows.close() == windows.due(99.0) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5), st.floats(0, 5))))
def test_nothing_is_lost_however_many_flows_there_are(steps):
    """The counts of what is given back are those of what was taken, also where windows close early."""
    windows, told, now = FlowWindows(2, capacity=3), list[Observation](), 0.0
    for port, count, pause in steps:
        now += pause
        told += windows.take([drop(Flow("udp", src_port=port), count=count)], now)
    told += windows.close()
    assert sum(one.count for one in told if isinstance(one, PacketDrop)) == sum(count for _, count, _ in steps)
