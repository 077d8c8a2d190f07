"""Tests of the identity by which D-Bus and the journal tell of the same transition."""

from __future__ import annotations

from typing import Any

import pytest

from tapio_otel.component import Kind
from tapio_otel.entity import EntityReference
from tapio_otel.event import UnifiedEvent
from tapio_otel.processors.dedup import DedupConfig, DedupProcessor, default_hash
from tapio_otel.processors.unit_transition import STATES, unit_transition
from tests.components import context

SECOND = 10**9
INVOCATION = "0123456789abcdef0123456789abcdef"
STARTED = next(number for number, state in STATES.items() if state == "active")


PREVIOUS = {
    **{"activating": "inactive", "active": "activating", "deactivating": "active"},
    **{"inactive": "deactivating", "failed": "active"},
}


def from_bus(state: str, invocation: str = INVOCATION, type: str = "service_state", **more: Any) -> UnifiedEvent:
    """Return the event of a transition as the systemd receiver makes it."""
    attributes = {name: more.pop(name) for name in list(more) if name not in {"unit", "time"}}
    told = {"invocation_id": invocation, "current_state": state, "previous_state": PREVIOUS.get(state, ""), **attributes}
    return event("systemd", type, told, **more)


def from_journal(message_id: str, invocation: str = INVOCATION, pid: int = 1, **more: Any) -> UnifiedEvent:
    """Return the event of a message of PID 1."""
    fields = {name: more.pop(name) for name in list(more) if name.isupper()}
    return event("journald", "log", {"INVOCATION_ID": invocation, "MESSAGE_ID": message_id, "pid": pid, **fields}, **more)


def event(source: str, type: str, attributes: dict[str, Any], unit: str = "web.service", time: int = SECOND) -> UnifiedEvent:
    """Return an event about a unit."""
    entity = EntityReference("systemd_unit", unit)
    return UnifiedEvent(f"{source} {unit} {attributes}", time, source, type, entity=entity, title=source, attributes=attributes)


def deduplicated(events: list[UnifiedEvent]) -> list[str]:
    """Return the sources of the events that pass, summaries left out."""
    config = DedupConfig.model_validate(
        {"hash_function": "unit_transition", "conditions": [{"source": "systemd"}, {"source": "journald"}]}
    )
    surroundings = context(Kind.PROCESSOR, "dedup", {"hash_functions": {"unit_transition": unit_transition}})
    passed = DedupProcessor(surroundings, config).process(events)
    return [one.source for one in passed if one.get("dedup_count") is None]


@pytest.mark.parametrize("message_id", STATES)
def test_a_transition_is_the_same_from_both_sources(message_id):
    """Unit, invocation and state decide."""
    assert unit_transition(from_journal(message_id)) == unit_transition(from_bus(STATES[message_id])) is not None


def test_another_unit_invocation_or_state_is_another_transition():
    """Nothing else is taken for a repeat."""
    others = [from_bus("active"), from_bus("failed"), from_bus("active", "f" * 32), from_bus("active", unit="db.service")]
    assert len({unit_transition(one) for one in others}) == len(others)


def test_what_is_no_transition_is_nobodys_repeat():
    """Ordinary messages of the journal pass, however alike; so does what names no invocation."""
    ordinary = event("journald", "log", {"MESSAGE_ID": STARTED})
    assert unit_transition(ordinary) is None
    assert unit_transition(from_journal("00000000000000000000000000000000")) is None
    assert unit_transition(from_bus("active", "")) is None
    assert deduplicated([ordinary, ordinary.copy()]) == ["journald", "journald"]


@pytest.mark.parametrize(
    "again",
    [
        {"state": "active", "previous_state": "reloading"},
        {"state": "active", "previous_state": "active"},
        {"state": "active", "previous_state": "deactivating"},
        {"state": "deactivating", "previous_state": "deactivating", "sub_state": "stop-sigkill"},
        {"state": "activating", "previous_state": "failed", "sub_state": "auto-restart"},
        {"state": "activating", "previous_state": "failed", "type": "service_restart"},
        {"state": "inactive", "previous_state": "activating", "previous_sub_state": "auto-restart"},
        {"state": "inactive", "previous_state": "failed"},
        {"state": "inactive", "previous_state": "inactive", "job_result": "dependency"},
        {"state": "failed", "previous_state": "inactive", "type": "restart_limit_hit"},
        {"state": "failed", "previous_state": "unknown", "initial": True},
        {"state": "deactivating", "unit": "srv.mount"},
    ],
)
def test_what_an_invocation_may_do_again_is_nobodys_repeat(again):
    """Every such event passes, whatever came before."""
    assert unit_transition(from_bus(**again)) is None


def test_messages_that_tell_of_no_transition_are_nobodys_repeat():
    """A job that came to nothing, a start that was refused, and what a process other than PID 1 wrote."""
    failure = next(number for number, state in STATES.items() if state == "failed")
    stopping = next(number for number, state in STATES.items() if state == "deactivating")
    assert unit_transition(from_journal(STARTED, JOB_RESULT="done")) is not None
    assert unit_transition(from_journal(STARTED, JOB_RESULT="canceled")) is None
    assert unit_transition(from_journal(failure, UNIT_RESULT="exit-code")) is not None
    assert unit_transition(from_journal(failure, UNIT_RESULT="start-limit-hit")) is None
    assert unit_transition(from_journal(stopping, unit="srv.mount")) is None
    assert unit_transition(from_journal(STARTED, pid=7)) is None


def test_other_sources_keep_the_default_identity():
    """Events of the kernel are compared as ever."""
    other = event("ebpf", "oom_kill", {})
    assert unit_transition(other) == default_hash(other)


def test_whichever_source_tells_first_passes():
    """The other one is held back."""
    assert deduplicated([from_bus("active"), from_journal(STARTED, time=SECOND + 5)]) == ["systemd"]
    assert deduplicated([from_journal(STARTED), from_bus("active", time=SECOND + 5)]) == ["journald"]
