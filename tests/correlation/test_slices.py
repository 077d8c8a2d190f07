"""Work done a little at a time: nothing else waits for all that is due after a storm, and the findings are the same."""

from __future__ import annotations

from tests.components import CountingSink
from tests.correlation.incidents import at, engine, oom, refused, restart, told


def test_no_more_is_done_at_once_than_is_asked_for():
    """After a storm the first call returns soon, and further ones tell the rest in the same order."""
    events = [
        made
        for place in range(50)
        for made in (oom(place, f"systemd_unit/u{place}.service"), restart(place + 0.5, f"systemd_unit/u{place}.service"))
    ]
    whole = told(engine(), events)
    one = engine()
    one.add(events)
    first = one.advance(at(600), most=20)
    assert (one.is_behind, one.waiting_count > 50, 0 < len(first) <= 5) == (True, True, True)
    rest = list(first)
    while one.is_behind:
        rest += one.advance(at(600), most=20)
    assert [finding.id for finding in rest] == [finding.id for finding in whole]
    assert (one.waiting_count, one.open_groups) == (0, 0)


def test_the_windows_that_end_are_closed_a_few_at_a_time_too():
    """Thousands may end at once when a recording does."""
    one = engine()
    one.add([oom(0, f"systemd_unit/u{place}.service", pid=100 + place) for place in range(30)])
    one.advance(at(10))
    assert (one.open_groups, one.is_behind) == (30, False)
    one.advance(0, final=True, most=10)
    assert (one.open_groups, one.is_behind) == (20, True)
    one.advance(0, final=True)
    assert (one.open_groups, one.is_behind) == (0, False)


def test_an_event_told_twice_counts_once_wherever_the_work_is_interrupted():
    """Its repetition may be the first thing that the next call takes."""
    once = told(engine(), [oom(0), restart(1)])
    one = engine()
    one.add([oom(0), oom(0), oom(0), restart(1)])
    found = one.advance(0, final=True, most=1)
    while one.is_behind:
        found += one.advance(0, final=True, most=1)
    assert [finding.get("members") for finding in found] == [finding.get("members") for finding in once]


def test_what_is_in_time_is_not_late_because_the_work_is_behind():
    """An event that comes before those are taken that are due takes its place among them."""
    sink = CountingSink()
    one = engine(counters=sink)
    one.add([oom(0), restart(4), *(restart(place, "systemd_unit/mail.service", id=f"{place}") for place in range(5, 30))])
    one.advance(at(10), most=1)
    one.add([oom(3, pid=43, source="journald")])
    one.advance(at(40))
    assert sink.counts["correlation_late"] == 0


def test_what_exceeds_the_bounds_is_taken_whatever_is_asked_for():
    """Memory is bounded before time is."""
    one = engine(max_facts=100)
    one.add([refused(place / 1000, "pod/prod/a", id=f"{place:05}") for place in range(1000)] + [oom(0.5), oom(0.6, pid=43)])
    one.add([oom(place / 1000, "pod/prod/a", id=f"k{place:05}", pid=place + 2) for place in range(1000)])
    one.advance(0, most=1)
    assert one.waiting_count <= 100
