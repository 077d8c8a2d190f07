"""Followers, given what a list/watch loop tells them."""

from __future__ import annotations

import time
from typing import Any

from tapio_otel.event import UnifiedEvent
from tapio_otel.kubernetes.list_watch import Change
from tapio_otel.normalizers.kubernetes import normalize
from tapio_otel.receivers.kubernetes.events import make, trim
from tapio_otel.receivers.kubernetes.followers import EventFollower, StateFollower
from tapio_otel.receivers.kubernetes.outlet import Outlet
from tapio_otel.receivers.kubernetes.pod_changes import PodChanges
from tapio_otel.receivers.kubernetes.pods import Pod, trimmer
from tapio_otel.receivers.kubernetes.position import Position, Reached
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.throttle import Throttle
from tapio_otel.receivers.kubernetes.times import nanoseconds
from tests.collect import CollectingOutput, Counters
from tests.receivers.kubernetes.objects import POD_UID, condition, event, pod


def events_from(position: Position, from_beginning: bool = False) -> tuple[CollectingOutput, EventFollower]:
    """Return a follower of events that goes on from a position, and where it tells them."""
    output = CollectingOutput()
    outlet = Outlet(output, position)
    severities, subjects = Severities(), Subjects()
    throttle = Throttle(60, time.monotonic, position.held)

    def made(one: Any, observed: int) -> UnifiedEvent:
        return make(one, subjects, severities, observed)

    return output, EventFollower(outlet, throttle, made, lambda _event: True, from_beginning, Counters())


def versions(output: CollectingOutput) -> list[str]:
    """Return the versions of the events that were told."""
    return [one.get("resource_version") for one in output.events]


def numbered(*numbers: int) -> list[Any]:
    """Return events of these versions."""
    return [
        trim(event(number, metadata={**event()["metadata"], "uid": f"u{number}", "resourceVersion": str(number)}))
        for number in numbers
    ]


async def test_a_list_after_a_gap_tells_what_is_later_in_order() -> None:
    """Whatever order the server lists it in."""
    output, follower = events_from(Position({"events": {"": Reached("20", 0)}}))
    await follower.listed(numbered(30, 10, 25, 20), "40", "")
    assert versions(output) == ["25", "30"]
    assert output.checkpoint["reached"]["events"][""]["version"] == "40"


async def test_after_the_cluster_was_restored_times_tell_what_is_new() -> None:
    """Its versions begin anew, lower than those of before."""
    early, late = nanoseconds("2026-11-23T12:00:00Z"), nanoseconds("2026-11-23T12:30:00Z")
    for reached, expected in ((early, ["5"]), (late, [])):
        output, follower = events_from(Position({"events": {"": Reached("900", reached)}}))
        await follower.listed(numbered(5), "10", "")
        assert versions(output) == expected
        assert output.checkpoint["reached"]["events"][""]["version"] == "10"


async def test_events_that_expire_are_no_news() -> None:
    """The server deletes each after an hour."""
    output, follower = events_from(Position())
    await follower.listed([], "1", "")
    (one,) = numbered(2)
    await follower.changed([Change("ADDED", one), Change("DELETED", one)], "3", "")
    assert versions(output) == ["2"]


def pods() -> tuple[CollectingOutput, StateFollower[Pod]]:
    """Return a follower of pods that begins, and where it tells."""
    output = CollectingOutput()
    return output, StateFollower(Outlet(output, Position()), "pods", PodChanges(Subjects(), Severities()), "none")


async def test_a_list_while_the_agent_runs_is_compared_with_what_was_known() -> None:
    """A pod that is gone, one that is new and one that changed, each marked as reconciled."""
    output, follower = pods()
    trim_pod = trimmer()
    new, gone = pod(2), pod(1)
    new["metadata"] |= {"uid": "new", "name": "new"}
    gone["metadata"] |= {"uid": "gone", "name": "gone"}
    await follower.listed([trim_pod(pod(conditions=[condition("Ready", "True")])), trim_pod(gone)], "100", "")
    assert output.events == []
    await follower.listed([trim_pod(pod(150, conditions=[condition("Ready", "False")])), trim_pod(new)], "200", "")
    assert [(one.entity.name, one.get("change")) for one in output.events] == [
        ("gone", "deleted"),
        ("web-5d4f7-abcde", "condition"),
        ("new", "created"),
    ]
    assert all(one.get("reconciled") is True for one in output.events)


async def test_a_change_is_compared_with_the_one_before_it() -> None:
    """Within one batch too."""
    output, follower = pods()
    trim_pod = trimmer()
    steps = [trim_pod(pod(100 + number, phase)) for number, phase in enumerate(["Pending", "Running", "Running", "Failed"])]
    await follower.listed([steps[0]], "100", "")
    await follower.changed([Change("MODIFIED", one) for one in steps[1:]] + [Change("DELETED", steps[-1])], "104", "")
    assert [(one.get("previous_phase"), one.get("phase")) for one in output.events] == [
        ("Pending", "Running"),
        ("Running", "Failed"),
        ("Failed", "Failed"),
    ]
    assert {one.entity.uid for one in output.events} == {POD_UID}


async def test_normalizing_twice_changes_nothing() -> None:
    """As for every source."""
    output, follower = events_from(Position(), from_beginning=True)
    await follower.listed(numbered(5), "10", "")
    normalize(output.events)
    once = [one.copy() for one in output.events]
    normalize(output.events)
    assert once == output.events


class Behind(CollectingOutput):
    """Have delivered less than was emitted."""

    so_far: Any = None

    @property
    def delivered(self) -> Any | None:
        """Return what a test says."""
        return self.so_far


async def test_what_is_handed_over_is_what_was_delivered() -> None:
    """Events that wait in a sending queue are lost with the leader: its successor must tell them."""
    output = Behind()
    outlet = Outlet(output, Position())
    await outlet.send(list, "events", "", "5")
    assert outlet.delivered == Position() != outlet.position
    output.so_far = Position({"events": {"": Reached("3", 1)}}).dump()
    assert outlet.delivered.of("events", "") == Reached("3", 1)
