"""What happens again and again is one story: a told finding goes on as long as its cause is repeated."""

from __future__ import annotations

import pytest

from tests.correlation.incidents import concluded, oom, restart, rule

AGAIN = rule(repeats="2m")


def kills(*seconds):
    """Return kills of one unit at these moments, each followed by its restart."""
    return [event for n, at in enumerate(seconds) for event in (oom(at, pid=100 + n), restart(at + 1))]


def test_a_cause_that_is_repeated_belongs_to_the_finding_that_was_told():
    """However long it goes on, as long as each time follows the last one soon enough."""
    events = kills(0, 20, 60, 150, 260)
    (finding,) = concluded(events, AGAIN)
    assert finding.get("impacts") == [event.id for event in events[1::2]]


def test_without_it_each_window_is_a_finding():
    """As it is for a rule that does not ask for it."""
    assert len(concluded(kills(0, 60, 150), rule())) == 3


def test_what_follows_no_cause_closely_does_not_belong_to_it():
    """The window counts from the last cause."""
    events = [*kills(0, 60), restart(110)]
    (finding,) = concluded(events, AGAIN)
    assert finding.get("impacts") == [events[1].id, events[3].id]


@pytest.mark.parametrize(("last", "count"), [(119, 1), (125, 2)])
def test_a_cause_that_comes_too_late_is_another_finding(last, count):
    """It is told anew."""
    assert len(concluded(kills(0, last), AGAIN)) == count


def test_a_finding_does_not_go_on_for_ever():
    """Six times as long as it waits for the next, at most."""
    assert len(concluded(kills(*range(0, 1000, 50)), AGAIN)) == 2
