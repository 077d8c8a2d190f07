"""The systemd normalizer: severity, title and description of each kind of transition."""

from __future__ import annotations

from typing import Any

import pytest

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.normalizers.systemd import normalize


def normal(story: str, type: str = "service_state", raw: str = "state", **attributes: Any) -> UnifiedEvent:
    """Return the normalized event of a transition such as `active/running → failed/failed`."""
    (before, before_sub), (after, after_sub) = (state.split("/") for state in story.split(" → "))
    event = UnifiedEvent(
        id="x",
        timestamp=1,
        source="systemd",
        type=type,
        attributes={
            "unit": "web.service",
            "previous_state": before,
            "previous_sub_state": before_sub,
            "current_state": after,
            "sub_state": after_sub,
            **attributes,
        },
    )
    event.raw = raw
    normalize([event])
    return event


CRASH = {"type": "service_crashed", "result": "exit-code", "exit_code": 3, "n_restarts": 0}


@pytest.mark.parametrize(
    ("severity", "story", "more"),
    [
        (Severity.INFO, "inactive/dead → activating/start", {}),
        (Severity.INFO, "activating/start → active/running", {"result": "success"}),
        (Severity.INFO, "active/running → deactivating/stop-sigterm", {"result": "success"}),
        (Severity.INFO, "deactivating/stop-sigterm → inactive/dead", {"result": "success"}),
        (Severity.INFO, "failed/failed → inactive/dead", {"result": "success"}),
        (Severity.INFO, "activating/condition → inactive/dead", {"result": "exec-condition"}),
        (Severity.INFO, "activating/auto-restart → inactive/dead", {"result": "exit-code"}),
        (Severity.WARNING, "active/running → deactivating/stop-watchdog", {"result": "watchdog"}),
        (Severity.WARNING, "active/running → deactivating/stop-post", {"result": "exit-code"}),
        (Severity.WARNING, "active/running → active/running", {"missed_transitions": 2}),
        (Severity.WARNING, "inactive/dead → activating/auto-restart", {"type": "service_restart", "result": "success"}),
        (Severity.ERROR, "failed/failed → activating/auto-restart", {"type": "service_restart", "result": "signal"}),
        (Severity.ERROR, "active/running → activating/auto-restart", {"type": "service_crashed", "result": "signal"}),
        (Severity.ERROR, "inactive/dead → inactive/dead", {"raw": "job", "job_result": "dependency"}),
        (Severity.CRITICAL, "active/running → failed/failed", CRASH),
        (Severity.CRITICAL, "deactivating/stop-sigkill → failed/failed", {"result": "timeout"}),
        (Severity.CRITICAL, "active/mounted → failed/failed", {"result": "exit-code"}),
        (Severity.CRITICAL, "unknown/unknown → failed/failed", {"initial": True, **CRASH}),
        (Severity.CRITICAL, "inactive/dead → failed/failed", {"type": "restart_limit_hit", "result": "exit-code"}),
    ],
)
def test_the_severity_is_that_of_the_state_and_its_cause(severity: Severity, story: str, more: dict[str, Any]) -> None:
    """Every row of the documented table."""
    assert normal(story, **more).severity is severity


def test_the_title_names_unit_and_both_states() -> None:
    """In the form that every transition has."""
    assert normal("active/running → failed/failed", **CRASH).title == "Service web.service: active → failed"


@pytest.mark.parametrize(
    ("story", "more", "description"),
    [
        ("inactive/dead → active/running", {"result": "success"}, "web.service is up (running)"),
        ("active/running → failed/failed", CRASH, "web.service has failed (failed): its main process exited with code 3"),
        (
            "active/running → failed/failed",
            {"result": "signal", "signal": "SIGKILL", "core_dump": False, "n_restarts": 1},
            "web.service has failed (failed): its main process was killed by SIGKILL; restarted once so far",
        ),
        (
            "active/running → failed/failed",
            {"result": "core-dump", "signal": "SIGSEGV", "core_dump": True, "n_restarts": 4},
            "web.service has failed (failed): its main process was killed by SIGSEGV and dumped core; restarted 4 times so far",
        ),
        (
            "active/running → failed/failed",
            {"result": "oom-kill", "signal": "SIGKILL"},
            "web.service has failed (failed): the machine or its cgroup ran out of memory "
            "(its main process was killed by SIGKILL)",
        ),
        (
            "activating/start → failed/failed",
            {"result": "exit-code"},
            "web.service has failed (failed): a process of it ended with an error",
        ),
        (
            "activating/start-pre → failed/failed",
            {"result": "exit-code", "control_process": "ExecStartPre", "control_exit_code": 9},
            "web.service has failed (failed): the command of ExecStartPre exited with code 9",
        ),
        (
            "deactivating/stop → failed/failed",
            {"result": "timeout", "signal": "SIGTERM", "control_process": "ExecStop", "control_signal": "SIGKILL"},
            "web.service has failed (failed): it took too long (the command of ExecStop was killed by SIGKILL)",
        ),
        ("active/running → failed/failed", {"result": "new-one"}, "web.service has failed (failed): new-one"),
        (
            "failed/failed → activating/auto-restart",
            {"type": "service_restart", "result": "exit-code", "exit_code": 3},
            "web.service waits to be restarted: its main process exited with code 3",
        ),
        (
            "inactive/dead → failed/failed",
            {"type": "restart_limit_hit", "result": "exit-code", "exit_code": 3},
            "web.service has failed and is not started again: it was started too often in too short a time",
        ),
        (
            "active/running → active/running",
            {"missed_transitions": 1, "reconciled": True},
            "web.service is up (running); at least 1 change before this went unseen, found out after a time without connection",
        ),
        ("active/x → strange/y", {}, "web.service is strange (y)"),
    ],
)
def test_the_description_says_in_words_what_happened_and_why(story: str, more: dict[str, Any], description: str) -> None:
    """Cause, restarts, and what was not seen."""
    assert normal(story, **more).description == description


@pytest.mark.parametrize(
    ("result", "title", "description"),
    [
        (
            "dependency",
            "Service web.service: start failed (dependency)",
            "The start of web.service failed: a unit it depends on failed",
        ),
        ("failed", "Service web.service: start failed (failed)", "The start of web.service failed"),
    ],
)
def test_a_job_that_failed_is_named_by_type_and_result(result: str, title: str, description: str) -> None:
    """There is no transition to name."""
    event = normal("inactive/dead → inactive/dead", raw="job", job_type="start", job_result=result)
    assert (event.title, event.description) == (title, description)


def test_an_event_is_normalized_once() -> None:
    """What a processor changed since stays."""
    event = normal("active/running → failed/failed", **CRASH)
    event.severity, event.title = Severity.INFO, "mine"
    normalize([event])
    assert (event.severity, event.title) == (Severity.INFO, "mine")
