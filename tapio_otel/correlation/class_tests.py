"""Tests of attributes, for types of event that belong to a class of facts only sometimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tapio_otel.event import EventType, Severity, UnifiedEvent

Test = Callable[[UnifiedEvent], bool]

RESTARTING: Final = frozenset(("auto-restart", "auto-restart-queued"))
IMAGE_REASONS: Final = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable", "ErrImageInspect")
)


_MANY: Final = frozenset((list, dict))
"""What an attribute of a foreign log may be, and no value that is asked for is."""
UNREADY_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def value_is(key: str, *values: Any) -> Test:
    """Return the test whether an attribute has one of these values."""
    wanted = frozenset(values)
    return lambda event: (value := event.get(key)).__class__ not in _MANY and value in wanted


def either(*tests: Test) -> Test:
    """Return the test that any of these passes."""
    return lambda event: any(test(event) for test in tests)


def both(*tests: Test) -> Test:
    """Return the test that all of these pass."""
    return lambda event: all(test(event) for test in tests)


def unless(test: Test) -> Test:
    """Return the test that this one does not pass."""
    return lambda event: not test(event)


def always(*names: str) -> dict[str, Test | None]:
    """Return types of event that belong to a class whatever their attributes."""
    return dict.fromkeys(names)


def condition_is(*conditions: str) -> Test:
    """Return the test whether a node has one of these conditions."""
    return both(value_is("condition", *conditions), value_is("condition_status", "True"))


def ended_badly(event: UnifiedEvent) -> bool:
    """Tell whether a container ended by itself and not well; one that was asked to end is told as a notice at most."""
    if event.severity <= Severity.NOTICE or (event.type == EventType.POD_STATE and event.get("change") != "terminated"):
        return False
    return event.get("exit_code") not in {None, 0} or event.get("signal_number") not in {None, 0} or bool(event.get("signal"))


def failed_to_pull(event: UnifiedEvent) -> bool:
    """Tell whether an event of Kubernetes is about an image that could not be pulled."""
    reason = event.get("reason")
    return reason in IMAGE_REASONS or (reason in {"Failed", "BackOff"} and "image" in event.description.lower())


def crash_loops(event: UnifiedEvent) -> bool:
    """Tell whether an event of Kubernetes is about a container that crashes again and again."""
    reason = event.get("reason")
    return reason == "CrashLoopBackOff" or (reason == "BackOff" and "image" not in event.description.lower())


FAILED: Final = value_is("current_state", "failed")
GOING: Final = value_is("current_state", "failed", "deactivating")
TO_BE_RESTARTED: Final = value_is("sub_state", *RESTARTING)
OOM_RESULT: Final = value_is("result", "oom-kill")
OOM_END: Final = either(value_is("last_terminated_reason", "OOMKilled"), value_is("container_reason", "OOMKilled"))
OVERDUE: Final = either(value_is("result", "timeout", "watchdog"), value_is("job_result", "timeout"))
UNANSWERED: Final = value_is("state", "SYN_SENT")


def not_ready(event: UnifiedEvent) -> bool:
    """Tell whether a node is not ready, by its condition or by the taint that tells of it."""
    if event.get("change") == "taint_added":
        return str(event.get("taint")).startswith(UNREADY_TAINTS)
    return bool(event.get("condition") == "Ready" and event.get("condition_status") != "True")


def lost_ready(event: UnifiedEvent) -> bool:
    """Tell whether a pod is no longer ready, but for one that is new or is being deleted."""
    if event.get("change") in {"created", "initial"}:
        return False
    conditions = event.get("conditions")
    lost = isinstance(conditions, dict) and conditions.get("Ready") == "False"
    return (lost and not event.get("terminating")) or event.get("status_reason") == "NodeLost"
