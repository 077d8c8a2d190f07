"""Time since boot turned into wall-clock time."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf.clock import WallClock, boottime_ns

HOUR = 3600 * 10**9


def test_a_time_since_boot_becomes_the_wall_clocks():
    """Now by one clock is now by the other."""
    before = time.time_ns()
    now = boottime_ns() + WallClock().difference()
    assert before - HOUR // 3600 <= now <= time.time_ns() + HOUR // 3600


def test_time_asleep_counts():
    """The kernel's stamps go on while the machine sleeps, unlike the monotonic clock."""
    assert boottime_ns() >= time.monotonic_ns() - HOUR // 3600


def test_a_step_of_the_wall_clock_is_followed():
    """The difference is measured anew each time."""
    wall = [1_000_000]
    clock = WallClock(lambda: wall[0], lambda: 400)
    assert clock.difference() == 999_600
    wall[0] += HOUR
    assert clock.difference() == 999_600 + HOUR


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=3), st.integers(0, 2))
def test_the_attempt_that_was_interrupted_least_counts(pauses, best):
    """Between the two readings of one clock the other stands still in the middle; the shortest gap is the truth."""
    pauses = [pause + 10 if place != best else 0 for place, pause in enumerate(pauses)]
    readings = iter([reading for pause in pauses for reading in (1000, 1000 + pause)])
    clock = WallClock(lambda: 5000, lambda: next(readings))
    assert clock.difference() == 4000
