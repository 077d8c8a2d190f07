"""Kubernetes' events in both forms, and their repetitions."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.normalizers.kubernetes import normalize
from tapio_otel.receivers.kubernetes.events import is_about, make, trim
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.throttle import MOST_HELD, Throttle
from tests.receivers.kubernetes.objects import EVENT_UID, POD_UID, core_event, event


def made(raw: dict[str, Any], **severities: Severity) -> UnifiedEvent:
    """Return the normalized event of an object."""
    one = make(trim(raw), Subjects(), Severities(severities), observed=5)
    normalize([one])
    return one


def test_an_event_tells_all_that_kubernetes_says() -> None:
    """Reason, count, reporter, object, times, and the note as its description."""
    one = made(event(action="Restarting", related={"kind": "Node", "name": "node-17"}))
    assert (one.type, one.source, one.severity) == ("k8s_event", "kubernetes", Severity.ERROR)
    assert one.title == "BackOff: Pod prod/web-5d4f7-abcde (7 times)"
    assert one.description.startswith("Back-off restarting failed container app")
    assert one.timestamp == 1_795_436_041_000_000_000
    facts = one.attributes
    assert (facts["reason"], facts["action"], facts["count"], facts["event_type"]) == ("BackOff", "Restarting", 7, "Warning")
    assert (facts["reporting_controller"], facts["reporting_instance"]) == ("kubelet", "node-17")
    assert (facts["first_time"], facts["last_time"]) == ("2026-11-23T12:10:01Z", "2026-11-23T12:14:01Z")
    assert (facts["object_kind"], facts["object_uid"], facts["k8s.container.name"]) == ("Pod", POD_UID, "app")
    assert (facts["related_kind"], facts["related_name"]) == ("Node", "node-17")
    assert (facts["event_uid"], facts["resource_version"]) == (EVENT_UID, "200")


def test_an_event_is_about_what_it_regards() -> None:
    """The pod by its UID, with the node that reported it as its parent."""
    entity = made(event()).entity
    assert (entity.type, entity.name, entity.namespace, entity.uid) == ("pod", "web-5d4f7-abcde", "prod", POD_UID)
    assert [one.name for one in entity.lineage()] == ["web-5d4f7-abcde", "node-17"]
    deployment = made(event(regarding={"kind": "Deployment", "namespace": "prod", "name": "web", "uid": "u"})).entity
    assert (deployment.type, deployment.name, deployment.uid) == ("deployment", "web", "u")
    # Kubelets give the node's name in the place of its UID.
    assert made(event(regarding={"kind": "Node", "name": "n", "uid": "n"})).entity.type == "node"


def test_both_forms_of_the_api_make_the_same_event() -> None:
    """A server that only knows core/v1 changes nothing, not even the id."""
    assert made(core_event()) == made(event())


def test_the_id_is_that_of_the_occurrence() -> None:
    """The same version has the same id, the next repetition another."""
    assert made(event(200)).id == made(event(200)).id != made(event(201)).id


def test_a_series_counts_and_dates_an_event() -> None:
    """The newer recorder writes eventTime and a series."""
    series = {"count": 12, "lastObservedTime": "2026-11-23T12:20:00.250000Z"}
    one = made(event(eventTime="2026-11-23T12:10:01.500000Z", series=series, deprecatedCount=None))
    assert (one.attributes["count"], one.attributes["first_time"]) == (12, "2026-11-23T12:10:01.500000Z")
    assert one.timestamp == 1_795_436_400_250_000_000


@pytest.mark.parametrize(
    ("type", "reason", "severity"),
    [
        ("Warning", "OOMKilling", Severity.CRITICAL),
        ("Warning", "FailedMount", Severity.ERROR),
        ("Warning", "Unhealthy", Severity.WARNING),
        ("Warning", "NobodyKnowsThis", Severity.WARNING),
        ("Normal", "Pulled", Severity.INFO),
        ("Normal", "Killing", Severity.NOTICE),
    ],
)
def test_the_reason_decides_how_bad_an_event_is(type: str, reason: str, severity: Severity) -> None:
    """By the table, else by the event's own type."""
    assert made(event(type=type, reason=reason)).severity is severity


def test_the_configuration_knows_better_than_the_table() -> None:
    """Both for reasons in the table and for others."""
    assert made(event(), BackOff=Severity.NOTICE).severity is Severity.NOTICE
    assert made(event(reason="Mine"), Mine=Severity.ALERT).severity is Severity.ALERT


