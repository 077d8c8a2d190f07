"""Changes of pods and their containers as events."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.normalizers.kubernetes import normalize
from tapio_otel.receivers.kubernetes.pod_changes import PodChanges
from tapio_otel.receivers.kubernetes.pods import trimmer
from tapio_otel.receivers.kubernetes.reasons import Severities
from tapio_otel.receivers.kubernetes.subjects import Subjects
from tapio_otel.receivers.kubernetes.times import nanoseconds
from tapio_otel.receivers.kubernetes.told import INITIAL, RECONCILED, Circumstances
from tests.receivers.kubernetes.objects import FIRST_ID, POD_UID, SECOND_ID, condition, container, ended, pod, running

READY = condition("Ready", "True")
OOM = ended(137, "OOMKilled")


def told(*versions: dict[str, Any] | None, mark: str = "", since: str = "") -> list[UnifiedEvent]:
    """Return the normalized events of the step from the first to the second version."""
    changes, trim = PodChanges(Subjects(), Severities()), trimmer()
    before, after = (trim(one) if one is not None else None for one in versions)
    assert after is not None
    events = list(changes.between(before, after, Circumstances(5, mark, nanoseconds(since))))
    normalize(events)
    return events


def one(*versions: dict[str, Any] | None, **found: str) -> UnifiedEvent:
    """Return the only event of a step."""
    (event,) = told(*versions, **found)
    return event


def test_a_change_of_phase_tells_both_phases_and_the_conditions() -> None:
    """With the time of the conditions, and the whole lineage of the pod."""
    before = pod(100, "Pending", conditions=[condition("PodScheduled", "True", "2026-11-23T11:59:59Z")])
    after = pod(101, conditions=[condition("PodScheduled", "True", "2026-11-23T11:59:59Z"), READY])
    event = one(before, after)
    assert (event.type, event.severity, event.title) == (
        "pod_state",
        Severity.INFO,
        "Pod prod/web-5d4f7-abcde: Pending → Running",
    )
    assert event.description == "Pod prod/web-5d4f7-abcde is Running; Ready is True"
    assert (event.get("previous_phase"), event.get("phase"), event.get("change")) == ("Pending", "Running", "phase")
    assert (event.get("conditions"), event.timestamp) == ({"Ready": "True"}, nanoseconds("2026-11-23T12:00:00Z"))
    assert [(each.type, each.name) for each in event.entity.lineage()] == [
        ("pod", "web-5d4f7-abcde"),
        ("replicaset", "web-5d4f7"),
        ("deployment", "web"),
        ("node", "node-17"),
    ]


def test_a_pod_that_is_no_longer_ready_is_a_warning() -> None:
    """Unless it has finished or is asked to end."""
    lost = condition("Ready", "False", "2026-11-23T12:30:00Z", "ContainersNotReady", "containers with unready status: [app]")
    event = one(pod(conditions=[READY]), pod(101, conditions=[lost]))
    assert (event.severity, event.title) == (Severity.WARNING, "Pod prod/web-5d4f7-abcde: not Ready")
    assert event.get("condition_reasons") == {"Ready": "ContainersNotReady"}
    finished = condition("Ready", "False", reason="PodCompleted")
    assert one(pod(conditions=[READY]), pod(101, "Succeeded", conditions=[finished])).severity is Severity.INFO


def test_an_evicted_pod_says_why() -> None:
    """The status has the reason and the message."""
    event = one(pod(), pod(101, "Failed", reason="Evicted", message="The node was low on resource: memory."))
    assert (event.severity, event.get("status_reason")) == (Severity.ERROR, "Evicted")
    assert event.description.endswith("Failed; Evicted: The node was low on resource: memory.")


def test_what_a_kubelet_writes_without_a_change_is_not_told() -> None:
    """Heartbeats, addresses and versions change all the time."""
    assert told(pod(conditions=[READY]), pod(105, conditions=[READY], podIP="10.0.0.9")) == []


def test_a_restart_tells_how_the_container_ended() -> None:
    """Exit code, signal, reason and both ids."""
    after = pod(101, containers=[running(1, SECOND_ID, "2026-11-23T12:10:01Z", last=OOM)])
    event = one(pod(containers=[running()]), after)
    assert (event.type, event.severity) == ("container_restart", Severity.CRITICAL)
    assert event.title == "Container app of pod prod/web-5d4f7-abcde restarted: OOMKilled"
    assert event.description.endswith("was restarted, once so far: it was killed because it used more memory than it may")
    facts = event.attributes
    assert (facts["exit_code"], facts["signal"], facts["last_terminated_reason"]) == (137, "SIGKILL", "OOMKilled")
    assert (facts["restart_count"], facts["container_id"], facts["terminated_container_id"]) == (1, SECOND_ID, FIRST_ID)
    assert (event.entity.type, event.entity.uid, event.timestamp) == (
        "container",
        SECOND_ID,
        nanoseconds("2026-11-23T12:10:01Z"),
    )
    assert event.entity.parent is not None and event.entity.parent.uid == POD_UID


@pytest.mark.parametrize(
    ("end", "title", "severity"),
    [
        (ended(1, "Error"), "Error (exit code 1)", Severity.ERROR),
        (ended(0, "Completed"), "Completed", Severity.WARNING),
        (ended(139, "Error"), "Error (SIGSEGV)", Severity.ERROR),
        (ended(143, "Error", signal=15), "Error (SIGTERM)", Severity.ERROR),
        (ended(128, "StartError", message="exec: not found"), "StartError (exit code 128)", Severity.ERROR),
        (None, "ended", Severity.WARNING),
    ],
)
def test_every_end_of_a_container_is_named(end: Any, title: str, severity: Severity) -> None:
    """Exit codes above 128 are signals."""
    event = one(pod(containers=[running()]), pod(101, containers=[running(1, SECOND_ID, last=end)]))
    assert event.title.endswith(f"restarted: {title}")
    assert event.severity is severity


def test_restarts_that_were_not_seen_are_counted() -> None:
    """Several may happen between two versions."""
    event = one(pod(containers=[running(2)]), pod(101, containers=[running(5, SECOND_ID, last=OOM)]))
    assert (event.get("restart_count"), event.get("missed_restarts")) == (5, 2)


def test_the_end_of_a_container_is_told_before_its_restart() -> None:
    """And once: not again when it is restarted or waits for that."""
    dead = pod(101, containers=[container({"terminated": OOM})])
    event = one(pod(containers=[running()]), dead)
    assert (event.type, event.get("change"), event.severity) == ("pod_state", "terminated", Severity.CRITICAL)
    assert event.title == "Container app of pod prod/web-5d4f7-abcde ended: OOMKilled"
    waiting = pod(102, containers=[container({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}, last=OOM)])
    loop = one(dead, waiting)
    assert (loop.get("change"), loop.get("container_reason"), loop.severity) == ("waiting", "CrashLoopBackOff", Severity.ERROR)
    restarted = one(waiting, pod(103, containers=[running(1, SECOND_ID, last=OOM)]))
    assert restarted.type == "container_restart"


def test_the_end_of_a_container_that_was_asked_to_end_is_no_failure() -> None:
    """A pod that is deleted has its containers killed."""
    deleting = pod(100, containers=[running()])
    deleting["metadata"]["deletionTimestamp"] = "2026-11-23T12:10:30Z"
    dead = pod(101, containers=[container({"terminated": ended(143, "Error")})])
    dead["metadata"]["deletionTimestamp"] = "2026-11-23T12:10:30Z"
    assert one(deleting, dead).severity is Severity.NOTICE


def test_an_image_that_cannot_be_pulled_is_told_once() -> None:
    """A kubelet goes to and fro between two reasons for it."""
    steps = ["ContainerCreating", "ErrImagePull", "ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"]
    versions = [pod(100 + n, "Pending", [container({"waiting": {"reason": reason}}, id="")]) for n, reason in enumerate(steps)]
    found = [told(before, after) for before, after in pairwise(versions)]
    assert [len(events) for events in found] == [1, 0, 0, 0]
    assert found[0][0].get("container_reason") == "ErrImagePull"
    assert found[0][0].entity.uid == f"{POD_UID}/app"


def test_init_containers_are_told_as_such() -> None:
    """With their own kind of name."""
    waiting = container({"waiting": {"reason": "CrashLoopBackOff"}}, restarts=1, name="migrate", last=ended(1, "Error"))
    events = told(pod(phase="Pending"), pod(101, "Pending", initContainerStatuses=[waiting]))
    assert [event.title.partition(" of ")[0] for event in events] == ["Init container migrate", "Init container migrate"]


def test_an_init_container_that_has_done_its_work_is_not_told() -> None:
    """Every pod with one would tell of it."""
    done = pod(101, "Pending", initContainerStatuses=[container({"terminated": ended(0, "Completed")}, name="migrate")])
    assert told(pod(phase="Pending"), done) == []


def test_an_end_that_shows_only_as_the_reason_to_wait_is_told() -> None:
    """A kubelet may write both at once."""
    waiting = pod(101, containers=[container({"waiting": {"reason": "CrashLoopBackOff"}}, last=OOM)])
    events = told(pod(containers=[running()]), waiting)
    assert [(event.get("change"), event.get("last_terminated_reason")) for event in events] == [
        ("terminated", "OOMKilled"),
        ("waiting", "OOMKilled"),
    ]


def test_deletion_is_told_twice_asked_for_and_done() -> None:
    """First as terminating, in the end as deleted."""
    after = pod(101)
    after["metadata"]["deletionTimestamp"] = "2026-11-23T12:10:30Z"
    assert one(pod(), after).title == "Pod prod/web-5d4f7-abcde: terminating"
    gone = PodChanges(Subjects(), Severities()).deleted(trimmer()(after), Circumstances(5))
    normalize([gone])
    assert (gone.title, gone.severity) == ("Pod prod/web-5d4f7-abcde: deleted", Severity.INFO)


def test_a_new_pod_is_told_and_none_of_its_past() -> None:
    """A pod that comes into sight with restarts, as by a change of its labels, was not restarted now."""
    event = one(None, pod(containers=[running(5, last=OOM)], conditions=[READY]))
    assert (event.get("change"), event.get("pod_restart_count")) == ("created", 5)


def test_at_the_start_only_the_present_is_told() -> None:
    """The state and what is wrong with it, marked as initial."""
    waiting = container({"waiting": {"reason": "CrashLoopBackOff"}}, 5, last=OOM)
    events = told(None, pod(containers=[waiting]), mark=INITIAL)
    assert [event.get("change") for event in events] == ["initial", "waiting"]
    assert all(event.get("initial") is True for event in events)


def test_without_a_former_state_its_own_times_tell_what_is_new() -> None:
    """Conditions and ends of containers that are older than the position are not told again."""
    old = condition("PodScheduled", "True", "2026-11-23T11:00:00Z")
    version = pod(
        101,
        containers=[running(1, SECOND_ID, last=OOM)],
        conditions=[old, condition("Ready", "True", "2026-11-23T12:10:02Z")],
    )
    events = told(None, version, mark=RECONCILED, since="2026-11-23T12:05:00Z")
    assert [event.type for event in events] == ["pod_state", "container_restart"]
    assert events[0].get("conditions") == {"Ready": "True"}
    assert all(event.get("reconciled") is True for event in events)
    assert told(None, version, mark=RECONCILED, since="2026-11-23T12:30:00Z") == []


def test_an_occurrence_found_later_has_the_id_it_had_when_it_was_watched() -> None:
    """So a backend drops what a restart repeats."""
    before = pod(containers=[running()], conditions=[condition("Ready", "False")])
    after = pod(
        101, containers=[running(1, SECOND_ID, last=OOM)], conditions=[condition("Ready", "True", "2026-11-23T12:10:02Z")]
    )
    later = pod(
        150, containers=[running(1, SECOND_ID, last=OOM)], conditions=[condition("Ready", "True", "2026-11-23T12:10:02Z")]
    )
    seen, found = told(before, after), told(None, later, mark=RECONCILED, since="2026-11-23T12:05:00Z")
    assert [event.id for event in seen] == [event.id for event in found]


STATES = st.sampled_from(
    [
        running(),
        running(1, SECOND_ID, last=OOM),
        running(3, SECOND_ID, last=ended(1, "Error", SECOND_ID)),
        container({"terminated": OOM}),
        container({"waiting": {"reason": "CrashLoopBackOff"}}, 1, last=OOM),
        container({"waiting": {"reason": "ContainerCreating"}}, id=""),
        container({}, id=""),
    ]
)
PODS = st.builds(
    pod,
    st.integers(1, 10**9),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""]),
    st.lists(STATES, max_size=1),
    st.lists(
        st.builds(condition, st.sampled_from(["Ready", "Initialized", "Own"]), st.sampled_from(["True", "False", "Unknown"])),
        max_size=3,
    ),
)


@given(PODS, PODS)
def test_any_two_versions_can_be_compared(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Each event is complete, its id its own, and nothing is told of two equal versions."""
    events = told(before, after)
    assert all(event.title and event.description and event.timestamp > 0 for event in events)
    assert len({event.id for event in events}) == len(events)
    assert told(after, after) == []


def test_a_container_that_is_asked_to_end_has_not_failed_unless_memory_ran_out() -> None:
    """An exit by SIGTERM is a notice then, an OOM kill stays critical."""
    for end, severity in ((ended(143, "Error"), Severity.NOTICE), (OOM, Severity.CRITICAL)):
        before, after = pod(containers=[running()]), pod(101, containers=[container({"terminated": end})])
        for one_version in (before, after):
            one_version["metadata"]["deletionTimestamp"] = "2026-11-23T12:10:30Z"
        assert one(before, after).severity is severity


def test_a_signal_that_the_runtime_names_comes_before_the_code() -> None:
    """Not all runtimes make a code of it."""
    event = one(pod(containers=[running()]), pod(101, containers=[container({"terminated": ended(2, "Error", signal=9)})]))
    assert (event.get("exit_code"), event.get("signal"), event.get("signal_number")) == (2, "SIGKILL", 9)