def test_what_is_kept_of_an_event_can_be_part_of_a_checkpoint() -> None:
    """It survives JSON and makes the same event."""
    kept = trim(event())
    again = orjson.loads(orjson.dumps(kept))
    assert make(again, Subjects(), Severities(), 5) == make(kept, Subjects(), Severities(), 5)


def test_the_events_of_a_node_are_told_from_others() -> None:
    """By who reported them, what they are about, and by the scheduler's note."""
    nothing = {"deprecatedSource": {}, "reportingInstance": ""}
    subjects = Subjects()
    assert is_about(trim(event()), "node-17", subjects)
    assert not is_about(trim(event()), "node-1", subjects)
    assert is_about(trim(event(regarding={"kind": "Node", "name": "node-1"}, **nothing)), "node-1", subjects)
    assert not is_about(trim(event(regarding={"kind": "Node", "name": "node-2"}, **nothing)), "node-1", subjects)
    scheduled = trim(event(reason="Scheduled", note="Successfully assigned prod/web to node-1", **nothing))
    assert is_about(scheduled, "node-1", subjects) and not is_about(scheduled, "node-17", subjects)
    assert not is_about(trim(event(**nothing)), "node-17", subjects)
    subjects.pod(POD_UID, "web-5d4f7-abcde", "prod", (), "node-17")
    assert is_about(trim(event(**nothing)), "node-17", subjects)
    assert not is_about(trim(event(regarding={"kind": "Job", "name": "j"}, **nothing)), "node-17", subjects)


class Clock:
    """Be a clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def repetition(count: int, uid: str = EVENT_UID) -> dict[str, Any]:
    """Return an event that has occurred so often."""
    return {**trim(event(200 + count, deprecatedCount=count)), "uid": uid}


def test_repetitions_are_told_once_an_interval_with_the_count_reached() -> None:
    """The first at once, the last of those within the interval at its end."""
    clock = Clock()
    throttle = Throttle(60, clock)
    assert [one["count"] for one in throttle.take(repetition(1), repeats=False)] == [1]
    assert throttle.take(repetition(2), repeats=True) == throttle.take(repetition(3), repeats=True) == []
    assert (throttle.wait(), throttle.replaced, [one["count"] for one in throttle.held]) == (60, 1, [3])
    clock.now += 59
    assert throttle.due() == []
    clock.now += 1
    assert [one["count"] for one in throttle.due()] == [3]
    assert (throttle.wait(), throttle.held) == (None, ())
    assert throttle.take(repetition(4), repeats=True) == []
    clock.now += 200
    assert [one["count"] for one in throttle.due()] == [4]


def test_a_repetition_after_the_interval_is_told_at_once() -> None:
    """It has nothing to wait for."""
    clock = Clock()
    throttle = Throttle(60, clock)
    throttle.take(repetition(1), repeats=False)
    clock.now += 61
    assert len(throttle.take(repetition(2), repeats=True)) == 1


def test_without_an_interval_every_repetition_is_told() -> None:
    """Zero turns the throttle off."""
    throttle = Throttle(0, Clock())
    assert [len(throttle.take(repetition(count), repeats=count > 1)) for count in range(1, 5)] == [1, 1, 1, 1]


def test_what_was_held_back_by_an_earlier_run_is_due_at_once() -> None:
    """A restart neither loses nor delays it."""
    throttle = Throttle(60, Clock(), [repetition(9)])
    assert throttle.wait() == 0
    assert [one["count"] for one in throttle.due()] == [9]


@given(st.lists(st.tuples(st.integers(0, MOST_HELD + 50), st.floats(0, 40)), max_size=400))
def test_the_throttle_holds_little_and_loses_no_last_count(steps: list[tuple[int, float]]) -> None:
    """Whatever comes: the last told of each event is its last repetition once all is due, and held ones are bounded."""
    clock = Clock()
    throttle = Throttle(60, clock)
    told: dict[str, int] = {}
    counts: dict[str, int] = {}
    for number, pause in steps:
        uid = f"event-{number}"
        counts[uid] = counts.get(uid, 0) + 1
        clock.now += pause
        for one in (*throttle.take(repetition(counts[uid], uid), repeats=counts[uid] > 1), *throttle.due()):
            assert told.get(one["uid"], 0) < one["count"]
            told[one["uid"]] = one["count"]
        assert len(throttle.held) <= MOST_HELD
    clock.now += 1000
    told |= {one["uid"]: one["count"] for one in throttle.due()}
    assert told == counts
